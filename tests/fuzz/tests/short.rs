//! The targets over their corpus, and over inputs that chance makes of it: cut, joined, with bytes changed and words put in.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::{Config, TestRunner};

const CASES: u32 = 1_500;

/// What grammars turn on.
const WORDS: &[&str] = &[
    "{{",
    "}}",
    "{{{",
    "}}}",
    "{{{{",
    "{{#",
    "{{/",
    "{{else}}",
    "{{^",
    "{{>",
    "{{#>",
    "{{!--",
    "--}}",
    "~",
    "../",
    "@root",
    ".[",
    "(",
    ")",
    "|",
    "\\",
    "\"",
    "'",
    "<a href=\"",
    "<!--",
    "-->",
    "&#106;",
    "&colon;",
    "javascript:",
    "data:",
    "\u{200b}",
    "\n",
    "\0",
    "@",
    "=?utf-8?b?",
    "xn--",
    "ß",
    "🚲",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        std::fs::read(file.expect("a file").path()).expect("readable")
    };
    files.map(read).collect()
}

/// A place of an input in thousandths, and what is done there.
type Edit = (usize, usize, u8);

fn edited(mut input: Vec<u8>, other: &[u8], edits: &[Edit]) -> Vec<u8> {
    for (place, word, kind) in edits {
        let at = input.len() * place / 1_000;
        let tail = input.split_off(at);
        match kind % 5 {
            0 => input.extend(WORDS[word % WORDS.len()].bytes()),
            1 => input.extend(&other[other.len() * (word % 1_000) / 1_000..]),
            2 => input.extend(
                tail.iter()
                    .take(word % 40)
                    .copied()
                    .collect::<Vec<_>>()
                    .repeat(word % 7),
            ),
            3 => input.push(u8::try_from(word % 256).unwrap_or_default()),
            _ => {}
        }
        // The last kind, like two more of any, leaves out what was there.
        input.extend(tail.iter().skip(if kind % 5 > 2 { word % 9 } else { 0 }));
    }
    input
}

fn run(target: &str, body: fn(&[u8])) {
    let corpus = corpus(target);
    assert!(corpus.len() >= 4, "{target}: {} files", corpus.len());
    corpus.iter().for_each(|input| body(input));
    let one = 0..corpus.len();
    let edits = vec(
        (
            0..1_000_usize,
            any::<usize>().prop_map(|word| word % 100_000),
            any::<u8>(),
        ),
        1..12,
    );
    let mut runner = TestRunner::new(Config::with_cases(CASES));
    let ran = runner.run(&(one.clone(), one, edits), |(one, other, edits)| {
        body(&edited(corpus[one].clone(), &corpus[other], &edits));
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{target}: {error}"));
}

#[test]
fn templates() {
    run("template", paceline_fuzz::template);
}

#[test]
fn renderings() {
    run("render", paceline_fuzz::render);
}

#[test]
fn urls() {
    run("url", paceline_fuzz::url);
}

#[test]
fn addresses() {
    run("address", paceline_fuzz::address);
}

#[test]
fn headers() {
    run("header", paceline_fuzz::header);
}
