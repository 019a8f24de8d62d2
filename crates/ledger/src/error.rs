//! What can go wrong with the database.

/// What a caller may do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The same call may succeed later; it may have been done.
    Transient,
    /// The settings or the database's schema stand in the way.
    Misconfigured,
    /// The database can't hold some value of the call: all else may be written, this call never.
    Unfit,
    /// The statement itself is wrong.
    Bug,
}

/// An error of the ledger. Its text names no value that was written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("the ledger's url is neither sqlite: nor postgres:")]
    Url,
    #[error("the ledger's database can't be opened")]
    Open(#[source] sqlx::Error),
    #[error("the ledger's schema can't be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error("the ledger's database did not answer in time")]
    Timeout,
    #[error("the ledger's database refused or broke off")]
    Database(#[from] sqlx::Error),
}

impl LedgerError {
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Url | Self::Migrate(_) => ErrorClass::Misconfigured,
            Self::Open(_) | Self::Timeout => ErrorClass::Transient,
            Self::Database(error) => match error {
                sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::ColumnIndexOutOfBounds { .. }
                | sqlx::Error::TypeNotFound { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::Encode(_) => ErrorClass::Bug,
                sqlx::Error::Database(error) if error.code().is_some_and(|code| is_unfit(&code)) => {
                    ErrorClass::Unfit
                }
                _ => ErrorClass::Transient,
            },
        }
    }
}

/// PostgreSQL's classes 22 (data exception) and 23 (integrity), of five characters; SQLite's TOOBIG, CONSTRAINT and MISMATCH, whose
/// extended codes have them as their last byte.
fn is_unfit(code: &str) -> bool {
    if code.len() == 5 {
        return code.starts_with("22") || code.starts_with("23");
    }
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 18..=20))
}

#[cfg(test)]
mod tests {
    use super::is_unfit;

    #[test]
    fn only_what_no_repetition_helps_is_unfit() {
        // A text with a NUL, a unique key; SQLite's CONSTRAINT_PRIMARYKEY.
        for code in ["22021", "23505", "18", "1555"] {
            assert!(is_unfit(code), "{code}");
        }
        // Disk full, shut down, deadlock; SQLite's BUSY, FULL, IOERR_WRITE.
        for code in ["53100", "57P01", "40P01", "5", "13", "778", ""] {
            assert!(!is_unfit(code), "{code}");
        }
    }
}
