//! Lines in, rows or what is wrong with them out.

use std::io::{BufReader, Read as _};
use std::ops::ControlFlow;

use super::super::ROW_BYTES_MAX;
use super::super::row::Defaults;
use super::read;

/// A line's number with the request's data, or with field and reason.
type Read = (u64, Result<String, (String, String)>);

fn rows(input: impl std::io::Read) -> Vec<Read> {
    let mut rows = Vec::new();
    let defaults = Defaults::default();
    // A small buffer: every line is put together from several.
    read(BufReader::with_capacity(7, input), |line, row| {
        let request = row.and_then(|row| defaults.request(row));
        rows.push((
            line,
            request
                .map(|request| String::from_utf8_lossy(&request.data).into_owned())
                .map_err(|wrong| (wrong.field, wrong.reason)),
        ));
        ControlFlow::Continue(())
    })
    .expect("a slice can be read");
    rows
}

fn good(line: u64, data: &str) -> Read {
    (line, Ok(data.to_owned()))
}

fn bad(line: u64, field: &str, reason: &str) -> Read {
    (line, Err((field.to_owned(), reason.to_owned())))
}

#[test]
fn a_row_per_line_with_its_number_and_its_data_as_it_is_written() {
    let text = "\u{feff}{\"recipient\":\"a@b.c\",\"user_id\":\"1\"}\r\n\n  \n\
                {\"recipient\":\"a@b.c\",\"user_id\":\"2\",\"key\":null,\"data\":{\"n\": 1.10, \"n\":[12345678901234567890]}}";
    assert_eq!(
        rows(text.as_bytes()),
        [good(1, "{}"), good(4, r#"{"n":1.10,"n":[12345678901234567890]}"#)]
    );
}

#[test]
fn a_bad_line_is_named_and_the_next_goes_on() {
    let mut text = b"{\"recipient\":\"a@b.c\"\n[1]\n\xff\xfe\n".to_vec();
    for line in [
        r#"{"recipient":"secret@b.c","user_id":1}"#,
        r#"{"recipient":"a@b.c","user_id":"1","data":[1]}"#,
        r#"{"recipient":"a@b.c","user_id":"1","tags":{"a":true}}"#,
        r#"{"recipient":"a@b.c","user_id":"1","name":"x"}"#,
        r#"{"recipient":"a@b.c","recipient":"a@b.c"}"#,
        r#"{"recipient":"a@b.c"}"#,
        r#"{"recipient":"a@b.c","user_id":"1","lane":"fast"}"#,
        r#"{"recipient":"a@b.c","user_id":"1","send_at":"tomorrow"}"#,
        r#"{"recipient":"a@b.c","user_id":"1"}"#,
    ] {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    assert_eq!(
        rows(&text[..]),
        [
            bad(1, "", "is not JSON: character 20 of the line"),
            bad(2, "", "is not a JSON object"),
            bad(3, "", "is not UTF-8: byte 1 of the line"),
            bad(4, "user_id", "is a number, not a string"),
            bad(5, "data", "is a list, not an object"),
            bad(6, "tags.a", "is a boolean, not a string"),
            bad(
                7,
                "name",
                "is no field of a row; the template's own fields go into data"
            ),
            bad(8, "recipient", "is there twice"),
            bad(9, "user_id", "is missing"),
            bad(10, "lane", "is neither transactional nor bulk"),
            bad(
                11,
                "send_at",
                "is no time such as 2030-01-31T08:00:00Z (RFC 3339)"
            ),
            good(12, "{}"),
        ]
    );
}

#[test]
fn a_line_over_the_bound_is_skipped_and_not_loaded() {
    let huge = 50_u64 << 20;
    let next = "\n{\"recipient\":\"a@b.c\",\"user_id\":\"1\"}";
    let input = std::io::repeat(b'x').take(huge).chain(next.as_bytes());
    let mut bytes = Vec::new();
    let mut input = BufReader::new(input);
    assert!(matches!(
        super::line(&mut input, &mut bytes).expect("readable"),
        super::Line::TooLong(length) if length == huge
    ));
    assert!(bytes.capacity() <= 2 * ROW_BYTES_MAX, "{}", bytes.capacity());
    assert!(matches!(
        super::line(&mut input, &mut bytes).expect("readable"),
        super::Line::Whole
    ));
    assert_eq!(bytes, next.trim_start().as_bytes());
}

#[test]
fn a_row_s_fields_win_over_the_defaults_and_its_data_is_laid_over_theirs() {
    let mut defaults = Defaults {
        data: serde_json::from_str(r#"{"shop":"Ours","city":"Bonn"}"#).expect("an object"),
        ..Defaults::default()
    };
    defaults.request.template = "welcome".to_owned();
    defaults.request.idempotency_key = "spring".to_owned();
    let text = r#"{"recipient":"a@b.c","user_id":"1","key":"own","data":{"city":"Ulm"},"tags":{"t":"v"}}"#;
    read(text.as_bytes(), |_, row| {
        let request = defaults.request(row.expect("good")).expect("good");
        assert_eq!(request.template, "welcome");
        assert_eq!(request.idempotency_key, "own");
        assert_eq!(request.data, br#"{"shop":"Ours","city":"Ulm"}"#.as_slice());
        assert_eq!(
            (request.tags[0].name.as_str(), request.tags[0].value.as_str()),
            ("t", "v")
        );
        ControlFlow::Continue(())
    })
    .expect("readable");
}
