//! The handle that services hold, and what its operations share.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fred::error::Error;
use fred::interfaces::{ClientLike, StreamsInterface};
use fred::types::{Key, Value};

use crate::batch::{self, Batch};
use crate::connections::{ConnectionUse, Connections};
use crate::durability::{Durability, Wait};
use crate::hints::Hints;
use crate::keys::{Keys, StreamKey};
use crate::link::{CLOSE_MAX, Link};
use crate::script::{self, Script};
use crate::tasks::Tasks;
use crate::waits::{self, Origin, Settled, Waits};
use crate::{Change, LogMode, StoreConfig, StoreError, connect, log_mode};

/// How often a script is run because its server was replaced before what it wrote was kept.
const RUNS_MAX: u32 = 5;
/// Before the second run, and each time as much longer: the clients need a moment to find the new primary.
const PAUSE_BETWEEN_RUNS: Duration = Duration::from_millis(50);

/// The connection to Redis. Clones share it: three connections for a process and node (commands, reads of streams, hints), and a
/// fourth where writes are waited for.
#[derive(Clone)]
pub struct Store {
    pub(crate) commands: Link,
    /// Large answers, on a connection of their own, so that no result waits behind them.
    pub(crate) reader: Link,
    pub(crate) hints: Hints,
    pub(crate) keys: Keys,
    log: LogMode,
    log_entries_max: u64,
    /// Streams that are known to have their group.
    known: Arc<Mutex<HashSet<(u16, StreamKey)>>>,
    pub(crate) guard: connect::Guard,
    tasks: Tasks,
    waits: Waits,
    #[cfg(feature = "test-util")]
    time: Option<Arc<std::sync::atomic::AtomicU64>>,
}

impl Store {
    /// Connects and checks that Redis keeps what it acknowledges, and that its number of shards is ours.
    ///
    /// # Errors
    /// If Redis is not there, or names the setting that could lose mail.
    pub async fn connect(config: &StoreConfig) -> Result<Self, StoreError> {
        if config.shards == 0 {
            return Err(StoreError::Misconfigured {
                setting: "redis.shards",
                found: "0".to_owned(),
                remedy: "set it to at least 1".to_owned(),
            });
        }
        let connections = Connections::default();
        let commands = Link::open(config, None, &connections, ConnectionUse::Commands).await?;
        let tasks = Tasks::new();
        // Large, and part of every service's start.
        let guard = Box::pin(connect::Guard::new(&commands, config, &tasks)).await?;
        connect::check_shards(&commands, config.shards).await?;
        log_mode::check(&commands, config).await?;
        Ok(Self {
            reader: Link::open(config, None, &connections, ConnectionUse::Reads).await?,
            hints: Hints::open(config, commands.clone(), &tasks).await?,
            commands,
            keys: Keys::new(config.shards),
            log: config.log.mode,
            log_entries_max: config.log_entries_max,
            known: Arc::default(),
            guard,
            tasks,
            waits: Waits::new(config, connections),
            #[cfg(feature = "test-util")]
            time: None,
        })
    }

