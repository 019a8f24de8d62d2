//! Templates through their public interface: strictness, bounds, checks, the examples of the repository.

mod authoring;
mod bounds;
mod building;
mod catalog;
mod checks;
mod examples;
mod handlebars_js;
mod helpers;
mod inlining;
mod live;
mod partials;
mod plain_text;
mod published;
mod rendering;
mod rules;
mod urls;

use std::path::Path;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_templates::{Files, Limits, RenderError, RenderInput, Rendered, Template};
use serde_json::{Value, json};

const MANIFEST: &str = "name = \"sample\"\nversion = 3\nlane = \"transactional\"\n";

/// The files of a template with this html and nothing else of interest.
fn files(html: &str) -> Files {
    [
        ("template.toml", MANIFEST),
        ("subject.hbs", "Hello\n"),
        ("body.html.hbs", html),
        ("body.txt.hbs", "Hello"),
        ("schema.json", "{}"),
        ("examples/first.json", "{}"),
    ]
    .into_iter()
    .map(|(path, content)| (path.to_owned(), content.as_bytes().to_vec()))
    .collect()
}

/// The same with some files replaced, or left out where the content is `None`.
fn files_with(changes: &[(&str, Option<&str>)]) -> Files {
    let mut files = files("<p>Hello</p>");
    for (path, content) in changes {
        match content {
            Some(content) => files.insert((*path).to_owned(), content.as_bytes().to_vec()),
            None => files.remove(*path),
        };
    }
    files
}

fn write(directory: &Path, folder: &str, files: &Files) {
    for (path, content) in files {
        let path = directory.join(folder).join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(path, content).expect("writable");
    }
}

fn compile(files: &Files) -> Template {
    Template::from_files(files).unwrap_or_else(|error| panic!("{error}"))
}

fn input(data: &Value) -> RenderInput {
    RenderInput {
        data: data.as_object().expect("an object").clone(),
        message_id: MessageId([7; 16]),
        lane: Lane::Bulk,
        unsubscribe_url: None,
    }
}

/// Bounds of which only time is wide: test builds are slow.
fn patient() -> Limits {
    Limits {
        time_max: Duration::from_secs(20),
        ..Limits::default()
    }
}

fn render(html: &str, data: &Value) -> Result<Rendered, RenderError> {
    compile(&files(html)).render_within(input(data), &patient())
}

/// The html that a source gives with `data`.
fn html(source: &str, data: &Value) -> String {
    match render(source, data) {
        Ok(rendered) => rendered.html,
        Err(error) => panic!("{source}: {error}"),
    }
}

/// Why a source can't be rendered with `data`.
fn refusal(source: &str, data: &Value) -> String {
    match render(source, data) {
        Ok(rendered) => panic!("{source}: rendered as {}", rendered.html),
        Err(error) => error.to_string(),
    }
}

/// What is wrong with a bundle whose html is `source`.
fn problem(source: &str) -> String {
    match Template::from_files(&files(source)) {
        Ok(_) => panic!("{} was compiled", source.chars().take(200).collect::<String>()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_harness_renders() {
    assert_eq!(html("<p>{{name}}</p>", &json!({ "name": "Ada" })), "<p>Ada</p>");
}
