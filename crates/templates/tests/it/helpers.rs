//! The helpers: what they write in which language, and what they refuse. What is expected is what ECMAScript's Intl writes (node 20),
//! but for kinds of spaces and
//! apostrophes, which CLDR changes from year to year.

use serde_json::{Value, json};

use super::{html, problem, refusal};

/// What `call` writes, with plain spaces.
fn written(call: &str, data: &Value) -> String {
    let written = html(&format!("{{{{{{{call}}}}}}}"), data);
    written.replace(['\u{a0}', '\u{202f}'], " ").replace('’', "'")
}

#[test]
fn numbers() {
    let data =
        json!({ "n": 1_234_567.891, "i": 1_234_567, "t": "1234.5", "z": 0, "m": -0.5, "locale": "fr" });
    for (call, expected) in [
        ("number i", "1,234,567"),
        ("number n", "1,234,567.891"),
        ("number n digits=0", "1,234,568"),
        ("number n digits=2", "1,234,567.89"),
        ("number i digits=2", "1,234,567.00"),
        ("number m digits=0", "-1"),
        ("number n locale=\"de\"", "1.234.567,891"),
        ("number n locale=\"de-CH\"", "1'234'567.891"),
        ("number n locale=locale", "1 234 567,891"),
        ("number i locale=\"hi\"", "12,34,567"),
        ("number t locale=\"es\"", "1234,5"),
        ("number z locale=\"ja\"", "0"),
        ("number i locale=\"pt_BR\"", "1.234.567"),
        ("number (len \"four\")", "4"),
    ] {
        assert_eq!(written(call, &data), expected, "{call}");
    }
}

#[test]
fn money() {
    let data = json!({ "p": 1234.5, "c": 123_450, "t": "0.005", "minus": -3, "eur": "EUR" });
    for (call, expected) in [
        ("money p \"USD\"", "$1,234.50"),
        ("money p eur locale=\"de\"", "1.234,50 €"),
        ("money p \"EUR\" locale=\"fr\"", "1 234,50 €"),
        ("money p \"EUR\" locale=\"nl\"", "€ 1.234,50"),
        ("money p \"JPY\" locale=\"ja\"", "￥1,235"),
        ("money p \"GBP\" locale=\"en-GB\"", "£1,234.50"),
        ("money p \"chf\" locale=\"de-CH\"", "CHF 1'234.50"),
        ("money p \"BHD\"", "BHD 1,234.500"),
        ("money minus \"USD\"", "-$3.00"),
        ("money c \"USD\" minor=true", "$1,234.50"),
        ("money c \"JPY\" minor=true", "¥123,450"),
        ("money c \"KWD\" minor=true", "KWD 123.450"),
        ("money t \"USD\"", "$0.01"),
    ] {
        assert_eq!(written(call, &data), expected, "{call}");
    }
}

#[test]
fn dates() {
    let data = json!({ "d": "2026-01-05", "t": "2026-01-05T22:07:09Z", "o": "2026-07-01T00:30:00+02:00", "z": "Asia/Tokyo" });
    for (call, expected) in [
        ("date d", "January 5, 2026"),
        ("date d style=\"short\"", "1/5/26"),
        ("date d style=\"medium\"", "Jan 5, 2026"),
        ("date d style=\"full\"", "Monday, January 5, 2026"),
        ("date d locale=\"de\"", "5. Januar 2026"),
        ("date d style=\"full\" locale=\"fr\"", "lundi 5 janvier 2026"),
        ("date d locale=\"en-GB\"", "5 January 2026"),
        ("date d locale=\"ja\"", "2026年1月5日"),
        ("date t zone=z", "January 6, 2026"),
        ("date o", "July 1, 2026"),
        ("date o zone=\"UTC\"", "June 30, 2026"),
        ("time t", "10:07 PM"),
        ("time t locale=\"de\"", "22:07"),
        ("time o zone=\"Europe/London\" locale=\"en-GB\"", "23:30"),
        (
            "datetime t zone=\"America/New_York\" style=\"medium\"",
            "Jan 5, 2026, 5:07 PM",
        ),
        ("datetime t locale=\"de\" style=\"short\"", "05.01.26, 22:07"),
    ] {
        assert_eq!(written(call, &data), expected, "{call}");
    }
}

