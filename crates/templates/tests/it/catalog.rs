//! Directories of templates, and bundles on their way through Redis.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use paceline_templates::{BundleCache, Catalog, Files, Template, check_directory};

use super::{compile, files_with, write};

fn version(name: &str, version: u32) -> Files {
    let manifest = format!("name = \"{name}\"\nversion = {version}\nlane = \"bulk\"\n");
    files_with(&[("template.toml", Some(&manifest))])
}

fn refusal(directory: &Path) -> String {
    match Catalog::load(directory) {
        Ok(_) => panic!("loaded"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn templates_are_found_by_name_and_version() {
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path(), "a", &version("a", 9));
    write(directory.path(), "a@10", &version("a", 10));
    write(directory.path(), "b", &version("b", 1));
    write(directory.path(), ".git", &files_with(&[]));
    std::fs::write(directory.path().join("README.md"), "not a folder").expect("writable");
    std::fs::write(directory.path().join("a/.DS_Store"), "hidden").expect("writable");
    std::fs::write(directory.path().join("a/subject.hbs~"), "a backup").expect("writable");
    let catalog = Catalog::load(directory.path()).unwrap_or_else(|error| panic!("{error}"));
    let found = |name, version| {
        catalog
            .get(name, version)
            .map(|template| template.manifest().version)
    };
    assert_eq!(found("a", None), Some(10));
    assert_eq!(found("a", Some("9")), Some(9));
    assert_eq!(found("a", Some("11")), None);
    assert_eq!(found("a", Some("x")), None);
    assert_eq!(found("b", None), Some(1));
    assert_eq!(found("c", None), None);
    assert_eq!(catalog.iter().count(), 3);
}

#[test]
fn a_directory_with_a_broken_template_is_not_used() {
    let directory = tempfile::tempdir().expect("a directory");
    assert!(refusal(directory.path()).contains("no template's folder"));
    assert!(refusal(&directory.path().join("missing")).contains("can't be read"));
    write(directory.path(), "good", &version("good", 1));
    write(directory.path(), "other", &version("name", 1));
    write(directory.path(), "same", &version("same", 1));
    write(directory.path(), "same@1", &version("same", 1));
    let mut broken = version("broken", 1);
    broken.insert("body.html.hbs".to_owned(), b"{{#if}}".to_vec());
    write(directory.path(), "broken", &broken);
    let mut unfit = version("unfit", 1);
    unfit.insert("body.html.hbs".to_owned(), b"{{missing}}".to_vec());
    write(directory.path(), "unfit", &unfit);
    let mut large = version("large", 1);
    large.insert("subject.hbs".to_owned(), vec![b'x'; 1 << 20]);
    write(directory.path(), "large", &large);
    let text = refusal(directory.path());
    for part in [
        "other: holds the template `name`",
        "same@1: version 1 of `same` is there twice",
        "broken: body.html.hbs",
        "unfit: examples/first.json: template unfit 1",
        "large: subject.hbs has",
    ] {
        assert!(text.contains(part), "{part}\n---\n{text}");
    }
    assert!(!text.contains("good"), "{text}");
}

#[test]
fn a_bundle_has_in_it_what_it_uses_of_the_shared_partials() {
    let directory = tempfile::tempdir().expect("a directory");
    let share = |name: &str, source: &str| {
        let folder = directory.path().join("_shared");
        std::fs::create_dir_all(&folder).expect("writable");
        std::fs::write(folder.join(format!("{name}.hbs")), source).expect("writable");
    };
    let of = |name: &str, html: &str| {
        let mut files = version(name, 1);
        files.insert("body.html.hbs".to_owned(), html.as_bytes().to_vec());
        write(directory.path(), name, &files);
    };
    share("layout", "<main>{{> @partial-block}}{{> footer}}</main>");
    share("footer", "<p>first footer</p>");
    share("unused", "{{broken");
    of("framed", "{{#> layout}}<p>framed</p>{{/layout}}");
    of("alone", "<p>alone</p>");
    of("own", "{{> footer}}");
    std::fs::create_dir(directory.path().join("own/partials")).expect("writable");
    std::fs::write(
        directory.path().join("own/partials/footer.hbs"),
        "<p>own footer</p>",
    )
    .expect("writable");
    let load = || {
        let catalog = Catalog::load(directory.path()).unwrap_or_else(|error| panic!("{error}"));
        ["framed", "alone", "own"].map(|name| catalog.get(name, None).expect("there"))
    };
    let html = |template: &Template| {
        let example = &template.examples()[0];
        template
            .render_example(example)
            .unwrap_or_else(|error| panic!("{error}"))
            .html
    };
    let before = load();
    assert_eq!(html(&before[0]), "<main><p>framed</p><p>first footer</p></main>");
    assert_eq!(html(&before[2]), "<p>own footer</p>");
    share("footer", "<p>second footer</p>");
    let after = load();
    assert_ne!(after[0].hash(), before[0].hash());
    assert_eq!(
        [after[1].hash(), after[2].hash()],
        [before[1].hash(), before[2].hash()]
    );
    assert_eq!(html(&after[0]), "<main><p>framed</p><p>second footer</p></main>");
    // What is pinned has all that it needs.
    let pinned = Template::from_bundle_bytes(&before[0].bundle_bytes()).expect("a bundle");
    assert_eq!(html(&pinned), "<main><p>framed</p><p>first footer</p></main>");
    std::fs::remove_file(directory.path().join("_shared/footer.hbs")).expect("removable");
    assert!(
        refusal(directory.path()).contains("framed: body.html.hbs line 1"),
        "{}",
        refusal(directory.path())
    );
}

#[test]
fn every_bundle_below_a_directory_is_checked() {
    let directory = tempfile::tempdir().expect("a directory");
    let linked = |name: &str, number: u32| {
        let mut files = version(name, number);
        let html = b"<a href=\"{{paceline.unsubscribe_url}}\">Unsubscribe</a>";
        files.insert("body.html.hbs".to_owned(), html.to_vec());
        files.remove("body.txt.hbs");
        files
    };
    write(directory.path(), "shop/a", &linked("a", 1));
    write(directory.path(), "shop/a@2", &linked("a", 2));
    write(directory.path(), "shop/again@2", &linked("a", 2));
    write(directory.path(), "blog/a", &linked("a", 1));
    write(directory.path(), "blog/a@1", &linked("a", 1));
    write(
        directory.path(),
        "blog/unnamed",
        &files_with(&[("template.toml", None)]),
    );
    write(directory.path(), ".git/a", &version("a", 1));
    write(directory.path(), "_shared/a", &version("a", 1));
    let check = |path: &Path| {
        let checked = check_directory(path).unwrap_or_else(|error| panic!("{error}"));
        let shown = checked.into_iter().map(|bundle| {
            let rules: Vec<_> = bundle
                .findings
                .iter()
                .map(|finding| finding.rule.as_str())
                .collect();
            format!("{} {}", bundle.folder.display(), rules.join(" "))
                .trim_end()
                .to_owned()
        });
        shown.collect::<Vec<_>>()
    };
    assert_eq!(
        check(directory.path()),
        [
            "blog/a",
            "blog/a@1 folder",
            "blog/unnamed missing-file",
            "shop/a",
            "shop/a@2",
            "shop/again@2 folder"
        ]
    );
    assert_eq!(check(&directory.path().join("shop/a@2")), [""]);
    // What stands beside a bundle must be one: a service that loads them refuses it.
    for nested in ["shop/empty", "shop/group/a"] {
        std::fs::create_dir_all(directory.path().join(nested)).expect("writable");
    }
    let shop = directory.path().join("shop");
    symlink("a", shop.join("alias")).expect("writable");
    assert_eq!(
        check(&shop),
        [
            "a",
            "a@2",
            "again@2 folder",
            "alias folder",
            "empty missing-file missing-file missing-file missing-file",
            "group missing-file missing-file missing-file missing-file",
        ]
    );
    let text = refusal(&shop);
    for folder in ["alias: ", "empty: ", "group: "] {
        assert!(text.contains(folder), "{folder}\n---\n{text}");
    }
    assert!(check_directory(&directory.path().join("missing")).is_err());
}

#[test]
fn links_and_pipes_lead_nowhere_else() {
    let outside = tempfile::tempdir().expect("a directory");
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "a secret").expect("writable");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    write(path, "a", &version("a", 1));
    // A ConfigMap's mount: links to what a hidden folder holds.
    std::fs::create_dir(path.join("a/..data")).expect("writable");
    std::fs::rename(path.join("a/subject.hbs"), path.join("a/..data/subject.hbs")).expect("there");
    symlink("..data/subject.hbs", path.join("a/subject.hbs")).expect("writable");
    assert!(Template::from_folder(&path.join("a")).is_ok());

    let refused = |file: &str| {
        let error = Template::from_folder(&path.join("a")).err().expect("refused");
        let text = error.to_string();
        assert!(text.contains(file) && text.contains("leads out of"), "{text}");
        std::fs::remove_file(path.join(file)).expect("there");
    };
    symlink(&secret, path.join("a/examples/leak.json")).expect("writable");
    refused("a/examples/leak.json");
    symlink(outside.path(), path.join("a/partials")).expect("writable");
    refused("a/partials");
    std::fs::remove_file(path.join("a/body.txt.hbs")).expect("there");
    let pipe = path.join("a/body.txt.hbs");
    let made = Command::new("mkfifo").arg(pipe).status();
    assert!(made.expect("mkfifo is there").success());
    refused("a/body.txt.hbs");
    std::fs::create_dir(path.join("_shared")).expect("writable");
    symlink(&secret, path.join("_shared/foot.hbs")).expect("writable");
    std::fs::write(path.join("a/body.txt.hbs"), "{{> foot}}").expect("writable");
    refused("_shared/foot.hbs");
}

#[test]
fn a_bundle_comes_back_as_the_same_template() {
    let original = compile(&version("a", 4));
    let copy =
        Template::from_bundle_bytes(&original.bundle_bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(copy.hash(), original.hash());
    assert_eq!(copy.bundle_bytes(), original.bundle_bytes());
    assert_eq!((copy.manifest().name.as_str(), copy.manifest().version), ("a", 4));
    assert_ne!(compile(&version("a", 5)).hash(), original.hash());
    assert!(Template::from_bundle_bytes(b"nonsense").is_err());
}

#[test]
fn the_cache_forgets_what_was_used_longest_ago() {
    let sized = |name: &str| {
        let mut files = version(name, 1);
        files.insert("body.html.hbs".to_owned(), vec![b'x'; 40_000]);
        Arc::new(compile(&files))
    };
    let (a, b, c) = (sized("a"), sized("b"), sized("c"));
    let cache = BundleCache::new(100_000);
    cache.insert(Arc::clone(&a));
    cache.insert(Arc::clone(&b));
    cache.insert(Arc::clone(&b));
    assert!(cache.get(&a.hash()).is_some());
    cache.insert(Arc::clone(&c));
    assert!(cache.get(&a.hash()).is_some() && cache.get(&c.hash()).is_some());
    assert!(cache.get(&b.hash()).is_none());
    let usage = cache.usage();
    assert_eq!((usage.templates, usage.source_bytes_max), (2, 100_000));
    assert!((80_000..81_000).contains(&usage.source_bytes), "{usage:?}");
    let tiny = BundleCache::new(1);
    tiny.insert(Arc::clone(&a));
    assert!(tiny.get(&a.hash()).is_some());
    tiny.insert(b);
    assert!(tiny.get(&a.hash()).is_none());
}
