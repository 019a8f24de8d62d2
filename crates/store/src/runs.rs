//! Claims where none is waited for: which run of Redis they were made on, and what is said of them to the next one.
//!
//! At level `local` a Redis that was killed or failed over may have forgotten claims whose emails are on their way. So each shard
//! names the run of the server that claims are made on. Another run lets nobody claim for a while, and nobody ever who has not
//! said what it has open: that is what [`Store::assert`] is for. A shard that names no run, as of a Redis that came back empty,
//! is held like any other.

use std::time::Duration;

use bytes::Bytes;
use fred::types::Value;
use paceline_domain::id::MessageId;
use paceline_domain::record::Record;
use paceline_domain::time::Millis;

use crate::batch::{Batch, Item};
use crate::packed::{self, millis};
use crate::script;
use crate::streams::list;
use crate::{Change, Durability, Store, StoreError};

/// One run of a Redis server, from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run(pub(crate) String);

impl Run {
    /// The name that the server gives itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One that no server has, for a test.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// Whether claims are allowed on the Redis that serves a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub run: Run,
    /// For how long they are not, by Redis's clock, which may jump; zero once they are.
    pub left: Duration,
    /// True once some sender has waited for as long on a clock that does not jump: then nobody needs to.
    pub waited: bool,
}

/// A claim that its sender stands by.
#[derive(Clone, Debug)]
pub struct Assertion {
    pub id: MessageId,
    /// What is left of the claim's time.
    pub lease: Duration,
    claim: Bytes,
}

impl Assertion {
    /// `claim` is the record as the claim was answered. Of it the packed form alone is kept, some 150 bytes.
    ///
    /// # Errors
    /// If it is none that a script has answered.
    pub fn new(id: MessageId, claim: &Record, lease: Duration) -> Result<Self, StoreError> {
        let claim = packed::pack(claim)?.into();
        Ok(Self { id, lease, claim })
    }
}

impl Store {
    /// How long nothing is claimed on a Redis that was replaced. Whoever has a claim open says so within this time, or it may be
    /// sent again. Longer than a client takes to find the next server where the one before, and a sentinel, are silent: two attempts
    /// to connect, and the pauses between them.
    pub const HOLD: Duration = Duration::from_secs(10);

    /// True where an answered claim may be forgotten: then claims need a [`Run`], and their senders stand by them.
    #[must_use]
    pub fn may_lose_claims(&self) -> bool {
        self.guard.level() == Durability::Local
    }

    /// Looks which run of Redis serves a shard; one that is seen for the first time begins its hold.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn hold(&self, shard: u16) -> Result<Hold, StoreError> {
        let (keys, args) = (vec![self.keys.run(shard)], vec![self.now()]);
        let parts = list(self.run(&script::RUN, keys, args).await?)?;
        let parts = parts.into_iter().map(Value::into_string);
        let parts = parts.collect::<Option<Vec<_>>>();
        hold(
            &parts
                .unwrap_or_default()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
    }

    /// Says of claims of one shard that they stand, whatever Redis remembers; the answers are in order. The same call again is safe.
    ///
    /// # Errors
    /// If Redis refuses or does not answer: then nothing more may be claimed before it is repeated.
    pub async fn assert(&self, shard: u16, items: &[Assertion]) -> Result<Vec<Change>, StoreError> {
        let mut batch = Batch::default();
        for Assertion { id, lease, claim } in items {
            batch.push(*id, Item::new(*id).bytes(&millis(Millis(0) + *lease)));
            batch.also(claim.clone());
        }
        self.change_batch(&script::ASSERT, shard, batch).await
    }
}

/// The hold that stands in the claims' answer.
pub(crate) fn hold_of(answer: &Bytes) -> Result<Hold, StoreError> {
    let text = String::from_utf8_lossy(answer);
    hold(&text.split(' ').collect::<Vec<_>>())
}

fn hold(parts: &[&str]) -> Result<Hold, StoreError> {
    let bug = || StoreError::bug("a script does not say which run of redis it met");
    let &[run, left, waited] = parts else {
        return Err(bug());
    };
    Ok(Hold {
        run: Run(run.to_owned()),
        left: Duration::from_millis(left.parse().map_err(|_| bug())?),
        waited: waited == "1",
    })
}
