//! Statements over many rows at once.

/// Rows of one statement: with at most 18 values each, well below what either database can bind (32,766).
pub(crate) const ROWS_MAX: usize = 500;

/// `($1, $2), ($3, $4)`: placeholders of `rows` rows with `columns` each, after the first `before` ones.
pub(crate) fn placeholders(before: usize, rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let numbers = (1..=columns).map(|column| format!("${}", before + row * columns + column));
        format!("({})", numbers.collect::<Vec<_>>().join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// A count or a time as the database has it. Times have 48 bits.
pub(crate) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::placeholders;

    #[test]
    fn placeholders_are_numbered_through() {
        assert_eq!(placeholders(0, 2, 3), "($1, $2, $3), ($4, $5, $6)");
        assert_eq!(placeholders(2, 1, 2), "($3, $4)");
    }
}
