//! Templates that were published, beside a directory and without one.

use std::path::Path;
use std::sync::Arc;

use paceline_templates::{Candidate, Change, Files, LiveCatalog, Published, Rule, Template};

use super::{compile, files_with, write};

fn bundle(name: &str, version: u32, more: &str, html: &str) -> Files {
    let manifest = format!("name = \"{name}\"\nversion = {version}\nlane = \"transactional\"\n{more}");
    files_with(&[("template.toml", Some(&manifest)), ("body.html.hbs", Some(html))])
}

fn published(name: &str, version: u32, more: &str, html: &str) -> Arc<Template> {
    Arc::new(compile(&bundle(name, version, more, html)))
}

fn adopt(live: &LiveCatalog, templates: &[Arc<Template>]) -> Change {
    adopt_of(live, templates, &[], true)
}

/// The same where `more` is announced, too, and can't be used.
fn adopt_of(live: &LiveCatalog, templates: &[Arc<Template>], more: &[(&str, u32)], in_use: bool) -> Change {
    let change = live.publish(of(templates, more), in_use);
    live.adopt(&change);
    change
}

fn of(templates: &[Arc<Template>], more: &[(&str, u32)]) -> Published {
    let announced = templates.iter().map(|template| {
        let manifest = template.manifest();
        (manifest.name.clone(), manifest.version)
    });
    let more = more.iter().map(|(name, version)| ((*name).to_owned(), *version));
    Published {
        templates: templates.to_vec(),
        broken: Vec::new(),
        announced: announced.chain(more).collect(),
    }
}

fn load(directory: &Path) -> LiveCatalog {
    LiveCatalog::load(directory, false).unwrap_or_else(|error| panic!("{error}"))
}

/// What the second look after a change of the directory finds, taken.
fn looked(live: &LiveCatalog) -> Change {
    assert!(live.look().is_none(), "it has not come to rest");
    let change = live.look().expect("a change");
    live.adopt(&change);
    change
}

/// The version and the html of what new messages get.
fn newest(live: &LiveCatalog, name: &str) -> Option<(u32, String)> {
    let template = live.current().get(name, None)?;
    let hash = template.hash().to_string();
    Some((template.manifest().version, hash))
}

fn hash_of(template: &Template) -> String {
    template.hash().to_string()
}

#[test]
fn without_a_directory_there_is_what_is_published() {
    let live = LiveCatalog::without_directory(false);
    assert!(live.look().is_none() && newest(&live, "a").is_none());
    let (first, second) = (published("a", 1, "", "1"), published("a", 2, "", "2"));
    assert!(
        adopt(&live, &[Arc::clone(&first), Arc::clone(&second)])
            .broken
            .is_empty()
    );
    assert_eq!(newest(&live, "a"), Some((2, hash_of(&second))));
    adopt(&live, &[Arc::clone(&first)]);
    assert_eq!(newest(&live, "a"), Some((1, hash_of(&first))));
    let category = published("b", 1, "category = \"news\"\n", "1");
    let change = adopt(&live, &[first, category]);
    assert_eq!(change.broken.len(), 1, "{:?}", change.broken);
    assert!(change.broken[0].0 == "b@1" && newest(&live, "b").is_none());
}

#[test]
fn a_folder_goes_before_what_is_published_with_its_version_and_is_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a", &bundle("a", 1, "", "of the folder"));
    let live = load(folder.path());
    let own = newest(&live, "a");
    let other = published("a", 1, "", "of elsewhere");
    let newer = published("a", 2, "", "newer");
    let change = adopt(&live, std::slice::from_ref(&other));
    assert_eq!(newest(&live, "a"), own);
    assert_eq!(change.broken.len(), 1);
    assert!(change.broken[0].0 == "a@1" && change.broken[0].1.contains("directory"));

    assert_eq!(adopt(&live, &[other, Arc::clone(&newer)]).broken.len(), 1);
    assert_eq!(newest(&live, "a"), Some((2, hash_of(&newer))));
    let same = published("a", 1, "", "of the folder");
    assert!(adopt(&live, &[same, Arc::clone(&newer)]).broken.is_empty());
    // Another release built it of the same files.
    let written = Candidate::read(&bundle("a", 1, "", "of the folder"))
        .expect("good")
        .authored;
    let built = compile(&bundle("a", 1, "", "of the folder, built otherwise")).built_of(written);
    assert!(adopt(&live, &[Arc::new(built), newer]).broken.is_empty());
}

