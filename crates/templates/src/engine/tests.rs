//! The engine by itself, on a clock of its own.

use std::cell::Cell;
use std::time::Duration;

use serde_json::{Value, json};

use super::error::RenderFault;
use super::meter::STEPS_PER_LOOK;
use super::partials::Partials;
use super::render::Failure;
use super::{Compiled, Limits, Meter, compile, render};

pub(super) fn compiled(source: &str) -> Compiled {
    compile("body.html.hbs", source.as_bytes(), &Partials::new())
        .unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// Renders on a clock that is a millisecond further at each look, and tells how often it was looked at.
fn render_counting(source: &str, data: &Value) -> (Result<String, Failure>, u32) {
    let looks = Cell::new(0);
    let clock = || {
        looks.set(looks.get() + 1);
        Duration::from_millis(looks.get().into())
    };
    let mut meter = Meter::new(&Limits::default(), &clock);
    let rendered = render(&compiled(source).program, data, &mut meter);
    (rendered, looks.get())
}

#[test]
fn time_is_bounded_where_nothing_is_written() {
    let long = "x".repeat(200_000);
    let data = json!({ "a": vec![1; 50_000], "o": { "b": [[1]] }, "e": "", "l": long, "m": long, "d": "2026-01-05" });
    let sources = [
        format!("{{{{#each a}}}}{}{{{{/each}}}}", "{{@root.e}}".repeat(1_900)),
        format!(
            "{{{{#each a}}}}{}{{{{/each}}}}",
            "{{#if this}}{{/if}}".repeat(900)
        ),
        format!(
            "{{{{#each a}}}}{}{{{{/each}}}}",
            "{{#with this}}{{/with}}".repeat(900)
        ),
        format!(
            "{{{{#each a}}}}{{{{#if @root{}}}}}{{{{/if}}}}{{{{/each}}}}",
            ".o".repeat(20_000)
        ),
        format!(
            "{{{{#each a}}}}{}{{{{/each}}}}",
            "{{#if (lookup @root.o \"b\")}}{{/if}}".repeat(600)
        ),
        format!(
            "{{{{#each a}}}}{}{{{{/each}}}}",
            "{{#if (eq @root.l @root.m)}}{{/if}}".repeat(600)
        ),
        format!(
            "{{{{#each a}}}}{}{{{{/each}}}}",
            "{{#if (gt (len @root.l) 1)}}{{/if}}".repeat(600)
        ),
        format!(
            "{{{{#each a}}}}{{{{#if (or {})}}}}{{{{/if}}}}{{{{/each}}}}",
            "@root.e ".repeat(16)
        )
        .repeat(2),
        "{{#each a}}{{#if (date @root.d)}}{{/if}}{{/each}}".to_owned(),
        "{{#each a}}{{#if (plural this other=\"####\")}}{{/if}}{{/each}}".to_owned(),
        "{{#each a}}{{#if (money this \"EUR\")}}{{/if}}{{/each}}".to_owned(),
    ];
    for source in &sources {
        let (rendered, looks) = render_counting(source, &data);
        let failure = rendered.expect_err(source);
        assert_eq!(failure.fault, RenderFault::TooSlow, "{}", &source[..60]);
        assert_eq!(failure.line, Some(1), "{}", &source[..60]);
        assert!(failure.field.is_some(), "{}", &source[..60]);
        // One look for the deadline, fifty within it, and the one that was too late.
        assert_eq!(looks, 52, "{}", &source[..60]);
    }
}

/// However it is made up, work between two looks is bounded: each of these is that much, and no more.
#[test]
fn every_step_is_paid_for() {
    let data =
        json!({ "a": vec![1; STEPS_PER_LOOK as usize], "t": "x".repeat(1024 * STEPS_PER_LOOK as usize) });
    for source in [
        "{{#each a}}{{/each}}".to_owned(),
        "{{t}}".to_owned(),
        "{{len t}}".to_owned(),
        "{{#if (eq t t)}}{{/if}}".to_owned(),
        "{{#if a}}{{/if}}".repeat(STEPS_PER_LOOK as usize),
        format!("{{{{#if a{}}}}}{{{{/if}}}}", ".b".repeat(STEPS_PER_LOOK as usize)),
    ] {
        let (rendered, looks) = render_counting(&source, &data);
        assert!(rendered.is_ok(), "{}", &source[..20.min(source.len())]);
        assert!(looks >= 2, "{}", &source[..20.min(source.len())]);
    }
}

#[test]
fn output_has_never_more_than_its_bound_and_one_value_s_entities() {
    let data = json!({ "a": vec![1; 90_000], "v": "&".repeat(1_000) });
    let limits = Limits {
        output_bytes_max: 100_000,
        ..Limits::default()
    };
    let clock = || Duration::ZERO;
    for source in [
        "{{#each a}}{{@root.v}}{{/each}}",
        "{{#each a}}0123456789{{/each}}",
        "{{#each a}}{{@index}}{{/each}}",
    ] {
        let mut meter = Meter::new(&limits, &clock);
        let failure = render(&compiled(source).program, &data, &mut meter).expect_err(source);
        assert_eq!(
            (failure.fault, failure.line, failure.field.is_some()),
            (RenderFault::OutputTooLarge, Some(1), true),
            "{source}"
        );
        assert!(meter.output(limits.output_bytes_max).is_err(), "{source}");
    }
}

#[test]
fn ten_million_rounds_are_refused_before_the_first() {
    let data = json!({ "a": vec![Value::Null; 10_000_000] });
    let (rendered, looks) = render_counting("{{#each a}}x{{/each}}", &data);
    let failure = rendered.expect_err("ten million");
    assert_eq!(failure.fault, RenderFault::TooManyRounds);
    assert_eq!((failure.line, failure.field.as_deref()), (Some(1), Some("a")));
    assert_eq!(looks, 1);
}
