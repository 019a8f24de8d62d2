//! What can go wrong with the database.

/// What a caller may do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The same call may succeed later; it may have been done.
    Transient,
    /// The settings or the database's schema stand in the way.
    Misconfigured,
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
                _ => ErrorClass::Transient,
            },
        }
    }
}