#[test]
fn each_of_the_two_changes_without_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a", &bundle("a", 1, "", "1"));
    let live = load(folder.path());
    let b = published("b", 1, "", "1");
    adopt(&live, std::slice::from_ref(&b));
    write(folder.path(), "a", &bundle("a", 2, "", "2"));
    write(folder.path(), "c", &bundle("c", 1, "", "{{#if}}"));
    assert_eq!(looked(&live).broken.len(), 1);
    assert_eq!(newest(&live, "a").map(|(version, _)| version), Some(2));
    assert!(newest(&live, "b").is_some());
    let change = adopt(&live, &[b, published("d", 1, "", "1")]);
    assert_eq!(change.broken.len(), 1, "the folder is broken still");
    assert!(newest(&live, "a").is_some() && newest(&live, "d").is_some());
    std::fs::remove_dir_all(folder.path()).expect("removable");
    let change = live.look().expect("told at once");
    assert!(
        Arc::ptr_eq(&change.catalog, &live.current()),
        "nothing to use anew"
    );
    live.adopt(&change);
    assert!(newest(&live, "a").is_some() && newest(&live, "d").is_some());
}

#[test]
fn a_change_of_the_directory_comes_to_rest_while_others_publish() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a", &bundle("a", 1, "", "1"));
    let live = load(folder.path());
    write(folder.path(), "a", &bundle("a", 2, "", "2"));
    assert!(live.look().is_none(), "seen for the first time");
    adopt(&live, &[published("b", 1, "", "1")]);
    live.adopt(&live.look().expect("it rests"));
    assert_eq!(newest(&live, "a").map(|(version, _)| version), Some(2));
    assert!(newest(&live, "b").is_some());
}

#[test]
fn a_published_fallback_that_does_not_fit_is_told_of_and_stands_in_for_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a", &bundle("a", 1, "fallback = \"b\"\n", "1"));
    write(folder.path(), "b", &bundle("b", 1, "", "1"));
    let live = load(folder.path());
    let pinned = || {
        let catalog = live.current();
        let template = catalog.get("a", None).expect("there");
        catalog.fallback_hashes(&template)
    };
    assert_eq!(pinned().len(), 32);
    let unfit = published("b", 2, "despite_complaint = true\n", "2");
    let change = adopt(&live, &[unfit]);
    assert_eq!(change.broken, []);
    assert_eq!(change.lacking.len(), 1, "{:?}", change.lacking);
    assert_eq!(change.lacking[0].0, "a@1");
    assert!(
        pinned().is_empty(),
        "`a` is there, and `b` does not stand in for it"
    );
}

#[test]
fn of_fallbacks_the_newest_versions_count() {
    let live = LiveCatalog::without_directory(false);
    let more = |version: u32, name: &str, fallback: &str| {
        let manifest =
            format!("name = \"{name}\"\nversion = {version}\nlane = \"transactional\"\n{fallback}");
        let field = format!("f{version}");
        let (schema, example) = (
            format!("{{\"{field}\": \"string\"}}"),
            format!("{{\"{field}\": \"x\"}}"),
        );
        let html = format!("<p>{{{{{field}}}}}</p>");
        Arc::new(compile(&files_with(&[
            ("template.toml", Some(&manifest)),
            ("body.html.hbs", Some(&html)),
            ("schema.json", Some(&schema)),
            ("examples/first.json", Some(&example)),
        ])))
    };
    let version = |version| {
        let promo = more(version, "promo", "fallback = \"plain\"\n");
        [more(version, "plain", ""), promo]
    };
    let [plain, promo] = version(1);
    let [plain_2, promo_2] = version(2);
    let mut all = vec![plain, promo];
    assert_eq!(adopt(&live, &all).lacking, []);
    all.push(plain_2);
    let between = adopt(&live, &all);
    assert_eq!((between.broken, between.lacking.len()), (vec![], 1));
    all.push(promo_2);
    let after = adopt(&live, &all);
    assert_eq!((after.broken, after.lacking), (vec![], vec![]));
}

#[test]
fn a_name_that_may_come_is_awaited() {
    let live = LiveCatalog::without_directory(false);
    assert!(!live.awaits("a", None), "nothing is followed");
    live.follow_published();
    assert!(live.is_empty_yet() && live.awaits("a", None) && live.awaits("a", Some("7")));
    let nothing = live.publish(of(&[], &[]), true);
    live.adopt(&nothing);
    assert!(
        live.is_empty_yet() && !live.awaits("a", None),
        "nothing is published"
    );
    // It is seen, and not used yet: not even its bundle could be written.
    let change = live.publish(of(&[published("a", 1, "", "1")], &[("b", 2)]), true);
    assert!(live.is_empty_yet() && live.awaits("a", None) && !live.awaits("c", None));
    live.adopt(&change);
    assert!(!live.is_empty_yet() && !live.awaits("a", None) && !live.awaits("a", Some("2")));
    assert!(live.awaits("b", None) && live.awaits("b", Some("2")) && !live.awaits("b", Some("3")));
    live.adopt(&live.publish(of(&[], &[]), true));
    assert!(live.awaits("b", None), "lost, not taken back");
}

