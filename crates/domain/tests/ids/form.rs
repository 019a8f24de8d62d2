//! One value, written in many ways.

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

/// A source of choices, the same for the same seed.
pub(crate) struct Forms(u64);

impl Forms {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound` (splitmix64).
    fn choose(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// JSON text of `value`: names in any order, numbers and characters in any form, white space anywhere.
pub(crate) fn write(value: &Value, forms: &mut Forms) -> String {
    let text = match value {
        Value::Null | Value::Bool(_) => value.to_string(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => integer(whole, forms),
            None => fraction(number.as_f64().expect("a double"), forms),
        },
        Value::String(text) => string(text, forms),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| write(value, forms)).collect();
            format!("[{}]", values.join(","))
        }
        Value::Object(map) => object(map, forms),
    };
    let space = ["", "", "", " ", "\t", "\r\n"];
    format!("{}{text}{}", space[forms.choose(6)], space[forms.choose(6)])
}

fn object(map: &Map<String, Value>, forms: &mut Forms) -> String {
    let mut entries: Vec<_> = map
        .iter()
        .map(|(name, value)| format!("{}:{}", string(name, forms), write(value, forms)))
        .collect();
    for last in (1..entries.len()).rev() {
        entries.swap(last, forms.choose(last + 1));
    }
    format!("{{{}}}", entries.join(","))
}

fn integer(whole: i64, forms: &mut Forms) -> String {
    // A zero in front of another digit is no JSON.
    let tenfold = if whole == 0 {
        "0".to_owned()
    } else {
        format!("{whole}0")
    };
    match forms.choose(7) {
        0 => format!("{whole}.0"),
        1 => format!("{whole}e0"),
        2 => format!("{whole}.000E+00"),
        3 => format!("{tenfold}e-1"),
        4 => format!("{whole}.0000e+0"),
        5 => format!("{:e}", whole as f64),
        _ => whole.to_string(),
    }
}

fn fraction(number: f64, forms: &mut Forms) -> String {
    match forms.choose(4) {
        0 => format!("{number:e}"),
        1 => format!("{number:E}"),
        2 => format!("{number:.1100}"),
        _ => format!("{number}"),
    }
}

fn string(text: &str, forms: &mut Forms) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        if character < ' ' || matches!(character, '"' | '\\') || forms.choose(3) == 0 {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
    }
    out + "\""
}

/// A normal form of Unicode.
#[derive(Clone, Copy)]
pub(crate) enum Normal {
    Composed,
    Decomposed,
}

impl Normal {
    pub(crate) fn of(self, text: &str) -> String {
        match self {
            Self::Composed => text.nfc().collect(),
            Self::Decomposed => text.nfd().collect(),
        }
    }

    pub(crate) fn of_value(self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.of(text)),
            Value::Array(values) => values.iter().map(|value| self.of_value(value)).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(name, value)| (self.of(name), self.of_value(value)))
                .collect(),
            plain => plain.clone(),
        }
    }
}
