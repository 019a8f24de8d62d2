//! A key that this leader meets for the first time: adopted, read, and written once, before anything of it is granted.

use paceline_domain::controller::journal::FORMAT;
use paceline_kit::clock::Clock;
use paceline_store::throttle::{NotAdopted, RateKey, Term};
use paceline_store::{ErrorClass, StoreError};
use paceline_wire::status::RpcError;

use super::{Throttle, refused, unavailable};
use crate::desk::Refused;

impl<C: Clock> Throttle<C> {
    /// Opens all of `keys` that are not open. One call at a time, so that none is adopted behind the back of its desk.
    pub(super) async fn open(&self, keys: impl Iterator<Item = &RateKey> + Clone) -> Result<(), RpcError> {
        let unopened = |keys| self.desk.unopened(keys, self.clock.boot()).map_err(refused);
        if unopened(keys.clone())?.1.is_empty() {
            return Ok(());
        }
        let _turn = self.opening.lock().await;
        let (term, keys) = unopened(keys)?;
        let opening = keys.into_iter().map(|key| self.open_one(&term, key));
        futures_util::future::try_join_all(opening).await?;
        Ok(())
    }

    async fn open_one(&self, term: &Term, key: RateKey) -> Result<(), RpcError> {
        let known = self.desk.known(&key);
        let adopted = match self.store.adopt_rate(&key, term, FORMAT, known).await {
            Ok(adopted) => adopted,
            Err(error) => return self.not_read(term, key, &error),
        };
        let adopted = match adopted {
            Ok(adopted) => adopted,
            Err(NotAdopted::Fenced(fenced)) => {
                tracing::warn!(%key, epoch = fenced.epoch, "a rate in redis is of a newer leader, this one steps down");
                return Err(self.step_down(fenced.epoch));
            }
            Err(NotAdopted::NewerFormat(format)) => {
                let problem = format!("its state has format {format}, this coordinator reads up to {FORMAT}");
                self.leave_alone(term, key, &problem);
                return Ok(());
            }
        };
        let kept = match self.store.load_rate(&key, &adopted).await {
            Ok(kept) => kept,
            Err(error) => return self.not_read(term, key, &error),
        };
        let now = self.clock.boot();
        let opened = match self.desk.prepare(term, &key, (&adopted, &kept), now) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Err(refused(Refused::NotLeader(String::new()))),
            Err(problem) => {
                self.leave_alone(term, key, &problem);
                return Ok(());
            }
        };
        let write = &opened.write;
        let written = self
            .store
            .commit_rate(&write.key, term, write.rev, &write.commit)
            .await;
        match written.map_err(|error| unavailable(&error))? {
            Ok(rev) => self.desk.open(opened, rev),
            Err(fenced) => return Err(self.step_down(fenced.epoch)),
        }
        Ok(())
    }

    /// What Redis answers to no purpose, it answers again: that key is left alone, and the others are opened.
    fn not_read(&self, term: &Term, key: RateKey, error: &StoreError) -> Result<(), RpcError> {
        if error.class() != ErrorClass::Bug {
            return Err(unavailable(error));
        }
        self.leave_alone(term, key, &error.to_string());
        Ok(())
    }

    fn step_down(&self, epoch: u64) -> RpcError {
        self.desk.end("", epoch);
        refused(Refused::NotLeader(String::new()))
    }

    fn leave_alone(&self, term: &Term, key: RateKey, problem: &str) {
        tracing::error!(%key, problem, "nothing is sent: a key's state in redis can't be read");
        self.desk.unreadable(term, key, self.clock.boot());
    }
}