#[test]
fn an_older_version_is_the_newest_only_where_it_was_so_before() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a", &bundle("a", 1, "", "1"));
    let newest_of = |live: &LiveCatalog| newest(live, "a").map(|(version, _)| version);
    let (second, fourth) = (published("a", 2, "", "2"), published("a", 4, "", "4"));

    let begins = load(folder.path());
    begins.follow_published();
    adopt_of(&begins, std::slice::from_ref(&second), &[("a", 3)], false);
    assert!(newest_of(&begins).is_none() && begins.awaits("a", None));
    assert!(begins.current().get("a", Some("2")).is_some() && !begins.awaits("a", Some("2")));
    adopt_of(&begins, std::slice::from_ref(&second), &[("a", 3)], true);
    assert_eq!(newest_of(&begins), None, "nor is it by and by");
    adopt_of(
        &begins,
        &[Arc::clone(&second), Arc::clone(&fourth)],
        &[("a", 3)],
        true,
    );
    assert_eq!(newest_of(&begins), Some(4));

    let runs = load(folder.path());
    runs.follow_published();
    adopt_of(&runs, std::slice::from_ref(&second), &[], false);
    adopt_of(&runs, &[second, published("a", 3, "", "3")], &[("a", 4)], true);
    assert_eq!(newest_of(&runs), Some(2), "as it was");
    write(folder.path(), "a", &bundle("a", 5, "", "5"));
    looked(&runs);
    assert_eq!(newest_of(&runs), Some(5), "a newer one of the directory");
}

fn refused(files: &Files) -> Vec<Rule> {
    match Candidate::read(files) {
        Ok(_) => panic!("it may be published"),
        Err(findings) => findings.iter().map(|finding| finding.rule).collect(),
    }
}

fn candidate(files: &Files) -> Candidate {
    let read = Candidate::read(files);
    read.unwrap_or_else(|findings| panic!("{findings:?}"))
}

#[test]
fn a_candidate_is_known_by_what_was_written_and_refused_by_what_forbids_it() {
    let files = bundle("a", 1, "", "1");
    assert_eq!(candidate(&files).authored, candidate(&files.clone()).authored);
    let other = candidate(&bundle("a", 1, "", "2"));
    assert_ne!(candidate(&files).authored, other.authored);
    assert_eq!(
        refused(&bundle("a", 1, "", "{{unknown}}")),
        [Rule::UnknownVariable, Rule::ExampleFails]
    );
    assert_eq!(refused(&bundle("a", 1, "", &"x".repeat(60 * 1024))), [Rule::Size]);
    let source = "<mjml><mj-body><mj-section><mj-column><mj-text>Hello</mj-text></mj-column></mj-section></mj-body></mjml>";
    let built = candidate(&files_with(&[
        ("body.html.hbs", None),
        ("body.mjml.hbs", Some(source)),
    ]));
    assert_ne!(
        built.authored,
        built.template.hash(),
        "the bundle is what was built"
    );
    let stored = Template::from_bundle_bytes(&built.template.bundle_bytes());
    assert_eq!(stored.expect("a bundle").hash(), built.template.hash());
    let warned = files_with(&[
        ("schema.json", Some("{\"name\": \"string\"}")),
        ("examples/first.json", Some("{\"name\": \"Ada\"}")),
    ]);
    assert_eq!(candidate(&warned).warnings[0].rule, Rule::UnusedField);
}

#[test]
fn a_candidate_s_fallbacks_are_among_those_that_are_published() {
    let files = bundle("a", 2, "fallback = \"b\"\n", "1");
    let wrong = |others: &[Arc<Template>]| {
        let findings = candidate(&files).check_fallbacks(others.to_vec());
        findings
            .into_iter()
            .map(|finding| finding.description)
            .collect::<Vec<_>>()
            .concat()
    };
    assert_eq!(wrong(&[published("b", 1, "", "1")]), "");
    assert!(wrong(&[]).contains("`b` is not there"));
    let other_lane = published("b", 1, "despite_complaint = true\n", "1");
    assert!(wrong(&[other_lane]).contains("another lane"));
    let back = published("b", 1, "fallback = \"a\"\n", "1");
    assert!(wrong(&[back]).contains("in a circle"));
    // What is wrong with others is none of its own.
    let broken = published("c", 1, "fallback = \"nowhere\"\n", "1");
    assert_eq!(wrong(&[published("b", 1, "", "1"), broken]), "");
}
