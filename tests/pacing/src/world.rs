//! The simulated world, in milliseconds of true time, in steps of ten.

mod lead;
mod plan;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use paceline_domain::controller::invariants::{self, Broken};

pub use plan::{Design, Plan};

use crate::chance::{Chance, Clock};
use crate::checks::Checks;
use crate::coordinator::{Coordinator, Reply};
use crate::local::Local;
use crate::provider::{Outcome, Provider};
use crate::redis::{Adopted, Kept, Known, Redis, Term};
use crate::sender::{Call, Pacing, Sender};

pub const STEP_MS: u64 = 10;
const TICK_MS: u64 = 50;
const REFRESH_MS: u64 = 500;
const LOOK_MS: u64 = 500;
const REFRESH_SOON_MS: u64 = 100;
const RENEW_MS: u64 = 1_000;
const TRY_MS: u64 = 500;
const TIMEOUT_MS: u64 = 1_500;
/// Noon, UTC.
const START: Duration = Duration::from_secs(20_000 * 86_400 + 43_200);

/// What is under way.
#[derive(Debug)]
enum Message {
    Call(usize, Call),
    Leave(usize, Call),
    NotLeader(usize, usize),
    Reply(Reply),
    Cut {
        sender: usize,
        epoch: u64,
        version: u64,
        ratio: f64,
    },
    Lead {
        from: usize,
        nonce: u64,
        floor: u64,
        asked_at: Duration,
    },
    Led {
        to: usize,
        term: Option<Term>,
        asked_at: Duration,
    },
    Renew {
        from: usize,
        term: Term,
        asked_at: Duration,
    },
    Renewed {
        to: usize,
        term: Term,
        asked_at: Duration,
        kept: bool,
    },
    Adopt {
        from: usize,
        key: usize,
        term: Term,
        known: Known,
    },
    Adopted {
        to: usize,
        key: usize,
        term: Term,
        adopted: Option<Box<Adopted>>,
        wall: Duration,
    },
    Commit {
        from: usize,
        key: usize,
        kept: Rc<Kept>,
    },
    Written {
        to: usize,
        key: usize,
        term: Term,
        rev: u64,
        done: bool,
    },
    Answer {
        sender: usize,
        incarnation: [u8; 16],
        outcome: Outcome,
        version: u64,
        took: u64,
    },
}

