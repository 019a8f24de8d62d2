//! Renders per core-second of the benchmark's email, beside Handlebars.js in the same run; memory and check time of 500 templates.
//!
//! `make render-rate BENCH=<the benchmark's folder>` runs it and keeps its tables in docs/templates.md. Both sides render the same
//! events, in turns, so that whatever else the machine does meets both. What counts is CPU time: of this thread here, of the
//! whole process there, since its compiler and collector work beside.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_templates::{Files, Finding, RenderInput, Template, check};
use serde_json::{Map, Value, json};

/// As in the services.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 11;
const RENDERS_PER_ROUND: usize = 20_000;
const TEMPLATES: usize = 500;
const DOCUMENT: &str = "docs/templates.md";
const MARKS: [&str; 2] = ["<!-- figures -->", "<!-- /figures -->"];

fn main() -> Result<()> {
    let bench = PathBuf::from(std::env::args().nth(1).context("the benchmark's folder")?);
    let events = events(&bench)?;
    let files = files(&bench, &events[0])?;
    let template = Template::from_files(&files)?;
    let there = there(&bench, "check", 1)?;
    let here = template.render(input(&events[0]))?;
    ensure!(here.html == there, "the two sides render differently");

    let (mut ours, mut theirs, mut ropes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(render_all(&template, &events)?);
        theirs.push(there_us(&bench, "bytes")?);
        ropes.push(there_us(&bench, "rope")?);
    }
    let (memory, checks) = many(&files)?;
    let table = format!(
        "| {} of html, {} rounds of {RENDERS_PER_ROUND} | CPU per render, median (least to most) | renders per core-second |\n\
         |---|---|---|\n{}\n{}\n{}\n\n\
         | {TEMPLATES} templates of that kind | |\n|---|---|\n\
         | memory for each, as the renderer holds it | {:.0} KB |\n| check of all, one core | {:.2} s |\n",
        kilobytes(here.html.len()),
        ROUNDS,
        row("Paceline", &mut ours),
        row(
            "Handlebars.js 4.7.10 (strict, compiled before), as bytes",
            &mut theirs
        ),
        row(
            "the same, its text left in the pieces of which V8 makes it",
            &mut ropes
        ),
        memory / 1e3,
        checks.as_secs_f64(),
    );
    println!("{table}");
    keep(&table)
}

fn events(bench: &Path) -> Result<Vec<Map<String, Value>>> {
    let lines = there(bench, "events", 1_000)?;
    lines
        .lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

fn files(bench: &Path, event: &Map<String, Value>) -> Result<Files> {
    let html = std::fs::read(bench.join("common/template.hbs"))?;
    // Both sides render the same source.
    let manifest = "name = \"order\"\nversion = 1\nlane = \"transactional\"\ninline_css = false\n";
    Ok([
        ("template.toml", manifest.into()),
        ("subject.hbs", "Order".into()),
        ("body.html.hbs", html),
        ("body.txt.hbs", "Order".into()),
        (
            "schema.json",
            serde_json::to_vec(&schema(&Value::Object(event.clone())))?,
        ),
        ("examples/first.json", serde_json::to_vec(event)?),
    ]
    .into_iter()
    .map(|(path, content): (&str, Vec<u8>)| (path.to_owned(), content))
    .collect())
}

/// A schema that knows each field of a value.
fn schema(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), schema(value)));
            json!({ "properties": fields.collect::<Map<_, _>>() })
        }
        Value::Array(items) => json!({ "type": "array", "items": items.first().map(schema) }),
        _ => json!({}),
    }
}

fn input(event: &Map<String, Value>) -> RenderInput {
    RenderInput {
        data: event.clone(),
        message_id: MessageId([7; 16]),
        lane: Lane::Transactional,
        unsubscribe_url: None,
    }
}

/// Microseconds for each render. The data is made before, as a renderer has parsed it before.
fn render_all(template: &Template, events: &[Map<String, Value>]) -> Result<f64> {
    let mut spent = Duration::ZERO;
    for _ in 0..RENDERS_PER_ROUND / events.len() {
        let inputs: Vec<_> = events.iter().map(input).collect();
        let begin = cpu_time();
        for input in inputs {
            std::hint::black_box(template.render(input)?);
        }
        spent += cpu_time() - begin;
    }
    Ok(micros(spent))
}

fn micros(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e6 / RENDERS_PER_ROUND as f64
}

fn there_us(bench: &Path, what: &str) -> Result<f64> {
    Ok(there(bench, what, RENDERS_PER_ROUND)?.trim().parse()?)
}

fn there(bench: &Path, what: &str, count: usize) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/render_rate.mjs");
    let output = Command::new("node")
        .arg(script)
        .arg(bench)
        .args([what, &count.to_string()])
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The bytes that a template takes, and the CPU time that all checks take.
fn many(files: &Files) -> Result<(f64, Duration)> {
    let bundles: Vec<Files> = (0..TEMPLATES)
        .map(|number| {
            let mut files = files.clone();
            files.insert("subject.hbs".to_owned(), format!("Order {number}").into_bytes());
            files
        })
        .collect();
    let before = resident_bytes()?;
    let templates = bundles
        .iter()
        .map(Template::from_files)
        .collect::<Result<Vec<_>, _>>()?;
    let bytes = resident_bytes()? - before;
    drop(templates);
    let begin = process_cpu_time();
    for files in &bundles {
        let refused = check(files).into_iter().find(Finding::forbids);
        ensure!(
            refused.is_none(),
            "the benchmark's template is refused: {refused:?}"
        );
    }
    Ok((bytes / TEMPLATES as f64, process_cpu_time() - begin))
}

fn resident_bytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: f64 = line.context("VmRSS")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024.0)
}

fn cpu_time() -> Duration {
    clock(rustix::time::ClockId::ThreadCPUTime)
}

fn process_cpu_time() -> Duration {
    clock(rustix::time::ClockId::ProcessCPUTime)
}

fn clock(id: rustix::time::ClockId) -> Duration {
    let now = rustix::time::clock_gettime(id);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

fn row(name: &str, rounds: &mut [f64]) -> String {
    rounds.sort_by(f64::total_cmp);
    let (least, median, most) = (rounds[0], rounds[rounds.len() / 2], rounds[rounds.len() - 1]);
    format!(
        "| {name} | {median:.1} us ({least:.1} to {most:.1}) | {:.0} |",
        1e6 / median
    )
}

fn kilobytes(bytes: usize) -> String {
    format!("{:.1} KB", bytes as f64 / 1e3)
}

fn keep(table: &str) -> Result<()> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(DOCUMENT);
    let text = std::fs::read_to_string(&document)?;
    let (before, rest) = text.split_once(MARKS[0]).context("no mark for the figures")?;
    let (_, after) = rest.split_once(MARKS[1]).context("no second mark")?;
    let text = format!("{before}{}\n{table}{}{after}", MARKS[0], MARKS[1]);
    Ok(std::fs::write(document, text)?)
}
