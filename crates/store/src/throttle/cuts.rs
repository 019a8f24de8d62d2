//! Cuts of a rate, broadcast to whoever holds a part of it. At most once: a lost one costs until the lease's next renewal.

use std::fmt;
use std::str::FromStr;

use fred::interfaces::{EventInterface as _, PubsubInterface as _};
use fred::types::Message;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::RateKey;
use crate::{Store, StoreError};

/// The channel of all cuts.
pub const CHANNEL: &str = "pl1:thr:adj";
/// What a message begins with. Later fields may follow those that are known.
const FORMAT: &str = "1";

/// A key's rate fell: whoever holds a part of it holds `ratio` of that part from here on.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    pub key: RateKey,
    pub epoch: u64,
    pub version: u64,
    /// In recipients per second, for people.
    pub rate: f64,
    /// From 0 to 1.
    pub ratio: f64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            epoch,
            version,
            rate,
            ratio,
        } = self;
        write!(f, "{FORMAT} {key} {epoch} {version} {rate} {ratio}")
    }
}

/// No message of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no cut of a rate")]
pub struct NoCut;

impl FromStr for Cut {
    type Err = NoCut;

    fn from_str(text: &str) -> Result<Self, NoCut> {
        let mut fields = text.split(' ');
        let mut next = || fields.next().ok_or(NoCut);
        if next()? != FORMAT {
            return Err(NoCut);
        }
        let (provider, identity) = next()?.split_once('/').ok_or(NoCut)?;
        let key = RateKey {
            provider: provider.to_owned(),
            identity: identity.to_owned(),
        };
        let cut = Self {
            key,
            epoch: next()?.parse().map_err(|_| NoCut)?,
            version: next()?.parse().map_err(|_| NoCut)?,
            rate: next()?.parse().map_err(|_| NoCut)?,
            ratio: next()?.parse().map_err(|_| NoCut)?,
        };
        let is_sound = cut.rate.is_finite() && cut.rate >= 0.0 && (0.0..=1.0).contains(&cut.ratio);
        if is_sound { Ok(cut) } else { Err(NoCut) }
    }
}

/// What was heard instead of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// A message that is none, or of a later format.
    Unreadable,
    /// So many messages of any kind came too fast.
    Missed(u64),
    /// The store is closed: nothing comes any more.
    Closed,
}

/// The cuts that are broadcast from now on.
pub struct Cuts(Receiver<Message>);

impl Cuts {
    /// The next one. Drop it at any time.
    ///
    /// # Errors
    /// What came instead; after [`Unheard::Closed`] nothing more does.
    pub async fn next(&mut self) -> Result<Cut, Unheard> {
        loop {
            match self.0.recv().await {
                Ok(message) if message.channel == CHANNEL => {
                    let text = message.value.as_str().ok_or(Unheard::Unreadable)?;
                    return text.parse().map_err(|_| Unheard::Unreadable);
                }
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => return Err(Unheard::Missed(missed)),
                Err(RecvError::Closed) => return Err(Unheard::Closed),
            }
        }
    }
}

impl Store {
    /// Listens to cuts, over lost connections too.
    ///
    /// # Errors
    /// If Redis does not answer; it listens as soon as it can all the same.
    pub async fn cuts(&self) -> (Cuts, Result<(), StoreError>) {
        let subscriber = self.hints.subscriber();
        let cuts = Cuts(subscriber.message_rx());
        let subscribed = subscriber.subscribe(CHANNEL).await;
        (cuts, subscribed.map_err(StoreError::from))
    }
}

#[cfg(test)]
mod tests {
    use super::{Cut, RateKey};

    fn cut() -> Cut {
        Cut {
            key: RateKey {
                provider: "ses".to_owned(),
                identity: "main".to_owned(),
            },
            epoch: 7,
            version: 12,
            rate: 80.5,
            ratio: 0.8,
        }
    }

    #[test]
    fn a_cut_reads_as_it_was_written() {
        assert_eq!(cut().to_string(), "1 ses/main 7 12 80.5 0.8");
        assert_eq!(cut().to_string().parse(), Ok(cut()));
        assert_eq!(
            "1 ses/main 7 12 80.5 0.8 more".parse(),
            Ok(cut()),
            "of a later writer"
        );
    }

    #[test]
    fn what_is_no_cut_is_none() {
        for text in [
            "",
            "1",
            "2 ses/main 7 12 80.5 0.8",
            "1 ses 7 12 80.5 0.8",
            "1 ses/main -7 12 80.5 0.8",
            "1 ses/main 7 12 80.5",
            "1 ses/main 7 12 inf 0.8",
            "1 ses/main 7 12 80.5 1.25",
            "1 ses/main 7 12 80.5 NaN",
            "1 ses/main 7 12 80.5 -0.1",
            "{\"epoch\":7}",
        ] {
            assert!(text.parse::<Cut>().is_err(), "{text}");
        }
    }
}