#[derive(Debug)]
pub struct World {
    pub plan: Plan,
    pub chance: Chance,
    pub now: u64,
    pub redis: Redis,
    /// What Redis's wall clock is off by, in seconds.
    pub wall_jump: i64,
    pub coordinators: Vec<Coordinator>,
    pub senders: Vec<Sender>,
    pub provider: Provider,
    messages: BTreeMap<(u64, u64), Message>,
    message_count: u64,
    incarnations: u64,
    pub faults: bool,
    pub next_fault: u64,
    pub checks: Checks,
    /// What was sent in each step, and accepted of it.
    pub sends: Vec<(u32, u32)>,
    /// Sent at safe rates.
    pub sent_safe: u64,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut chance = Chance(seed);
        let coordinators = if plan.design == Design::Coordinated { 2 } else { 0 };
        let coordinators = (0..coordinators)
            .map(|index| {
                let clock = Clock::new(&mut chance);
                Coordinator::new(clock, chance.any(), index * 250)
            })
            .collect();
        let mut world = Self {
            provider: Provider::new(plan.provider),
            chance,
            now: 0,
            redis: Redis::default(),
            wall_jump: 0,
            coordinators,
            senders: Vec::new(),
            messages: BTreeMap::new(),
            message_count: 0,
            incarnations: 0,
            faults: false,
            next_fault: 1_000,
            checks: Checks::new(plan.identities, plan.account),
            sends: Vec::new(),
            sent_safe: 0,
            plan,
        };
        for (index, wants) in world.plan.wants.clone().into_iter().enumerate() {
            let sender = world.join(index % world.plan.identities, wants);
            world.senders.push(sender);
        }
        world
    }

    /// Lets `ms` pass and looks at the invariants after each step.
    ///
    /// # Errors
    /// What is broken, and when.
    pub fn run(&mut self, ms: u64) -> Result<(), String> {
        let end = self.now + ms;
        while self.now < end {
            self.now += STEP_MS;
            self.step()
                .map_err(|broken| format!("{broken}, at {} ms", self.now))?;
        }
        Ok(())
    }

    pub fn join(&mut self, identity: usize, wants: f64) -> Sender {
        self.incarnations += 1;
        let next_ask = self.now + self.chance.below(REFRESH_MS);
        let start = self.plan.settings.limits.start;
        let local = match self.plan.design {
            Design::Coordinated => None,
            Design::EachAnswer => Some(Local::each_answer(start)),
            Design::Cubic => Some(Local::cubic(start)),
        };
        Sender::new(
            (self.incarnations, identity),
            wants,
            next_ask,
            local,
            &mut self.chance,
            self.now,
        )
    }

    /// The sender leaves, with a word or without, and another comes.
    pub fn replace(&mut self, index: usize, with_a_word: bool) {
        if with_a_word {
            let now = self.now;
            let sender = &mut self.senders[index];
            let asks = sender.asks;
            if let Some(call) = sender.call(index, now) {
                let at = sender.clock.at(now);
                if let Pacing::Lease(lease) = &mut sender.pacing {
                    lease.drop_now(at);
                }
                self.say(index, Message::Leave(asks, call));
            }
        }
        let (identity, wants) = (self.senders[index].identity, self.senders[index].wants);
        self.senders[index] = self.join(identity, wants);
    }

    /// The coordinator whose lead lasts and whose writes Redis takes, of every key.
    pub fn leader(&self) -> Option<usize> {
        self.coordinators.iter().position(|it| {
            let lasts = it.lead.as_ref().is_some_and(|lead| {
                let is_its = |key| lead.keys.contains_key(&key) && self.redis.owner(key) == Some(lead.term);
                it.clock.at(self.now) < lead.until && (0..self.plan.identities).all(is_its)
            });
            lasts && self.now >= it.dead_until
        })
    }

    fn step(&mut self) -> Result<(), Broken> {
        while let Some(message) = self.messages.first_entry() {
            let (due, count) = *message.key();
            if due > self.now {
                break;
            }
            let message = message.remove();
            match self.waits_until(&message) {
                Some(until) => {
                    self.messages.insert((until, count), message);
                }
                None => self.take(message)?,
            }
        }
        self.provider.fill(self.now, &mut self.chance);
        if self.faults {
            self.upset();
        }
        self.redis.replicate(self.now);
        for index in 0..self.coordinators.len() {
            self.coordinate(index);
        }
        let mut sent = (0, 0);
        let mut of_each = vec![0; self.plan.identities];
        // Nobody is always the first at the provider.
        let all = self.senders.len();
        let first = self.chance.below(all.max(1) as u64) as usize;
        for index in (first..all).chain(0..first) {
            let (n, accepted) = self.spend(index);
            sent = (sent.0 + n, sent.1 + accepted);
            of_each[self.senders[index].identity] += n;
        }
        self.sends.push(sent);
        if self.plan.design == Design::Coordinated {
            self.check(&of_each)?;
        }
        Ok(())
    }

    /// What a frozen process is told it hears when it goes on.
    fn waits_until(&self, message: &Message) -> Option<u64> {
        let until = match message {
            Message::Call(to, _)
            | Message::Leave(to, _)
            | Message::Led { to, .. }
            | Message::Renewed { to, .. }
            | Message::Adopted { to, .. }
            | Message::Written { to, .. } => self.coordinators[*to].frozen_until,
            Message::Reply(Reply { index: sender, .. })
            | Message::NotLeader(sender, _)
            | Message::Cut { sender, .. }
            | Message::Answer { sender, .. } => self.senders[*sender].frozen_until,
            _ => 0,
        };
        (until > self.now).then_some(until)
    }

    fn spend(&mut self, index: usize) -> (u32, u32) {
        let sender = &mut self.senders[index];
        if self.now < sender.frozen_until {
            return (0, 0);
        }
        if self.now.is_multiple_of(LOOK_MS) && !self.redis.is_down(self.now) {
            sender.look(self.redis.version(sender.identity), self.now);
        }
        let n = sender.take(STEP_MS, self.now, &mut self.chance);
        if sender.is_safe(self.now) {
            self.sent_safe += u64::from(n);
        }
        let version = sender.version();
        let incarnation = sender.id.0;
        if self.now >= sender.next_ask {
            sender.next_ask = self.now + REFRESH_MS;
            if !sender.answered && !self.coordinators.is_empty() {
                sender.asks = (sender.asks + 1) % self.coordinators.len();
            }
            sender.answered = false;
            let asks = sender.asks;
            if let Some(call) = sender.call(index, self.now) {
                self.say(index, Message::Call(asks, call));
            }
        }
        if n == 0 {
            return (0, 0);
        }
        let outcome = self.provider.send(n, &mut self.chance);
        let latency = self.provider.latency(outcome, &mut self.chance);
        let answer = Message::Answer {
            sender: index,
            incarnation,
            outcome,
            version,
            took: latency,
        };
        self.post(latency, answer);
        (n, outcome.accepted)
    }

    fn take(&mut self, message: Message) -> Result<(), Broken> {
        let now = self.now;
        match message {
            Message::Call(to, call) => {
                let it = &mut self.coordinators[to];
                if now < it.dead_until {
                    return Ok(());
                }
                if let Some(over) = it.meet_epoch(call.ask.has_epoch) {
                    self.redis.resign(over);
                }
                let it = &mut self.coordinators[to];
                let epoch = it.lead(now).map(|lead| lead.term.epoch);
                match (epoch, it.key(call.identity, now)) {
                    (Some(epoch), Some((key, at))) => key.call(&call, epoch, at),
                    (Some(_), None) => {}
                    (None, _) => self.tell(call.index, Message::NotLeader(call.index, to)),
                }
            }
            Message::Leave(to, call) => {
                if now >= self.coordinators[to].dead_until
                    && let Some((key, at)) = self.coordinators[to].key(call.identity, now)
                {
                    key.leave(&call, at);
                }
            }
            Message::NotLeader(sender, from) => {
                let it = &mut self.senders[sender];
                if it.asks == from {
                    it.asks = (from + 1) % self.coordinators.len();
                    it.answered = true;
                    it.next_ask = it.next_ask.min(now + REFRESH_SOON_MS);
                }
            }
            Message::Reply(reply) => self.renew(&reply)?,
            Message::Cut {
                sender,
                epoch,
                version,
                ratio,
            } => self.cut(sender, epoch, version, ratio)?,
            Message::Answer {
                sender,
                incarnation,
                outcome,
                version,
                took,
            } => {
                let it = &mut self.senders[sender];
                if it.id.0 == incarnation {
                    it.answered(outcome, version, took, now);
                }
            }
            of_redis => self.take_of_redis(of_redis)?,
        }
        Ok(())
    }

    fn renew(&mut self, reply: &Reply) -> Result<(), Broken> {
        let now = self.now;
        let sender = &mut self.senders[reply.index];
        if sender.id != reply.id {
            return Ok(());
        }
        let at = sender.clock.at(now);
        let Pacing::Lease(lease) = &mut sender.pacing else {
            return Ok(());
        };
        if lease.renew(&reply.grant, reply.asked_at, at).is_err() {
            return Ok(());
        }
        sender.answered = true;
        if !reply.settled {
            sender.next_ask = now + REFRESH_SOON_MS;
        }
        let accepted = (reply.grant.epoch, reply.grant.version);
        let before = std::mem::replace(&mut sender.accepted_lease, accepted);
        invariants::never_older([before, accepted])
    }

    fn cut(&mut self, sender: usize, epoch: u64, version: u64, ratio: f64) -> Result<(), Broken> {
        let sender = &mut self.senders[sender];
        let before = sender.held(self.now);
        let at = sender.clock.at(self.now);
        if let Pacing::Lease(lease) = &mut sender.pacing
            && lease.cut(epoch, version, ratio, at)
        {
            sender.accepted_lease = (epoch, version);
        }
        invariants::push_only_lowers(before, sender.held(self.now))
    }

    /// Between senders and coordinators messages get lost, doubled, late.
    fn say(&mut self, sender: usize, message: Message) {
        if self.now < self.senders[sender].mute_until || self.is_lost() {
            return;
        }
        if self.plan.bad_network && self.faults && self.chance.once_in(20) {
            let again = match &message {
                Message::Call(to, call) => Some(Message::Call(*to, call.clone())),
                _ => None,
            };
            if let Some(again) = again {
                let delay = self.delay();
                self.post(delay, again);
            }
        }
        let delay = self.delay();
        self.post(delay, message);
    }

    fn tell(&mut self, sender: usize, message: Message) {
        if self.now < self.senders[sender].deaf_until || self.is_lost() {
            return;
        }
        if self.plan.bad_network && self.faults && self.chance.once_in(20) {
            let again = match &message {
                Message::Reply(reply) => Some(Message::Reply(reply.clone())),
                Message::Cut {
                    sender,
                    epoch,
                    version,
                    ratio,
                } => Some(Message::Cut {
                    sender: *sender,
                    epoch: *epoch,
                    version: *version,
                    ratio: *ratio,
                }),
                _ => None,
            };
            if let Some(again) = again {
                let delay = self.delay();
                self.post(delay, again);
            }
        }
        let delay = self.delay();
        self.post(delay, message);
    }

    fn is_lost(&mut self) -> bool {
        self.plan.bad_network && self.faults && self.chance.once_in(15)
    }

    fn delay(&mut self) -> u64 {
        let late = self.plan.bad_network && self.faults && self.chance.once_in(12);
        1 + self.chance.below(if late { 1_500 } else { 30 })
    }

    fn post(&mut self, delay: u64, message: Message) {
        self.message_count += 1;
        self.messages
            .insert((self.now + delay, self.message_count), message);
    }
}
