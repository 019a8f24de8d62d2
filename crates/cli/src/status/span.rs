//! How long something took, as a person says it: `4 ms`, `2 s`, `3 m 12 s`, `1 d 2 h`.

use std::time::Duration;

/// The two largest units that say anything.
pub(super) fn say(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let Some(first) = units.iter().position(|(count, _)| *count > 0) else {
        return format!("{} ms", span.as_millis());
    };
    let said = units[first..].iter().take(2).filter(|(count, _)| *count > 0);
    said.map(|(count, unit)| format!("{count} {unit}"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::say;

    #[test]
    fn two_units_say_enough() {
        for (millis, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (2_000, "2 s"),
            (192_400, "3 m 12 s"),
            (3_600_000, "1 h"),
            (3_605_000, "1 h"),
            (93_600_000, "1 d 2 h"),
        ] {
            assert_eq!(say(Duration::from_millis(millis)), expected);
        }
    }
}
