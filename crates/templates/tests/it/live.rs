//! Directories that change while they are used.

use std::os::unix::fs::symlink;
use std::path::Path;

use paceline_templates::{Change, LiveCatalog};

use super::{Files, files_with, write};

fn version(number: u32) -> Files {
    let manifest = format!("name = \"a\"\nversion = {number}\nlane = \"transactional\"\n");
    files_with(&[("template.toml", Some(&manifest))])
}

fn broken() -> Files {
    files_with(&[("body.html.hbs", Some("{{#if}}"))])
}

fn load(directory: &Path) -> LiveCatalog {
    LiveCatalog::load(directory, false).unwrap_or_else(|error| panic!("{error}"))
}

/// What the second look after a change finds, taken.
fn taken(live: &LiveCatalog) -> Change {
    assert!(live.look().is_none(), "it has not come to rest");
    let change = live.look().expect("a change");
    live.adopt(&change);
    assert!(live.look().is_none(), "it stands");
    change
}

fn newest(live: &LiveCatalog) -> Option<u32> {
    Some(live.current().get("a", None)?.manifest().version)
}

#[test]
fn an_edit_is_taken_once_it_has_come_to_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a", &version(1));
    let live = load(folder.path());
    assert!(live.look().is_none());
    write(folder.path(), "a", &version(2));
    assert!(live.look().is_none(), "seen for the first time");
    write(folder.path(), "a", &version(30));
    assert!(live.look().is_none(), "it still changes");
    let change = live.look().expect("a change");
    assert_eq!(newest(&live), Some(1), "not adopted yet");
    assert!(change.broken.is_empty());
    live.adopt(&change);
    assert_eq!(newest(&live), Some(30));
    write(folder.path(), "a@31", &version(31));
    taken(&live);
    assert_eq!(newest(&live), Some(31));
    std::fs::remove_dir_all(folder.path().join("a@31")).expect("removable");
    taken(&live);
    assert_eq!(newest(&live), Some(30));
}

#[test]
fn what_has_not_changed_is_not_compiled_again() {
    let folder = tempfile::tempdir().expect("a folder");
    // What is built of it has another hash.
    let mut styled = version(1);
    styled.insert(
        "body.html.hbs".to_owned(),
        b"<style>p{top:0}</style><p>x</p>".to_vec(),
    );
    write(folder.path(), "a", &styled);
    let live = load(folder.path());
    let before = live.current().get("a", None).expect("there");
    write(folder.path(), "a@2", &version(2));
    taken(&live);
    let after = live.current().get("a", Some("1")).expect("there");
    assert!(std::sync::Arc::ptr_eq(&before, &after));
}

#[test]
fn a_broken_bundle_keeps_its_last_good_version_and_the_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a", &version(1));
    let live = load(folder.path());
    write(folder.path(), "a", &broken());
    write(folder.path(), "a@2", &version(2));
    write(folder.path(), "never-good", &broken());
    let change = taken(&live);
    let folders: Vec<_> = change.broken.iter().map(|(folder, _)| folder.as_str()).collect();
    assert_eq!(folders, ["a", "never-good"], "{:?}", change.broken);
    assert_eq!(newest(&live), Some(2));
    assert!(live.current().get("a", Some("1")).is_some(), "the last good one");
    assert!(live.current().get("never-good", None).is_none());
    write(folder.path(), "a", &version(3));
    std::fs::remove_dir_all(folder.path().join("never-good")).expect("removable");
    assert!(taken(&live).broken.is_empty());
    assert_eq!(newest(&live), Some(3));
}

