//! A sender's line in the lease table, as text: `rate|wants|ttl in ms|version|sequence|expires at`.
//!
//! `rate` is the most that the sender may be spending. When it expires is for people: the next leader gives every line the time of a
//! lease by its own clock. What is granted of counted budgets stands in the journal, which is written together with the table.

use std::time::Duration;

use paceline_domain::lease::{HolderId, Line, TTL, in_books};

pub(super) fn write(line: &Line, version: u64, at: Duration) -> String {
    let Line {
        sequence,
        wants,
        outstanding,
    } = line;
    let (ttl, expires_at) = (TTL.as_millis(), (at + in_books(TTL)).as_millis());
    format!("{outstanding}|{wants}|{ttl}|{version}|{sequence}|{expires_at}")
}

/// All lines, or none if one of them can't be read: then nobody knows what is outstanding.
pub(super) fn read(lines: &[(String, String)]) -> Option<Vec<(HolderId, Line)>> {
    lines
        .iter()
        .map(|(holder, line)| Some((HolderId::read(holder)?, read_line(line)?)))
        .collect()
}

fn read_line(text: &str) -> Option<Line> {
    let mut fields = text.split('|');
    let outstanding: f64 = fields.next()?.parse().ok()?;
    let wants: f64 = fields.next()?.parse().ok()?;
    let sequence = fields.nth(2)?.parse().ok()?;
    let is_rate = |rate: f64| rate.is_finite() && rate >= 0.0;
    (is_rate(outstanding) && is_rate(wants)).then_some(Line {
        sequence,
        wants,
        outstanding,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_domain::lease::{HolderId, Line};

    use super::{read, write};

    const LINE: Line = Line {
        sequence: 41,
        wants: 900.0,
        outstanding: 0.1 + 0.2,
    };

    #[test]
    fn a_line_reads_as_it_was_written() {
        let text = write(&LINE, 7, Duration::from_secs(10));
        assert_eq!(text, "0.30000000000000004|900|2000|7|41|12220");
        let holder = HolderId([9; 16]);
        assert_eq!(read(&[(holder.to_string(), text)]), Some(vec![(holder, LINE)]));
    }

    #[test]
    fn one_line_that_can_t_be_read_makes_the_table_worthless() {
        let good = (HolderId([9; 16]).to_string(), write(&LINE, 7, Duration::ZERO));
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
