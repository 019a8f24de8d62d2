//! What is refused and where, and that nothing of a value shows.

use super::{DATA_BYTES_MAX, DATA_DEPTH_MAX, DataFault, parse_data};
use proptest::prelude::*;
use serde_json::{Value, json};

fn refused(text: &str, path: &str, fault: &DataFault) {
    let error = parse_data(text.as_bytes()).expect_err(text);
    assert_eq!((error.path.as_str(), &error.fault), (path, fault), "{text}");
}

fn read(text: &str) -> Value {
    Value::Object(parse_data(text.as_bytes()).expect(text).into_inner())
}

/// The rule of a syntax error at `path`.
fn not_json(text: &str, path: &str) -> String {
    let error = parse_data(text.as_bytes()).expect_err(text);
    assert_eq!(error.path, path, "{text}");
    match error.fault {
        DataFault::NotJson { rule } => rule,
        other => panic!("{other:?} for {text}"),
    }
}

#[test]
fn a_name_twice_is_refused_where_it_is() {
    let fault = DataFault::DuplicateName;
    refused(r#"{"a":1,"a":1}"#, "a", &fault);
    refused(r#"{"a":1,"\u0061":2}"#, "a", &fault);
    refused(r#"{"o":[{},{"b":{"c":1,"d":2,"c":3}}]}"#, "o[1].b.c", &fault);
    refused(r#"{"":1,"":2}"#, "\"\"", &fault);
    assert_eq!(
        read(r#"{"a":{"a":[{"a":1},{"a":2}]}}"#),
        json!({"a":{"a":[{"a":1},{"a":2}]}})
    );
}

#[test]
fn names_that_differ_only_in_their_normal_form_are_one_name() {
    let fault = DataFault::DuplicateName;
    refused("{\"caf\u{e9}\":1,\"cafe\u{301}\":2}", "cafe\u{301}", &fault);
    refused("{\"cafe\u{301}\":1,\"caf\u{e9}\":2}", "caf\u{e9}", &fault);
    // The Kelvin sign is K, in both orders.
    refused("{\"K\":1,\"\u{212a}\":2}", "\u{212a}", &fault);
    refused("{\"\u{212a}\":1,\"K\":2}", "K", &fault);
    assert_eq!(read("{\"\u{212a}\":1,\"k\":2}"), json!({"\u{212a}": 1, "k": 2}));
}

#[test]
fn integers_beyond_a_double_are_refused_in_every_form() {
    let forms = [
        "9007199254740992",
        "-9007199254740992",
        "9007199254740993",
        "9007199254740993.0",
        "9007199254740991.7",
        "9.007199254740993e15",
        "9007199254740993000e-3",
        "18446744073709551615",
        "-9223372036854775808",
        "123456789012345678901234567890",
        "1e16",
        "-1E+300",
    ];
    for form in forms {
        refused(
            &format!("{{\"a\":[0,{form}]}}"),
            "a[1]",
            &DataFault::IntegerTooLarge,
        );
    }
    let fits = r#"{"a":[9007199254740991,-9007199254740991,9007199254740991.0,9007199254740990.9]}"#;
    assert_eq!(
        read(fits),
        json!({"a":[9_007_199_254_740_991_i64,-9_007_199_254_740_991_i64,9_007_199_254_740_991_i64,9_007_199_254_740_991_i64]})
    );
}

#[test]
fn whole_numbers_are_integers_in_every_form() {
    assert_eq!(
        read(r#"{"a":[1,1.0,1e0,10e-1,-0,-0.0,0e5,-2.0,1.5]}"#),
        json!({"a":[1,1,1,1,0,0,0,-2,1.5]})
    );
}

#[test]
fn depth_is_bounded() {
    let nested = |arrays: usize| format!("{{\"a\":{}{}}}", "[".repeat(arrays), "]".repeat(arrays));
    assert!(parse_data(nested(DATA_DEPTH_MAX - 1).as_bytes()).is_ok());
    let path = format!("a{}", "[0]".repeat(DATA_DEPTH_MAX - 1));
    refused(&nested(DATA_DEPTH_MAX), &path, &DataFault::TooDeep);
    refused(&nested(100_000), &path, &DataFault::TooDeep);
    let objects = format!("{}1{}", "{\"a\":".repeat(33), "}".repeat(33));
    refused(&objects, &["a"; 32].join("."), &DataFault::TooDeep);
}

#[test]
fn size_is_bounded() {
    let of_size = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    assert!(parse_data(of_size(DATA_BYTES_MAX).as_bytes()).is_ok());
    let bytes = DATA_BYTES_MAX + 1;
    refused(&of_size(bytes), "", &DataFault::TooLarge { bytes });
}

#[test]
fn only_an_object_is_a_payload() {
    for (text, kind) in [
        ("[]", "an array"),
        ("\"a\"", "a string"),
        ("1", "a number"),
        ("true", "a boolean"),
        ("null", "null"),
    ] {
        refused(text, "", &DataFault::NotAnObject { kind });
    }
    assert_eq!(read(" {} \n"), json!({}));
}

#[test]
fn the_reserved_name_is_refused_at_the_top_only() {
    refused(r#"{"a":1,"paceline":{}}"#, "paceline", &DataFault::ReservedName);
    refused(r#"{"\u0070aceline":{}}"#, "paceline", &DataFault::ReservedName);
    assert_eq!(
        read(r#"{"a":{"paceline":1},"Paceline":2}"#),
        json!({"a":{"paceline":1},"Paceline":2})
    );
}

#[test]
fn bytes_that_are_no_json_are_refused_with_their_place() {
    let error = parse_data(b"{\"a\":\"\xff\"}").expect_err("not UTF-8");
    assert_eq!(error.fault, DataFault::NotUtf8 { offset: 6 });
    assert!(not_json("", "").starts_with("EOF"));
    assert!(not_json(r#"{"a":1}x"#, "").contains("trailing characters"));
    assert!(not_json(r#"{"a":{"b":[1,NaN]}}"#, "a.b[1]").contains("line 1 column 14"));
    assert!(not_json(r#"{"a":Infinity}"#, "a").contains("column 6"));
    assert!(not_json(r#"{"a":1e400}"#, "a").contains("number out of range"));
    assert!(not_json(r#"{"a":"\ud800"}"#, "a").contains("column"));
    assert!(not_json(r#"{"a":01}"#, "a").contains("column"));
    assert!(not_json("{\"a\":\"\n\"}", "a").contains("control character"));
    assert!(not_json("\u{feff}{}", "").contains("column 1"));
    assert!(not_json("{a:1}", "").contains("key must be a string"));
    assert!(not_json(r#"{"a":1,}"#, "").contains("trailing comma"));
}

#[test]
fn names_in_paths_are_quoted_cleaned_and_cut() {
    let fault = DataFault::IntegerTooLarge;
    refused(
        r#"{"a.b":{"c d":{"x[0]":1e20}}}"#,
        "\"a.b\".\"c d\".\"x[0]\"",
        &fault,
    );
    refused("{\"a\\r\\nb\":1e20}", "a\u{fffd}\u{fffd}b", &fault);
    let name = "ä".repeat(100_000);
    refused(
        &format!("{{\"{name}\":1e20}}"),
        &format!("{}…", "ä".repeat(40)),
        &fault,
    );
    let deep = format!(
        "{}1e20{}",
        format!("{{\"{}\":", "n".repeat(30)).repeat(20),
        "}".repeat(20)
    );
    let error = parse_data(deep.as_bytes()).expect_err("too large");
    assert_eq!(error.path.chars().count(), 241);
}

#[test]
fn errors_tell_path_and_rule_but_no_value() {
    for (text, told) in [
        (
            r#"{"order":{"total":31415926535897932384}}"#,
            "order.total: an integer beyond 2^53 - 1, which not every reader keeps exact; send it as a string",
        ),
        (
            r#"{"a":"31415926","a":"27182818"}"#,
            "a: the same name twice in an object",
        ),
        (r#""31415926""#, "a string where an object is expected"),
        (
            r#"{"a":"31415926"#,
            "a: not JSON: EOF while parsing a string at line 1 column 14",
        ),
        (
            r#"{"a":31415926e}"#,
            "a: not JSON: invalid number at line 1 column 15",
        ),
    ] {
        let error = parse_data(text.as_bytes()).expect_err(text);
        assert_eq!(error.to_string(), told);
        assert!(!format!("{error:?}").contains("31415926"));
    }
    let data = parse_data(br#"{"a":"31415926"}"#).expect("valid");
    assert_eq!(format!("{data:?}"), "Data(1 fields)");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse_data(&bytes);
    }

    /// Whatever passes is what serde_json reads, but for the form of whole numbers.
    #[test]
    fn what_passes_means_what_serde_json_reads(text in "\\{(\"[ab]\":([0-9.e-]{1,4}|\"[x\\\\n]{0,2}\"|\\[[0-9],?[0-9]?\\]),?){0,3}\\}") {
        if let Ok(data) = parse_data(text.as_bytes()) {
            let theirs: Value = serde_json::from_str(&text).expect("serde_json is no stricter");
            let same = |(name, value): (&String, &Value)| match (value.as_f64(), theirs[name].as_f64()) {
                (Some(mine), Some(other)) => mine == other,
                _ => *value == theirs[name],
            };
            prop_assert!(data.iter().all(same));
            prop_assert_eq!(data.len(), theirs.as_object().map_or(0, serde_json::Map::len));
        }
    }
}
