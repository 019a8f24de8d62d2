//! The journal of a key: where its state began, and what happened since. Replayed, it gives the same state.
//!
//! It is also how the state is kept: the last state in it, and what happened after that, is the state now. So it must be read by the
//! next release, and a release that reads it otherwise counts [`FORMAT`] up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Controller, Decision, Event};

/// How states and events are written.
pub const FORMAT: u32 = 1;

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A leader began with this state, or repeats it, so that what is before it can go.
    Opened(Box<Controller>),
    /// Something happened, at this time since the Unix epoch.
    Happened {
        #[serde(with = "nanos")]
        at: Duration,
        event: Event,
    },
}

/// A journal that says nothing of where it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal does not begin with a state")]
pub struct NoBeginning;

/// A journal that is being read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replay(Option<Controller>);

/// What came of one entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Replayed {
    /// The journal begins with this state.
    Begun,
    /// The state is the very one that the entries before led to.
    Same,
    /// So it is, taken over by another leader under the settings of its time.
    TakenOver,
    /// It is another. The replay goes on from what stands there.
    Differs,
    Decided(Vec<Decision>),
}

impl Replay {
    /// Takes in the next entry.
    ///
    /// # Errors
    /// If it is the first one and no state.
    pub fn take(&mut self, entry: &Entry) -> Result<Replayed, NoBeginning> {
        match entry {
            Entry::Opened(opened) => {
                let before = self.0.replace(Controller::clone(opened));
                let Some(before) = before else {
                    return Ok(Replayed::Begun);
                };
                if before == **opened {
                    return Ok(Replayed::Same);
                }
                let taken_over = before.reopened(*opened.settings(), opened.now());
                Ok(if taken_over == **opened {
                    Replayed::TakenOver
                } else {
                    Replayed::Differs
                })
            }
            Entry::Happened { at, event } => {
                let state = self.0.as_mut().ok_or(NoBeginning)?;
                Ok(Replayed::Decided(state.step(event, *at)))
            }
        }
    }

    /// The state after all entries.
    ///
    /// # Errors
    /// If there was none.
    pub fn state(self) -> Result<Controller, NoBeginning> {
        self.0.ok_or(NoBeginning)
    }
}

/// The state after all of `journal`. Each leader's beginning replaces what was before it.
///
/// # Errors
/// If the first entry is no beginning.
pub fn replay<'a>(journal: impl IntoIterator<Item = &'a Entry>) -> Result<Controller, NoBeginning> {
    let mut replay = Replay::default();
    for entry in journal {
        replay.take(entry)?;
    }
    replay.state()
}

/// A time as one whole number of nanoseconds.
mod nanos {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        u64::try_from(at.as_nanos())
            .unwrap_or(u64::MAX)
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}
