//! A sender's line in the lease table, as text:
//! `rate|wants|ttl in ms|version|sequence|expires at|sent|accepted|errors|throttled|safe rate`.
//!
//! `rate` is the most that the sender may be spending, `safe rate` what it may go on with once its lease has lapsed, if that is not nothing.
//! The four before it are what it had counted over its incarnation by its last word, so that
//! the next leader counts on from there; `throttled` is `version:count` of its newest versions, with commas. A line of before has none, and an empty text stands where they are not known. When it expires is for people: the next leader gives every line the time of a
//! lease by its own clock. What is granted of counted budgets stands in the journal, which is written together with the table.

use std::time::Duration;

use paceline_domain::aimd::Totals;
use paceline_domain::lease::{HolderId, Line, TTL, in_books};

/// The place of the safe rate.
const SAFE_FIELD: usize = 10;

/// What a sender had counted by its last word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) totals: Totals,
    pub(super) accepted: u64,
}

/// A sender with its line.
pub(super) type Entry = (HolderId, Line, Option<Counted>);

pub(super) fn write(line: &Line, counted: Option<&Counted>, version: u64, at: Duration) -> String {
    let Line {
        sequence,
        wants,
        outstanding,
        safe,
    } = line;
    let (ttl, expires_at) = (TTL.as_millis(), (at + in_books(TTL)).as_millis());
    let mut text = format!("{outstanding}|{wants}|{ttl}|{version}|{sequence}|{expires_at}");
    if let Some(Counted { totals, accepted }) = counted {
        let throttled: Vec<String> = totals
            .throttled
            .iter()
            .map(|(version, count)| format!("{version}:{count}"))
            .collect();
        let Totals { sent, errors, .. } = totals;
        let throttled = throttled.join(",");
        text.push_str(&format!("|{sent}|{accepted}|{errors}|{throttled}"));
    }
    if *safe > 0.0 {
        text.push_str(if counted.is_some() { "|" } else { "|||||" });
        text.push_str(&safe.to_string());
    }
    text
}

/// All lines, or none if one of them can't be read: then nobody knows what is outstanding.
pub(super) fn read(lines: &[(String, String)]) -> Option<Vec<Entry>> {
    let entry = |(holder, text): &(String, String)| {
        let (line, counted) = read_line(text)?;
        Some((HolderId::read(holder)?, line, counted))
    };
    lines.iter().map(entry).collect()
}

fn read_line(text: &str) -> Option<(Line, Option<Counted>)> {
    let mut fields = text.split('|');
    let safe = fields.clone().nth(SAFE_FIELD).map_or(Ok(0.0), str::parse).ok()?;
    let outstanding: f64 = fields.next()?.parse().ok()?;
    let wants: f64 = fields.next()?.parse().ok()?;
    let sequence = fields.nth(2)?.parse().ok()?;
    let is_rate = |rate: f64| rate.is_finite() && rate >= 0.0;
    let line = Line {
        sequence,
        wants,
        outstanding,
        safe,
    };
    let counted = read_counted(fields.nth(1), &mut fields);
    (is_rate(outstanding) && is_rate(wants) && is_rate(safe)).then_some((line, counted))
}

fn read_counted<'a>(sent: Option<&str>, rest: &mut impl Iterator<Item = &'a str>) -> Option<Counted> {
    let sent = sent?.parse().ok()?;
    let accepted = rest.next()?.parse().ok()?;
    let errors = rest.next()?.parse().ok()?;
    let throttled = rest.next()?.split(',').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (version, count) = pair.split_once(':')?;
        Some((version.parse().ok()?, count.parse().ok()?))
    };
    let totals = Totals {
        sent,
        errors,
        throttled: throttled.map(pair).collect::<Option<_>>()?,
    };
    Some(Counted { totals, accepted })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_domain::lease::{HolderId, Line};

    use paceline_domain::aimd::Totals;

    use super::{Counted, read, write};

    const LINE: Line = Line {
        sequence: 41,
        wants: 900.0,
        outstanding: 0.1 + 0.2,
        safe: 0.0,
    };

    #[test]
    fn a_line_reads_as_it_was_written() {
        let text = write(&LINE, None, 7, Duration::from_secs(10));
        assert_eq!(text, "0.30000000000000004|900|2000|7|41|12220");
        let holder = HolderId([9; 16]);
        assert_eq!(
            read(&[(holder.to_string(), text)]),
            Some(vec![(holder, LINE, None)]),
            "as a release of before wrote it"
        );
        for throttled in [vec![], vec![(6, 2), (7, 5)]] {
            let totals = Totals {
                sent: 900,
                errors: 3,
                throttled,
            };
            let counted = Counted {
                totals,
                accepted: 800,
            };
            let text = write(&LINE, Some(&counted), 7, Duration::from_secs(10));
            let safe = Line { safe: 2.5, ..LINE };
            let with_safe = write(&safe, Some(&counted), 7, Duration::from_secs(10));
            assert_eq!(with_safe, format!("{text}|2.5"));
            let expected = Some(vec![(holder, safe, Some(counted.clone()))]);
            assert_eq!(read(&[(holder.to_string(), with_safe)]), expected);
            let expected = Some(vec![(holder, LINE, Some(counted))]);
            assert_eq!(read(&[(holder.to_string(), text)]), expected);
        }
    }

    #[test]
    fn a_safe_rate_stands_without_counts_and_one_that_can_t_be_read_spoils_the_table() {
        let holder = HolderId([9; 16]);
        let safe = Line { safe: 2.5, ..LINE };
        let text = write(&safe, None, 7, Duration::ZERO);
        assert_eq!(
            read(&[(holder.to_string(), text.clone())]),
            Some(vec![(holder, safe, None)])
        );
        for wrong in ["x", "NaN", "-1"] {
            let text = text.replace("|2.5", &format!("|{wrong}"));
            assert_eq!(read(&[(holder.to_string(), text)]), None, "{wrong}");
        }
    }

    #[test]
    fn counts_that_can_t_be_read_are_none_and_spoil_no_lease() {
        let holder = HolderId([9; 16]);
        let text = format!("{}|900|x|3|", write(&LINE, None, 7, Duration::ZERO));
        let read = read(&[(holder.to_string(), text)]);
        assert_eq!(read, Some(vec![(holder, LINE, None)]));
    }

    #[test]
    fn one_line_that_can_t_be_read_makes_the_table_worthless() {
        let good = (
            HolderId([9; 16]).to_string(),
            write(&LINE, None, 7, Duration::ZERO),
        );
        for (holder, line) in [
            ("short", good.1.as_str()),
            (&good.0, ""),
            (&good.0, "1|2|3|4"),
            (&good.0, "NaN|1|2000|7|41|0"),
            (&good.0, "-1|1|2000|7|41|0"),
        ] {
            let bad = (holder.to_owned(), line.to_owned());
            assert_eq!(read(&[good.clone(), bad]), None, "{line}");
        }
    }
}
