//! What the coordinator knows, as tables.

use std::time::Duration;

use paceline_wire::v1::{AccountDescription, DescribeResponse, KeyDescription, Override};

use crate::key;

/// On which side of its column a cell stands.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

use Side::{Left, Right};

/// The head, the keys, and below them what there is: shares, what people set, accounts.
pub(super) fn draw(answer: &DescribeResponse) -> String {
    let mut out = head(answer);
    if answer.keys.is_empty() {
        if answer.leader {
            out.push_str("\nno such key is paced: no sender has asked for one\n");
        }
    } else {
        keys(&answer.keys, &mut out);
    }
    if answer.keys.iter().any(|key| !key.sender_shares.is_empty()) {
        shares(&answer.keys, &mut out);
    }
    if answer.keys.iter().any(|key| !key.overrides.is_empty()) {
        overrides(&answer.keys, &mut out);
    }
    if !answer.accounts.is_empty() {
        accounts(&answer.accounts, &mut out);
    }
    out
}

/// Who leads, in which epoch.
pub(super) fn head(answer: &DescribeResponse) -> String {
    let epoch = answer.epoch;
    if answer.leader {
        format!("epoch {epoch}   leader {}\n", plain(&answer.leader_address))
    } else {
        format!("epoch {epoch}   no coordinator leads now\n")
    }
}

/// A key's name.
pub(super) fn name(key: &KeyDescription) -> String {
    plain(&key::name(&key.key.clone().unwrap_or_default()))
}

/// The rate of a cap, the way of a route; "-" of the others.
pub(super) fn value(it: &Override) -> String {
    match it.kind.as_str() {
        "cap" => rate(it.rate),
        "route" => plain(&it.way),
        _ => "-".to_owned(),
    }
}

/// How long it still holds, to the second.
pub(super) fn left(it: &Override) -> String {
    seconds(it.left_ms)
}

/// Text of other people, without what would steer the terminal.
pub(super) fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Recipients per second.
pub(super) fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 {
        format!("{rate:.2}")
    } else {
        format!("{rate:.1}")
    }
}

fn keys(keys: &[KeyDescription], out: &mut String) {
    let columns = [
        ("key", Left),
        ("rate", Right),
        ("set by", Left),
        ("wanted", Right),
        ("leased", Right),
        ("used", Right),
        ("throttled/s", Right),
        ("senders", Right),
        ("version", Right),
        ("warm-up", Left),
        ("daily left", Right),
        ("breaker", Left),
        ("route", Left),
    ];
    let row = |key: &KeyDescription| {
        [
            name(key),
            rate(key.rate),
            some(&key.limited_by),
            rate(key.wanted),
            rate(key.leased),
            rate(key.measured),
            rate(key.throttled),
            key.senders.to_string(),
            key.version.to_string(),
            key.warm_up
                .as_ref()
                .map_or_else(none, |it| format!("day {}: {}/{}", it.day, it.spent, it.cap)),
            key.daily_left.map_or_else(none, |left| left.to_string()),
            some(&key.breaker),
            some(&key.route),
        ]
    };
    table(columns, keys.iter().map(row).collect(), out);
}

fn shares(keys: &[KeyDescription], out: &mut String) {
    let columns = [
        ("key", Left),
        ("sender", Left),
        ("wanted", Right),
        ("leased", Right),
        ("used", Right),
    ];
    let rows = keys.iter().flat_map(|key| {
        key.sender_shares.iter().map(move |share| {
            [
                name(key),
                some(&share.sender_id),
                rate(share.wanted),
                rate(share.leased),
                rate(share.used),
            ]
        })
    });
    table(columns, rows.collect(), out);
}

fn overrides(keys: &[KeyDescription], out: &mut String) {
    let columns = [
        ("key", Left),
        ("by hand", Left),
        ("value", Right),
        ("left", Right),
        ("who", Left),
        ("why", Left),
    ];
    let rows = keys.iter().flat_map(|key| {
        key.overrides.iter().map(move |it| {
            [
                name(key),
                some(&it.kind),
                value(it),
                left(it),
                some(&it.who),
                some(&it.why),
            ]
        })
    });
    table(columns, rows.collect(), out);
}

fn accounts(accounts: &[AccountDescription], out: &mut String) {
    let columns = [
        ("account", Left),
        ("looked at", Left),
        ("outcome", Left),
        ("max rate", Right),
        ("max in 24 h", Right),
        ("sent in 24 h", Right),
        ("paused", Left),
    ];
    let row = |it: &AccountDescription| {
        [
            some(&it.name),
            it.age_ms.map_or_else(none, |age| format!("{} ago", seconds(age))),
            some(&it.outcome),
            if it.max_send_rate > 0.0 {
                rate(it.max_send_rate)
            } else {
                none()
            },
            u64::try_from(it.max_24_hour_send).map_or_else(|_| none(), |max| max.to_string()),
            it.sent_last_24_hours.to_string(),
            some(&it.paused),
        ]
    };
    table(columns, accounts.iter().map(row).collect(), out);
}

/// An empty line, the names, the rows; each column as wide as its widest cell.
fn table<const N: usize>(columns: [(&str, Side); N], rows: Vec<[String; N]>, out: &mut String) {
    let names = columns.map(|(name, _)| name.to_owned());
    let rows: Vec<_> = std::iter::once(names).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or_default()).collect();
    out.push('\n');
    for row in &rows {
        let cells = row
            .iter()
            .zip(columns)
            .zip(&widths)
            .map(|((cell, (_, side)), width)| match side {
                Left => format!("{cell:<width$}"),
                Right => format!("{cell:>width$}"),
            });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
}

fn some(text: &str) -> String {
    if text.is_empty() { none() } else { plain(text) }
}

fn none() -> String {
    "-".to_owned()
}

fn seconds(ms: u64) -> String {
    humantime::format_duration(Duration::from_secs(ms / 1_000)).to_string()
}

#[cfg(test)]
mod tests;
