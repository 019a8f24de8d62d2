//! The last minutes of a key as a picture: a line for the rate, filled below it what was used.

use std::time::Duration;

use paceline_wire::v1::{DescribeResponse, KeyDescription};
use textplots::{Chart, LabelBuilder as _, LabelFormat, Plot as _, Shape};

use super::table::{head, name, rate};

/// In dots, two of which are a character's width.
const WIDTH: u32 = 139;
/// In dots, four of which are a character's height.
const HEIGHT: u32 = 47;

/// The head, and a picture of each key.
pub(super) fn draw(answer: &DescribeResponse) -> String {
    let mut out = head(answer);
    if answer.keys.is_empty() && answer.leader {
        out.push_str("\nno such key is paced: no sender has asked for one\n");
    }
    for key in &answer.keys {
        out.push('\n');
        picture(key, &mut out);
    }
    out
}

fn picture(key: &KeyDescription, out: &mut String) {
    let [.., _, last] = key.history.as_slice() else {
        out.push_str(&format!("{}: nothing to draw yet\n", name(key)));
        return;
    };
    // One sample is of one second, the last is now.
    let ago = |index: usize| index as f32 + 1.0 - key.history.len() as f32;
    let series = |value: fn(&paceline_wire::v1::Sample) -> f64| -> Vec<(f32, f32)> {
        let samples = key.history.iter().enumerate();
        samples
            .map(|(index, sample)| (ago(index), value(sample) as f32))
            .collect()
    };
    let (rates, used) = (series(|it| it.rate), series(|it| it.used));
    let highest = rates.iter().chain(&used).map(|(_, y)| *y).fold(1.0, f32::max);
    let lasted = Duration::from_secs(key.history.len() as u64 - 1);
    out.push_str(&format!(
        "{}: the line is the rate ({} now), filled is what was used ({} now), recipients per second\n",
        name(key),
        rate(last.rate),
        rate(last.used)
    ));
    let (filled, steps) = (Shape::Bars(&used), Shape::Steps(&rates));
    let mut chart = Chart::new_with_y_range(WIDTH, HEIGHT, ago(0), 0.0, 0.0, highest);
    let chart = chart
        .x_label_format(LabelFormat::Custom(Box::new(move |x| {
            if x < 0.0 {
                format!("{} ago", humantime::format_duration(lasted))
            } else {
                "now".to_owned()
            }
        })))
        .y_label_format(LabelFormat::Custom(Box::new(|y| rate(y.into()))));
    let chart = chart.lineplot(&filled).lineplot(&steps);
    chart.figures();
    out.push_str(&chart.to_string());
}

#[cfg(test)]
mod tests {
    use paceline_wire::v1::{DescribeResponse, KeyDescription, Sample, ThrottleKey};

    use super::draw;

    /// A picture's rows, without the head and the lines around it.
    fn rows(samples: impl Iterator<Item = (f64, f64)>) -> (String, Vec<Vec<char>>) {
        let key = KeyDescription {
            key: Some(ThrottleKey {
                provider: "ses".to_owned(),
                identity: "main".to_owned(),
            }),
            history: samples.map(|(rate, used)| Sample { rate, used }).collect(),
            ..KeyDescription::default()
        };
        let answer = DescribeResponse {
            epoch: 3,
            leader: true,
            keys: vec![key],
            ..DescribeResponse::default()
        };
        let text = draw(&answer);
        let is_drawn =
            |line: &&str| line.starts_with(|first: char| ('\u{2800}'..='\u{28ff}').contains(&first));
        let rows = text.lines().filter(is_drawn);
        let rows = rows.map(|row| row.chars().take(70).collect::<Vec<_>>()).collect();
        (text, rows)
    }

    fn is_blank(cell: char) -> bool {
        cell == '\u{2800}'
    }

    #[test]
    fn a_rate_is_a_line_above_what_is_used() {
        let (text, rows) = rows((0..600).map(|_| (100.0, 50.0)));
        assert_eq!(rows.len(), 12, "{text}");
        assert!(rows[0].iter().all(|cell| !is_blank(*cell)), "the rate:\n{text}");
        assert!(
            rows[1..5].iter().flatten().all(|cell| is_blank(*cell)),
            "half of it is not used:\n{text}"
        );
        assert!(
            rows[7..].iter().flatten().all(|cell| !is_blank(*cell)),
            "half of it is used:\n{text}"
        );
        assert!(text.contains("ses/main") && text.contains("100.0"), "{text}");
        assert!(text.contains("9m 59s ago") && text.contains("now"), "{text}");
    }

    #[test]
    fn a_cut_goes_down_where_it_was() {
        let (text, rows) = rows((0..600).map(|second| (if second < 300 { 80.0 } else { 16.0 }, 0.0)));
        let (before, after) = rows[0].split_at(35);
        assert!(before[..34].iter().all(|cell| !is_blank(*cell)), "{text}");
        assert!(after[1..].iter().all(|cell| is_blank(*cell)), "{text}");
        assert!(
            rows[9][37..].iter().all(|cell| !is_blank(*cell)),
            "a fifth:\n{text}"
        );
    }

    #[test]
    fn few_or_odd_samples_are_drawn_or_said() {
        for n in 0..2 {
            let (text, rows) = rows((0..n).map(|_| (1.0, 1.0)));
            assert!(rows.is_empty() && text.contains("nothing to draw yet"), "{text}");
        }
        for value in [0.0, 1e9, f64::INFINITY, f64::NAN] {
            let (text, rows) = rows((0..2).map(|_| (value, value)));
            assert_eq!(rows.len(), 12, "{value}:\n{text}");
        }
    }
}
