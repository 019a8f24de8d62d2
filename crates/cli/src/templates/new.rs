//! `paceline templates new`: a small bundle that passes the check, to be changed.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use paceline_domain::lane::Lane;
use paceline_templates::{Files, Finding, check};

use crate::args::NewOptions;

/// The files, in which NAME, LANE and FOOTER stand for what is chosen.
const SCAFFOLD: [(&str, &str); 6] = [
    ("template.toml", include_str!("scaffold/template.toml")),
    ("subject.hbs", include_str!("scaffold/subject.hbs")),
    ("body.html.hbs", include_str!("scaffold/body.html.hbs")),
    ("body.txt.hbs", include_str!("scaffold/body.txt.hbs")),
    ("schema.json", include_str!("scaffold/schema.json")),
    ("examples/first.json", include_str!("scaffold/first.json")),
];

const UNSUBSCRIBE_HTML: &str = "  <p><a href=\"{{paceline.unsubscribe_url}}\">Unsubscribe</a></p>\n";
const UNSUBSCRIBE_TEXT: &str = "\nUnsubscribe: {{paceline.unsubscribe_url}}\n";

pub(super) fn run(options: &NewOptions) -> anyhow::Result<()> {
    let files = scaffold(&options.name, options.lane);
    let wrong: Vec<_> = check(&files).iter().map(Finding::to_string).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let folder = options.directory.join(&options.name);
    fs::create_dir_all(&options.directory)?;
    // Fails where it is there: no bundle is overwritten.
    fs::create_dir(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    for (path, content) in &files {
        write(&folder.join(path), content).with_context(|| format!("can't write {path}"))?;
    }
    println!("{}", folder.display());
    Ok(())
}

fn scaffold(name: &str, lane: Lane) -> Files {
    let footer = |path: &str| match (lane, path) {
        (Lane::Bulk, "body.html.hbs") => UNSUBSCRIBE_HTML,
        (Lane::Bulk, "body.txt.hbs") => UNSUBSCRIBE_TEXT,
        _ => "",
    };
    let filled = SCAFFOLD.map(|(path, text)| {
        let text = text
            .replace("LANE", lane.as_str())
            .replace("FOOTER\n", footer(path));
        let text = text.replace("FOOTER", footer(path)).replace("NAME", name);
        (path.to_owned(), text.into_bytes())
    });
    filled.into()
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create_new(path)?.write_all(content)
}

#[cfg(test)]
mod tests {
    use paceline_domain::lane::Lane;
    use paceline_templates::{Finding, check};

    use super::scaffold;

    #[test]
    fn what_is_begun_passes_the_check() {
        for lane in [Lane::Transactional, Lane::Bulk] {
            let files = scaffold("hello", lane);
            assert_eq!(check(&files), Vec::<Finding>::new(), "{lane:?}");
            let whole = files.values().flatten().copied().collect();
            let whole = String::from_utf8(whole).expect("text");
            assert!(
                ["FOOTER", "NAME", "LANE"]
                    .iter()
                    .all(|mark| !whole.contains(mark)),
                "{whole}"
            );
        }
        assert!(!check(&scaffold("Hello\" x", Lane::Bulk)).is_empty());
    }
}
