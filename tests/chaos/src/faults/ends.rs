//! Processes that end or stand still: at a named command of theirs to Redis, while the provider has their requests, or at any time.

use std::time::Duration;

use anyhow::Context as _;
use paceline_testkit::Proxy;
use paceline_testkit::link::Flow;
use paceline_testkit::proxy::Moment;

use super::lasts;
use crate::site::{Ground, Site};
use crate::world::{Role, World, now};

/// Until a point is met: mail flows all the while.
const MET_MAX: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(2);
/// Requests that the provider has when their sender ends.
const OPEN: u64 = 5;

/// What happens to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// SIGKILL; it is started again.
    Kill,
    /// SIGTERM; it drains and is started again.
    Drain,
    /// SIGSTOP, and SIGCONT so long after.
    Freeze(Duration),
    /// Its connections to Redis end.
    Cut,
}

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// After so many further emails.
    After(u64),
    /// At a command of any process of its kind, while nothing else of that process gets through.
    At(Point),
    /// When the provider has taken requests of senders and answered none.
    Answering,
    /// When requests are on their way to the provider, which gets them only after.
    Unwritten,
}

/// One exact point of what a process does: everything before it is done, nothing after it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// A script's name, or a command.
    pub what: &'static str,
    /// So many of these commands pass first.
    pub skip: usize,
    pub moment: Moment,
}

impl Point {
    fn order(self, proxy: &Proxy) -> anyhow::Result<()> {
        if let Some(hash) = paceline_store::script_hash(self.what) {
            proxy.freeze(&["EVALSHA", hash], self.skip, self.moment);
            return Ok(());
        }
        let is_command = self.what.bytes().all(|byte| byte.is_ascii_uppercase());
        anyhow::ensure!(is_command, "there is no script {}", self.what);
        proxy.freeze(&[self.what], self.skip, self.moment);
        Ok(())
    }
}

/// A process's end.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub role: Role,
    /// Which one; at a point it may be any.
    pub number: usize,
    pub how: How,
    pub when: When,
}

impl End {
    pub(super) fn group(self) -> String {
        let how = match self.how {
            How::Kill => "kill -9",
            How::Drain => "SIGTERM",
            How::Freeze(_) => "SIGSTOP, SIGCONT",
            How::Cut => "connections cut",
        };
        format!("{how}: {}", self.role.binary())
    }

    pub(super) fn name(self) -> String {
        let when = match self.when {
            When::After(sent) => format!("after {sent} emails"),
            When::At(Point { what, skip, moment }) => {
                let moment = match moment {
                    Moment::Before => "before",
                    Moment::After => "after",
                };
                format!("{moment} {what} {}", skip + 1)
            }
            When::Answering => "with requests at the provider".to_owned(),
            When::Unwritten => "with requests on their way".to_owned(),
        };
        let length = match self.how {
            How::Freeze(length) => format!(" for {length:?}"),
            _ => String::new(),
        };
        format!("{} {when}{length}", self.group())
    }

    /// Points lie at a proxy, which only a single Redis has.
    pub(super) fn fits(self, ground: Ground) -> bool {
        matches!(ground, Ground::Local | Ground::Fsync)
            || !(matches!(self.when, When::At(_)) || self.how == How::Cut)
    }

    pub(super) fn arm(self, world: &World) -> anyhow::Result<()> {
        if let When::At(point) = self.when {
            for service in world.of(self.role) {
                let (_, proxy) = service.redis.as_ref().context("a proxy")?;
                point.order(proxy)?;
            }
        }
        Ok(())
    }

    pub(super) async fn strike(self, world: &mut World) -> anyhow::Result<bool> {
        let before = world.provider.stats().accepted;
        let mut numbers = vec![self.number];
        match self.when {
            When::After(sent) => world.has_sent(before, sent).await,
            When::At(_) => numbers = self.met(world).await,
            When::Answering => {
                world.provider.hold_answers();
                world.has_sent(before, OPEN).await;
            }
            When::Unwritten => {
                world.has_sent(before, OPEN).await;
                for sender in world.of(Role::Sender) {
                    sender.provider.carry(Flow::Nothing);
                }
                lasts(Duration::from_millis(300)).await;
            }
        }
        for &number in &numbers {
            self.end(world, number).await?;
        }
        self.let_go(world)?;
        if let How::Freeze(length) = self.how {
            lasts(length).await;
        }
        Ok(!numbers.is_empty())
    }

    /// Which ones have come to the point; none if it takes too long.
    async fn met(self, world: &World) -> Vec<usize> {
        let deadline = now() + MET_MAX;
        loop {
            let frozen = |proxy: &Proxy| proxy.is_frozen();
            let met: Vec<_> = world
                .of(self.role)
                .filter(|service| service.redis.as_ref().is_some_and(|(_, proxy)| frozen(proxy)))
                .map(|service| service.number)
                .collect();
            if !met.is_empty() || now() > deadline {
                return met;
            }
            lasts(LOOK).await;
        }
    }

    async fn end(self, world: &mut World, number: usize) -> anyhow::Result<()> {
        let single = match &world.site {
            Site::Single(single) => Some(single.address()),
            Site::Pair(_) | Site::Cluster(_) => None,
        };
        let service = world.service_mut(self.role, number);
        match self.how {
            How::Kill => service.kill().await,
            How::Drain => service.drain().await,
            How::Freeze(_) => service.process().freeze(),
            How::Cut => {
                let (_, proxy) = service.redis.as_ref().context("a proxy")?;
                proxy.lead_nowhere();
                proxy.redirect(single.context("a single redis")?);
                Ok(())
            }
        }
    }

    /// What was held for the sake of the point goes on, whoever hears it.
    fn let_go(self, world: &World) -> anyhow::Result<()> {
        match self.when {
            When::At(_) => {
                for service in world.of(self.role) {
                    let (_, proxy) = service.redis.as_ref().context("a proxy")?;
                    proxy.thaw();
                }
            }
            When::Answering => world.provider.release_answers(),
            When::Unwritten => {
                for sender in world.of(Role::Sender) {
                    sender.provider.carry(Flow::Both);
                }
            }
            When::After(_) => {}
        }
        Ok(())
    }

    pub(super) async fn heal(self, world: &mut World) -> anyhow::Result<()> {
        for number in 0..self.role.count() {
            let service = world.service_mut(self.role, number);
            match self.how {
                How::Kill | How::Drain if !service.runs() => service.start().await?,
                How::Freeze(_) if service.runs() => service.process().thaw()?,
                _ => {}
            }
        }
        Ok(())
    }
}
