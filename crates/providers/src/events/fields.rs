//! JSON of others, read by paths, so that whatever is wrong is told by its field and never by its value.

use jiff::Timestamp;
use paceline_domain::time::Millis;
use serde_json::Value;

/// A text that no field is longer than, where no other bound is named.
const TEXT_CHARS_MAX: usize = 2_048;

/// A field that can't be what its place asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct EventError {
    /// The path, of names that the provider documents, such as `mail.tags.paceline_id`.
    pub field: String,
    /// What is wrong, by type, size or rule.
    pub problem: String,
}

impl EventError {
    #[must_use]
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// A place in a document, whether there is something or not.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    value: Option<&'a Value>,
    path: String,
}

/// A whole document, an object, named `name` where it is none. serde_json refuses what is nested deeper than 128.
///
/// # Errors
/// What is no JSON, or no object.
pub fn document(bytes: &[u8], name: &str) -> Result<Value, EventError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        let problem = format!("is no JSON at line {}, column {}", error.line(), error.column());
        EventError::new(name, problem)
    })?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(EventError::new(
            name,
            format!("is {}, not an object", type_of(&value)),
        ))
    }
}

impl<'a> Field<'a> {
    /// The document itself; its fields are named without it.
    #[must_use]
    pub const fn root(document: &'a Value) -> Self {
        Self {
            value: Some(document),
            path: String::new(),
        }
    }

    /// The field of an object; of anything else, a field that is not there. `null` is not there either.
    #[must_use]
    pub fn get(&self, name: &str) -> Self {
        let value = self.value.and_then(|value| value.get(name));
        Self {
            value: value.filter(|value| !value.is_null()),
            path: if self.path.is_empty() {
                name.to_owned()
            } else {
                format!("{}.{name}", self.path)
            },
        }
    }

    /// True unless it is missing or `null`.
    #[must_use]
    pub const fn is_there(&self) -> bool {
        self.value.is_some()
    }

    /// A refusal of this field, for a rule that its reader knows.
    pub fn error(&self, problem: impl Into<String>) -> EventError {
        EventError::new(self.path.clone(), problem)
    }

    fn wrong(&self, value: &Value, wanted: &str) -> EventError {
        self.error(format!("is {}, not {wanted}", type_of(value)))
    }

    /// A text of at most `chars_max` characters, if there is one.
    ///
    /// # Errors
    /// What is something else; names the field.
    pub fn optional_text(&self, chars_max: usize) -> Result<Option<&'a str>, EventError> {
        let Some(value) = self.value else {
            return Ok(None);
        };
        let text = value.as_str().ok_or_else(|| self.wrong(value, "a text"))?;
        let chars = text.chars().count();
        if chars > chars_max {
            return Err(self.error(format!("is {chars} characters long, at most {chars_max}")));
        }
        Ok(Some(text))
    }

    /// A text of 1 to `chars_max` characters.
    ///
    /// # Errors
    /// What is something else; names the field.
    pub fn text(&self, chars_max: usize) -> Result<&'a str, EventError> {
        match self.optional_text(chars_max)? {
            Some("") => Err(self.error("is empty")),
            Some(text) => Ok(text),
            None => Err(self.error("is missing")),
        }
    }

    /// A text of 1 to `chars_max` printable characters of ASCII: an id.
    ///
    /// # Errors
    /// What is something else; names the field.
    pub fn id(&self, chars_max: usize) -> Result<&'a str, EventError> {
        let text = self.text(chars_max)?;
        if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(text)
        } else {
            Err(self.error("has characters that no id has"))
        }
    }

    /// A text where there is one that is not too long, else an empty one: for what is nice to have.
    #[must_use]
    pub fn text_or_empty(&self) -> &'a str {
        self.optional_text(TEXT_CHARS_MAX)
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// A number where there is one.
    #[must_use]
    pub fn whole_number(&self) -> Option<i64> {
        self.value.and_then(Value::as_i64)
    }

    /// A list of at most `max`; one that is not there is empty.
    ///
    /// # Errors
    /// What is something else; names the field.
    pub fn list(&self, max: usize) -> Result<Vec<Self>, EventError> {
        let Some(value) = self.value else {
            return Ok(Vec::new());
        };
        let list = value.as_array().ok_or_else(|| self.wrong(value, "a list"))?;
        if list.len() > max {
            return Err(self.error(format!("has {} entries, at most {max}", list.len())));
        }
        let entry = |(index, value)| Self {
            value: Some(value),
            path: format!("{}[{index}]", self.path),
        };
        Ok(list.iter().enumerate().map(entry).collect())
    }

    /// A time as ISO 8601 has it.
    ///
    /// # Errors
    /// What is something else; names the field.
    pub fn iso_time(&self) -> Result<Millis, EventError> {
        let no_time = || self.error("is no time in ISO 8601 since 1970");
        let time: Timestamp = self.text(TEXT_CHARS_MAX)?.parse().map_err(|_| no_time())?;
        let millis = u64::try_from(time.as_millisecond()).map_err(|_| no_time())?;
        Some(Millis(millis))
            .filter(|&at| at <= Millis::MAX)
            .ok_or_else(no_time)
    }

    /// Seconds since 1970, with a fraction.
    ///
    /// # Errors
    /// What is something else; names the field.
    pub fn unix_time(&self) -> Result<Millis, EventError> {
        let value = self.value.ok_or_else(|| self.error("is missing"))?;
        let seconds = value.as_f64().ok_or_else(|| self.wrong(value, "a number"))?;
        let millis = seconds * 1_000.0;
        if (0.0..=Millis::MAX.0 as f64).contains(&millis) {
            Ok(Millis(millis as u64))
        } else {
            Err(self.error("is no time in seconds since 1970"))
        }
    }
}

const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
