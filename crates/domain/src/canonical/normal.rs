//! Values on their way into a hash: strings and names in NFC, in RFC 8785's form, without copying a value.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The text in NFC.
pub(crate) fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

/// The canonical JSON of `value`, whose names must differ in NFC: true of [`super::Data`] and of the envelopes of ours.
pub(crate) fn to_canonical_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value)
        .expect("names are strings and differ, and a number in a `Value` is finite: nothing else can fail")
}

/// A string that is hashed in NFC.
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&nfc(self.0))
    }
}

/// A value of a payload, its strings and names in NFC.
pub(crate) struct NormalValue<'a>(pub(crate) &'a Value);

impl Serialize for NormalValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) => Text(text).serialize(serializer),
            Value::Array(values) => serializer.collect_seq(values.iter().map(NormalValue)),
            Value::Object(map) => serialize_entries(map.iter(), serializer),
            plain => plain.serialize(serializer),
        }
    }
}

/// An object of these entries, in NFC.
pub(crate) struct NormalObject<'a>(pub(crate) Vec<(&'a String, &'a Value)>);

impl Serialize for NormalObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_entries(self.0.iter().copied(), serializer)
    }
}

fn serialize_entries<'a, S: Serializer>(
    entries: impl Iterator<Item = (&'a String, &'a Value)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(None)?;
    for (name, value) in entries {
        object.serialize_entry(&Text(name), &NormalValue(value))?;
    }
    object.end()
}
