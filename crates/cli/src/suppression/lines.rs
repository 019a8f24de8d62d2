//! Lines of a list as what is to be suppressed.

use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use paceline_domain::suppression::{SuppressionReason, UnknownSuppressionReason};
use paceline_wire::v1;

use super::columns::Columns;

/// Reads the fields of a line. What is wrong with it is said without its values.
///
/// # Errors
/// A sentence.
pub(super) fn read(columns: &Columns, fields: &[&str]) -> Result<v1::NewSuppression, String> {
    if fields.len() != columns.count {
        return Err(format!("has {} columns, not {}", fields.len(), columns.count));
    }
    let field = |column: Option<usize>| column.map_or("", |column| fields[column].trim());
    if columns.status.is_some() && !field(columns.status).starts_with('5') {
        return Err("status: is no lasting failure, which begins with 5".to_owned());
    }
    let reason = match (field(columns.reason), columns.of_all) {
        ("", Some(reason)) => reason,
        ("", None) => return Err("reason: is missing".to_owned()),
        (name, _) => named(name).ok_or_else(|| format!("reason: {UnknownSuppressionReason}"))?,
    };
    let category = match field(columns.category) {
        // Mailgun's sign for all of a domain's mail.
        "*" => "",
        category => category,
    };
    let at = match field(columns.at) {
        "" => None,
        text => Some(time(text).ok_or_else(|| {
            "at: is none of RFC 3339, RFC 2822, YYYY-MM-DD HH:MM:SS (UTC) and Unix seconds".to_owned()
        })?),
    };
    Ok(v1::NewSuppression {
        address: fields[columns.address].trim().to_owned(),
        reason: super::number(reason).into(),
        category: category.to_owned(),
        at: at.map(|at| prost_types::Timestamp {
            seconds: at.as_second(),
            nanos: at.subsec_nanosecond().max(0),
        }),
    })
}

/// Our names, and those of SES.
fn named(name: &str) -> Option<SuppressionReason> {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "bounce" => Some(SuppressionReason::HardBounce),
        name => name.parse().ok(),
    }
}

/// Times as providers write them.
fn time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_duration(SignedDuration::from_secs(seconds)).ok();
    }
    // Mailgun's zone is none of RFC 2822's.
    let mail_date = text.strip_suffix(" UTC").map(|date| format!("{date} +0000"));
    let parse_mail_date = |date: &str| Some(rfc2822::parse(date).ok()?.timestamp());
    text.parse::<Timestamp>()
        .ok()
        .or_else(|| parse_mail_date(mail_date.as_deref().unwrap_or(text)))
        .or_else(|| Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok())
}

#[cfg(test)]
mod tests {
    use super::{read, time};
    use crate::suppression::columns::Columns;
    use paceline_wire::v1::SuppressionReason;

    #[test]
    fn times_are_read_as_providers_write_them() {
        for text in [
            "2024-05-06T18:11:58Z",
            "2024-05-06T20:11:58+02:00",
            "2024-05-06T18:11:58.000000+00:00",
            "Mon, 06 May 2024 18:11:58 UTC",
            "Mon, 06 May 2024 18:11:58 +0000",
            "2024-05-06 18:11:58",
            "1715019118",
        ] {
            assert_eq!(time(text).map(|at| at.as_second()), Some(1_715_019_118), "{text}");
        }
        for text in ["yesterday", "06/05/2024", "99999999999999999"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn lines_are_read_by_their_columns() {
        let header = ["address", "tags", "created_at"];
        let mailgun = Columns::read(&header, None).expect("known");
        let all = read(&mailgun, &["a@example.com", "*", "Mon, 06 May 2024 18:11:58 UTC"]).expect("good");
        assert_eq!(
            (all.reason(), all.category.as_str()),
            (SuppressionReason::Unsubscribe, "")
        );
        let one = read(&mailgun, &["a@example.com", "news", ""]).expect("good");
        assert_eq!((one.category.as_str(), one.at), ("news", None));

        let ses = Columns::of_ses(2);
        let bounced = read(&ses, &["a@example.com", " BOUNCE"]).expect("good");
        assert_eq!(bounced.reason(), SuppressionReason::HardBounce);

        let sendgrid = Columns::read(&["status", "reason", "email", "created"], None).expect("known");
        let lasting = ["5.1.1", "550 no such user", "a@example.com", "1715019118"];
        assert!(read(&sendgrid, &lasting).is_ok());
        let passing = ["4.2.2", "452 full", "a@example.com", "1715019118"];
        assert!(read(&sendgrid, &passing).expect_err("passing").contains("status"));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named_without_its_values() {
        let own = Columns::read(&["address", "reason", "at"], None).expect("our own");
        for (line, field) in [
            (&["secret@example.com", "secret", ""][..], "reason"),
            (&["secret@example.com", "", ""], "reason"),
            (&["secret@example.com", "complaint", "secret"], "at"),
            (&["secret@example.com"], "columns"),
        ] {
            let wrong = read(&own, line).expect_err(field);
            assert!(wrong.contains(field) && !wrong.contains("secret"), "{wrong}");
        }
    }
}
