//! Reading JSON strictly: serde_json's parser under a visitor of our own, which refuses what `Value` would let through.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::path::{self, Step};
use super::{DATA_DEPTH_MAX, DataError, DataFault, INTEGER_MAX, RESERVED_NAME, nfc};

/// Reads one value that fills all of `text`.
pub(super) fn read(text: &str) -> Result<Value, DataError> {
    let failure = RefCell::default();
    let root = Reader {
        depth: 0,
        failure: &failure,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = root.deserialize(&mut json).and_then(|value| {
        json.end()?;
        Ok(value)
    });
    read.map_err(|error| {
        let Failure { fault, steps } = failure.take();
        DataError {
            path: path::write(&steps),
            fault: fault.unwrap_or_else(|| DataFault::NotJson {
                rule: error.to_string(),
            }),
        }
    })
}

/// What serde's error can't carry: why, and how we got there.
#[derive(Debug, Default)]
struct Failure {
    /// Absent where the parser itself stopped.
    fault: Option<DataFault>,
    /// The innermost first.
    steps: Vec<Step>,
}

/// Reads a value within `depth` objects and arrays.
#[derive(Clone, Copy)]
struct Reader<'f> {
    depth: usize,
    failure: &'f RefCell<Failure>,
}

impl Reader<'_> {
    fn refuse<E: Error>(self, fault: DataFault) -> E {
        self.failure.borrow_mut().fault = Some(fault);
        E::custom("refused")
    }

    /// Notes the step on which `error` came up.
    fn at<E>(self, step: Step, error: E) -> E {
        self.failure.borrow_mut().steps.push(step);
        error
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == DATA_DEPTH_MAX {
            return Err(self.refuse(DataFault::TooDeep));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        if value > INTEGER_MAX {
            return Err(self.refuse(DataFault::IntegerTooLarge));
        }
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > INTEGER_MAX {
            return Err(self.refuse(DataFault::IntegerTooLarge));
        }
        Ok(value.into())
    }

    /// Whole numbers become integers; -0 becomes 0. From 2^53 on every double is whole, so that a large number is refused
    /// whatever its form, and one that the double rounds to 2^53 as well.
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        if value.fract() != 0.0 {
            return Ok(Number::from_f64(value).map_or(Value::Null, Value::Number));
        }
        if value.abs() > INTEGER_MAX as f64 {
            return Err(self.refuse(DataFault::IntegerTooLarge));
        }
        Ok((value as i64).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        loop {
            let next = items.next_element_seed(inner);
            match next.map_err(|error| self.at(Step::Index(values.len()), error))? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut names = Names::default();
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let fault = if self.depth == 0 && name == RESERVED_NAME {
                Some(DataFault::ReservedName)
            } else if names.repeats(&name, &map) {
                Some(DataFault::DuplicateName)
            } else {
                None
            };
            if let Some(fault) = fault {
                return Err(self.at(Step::Name(name), self.refuse(fault)));
            }
            match entries.next_value_seed(inner) {
                Ok(value) => map.insert(name, value),
                Err(error) => return Err(self.at(Step::Name(name), error)),
            };
        }
        Ok(Value::Object(map))
    }
}

/// The names of one object that the map itself can't compare: those beyond ASCII, in NFC. Such a name may be the same as
/// a plain one: U+212A, the Kelvin sign, is `K` in NFC.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn repeats(&mut self, name: &str, map: &Map<String, Value>) -> bool {
        let normal = nfc(name);
        let repeats = map.contains_key(normal.as_ref()) || self.0.contains(normal.as_ref());
        if !name.is_ascii() {
            self.0.insert(normal.into_owned());
        }
        repeats
    }
}
