//! Sums as a table and as a picture. All numbers are of distinct messages.

use paceline_wire::v1::{DaySums, SumCount};
use textplots::{Chart, LabelBuilder as _, LabelFormat, Plot as _, Shape};

use super::date;
use crate::{ledger, status};

/// In dots, two of which are a character's width, and four its height.
const WIDTH: u32 = 139;
const HEIGHT: u32 = 47;

type Column = (&'static str, fn(&DaySums) -> u64);

/// Hard and soft bounces of one message count twice: each is a kind of its own.
const COLUMNS: [Column; 8] = [
    ("sent", |day| of(day.sent)),
    ("delivered", |day| of(day.delivered)),
    ("opened", |day| of(day.opened)),
    ("clicked", |day| of(day.clicked)),
    ("by machines", |day| of(day.machine_opened)),
    ("bounced", |day| of(day.bounced_hard) + of(day.bounced_soft)),
    ("complained", |day| of(day.complained)),
    ("unsubscribed", |day| of(day.unsubscribed)),
];

fn of(count: Option<SumCount>) -> u64 {
    ledger::messages(count)
}

/// A row for each day, template and lane, and their sums.
pub(super) fn table(days: &[DaySums]) -> String {
    if days.is_empty() {
        return "nothing was sent, and nothing was heard\n".to_owned();
    }
    let wide =
        |name: fn(&DaySums) -> usize, title: &str| days.iter().map(name).max().unwrap_or(0).max(title.len());
    let template = wide(|day| day.template.chars().count(), "template");
    let tenant = wide(|day| day.tenant.len(), "tenant");
    let mut text = format!(
        "{:<10}  {:<tenant$}  {:<template$}  {:<13}",
        "day", "tenant", "template", "lane"
    );
    for (title, _) in COLUMNS {
        text.push_str(&format!("  {title:>12}"));
    }
    text.push('\n');
    for day in days {
        let (date, lane) = (date(day.day), status::lane(day.lane));
        text.push_str(&format!(
            "{date:<10}  {:<tenant$}  {:<template$}  {lane:<13}",
            day.tenant, day.template
        ));
        for (_, value) in COLUMNS {
            text.push_str(&format!("  {:>12}", value(day)));
        }
        text.push('\n');
    }
    let (in_all, width) = ("in all", 10 + 2 + tenant + 2 + template + 2 + 13);
    text.push_str(&format!("{in_all:<width$}"));
    for (_, value) in COLUMNS {
        text.push_str(&format!("  {:>12}", days.iter().map(value).sum::<u64>()));
    }
    text.push('\n');
    text
}

/// A line for what was sent on each day, and bars for what was delivered.
pub(super) fn picture(days: &[DaySums], (first, last): (u32, u32)) -> String {
    if days.is_empty() {
        return table(days);
    }
    let series = |value: fn(&DaySums) -> u64| -> Vec<(f32, f32)> {
        let sum = |day: u32| days.iter().filter(|sums| sums.day == day).map(value).sum::<u64>();
        // A day is as wide as the next one.
        (first..=last + 1)
            .map(|day| ((day - first) as f32, sum(day.min(last)) as f32))
            .collect()
    };
    let (sent, delivered) = (series(COLUMNS[0].1), series(COLUMNS[1].1));
    let highest = sent.iter().chain(&delivered).map(|(_, y)| *y).fold(1.0, f32::max);
    let mut chart = Chart::new_with_y_range(WIDTH, HEIGHT, 0.0, (last + 1 - first) as f32, 0.0, highest);
    let (bars, steps) = (Shape::Bars(&delivered), Shape::Steps(&sent));
    let chart = chart
        .x_label_format(LabelFormat::Custom(Box::new(move |x| {
            date(if x > 0.0 { last } else { first })
        })))
        .y_label_format(LabelFormat::Custom(Box::new(|y| format!("{y:.0}"))));
    let chart = chart.lineplot(&bars).lineplot(&steps);
    chart.figures();
    format!("messages by day: the line is what was sent, the bars are what was delivered\n{chart}")
}

#[cfg(test)]
mod tests {
    use paceline_wire::v1::{DaySums, SumCount};

    use super::{picture, table};

    fn sums(day: u32, template: &str, sent: u64, delivered: u64) -> DaySums {
        let count = |messages| {
            Some(SumCount {
                events: messages,
                messages,
            })
        };
        DaySums {
            tenant: "shop".to_owned(),
            template: template.to_owned(),
            lane: 2,
            day,
            sent: count(sent),
            delivered: count(delivered),
            ..DaySums::default()
        }
    }

    #[test]
    fn each_day_has_a_row_and_all_have_a_sum() {
        // 20,782 days after 1970 is 2026-11-25.
        let text = table(&[
            sums(20_782, "welcome", 100, 90),
            sums(20_783, "a-long-name", 7, 7),
        ]);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            rows[1][..6],
            ["2026-11-25", "shop", "welcome", "bulk", "100", "90"]
        );
        assert_eq!(rows[3][..4], ["in", "all", "107", "97"]);
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
        assert!(table(&[]).contains("nothing"));
    }

    #[test]
    fn what_was_sent_is_a_line_above_what_was_delivered() {
        let days = [sums(20_782, "welcome", 100, 50), sums(20_783, "welcome", 100, 50)];
        let text = picture(&days, (20_782, 20_783));
        let is_drawn =
            |line: &&str| line.starts_with(|first: char| ('\u{2800}'..='\u{28ff}').contains(&first));
        let rows: Vec<Vec<char>> = text
            .lines()
            .filter(is_drawn)
            .map(|row| row.chars().take(70).collect())
            .collect();
        assert_eq!(rows.len(), 12, "{text}");
        assert!(
            rows[0].iter().all(|cell| *cell != '\u{2800}'),
            "what was sent:\n{text}"
        );
        assert!(
            rows[2].iter().all(|cell| *cell == '\u{2800}'),
            "half was not delivered:\n{text}"
        );
        let top_of_bars = rows[4..8]
            .iter()
            .any(|row| row[..68].iter().all(|cell| *cell != '\u{2800}'));
        assert!(top_of_bars, "half was:\n{text}");
        assert!(
            text.contains("2026-11-25") && text.contains("2026-11-26"),
            "{text}"
        );
    }
}