#[test]
fn plurals() {
    let data = json!({ "none": 0, "one": 1, "few": 3, "many": 1_005, "half": 1.5 });
    let english = "one=\"# item\" other=\"# items\"";
    let polish = "one=\"# plik\" few=\"# pliki\" many=\"# plików\" other=\"# pliku\" locale=\"pl\"";
    let ordinal = "one=\"#st\" two=\"#nd\" few=\"#rd\" other=\"#th\"";
    for (call, expected) in [
        (format!("plural one {english}"), "1 item"),
        (format!("plural none {english}"), "0 items"),
        (format!("plural none {english} none=\"nothing\""), "nothing"),
        (format!("plural many {english}"), "1,005 items"),
        (format!("plural half {english}"), "1.5 items"),
        (format!("plural one {polish}"), "1 plik"),
        (format!("plural few {polish}"), "3 pliki"),
        (format!("plural many {polish}"), "1005 plików"),
        (format!("plural half {polish}"), "1,5 pliku"),
        (format!("ordinal one {ordinal}"), "1st"),
        (format!("ordinal few {ordinal}"), "3rd"),
        (format!("ordinal many {ordinal}"), "1,005th"),
    ] {
        assert_eq!(written(&call, &data), expected, "{call}");
    }
}

#[test]
fn what_is_missing_has_a_default() {
    let data = json!({ "name": "Ada", "empty": " ", "none": null, "zero": 0, "no": false });
    for (source, expected) in [
        ("{{default name \"friend\"}}", "Ada"),
        ("{{default missing \"friend\"}}", "friend"),
        ("{{default missing.deeper name}}", "Ada"),
        ("{{default empty \"friend\"}}", "friend"),
        ("{{default none \"friend\"}}", "friend"),
        ("{{default zero 7}}{{default no 7}}", "0false"),
        ("{{or missing name}}{{and name zero}}", "Ada0"),
        ("{{#with (default missing @root)}}{{name}}{{/with}}", "Ada"),
        ("{{date}}", "today"),
    ] {
        let mut data = data.clone();
        data["date"] = json!("today");
        assert_eq!(html(source, &data), expected, "{source}");
    }
    assert!(refusal("{{default missing other}}", &data).contains("`other` is missing"));
    assert!(refusal("{{or missing gone}}", &data).contains("is missing"));
}

#[test]
fn a_wrong_argument_is_an_error_with_line_and_helper() {
    let data = json!({
        "text": "ada@example.com", "list": [1], "huge": 1e15, "long": "9".repeat(33), "word": "1e5", "n": 1,
        "date": "2026-01-05", "time": "2026-01-05T10:00:00Z", "none": null
    });
    for (call, told) in [
        (
            "number text",
            "number: its first parameter is no number below 10^15",
        ),
        ("number none", "number: its first parameter is no number"),
        ("number list", "number: its first parameter is no number"),
        ("number huge", "number: its first parameter is no number"),
        ("number long", "number: its first parameter is no number"),
        ("number word", "number: its first parameter is no number"),
        ("number missing", "the variable `missing` is missing"),
        ("number n digits=10", "number: `digits` is no number from 0 to 9"),
        ("number n digits=-1", "number: `digits` is no number from 0 to 9"),
        ("number n digits=gone", "the variable `gone` is missing"),
        ("number n locale=\"xx\"", "number: `locale` is none that is known"),
        ("number n locale=\"\"", "number: `locale` is none that is known"),
        ("number n locale=text", "number: `locale` is none that is known"),
        ("number n locale=list", "number: `locale` is no text"),
        (
            "money n text",
            "money: its second parameter is no currency's code",
        ),
        (
            "money n list",
            "money: its second parameter is no currency's code",
        ),
        ("date text", "date: its first parameter is no date"),
        ("date n", "date: its first parameter is no date"),
        ("date \"2026-02-30\"", "date: its first parameter is no date"),
        ("date date style=\"huge\"", "date: `style` is none of"),
        (
            "date date zone=\"UTC\"",
            "date: its first parameter has no offset",
        ),
        (
            "date time zone=\"Mars/Olympus\"",
            "date: `zone` is none that is known",
        ),
        ("time date", "time: its first parameter is a date without a time"),
        (
            "datetime date",
            "datetime: its first parameter is a date without a time",
        ),
        ("plural n one=\"x\"", "plural: needs the option `other`"),
        (
            "plural text other=\"x\"",
            "plural: its first parameter is no number",
        ),
        ("eq list list", "eq: does not compare lists and objects"),
        ("gt text n", "gt: compares two numbers or two texts"),
    ] {
        let error = refusal(&format!("<p>\n{{{{{call}}}}}"), &data);
        assert!(
            error.contains("body.html.hbs line 2") && error.contains(told),
            "{call}: {error}"
        );
        assert!(!error.contains("ada@"), "{error}");
    }
    for (source, told) in [
        ("{{money 1}}", "needs 2 parameters, not 1"),
        ("{{money 1 \"EUR\" currency=\"EUR\"}}", "has no option `currency`"),
        ("{{plural}}{{plural 1 2}}", "needs a parameter, not 2"),
    ] {
        assert!(problem(source).contains(told), "{source}: {}", problem(source));
    }
}
