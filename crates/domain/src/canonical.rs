//! Payloads as I-JSON and their canonical form (RFC 8785).
//!
//! Two payloads that mean the same must become the same bytes before they are hashed, and two that differ must not:
//!
//! - What JSON libraries disagree on is refused with its path: one name twice in an object, and integers that a double
//!   can't hold, in whichever form they are written (I-JSON, RFC 7493). RFC 8785 turns numbers into doubles, so that
//!   9007199254740993 and 9007199254740992 would be one number.
//! - A whole number is an integer in [`Data`], however it was written (`1`, `1.0`, `1e0`). So a template prints the same
//!   for the same id.
//! - Texts that differ only in their Unicode normal form are one text for the hash (NFC). RFC 8785 does not do that by
//!   itself. What is printed stays as it came. Two names that differ only so are one name, and refused.
//!
//! serde_json's own `Value` keeps the last of two equal names without a word, hence the reader of our own. Errors name
//! the path, the kind and the size of what is wrong, never a value.

mod normal;
mod path;
mod read;

use std::fmt;
use std::ops::Deref;

use serde_json::{Map, Value};

pub(crate) use normal::{NormalObject, NormalValue, Text, nfc, to_canonical_json};

/// The bytes of a payload.
pub const DATA_BYTES_MAX: usize = 256 * 1024;
/// Objects and arrays within each other, the outermost counted.
pub const DATA_DEPTH_MAX: usize = 32;
/// 2^53 - 1, in either direction: the last integer whose neighbours a double still tells apart (RFC 7493, 2.2).
pub const INTEGER_MAX: u64 = (1 << 53) - 1;
/// The name at the top of a payload that Paceline keeps for its own values in templates.
pub const RESERVED_NAME: &str = "paceline";

/// A payload that passed the checks of [`parse_data`], which makes its canonical form certain to exist.
#[derive(Clone, Default, PartialEq)]
pub struct Data(Map<String, Value>);

impl Data {
    /// The object itself, for who wants to own it.
    #[must_use]
    pub fn into_inner(self) -> Map<String, Value> {
        self.0
    }
}

impl Deref for Data {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} fields)", self.0.len())
    }
}

/// Where a payload broke which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataError {
    /// Such as `order.items[3].price`; empty for the payload as a whole. Long names are cut.
    pub path: String,
    pub fault: DataFault,
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            self.fault.fmt(f)
        } else {
            write!(f, "{}: {}", self.path, self.fault)
        }
    }
}

impl std::error::Error for DataError {}

/// A rule that a payload broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataFault {
    #[error("{bytes} bytes; at most {DATA_BYTES_MAX} are allowed")]
    TooLarge { bytes: usize },
    #[error("not UTF-8 from byte {offset} on")]
    NotUtf8 { offset: usize },
    /// The text is serde_json's: a rule and a place, no part of the input.
    #[error("not JSON: {rule}")]
    NotJson { rule: String },
    #[error("{kind} where an object is expected")]
    NotAnObject { kind: &'static str },
    #[error("more than {DATA_DEPTH_MAX} objects and arrays within each other")]
    TooDeep,
    #[error("the same name twice in an object")]
    DuplicateName,
    #[error("an integer beyond 2^53 - 1, which not every reader keeps exact; send it as a string")]
    IntegerTooLarge,
    #[error("the name `{RESERVED_NAME}` is reserved")]
    ReservedName,
}

/// Reads a payload: a JSON object in UTF-8, held to the rules above.
pub fn parse_data(bytes: &[u8]) -> Result<Data, DataError> {
    let whole = |fault| DataError {
        path: String::new(),
        fault,
    };
    if bytes.len() > DATA_BYTES_MAX {
        return Err(whole(DataFault::TooLarge { bytes: bytes.len() }));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        whole(DataFault::NotUtf8 {
            offset: error.valid_up_to(),
        })
    })?;
    let kind = match read::read(text)? {
        Value::Object(map) => return Ok(Data(map)),
        Value::Array(_) => "an array",
        Value::String(_) => "a string",
        Value::Number(_) => "a number",
        Value::Bool(_) => "a boolean",
        Value::Null => "null",
    };
    Err(whole(DataFault::NotAnObject { kind }))
}

#[cfg(test)]
mod tests;
