//! What the throttle coordinators keep: who leads, and each key's rate.
//!
//! | key | type | holds | written by | read by |
//! |---|---|---|---|---|
//! | `{pl1:thr}:leader` | hash, TTL = the lead's | `nonce`, `epoch`, `address` | the leader | coordinators |
//! | `{pl1:thr}:epoch` | string | the epoch given last | the leader | coordinators |
//! | `{pl1:thr:<key>}:state` | hash | `epoch`, `nonce`, `rev`: whose it is; `rate` (recipients per second), `version`; see `kept` | the leader | coordinators, renderer (`rate`) |
//! | `{pl1:thr:<key>}:lease` | hash | for each sender's incarnation what it may be spending; `rev` | the leader | the next leader |
//! | `{pl1:thr:<key>}:journal` | stream | states, and what happened after each | the leader | the next leader, `paceline throttle replay` |
//! | `pl1:thr:adj` | channel | cuts | the leader | senders |
//!
//! `<key>` is `<provider>/<identity>`.
//!
//! Redis replicates asynchronously and is no consensus store: what a failover forgets is noticed, by an epoch or a revision
//! that does not fit, and made harmless by the coordinator's learning; see `domain::lease::books`.

use std::fmt;
use std::time::Duration;

use fred::interfaces::HashesInterface;
use fred::types::{Key, Value};

use crate::batch::number;
use crate::script::{THROTTLE_LEAD, THROTTLE_RENEW};
use crate::{Store, StoreError};

mod cuts;
mod kept;

pub use cuts::{CHANNEL, Cut, Cuts, Unheard};
pub use kept::{Adopted, Commit, Kept, Known, NotAdopted, Part, PartBody, Snapshot};

const LEADER: &str = "{pl1:thr}:leader";
const EPOCH: &str = "{pl1:thr}:epoch";
/// Epochs are compared as Lua's numbers.
const EPOCH_MAX: u64 = 1 << 53;

/// One leader's term: what fences its writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    pub epoch: u64,
    /// Made for each attempt to lead; tells two leaders apart to whom a Redis that lost writes gave one epoch.
    pub nonce: String,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// The caller. `time` is Redis's when it answered, since the Unix epoch.
    Mine { term: Term, time: Duration },
    /// Somebody else, who says that it listens there.
    Other { epoch: u64, address: String },
}

/// What is paced: an identity at a provider. Neither may hold a slash, a brace or a colon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RateKey {
    pub provider: String,
    pub identity: String,
}

impl fmt::Display for RateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.identity)
    }
}

impl RateKey {
    fn state(&self) -> Key {
        self.part("state")
    }

    fn part(&self, part: &str) -> Key {
        format!("{{pl1:thr:{self}}}:{part}").into()
    }
}

/// A write that was refused, because the state is not what this leader wrote last. It leads no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// The epoch of the state, where it is known: the next one must be past it.
    pub epoch: u64,
}

impl Store {
    /// Takes the lead for `ttl` if nobody has it. `epoch_floor` is the largest epoch that the caller has met anywhere.
    ///
    /// # Errors
    /// If Redis does not answer: the lead may be taken or not. Repeating with the same nonce is safe.
    pub async fn lead(
        &self,
        address: &str,
        nonce: &str,
        ttl: Duration,
        epoch_floor: u64,
    ) -> Result<Leadership, StoreError> {
        let keys = vec![Key::from(LEADER), Key::from(EPOCH)];
        let args = vec![
            Value::from(address),
            Value::from(nonce),
            number(millis(ttl)),
            number(epoch_floor.min(EPOCH_MAX)),
        ];
        let answer = fields(self.run(&THROTTLE_LEAD, keys, args).await?)?;
        let epoch = integer(answer.get(1))?;
        match (integer(answer.first())?, answer.get(2)) {
            (1, micros) => Ok(Leadership::Mine {
                term: Term {
                    epoch,
                    nonce: nonce.to_owned(),
                },
                time: Duration::from_micros(integer(micros)?),
            }),
            (_, address) => Ok(Leadership::Other {
                epoch,
                address: address.and_then(Value::as_string).unwrap_or_default(),
            }),
        }
    }

    /// Keeps the lead for another `ttl`. False if it is lost.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn keep_lead(&self, term: &Term, ttl: Duration) -> Result<bool, StoreError> {
        self.renew(term, millis(ttl)).await
    }

    /// Gives the lead back, so that another need not wait for its end. False if it was lost already.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn resign(&self, term: &Term) -> Result<bool, StoreError> {
        self.renew(term, 0).await
    }

    async fn renew(&self, term: &Term, ttl_ms: u64) -> Result<bool, StoreError> {
        let args = vec![
            Value::from(term.nonce.as_str()),
            number(term.epoch),
            number(ttl_ms),
        ];
        let answer = self.run(&THROTTLE_RENEW, vec![Key::from(LEADER)], args).await?;
        Ok(integer(Some(&answer))? == 1)
    }

    /// Whose a key's rate is and how often it was cut: its leader's epoch, and its version. `None` if no coordinator has set one yet.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn rate_version(&self, key: &RateKey) -> Result<Option<(u64, u64)>, StoreError> {
        let client = self.commands.client();
        let read = client.hmget::<Vec<Option<u64>>, _, _>(key.state(), vec!["epoch", "version"]);
        match self.commands.ask(read).await?.as_slice() {
            [Some(epoch), Some(version)] => Ok(Some((*epoch, *version))),
            _ => Ok(None),
        }
    }

    /// The rate in force of a key, in recipients per second; `None` if no coordinator has set one yet.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn granted_rate(&self, key: &RateKey) -> Result<Option<f64>, StoreError> {
        let client = self.commands.client();
        let read = client.hget::<Option<String>, _, _>(key.state(), "rate");
        let rate = self.commands.ask(read).await?;
        Ok(rate.and_then(|rate| rate.parse().ok()))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn fields(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(fields) => Ok(fields),
        _ => Err(StoreError::bug("a throttle script answered with no list")),
    }
}

fn integer(value: Option<&Value>) -> Result<u64, StoreError> {
    value
        .and_then(Value::as_u64)
        .ok_or_else(|| StoreError::bug("a throttle script answered with no number"))
}
