//! CSV in, rows or what is wrong with them out.

use std::io::{BufReader, Read as _};
use std::ops::ControlFlow;

use paceline_wire::v1::EnqueueRequest;

use super::super::ROW_BYTES_MAX;
use super::super::row::Defaults;
use super::read;

/// A line's number with its request, or with field and reason.
type Read = (u64, Result<EnqueueRequest, (String, String)>);

fn rows(input: impl std::io::Read) -> anyhow::Result<Vec<Read>> {
    let mut rows = Vec::new();
    let defaults = Defaults::default();
    read(BufReader::with_capacity(7, input), |line, row| {
        let request = row.and_then(|row| defaults.request(row));
        rows.push((line, request.map_err(|wrong| (wrong.field, wrong.reason))));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

fn data(row: &Read) -> String {
    let request = row.1.as_ref().expect("a good row");
    String::from_utf8(request.data.to_vec()).expect("UTF-8")
}

fn bad(line: u64, field: &str, reason: &str) -> Read {
    (line, Err((field.to_owned(), reason.to_owned())))
}

#[test]
fn columns_become_fields_tags_and_data() {
    let text = "\u{feff}recipient, user_id,display_name,data,name,order.city,data.order.zip,tags.wave,tags.none\r\n\
                \r\n\
                a@b.c,1,\"Ada, \"\"A\"\"\",\"{\"\"n\"\":[1]}\",\"two\r\nlines\",Köln,,7,\r\n\
                d@e.f,2,,,,,,,\r\n";
    let rows = rows(text.as_bytes()).expect("readable");
    let first = rows[0].1.as_ref().expect("good");
    assert_eq!(first.recipient.as_ref().expect("one").display_name, "Ada, \"A\"");
    assert_eq!(
        data(&rows[0]),
        r#"{"n":[1],"name":"two\r\nlines","order":{"city":"Köln","zip":""}}"#
    );
    assert_eq!(first.tags.len(), 1);
    assert_eq!(
        (first.tags[0].name.as_str(), first.tags[0].value.as_str()),
        ("wave", "7")
    );
    assert_eq!(data(&rows[1]), r#"{"name":"","order":{"city":"","zip":""}}"#);
    // The empty line and the one within quotes are counted.
    assert_eq!([rows[0].0, rows[1].0], [3, 5]);
}

#[test]
fn a_bad_row_is_named_and_the_next_goes_on() {
    let text = b"recipient,user_id,data,n\na@b.c,1\na@b.c,2,,x,y\na@b.c,3,,\xff\na@b.c,4,[1],\na@b.c,5,\"{\"\"n\"\":1}\",x\na@b.c,,,\na@b.c,7,,";
    let rows = rows(&text[..]).expect("readable");
    assert_eq!(
        rows[..6],
        [
            bad(2, "", "has 2 columns, not the header's 4"),
            bad(3, "", "has 5 columns, not the header's 4"),
            bad(4, "", "is not UTF-8: column 4"),
            bad(5, "data", "is not a JSON object"),
            bad(6, "data.n", "is in the column data and in a column of its own"),
            bad(7, "user_id", "is missing"),
        ]
    );
    assert_eq!((rows[6].0, data(&rows[6])), (8, r#"{"n":""}"#.to_owned()));
    assert_eq!(rows.len(), 7);
}

#[test]
fn a_row_over_the_bound_is_skipped_and_the_next_goes_on() {
    let header = "recipient,user_id,text\n";
    let long = std::io::repeat(b'x').take(5 << 20);
    let input = header
        .as_bytes()
        .chain("a@b.c,1,\"".as_bytes())
        .chain(long)
        .chain("\"\na@b.c,2,ok\n".as_bytes());
    let rows = rows(input).expect("readable");
    let reason = format!("is more than {ROW_BYTES_MAX} bytes long; is a quote not closed?");
    assert_eq!(rows[0], bad(2, "", &reason));
    assert_eq!((rows[1].0, data(&rows[1])), (3, r#"{"text":"ok"}"#.to_owned()));
    assert_eq!(rows.len(), 2);

    let columns = ",".repeat(5_000);
    let wide = format!("{header}{columns}\na@b.c,2,ok\n");
    let rows = self::rows(wide.as_bytes()).expect("readable");
    assert_eq!(rows[0], bad(2, "", "has more than 1024 columns"));
    assert_eq!(data(&rows[1]), r#"{"text":"ok"}"#);
}

#[test]
fn a_header_that_can_t_be_used_ends_the_run_before_any_row() {
    for (header, named) in [
        ("", "empty"),
        ("recipient,name", "no column user_id"),
        ("email,user_id", "no column recipient"),
        ("recipient,user_id,user_id", "user_id twice"),
        ("recipient,user_id,", "column 3 of the header has no name"),
        ("recipient,user_id,a..b", "a..b names an empty field"),
        (
            "recipient,user_id,a,a.b",
            "the column a.b names a field that another",
        ),
        (
            "recipient,user_id,a.b,data.a.b",
            "the column data.a.b names a field that another",
        ),
    ] {
        let error = rows(
            format!("{header}\na@b.c,1,x,y\n")
                .as_bytes()
                .take(if header.is_empty() { 0 } else { 1 << 20 }),
        )
        .expect_err(header);
        assert!(format!("{error:#}").contains(named), "{header}: {error:#}");
    }
}
