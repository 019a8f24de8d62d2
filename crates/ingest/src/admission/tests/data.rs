//! The template's data.

use super::*;

#[test]
fn payloads() {
    let a = admission();
    for whole in ["", "nonsense", "[1]", "\"s3cret\"", "null"] {
        refuses(&a, "data", |r| r.data = data(whole));
    }
    refuses(&a, "data.name", |r| r.data = data("{\"name\": NaN}"));
    refuses(&a, "data", |r| {
        r.data = bytes::Bytes::from_static(b"{\"name\": \"\xff\"}")
    });
    let large = format!(r#"{{"name": "{}"}}"#, "s3cret".repeat(DATA_BYTES_MAX / 6));
    refuses(&a, "data", |r| r.data = data(&large));
    let fields = r#""name": "Ada", "note": "", "order": {"number": 7}"#;
    refuses(&a, "data.name", |r| {
        r.data = data(&format!("{{{fields}, \"name\": \"s3cret\"}}"))
    });
    refuses(&a, "data.paceline", |r| {
        r.data = data(&format!("{{{fields}, \"paceline\": 1}}"))
    });
    refuses(&a, "data.total", |r| {
        r.data = data(&format!("{{{fields}, \"total\": 9007199254740993}}"))
    });
    let deep = format!("{{{fields}, \"deep\": {}{}}}", "[".repeat(40), "]".repeat(40));
    let wrong = admit(&a, |r| r.data = data(&deep)).expect_err("too deep");
    assert!(wrong.violations()[0].field.starts_with("data.deep"), "{wrong}");
    refuses(&a, "data.order.number", |r| {
        r.data = data(r#"{"name": "Ada", "note": "", "order": {"number": "s3cret"}}"#);
    });
    refuses(&a, "data.order.number", |r| {
        r.data = data(r#"{"name": "Ada", "note": "", "order": {}}"#)
    });
    refuses(&a, "data.order", |r| {
        r.data = data(r#"{"name": "Ada", "note": ""}"#)
    });
}

#[test]
fn a_line_break_is_refused_where_the_subject_prints_it() {
    let a = admission();
    for text in [r"s3cret\r\nBcc: x@y.example", r"s3cret\n", r"s3cret\u2028"] {
        let json = format!(r#"{{"name": "{text}", "note": "{text}", "order": {{"number": 7}}}}"#);
        refuses(&a, "data.name", |r| r.data = data(&json));
    }
    admit(&a, |r| {
        r.data = data(r#"{"name": "Ada", "note": "a\r\nb", "order": {"number": 7}}"#)
    })
    .expect("a body may have lines");
}