    /// The same store with a clock that a test moves, in place of Redis's `TIME`.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn with_time(mut self, time: Arc<std::sync::atomic::AtomicU64>) -> Self {
        self.time = Some(time);
        self
    }

    /// The connections of this store; [`Connections`] says how many there may be.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.commands.connections().clone()
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.keys.shards()
    }

    /// What becomes of the logs.
    #[must_use]
    pub const fn log_mode(&self) -> LogMode {
        self.log
    }

    /// Asks Redis for a sign of life.
    ///
    /// # Errors
    /// If none comes in time.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.guard.check()?;
        self.commands
            .ask(self.commands.client().ping::<Value>(None))
            .await?;
        Ok(())
    }

    /// True while the connection stands and Redis's settings are safe.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.commands.client().is_connected() && self.guard.check().is_ok()
    }

    /// True if what is written can be kept at this level: the nodes' settings allow for it.
    #[must_use]
    pub fn reaches(&self, level: Durability) -> bool {
        self.guard.wait(level).is_ok()
    }

    /// Waits until a task of the store's own is gone that should be there, by a fault of ours. Of the store nothing may be expected
    /// then: it is for its holder to end.
    pub async fn task_gone(&self) {
        self.tasks.gone().await;
    }

    /// Has a task of the store's own panic.
    #[cfg(feature = "test-util")]
    pub fn break_task(&self) {
        self.tasks.spawn("broken", async { panic!("as the test wishes") });
    }

    /// Ends the connections once what is under way is answered.
    pub async fn close(&self) {
        self.tasks.close();
        self.hints.close().await;
        for link in [&self.reader, &self.commands] {
            link.close(CLOSE_MAX).await;
        }
    }

    /// The time for a script: empty for Redis's own.
    pub(crate) fn now(&self) -> Value {
        #[cfg(feature = "test-util")]
        if let Some(time) = &self.time {
            return batch::number(time.load(std::sync::atomic::Ordering::SeqCst));
        }
        Value::from_static_str("")
    }

    /// The bound of a log for a script: empty where only what was copied is cut off.
    fn log_bound(&self) -> Value {
        match self.log {
            LogMode::Ring => batch::number(self.log_entries_max),
            LogMode::Ledger => Value::from_static_str(""),
        }
    }

    /// The time that a test has set in place of Redis's.
    pub(crate) fn overridden_time(&self) -> Option<paceline_domain::time::Millis> {
        #[cfg(feature = "test-util")]
        return self
            .time
            .as_ref()
            .map(|time| paceline_domain::time::Millis(time.load(std::sync::atomic::Ordering::SeqCst)));
        #[cfg(not(feature = "test-util"))]
        None
    }

    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: Vec<Key>,
        args: Vec<Value>,
    ) -> Result<Value, StoreError> {
        self.check_safe()?;
        self.commands.run(script, keys, args).await
    }

    /// Before every plain command that writes or delivers, as before every script: on an unsafe Redis a part that is done
    /// while the rest is refused would be done again and again.
    ///
    /// # Errors
    /// The setting that makes Redis unsafe.
    pub(crate) fn check_safe(&self) -> Result<(), StoreError> {
        self.guard.check()
    }

    /// Runs a script on a batch of records. Its effects are not waited for: if they are lost, what led to them is still
    /// there, and they are made again.
    pub(crate) async fn run_batch(
        &self,
        script: &Script,
        shard: u16,
        batch: Batch,
    ) -> Result<Vec<(String, bytes::Bytes)>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let expected = batch.len();
        let (keys, args) = batch.finish(&self.keys, shard, self.now(), self.log_bound(), false)?;
        Ok(batch::answers(self.run(script, keys, args).await?, expected)?.0)
    }

    /// Runs a script on a batch of records and waits until what it wrote is kept, at the deployment's level or at the one
    /// that is asked for, whichever is more. What was written on a server that others have replaced since is written again.
    pub(crate) async fn keep_batch(
        &self,
        script: &Script,
        shard: u16,
        batch: Batch,
        asked: Durability,
    ) -> Result<Vec<(String, bytes::Bytes)>, StoreError> {
        let wait = self.guard.wait(asked)?;
        if batch.is_empty() || wait == Wait::Nothing {
            return self.run_batch(script, shard, batch).await;
        }
        let expected = batch.len();
        let call = batch.finish(&self.keys, shard, self.now(), self.log_bound(), true)?;
        let place = (self.keys.slot(shard), self.keys.wait(shard));
        self.keep(script, call, expected, place, wait).await
    }

    /// Runs a script that answers for each of `expected` items, and waits until what it wrote is kept. `place` is the slot of its keys
    /// and the key in it that a wait begins with. The last argument is "origin", unless nothing is waited for.
    pub(crate) async fn keep(
        &self,
        script: &Script,
        (keys, args): (Vec<Key>, Vec<Value>),
        expected: usize,
        (slot, mark): (u16, Key),
        wait: Wait,
    ) -> Result<Vec<batch::Answer>, StoreError> {
        let mut before: Option<Vec<batch::Answer>> = None;
        for run in 0..RUNS_MAX {
            tokio::time::sleep(PAUSE_BETWEEN_RUNS * run).await;
            let answer = match self.run(script, keys.clone(), args.clone()).await {
                // Whatever the next server says of itself, the one before has done it, and others may have it from there.
                Err(error) if before.is_some() => return Err(StoreError::unavailable(error.to_string())),
                answer => answer?,
            };
            let (answers, origin) = batch::answers(answer, expected)?;
            if wait == Wait::Nothing {
                return Ok(answers);
            }
            let answers = match before.take() {
                Some(before) => batch::repeated(before, answers),
                None => answers,
            };
            let origin = origin.ok_or_else(|| StoreError::bug("a script does not say where it ran"))?;
            let node = waits::node_of(&self.commands.client(), slot);
            let settled = self.waits.settle(node, mark.clone(), origin, wait).await;
            match settled? {
                Settled::Durable => return Ok(answers),
                Settled::Elsewhere => {
                    tracing::warn!(
                        script = script.name,
                        "redis is another one than before, writing again"
                    );
                    before = Some(answers);
                }
            }
        }
        Err(StoreError::unavailable("redis changes its primary over and over"))
    }

    /// Where logs are read from, and what is to be waited for; `None` where nothing is.
    pub(crate) async fn place(&self, shard: u16) -> Result<Option<(Origin, Wait)>, StoreError> {
        let wait = self.guard.wait(Durability::Local)?;
        if wait == Wait::Nothing {
            return Ok(None);
        }
        let answer = self
            .reader
            .run(&script::ORIGIN, vec![self.keys.wait(shard)], Vec::new());
        let (_, origin) = batch::answers(answer.await?, 0)?;
        Ok(origin.map(|origin| (origin, wait)))
    }

    /// Waits until what was read at `place` is kept there.
    pub(crate) async fn kept(
        &self,
        shard: u16,
        place: Option<(Origin, Wait)>,
        is_nothing: bool,
    ) -> Result<(), StoreError> {
        let Some((origin, wait)) = place.filter(|_| !is_nothing) else {
            return Ok(());
        };
        let node = waits::node_of(&self.commands.client(), self.keys.slot(shard));
        match self
            .waits
            .settle(node, self.keys.wait(shard), origin, wait)
            .await?
        {
            Settled::Durable => Ok(()),
            Settled::Elsewhere => Err(StoreError::unavailable(
                "redis is another one than the log was read from",
            )),
        }
    }

    /// As [`Store::keep_batch`], for a script that answers with changes.
    pub(crate) async fn keep_changes(
        &self,
        script: &Script,
        shard: u16,
        batch: Batch,
    ) -> Result<Vec<Change>, StoreError> {
        let answers = self.keep_batch(script, shard, batch, Durability::Local).await?;
        answers.into_iter().map(batch::change).collect()
    }

    /// As [`Store::run_batch`], for a script that answers with changes.
    pub(crate) async fn change_batch(
        &self,
        script: &Script,
        shard: u16,
        batch: Batch,
    ) -> Result<Vec<Change>, StoreError> {
        let answers = self.run_batch(script, shard, batch).await?;
        answers.into_iter().map(batch::change).collect()
    }

    /// Makes sure that the streams have their group, which starts with their first entry.
    ///
    /// At OOM no group can be made, but a message that is there already must be able to move: the reader makes the group
    /// then. So only `strict` callers, those that bring new messages, fail.
    pub(crate) async fn ensure_groups(
        &self,
        shard: u16,
        streams: &[StreamKey],
        strict: bool,
    ) -> Result<(), StoreError> {
        for stream in streams {
            if self.knows(shard, stream) {
                continue;
            }
            match self.create_group(shard, stream).await {
                Ok(()) => self.remember(shard, stream),
                Err(StoreError::OutOfMemory) if !strict => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes the group of a stream, and the stream.
    pub(crate) async fn create_group(&self, shard: u16, stream: &StreamKey) -> Result<(), StoreError> {
        self.check_safe()?;
        let client = self.commands.client();
        let create = client.xgroup_create::<(), _, _, _>(
            self.keys.stream(shard, stream),
            stream.stage.group(),
            "0",
            true,
        );
        match self.commands.ask(create).await {
            Err(error) if !is_code(&error, "BUSYGROUP") => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn knows(&self, shard: u16, stream: &StreamKey) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&(shard, stream.clone()))
    }

    fn remember(&self, shard: u16, stream: &StreamKey) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((shard, stream.clone()));
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("shards", &self.shards())
            .field("connected", &self.connected())
            .finish_non_exhaustive()
    }
}

/// True if Redis's error starts with this code.
pub(crate) fn is_code(error: &Error, code: &str) -> bool {
    error.details().starts_with(code)
}