#[test]
fn a_fallback_that_became_one_for_others_stands_in_for_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let named = |name: &str, more: &str| {
        let manifest = format!("name = \"{name}\"\nversion = 1\nlane = \"transactional\"\n{more}");
        files_with(&[("template.toml", Some(&manifest))])
    };
    write(folder.path(), "a", &named("a", "fallback = \"b\"\n"));
    write(folder.path(), "b", &named("b", ""));
    let live = load(folder.path());
    let pinned = || {
        let catalog = live.current();
        let template = catalog.get("a", None).expect("there");
        catalog.fallback_hashes(&template)
    };
    assert_eq!(pinned().len(), 32);
    write(folder.path(), "b", &named("b", "despite_complaint = true\n"));
    assert_eq!(taken(&live).broken.len(), 1);
    assert!(pinned().is_empty(), "the last good `a`, and no `b`");
}

#[test]
fn a_directory_that_is_gone_or_empty_takes_nothing_away() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("templates");
    write(&folder, "a", &version(1));
    let live = load(&folder);
    std::fs::rename(&folder, parent.path().join("away")).expect("renamed");
    let change = live.look().expect("told at once");
    assert_eq!(change.broken.len(), 1);
    live.adopt(&change);
    assert_eq!(newest(&live), Some(1));
    std::fs::create_dir(&folder).expect("a folder");
    assert_eq!(taken(&live).broken.len(), 1);
    assert_eq!(newest(&live), Some(1));
    std::fs::remove_dir(&folder).expect("removable");
    std::fs::rename(parent.path().join("away"), &folder).expect("renamed");
    assert!(taken(&live).broken.is_empty());
}

#[test]
fn a_config_map_s_swap_is_a_change() {
    let mount = tempfile::tempdir().expect("a folder");
    let revision = |name: &str, number| write(&mount.path().join(name), "a", &version(number));
    let swap = |to: &str| {
        symlink(to, mount.path().join("..data_tmp")).expect("a link");
        std::fs::rename(mount.path().join("..data_tmp"), mount.path().join("..data")).expect("renamed");
    };
    revision("..2026_11_30_1", 1);
    swap("..2026_11_30_1");
    symlink("..data/a", mount.path().join("a")).expect("a link");
    let live = load(mount.path());
    revision("..2026_11_30_2", 2);
    assert!(
        live.look().is_none() && live.look().is_none(),
        "written, not swapped yet"
    );
    swap("..2026_11_30_2");
    taken(&live);
    assert_eq!(newest(&live), Some(2));
}

#[test]
fn git_sync_s_swap_is_a_change() {
    let root = tempfile::tempdir().expect("a folder");
    let link = root.path().join("current");
    write(&root.path().join("worktrees/1/templates"), "a", &version(1));
    symlink("worktrees/1", &link).expect("a link");
    let live = load(&link.join("templates"));
    write(&root.path().join("worktrees/2/templates"), "a", &version(2));
    symlink("worktrees/2", root.path().join("tmp-link")).expect("a link");
    std::fs::rename(root.path().join("tmp-link"), &link).expect("renamed");
    taken(&live);
    assert_eq!(newest(&live), Some(2));
}

#[test]
fn an_edit_of_a_shared_partial_is_a_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = version(1);
    files.insert("body.html.hbs".to_owned(), b"{{> footer}}".to_vec());
    write(folder.path(), "a", &files);
    let share = |text: &str| {
        let footer = [("footer.hbs".to_owned(), text.as_bytes().to_vec())];
        write(folder.path(), "_shared", &footer.into());
    };
    share("<p>one</p>");
    let live = load(folder.path());
    let before = live.current().get("a", None).expect("there").hash();
    share("<p>two, longer</p>");
    taken(&live);
    assert_ne!(live.current().get("a", None).expect("there").hash(), before);
}

#[test]
fn without_links_no_template_with_a_category_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a", &version(1));
    let live = load(folder.path());
    let bulk = "name = \"news\"\nversion = 1\nlane = \"bulk\"\n";
    write(
        folder.path(),
        "news",
        &files_with(&[("template.toml", Some(bulk))]),
    );
    assert_eq!(taken(&live).broken.len(), 1);
    assert!(live.current().get("news", None).is_none());
    let live = LiveCatalog::load(folder.path(), true).unwrap_or_else(|error| panic!("{error}"));
    assert!(live.current().get("news", None).is_some());
}
