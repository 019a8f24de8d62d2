//! The helpers that give a value. All are pure and bounded: each costs the steps that it names, and what it makes is small.
//!
//! A wrong argument is an error with the helper's name, never a blank. Where only a truth is asked for (`and`, `or`, `not`,
//! `default`) a missing variable is false, as in `if`; elsewhere it is an error.

mod date;
mod locale;
mod logic;
mod number;
mod plural;

use std::ops::RangeInclusive;

use serde_json::Value;

use super::error::RenderFault;
use super::meter::Meter;
use super::program::Call;
use super::value::Val;

/// A helper.
pub(super) struct Helper {
    pub(super) name: &'static str,
    /// How many parameters it takes.
    pub(super) params: RangeInclusive<usize>,
    /// The options that it takes, as `name=value`.
    pub(super) options: &'static [&'static str],
    /// What it costs.
    pub(super) steps: usize,
    pub(super) run: for<'a> fn(&mut Args<'a, '_, '_>) -> Given<'a>,
}

pub(super) type Given<'a> = Result<Val<'a>, RenderFault>;

/// Every helper that gives a value.
pub(super) static ALL: &[&Helper] = &[
    &logic::AND,
    &date::DATE,
    &date::DATETIME,
    &logic::DEFAULT,
    &logic::EQ,
    &logic::GT,
    &logic::GTE,
    &logic::LEN,
    &logic::LOOKUP,
    &logic::LT,
    &logic::LTE,
    &number::MONEY,
    &logic::NE,
    &logic::NOT,
    &number::NUMBER,
    &logic::OR,
    &plural::ORDINAL,
    &plural::PLURAL,
    &date::TIME,
];

/// The parameters of helpers that take any number of them.
const MANY: RangeInclusive<usize> = 1..=16;

pub(super) fn find(name: &str) -> Option<&'static Helper> {
    ALL.iter().copied().find(|helper| helper.name == name)
}

impl Helper {
    /// How many parameters it takes, in words.
    pub(super) fn params_told(&self) -> String {
        match (self.params.start(), self.params.end()) {
            (1, 1) => "a parameter".to_owned(),
            (least, most) if least == most => format!("{least} parameters"),
            (least, most) => format!("{least} to {most} parameters"),
        }
    }
}

/// What a helper is given.
pub(super) struct Args<'a, 'm, 'c> {
    pub(super) call: &'a Call,
    /// As many as the helper takes.
    pub(super) values: Vec<Val<'a>>,
    /// In the order of the call's own.
    pub(super) options: Vec<Val<'a>>,
    pub(super) meter: &'m mut Meter<'c>,
}

impl<'a> Args<'a, '_, '_> {
    fn problem(&self, problem: impl Into<String>) -> RenderFault {
        RenderFault::Helper {
            helper: self.call.helper.name,
            problem: problem.into(),
        }
    }

    /// The parameter at `index`, which must be in the data.
    fn present(&self, index: usize) -> Result<&Value, RenderFault> {
        self.values[index]
            .get()
            .ok_or_else(|| RenderFault::MissingVariable {
                variable: self.call.params[index].written().to_owned(),
            })
    }

    /// The option `name`, which must be in the data if it is given.
    fn option(&self, name: &str) -> Result<Option<&Value>, RenderFault> {
        let Some(index) = self.call.named.iter().position(|(given, _)| *given == name) else {
            return Ok(None);
        };
        let missing = || RenderFault::MissingVariable {
            variable: self.call.named[index].1.written().to_owned(),
        };
        self.options[index].get().map(Some).ok_or_else(missing)
    }

    fn text_option(&self, name: &str) -> Result<Option<&str>, RenderFault> {
        match self.option(name)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.problem(format!("`{name}` is no text"))),
        }
    }
}
