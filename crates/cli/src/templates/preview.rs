//! `paceline templates preview`: an example as its recipients see it, without a server.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use paceline_templates::{Example, Rendered, Template};

use super::{browser, page};
use crate::args::PreviewOptions;

/// The widths of the pictures in CSS pixels: a mail client's reading pane, and a common phone.
const WIDTHS: [(&str, u32); 2] = [("desktop", 800), ("phone", 390)];

pub(super) async fn run(options: &PreviewOptions) -> anyhow::Result<()> {
    let template = Template::from_folder(&options.bundle)
        .with_context(|| format!("{} can't be used", options.bundle.display()))?;
    let example = chosen(&template, options.example.as_deref())?;
    let rendered = template.render_example(example)?;
    // Stays for the browser.
    let folder = tempfile::Builder::new()
        .prefix("paceline-preview-")
        .tempdir()?
        .keep();
    let shown = folder.join("preview.html");
    fs::write(&shown, page::preview(&rendered, &WIDTHS))?;
    println!("{}", shown.display());
    if let Some(pictures) = &options.png {
        fs::create_dir_all(pictures)?;
        photograph(&rendered, &folder, pictures, &options.chromium).await?;
    }
    if !options.no_open {
        browser::open(&shown).await?;
    }
    Ok(())
}

fn chosen<'a>(template: &'a Template, name: Option<&str>) -> anyhow::Result<&'a Example> {
    let examples = template.examples();
    ensure!(!examples.is_empty(), "the bundle has no example");
    let wanted = |example: &&Example| name.is_none_or(|name| example.name == name);
    let Some(example) = examples.iter().find(wanted) else {
        let names: Vec<_> = examples.iter().map(|example| example.name.as_str()).collect();
        bail!("--example is none of the bundle's: {}", names.join(", "));
    };
    Ok(example)
}

async fn photograph(
    rendered: &Rendered,
    folder: &Path,
    pictures: &Path,
    chromium: &Path,
) -> anyhow::Result<()> {
    for (name, width) in WIDTHS {
        let framed = folder.join(format!("{name}.html"));
        fs::write(&framed, page::framed(&rendered.html, width))?;
        let picture: PathBuf = pictures.join(format!("{name}.png"));
        browser::photograph(chromium, &framed, width, &picture).await?;
        println!("{}", picture.display());
    }
    Ok(())
}
