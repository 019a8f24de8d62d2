//! The simulated world, in milliseconds of true time, in steps of ten.

use std::collections::BTreeMap;
use std::time::Duration;

use paceline_domain::aimd::{Limits, Meter, Mode};
use paceline_domain::controller::breaker::{Standing, Transition};
use paceline_domain::controller::invariants::{self, Broken, Passed};
use paceline_domain::controller::journal::{Entry, replay};
use paceline_domain::controller::overrides::{Action, Override};
use paceline_domain::controller::quota::DailySend;
use paceline_domain::controller::warm_up::Overflow;
use paceline_domain::controller::{Controller, Decision, Event, LimitedBy, Settings, Tick, bounces};
use paceline_domain::gcra::burst_of;
use paceline_domain::lease::{Books, Grant, HolderId, Request, TTL, in_books};

use crate::provider::{Chance, Provider};
use crate::sender::{Call, Sender};

const STEP_MS: u64 = 10;
const TICK_MS: u64 = 100;
const REFRESH_MS: u64 = 500;
const REFRESH_SOON_MS: u64 = 100;
/// Noon, UTC, so that a run has one day.
const START: Duration = Duration::from_secs(20_000 * 86_400 + 43_200);

struct Leader {
    controller: Controller,
    books: Books,
    meter: Meter,
    accepted: BTreeMap<HolderId, u64>,
    epoch: u64,
    alive: bool,
}

enum Message {
    Call(Call),
    Answer {
        id: HolderId,
        asked_at: Duration,
        grant: Grant,
        settled: bool,
    },
    Leave(Call),
    /// A broadcast of a cut, to the sender of this place.
    Cut {
        sender: usize,
        epoch: u64,
        version: u64,
        ratio: f64,
    },
}

pub(crate) struct World {
    chance: Chance,
    now: u64,
    settings: Settings,
    leader: Leader,
    /// What the leader has written before it answered.
    saved: Controller,
    pub(crate) senders: Vec<Sender>,
    pub(crate) provider: Provider,
    messages: BTreeMap<(u64, u64), Message>,
    message_count: u64,
    incarnations: u64,
    leader_until: u64,
    next_leader: Option<u64>,
    next_upset: u64,
    pub(crate) journal: Vec<Entry>,
    sent: Vec<(Duration, u64)>,
    /// When each rate came into force.
    rates: Vec<(u64, f64)>,
    /// Since when nothing may go, by a pause or an open breaker.
    stopped_at: Option<u64>,
    probed: u64,
    pub(crate) half_opened: u32,
    /// What came of broadcasts since the last step.
    pushes: Vec<Result<(), Broken>>,
    passed: Passed,
    faults: bool,
}

impl World {
    pub(crate) fn new(seed: u64, senders: usize, daily: DailySend) -> Self {
        let settings = Settings {
            limits: Limits {
                mode: Mode::Adaptive,
                start: 200.0,
                floor: 10.0,
                ceiling: 1_000.0,
                max_send_rate: None,
                cut_on_errors: true,
                feedback: Duration::ZERO,
            },
            daily,
            resume: bounces::Resume::ByHand,
            breaker: true,
            route_back_after: Duration::from_secs(60),
        };
        let controller = Controller::new(settings, None, START);
        let rate = controller.in_force().rate;
        let mut world = Self {
            chance: Chance(seed),
            now: 0,
            settings,
            leader: Leader {
                books: Books::new(rate, START),
                meter: Meter::default(),
                accepted: BTreeMap::new(),
                epoch: 1,
                alive: true,
                controller: controller.clone(),
            },
            saved: controller.clone(),
            senders: Vec::new(),
            provider: Provider::new(400.0),
            messages: BTreeMap::new(),
            message_count: 0,
            incarnations: 0,
            leader_until: 5_000,
            next_leader: None,
            next_upset: 1_000,
            journal: vec![Entry::Opened(Box::new(controller))],
            sent: Vec::new(),
            rates: vec![(0, rate)],
            stopped_at: None,
            probed: 0,
            half_opened: 0,
            pushes: Vec::new(),
            passed: Passed::default(),
            faults: true,
        };
        for _ in 0..senders {
            let sender = world.join();
            world.senders.push(sender);
        }
        world
    }

    /// Lets `ms` pass and looks at the invariants after each step.
    pub(crate) fn run(&mut self, ms: u64, faults: bool) -> Result<(), String> {
        self.faults = faults;
        let end = self.now + ms;
        while self.now < end {
            self.now += STEP_MS;
            self.step();
            self.check()
                .map_err(|broken| format!("{broken}, at {}", self.now))?;
        }
        Ok(())
    }

    pub(crate) fn warm_up(&mut self, overflow: Overflow) {
        self.decide(Event::WarmUp(overflow));
        self.saved = self.leader.controller.clone();
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.iter().map(|(_, n)| n).sum()
    }

    pub(crate) fn check_replay(&self) -> Result<(), String> {
        let text = serde_json::to_string(&self.journal).map_err(|error| error.to_string())?;
        let journal: Vec<Entry> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let replayed = replay(&journal).map_err(|error| error.to_string())?;
        if self.leader.alive {
            invariants::replays(&self.leader.controller, &replayed).map_err(|broken| broken.to_string())?;
        }
        Ok(())
    }

    fn step(&mut self) {
        while let Some(message) = self.messages.first_entry() {
            if message.key().0 > self.now {
                break;
            }
            match message.remove() {
                Message::Call(call) => self.answer(&call),
                Message::Answer {
                    id,
                    asked_at,
                    grant,
                    settled,
                } => self.renew(id, asked_at, &grant, settled),
                Message::Leave(call) => self.part(&call),
                Message::Cut {
                    sender,
                    epoch,
                    version,
                    ratio,
                } => {
                    let (it, now) = (&mut self.senders[sender], Sender::time(self.now));
                    let before = it.lease.rate(now);
                    it.lease.cut(epoch, version, ratio, now);
                    self.pushes
                        .push(invariants::push_only_lowers(before, it.lease.rate(now)));
                }
            }
        }
        if self.now.is_multiple_of(TICK_MS) {
            self.tick();
        }
        if self.faults {
            self.upset();
        }
        self.change_leader();
        for index in 0..self.senders.len() {
            let sender = &mut self.senders[index];
            let spent = sender.spend(&mut self.provider, &mut self.chance, self.now);
            if spent > 0 {
                self.sent.push((START + Duration::from_millis(self.now), spent));
                self.probed += spent;
            }
            if self.now >= self.senders[index].next_ask {
                self.senders[index].next_ask = self.now + REFRESH_MS;
                let call = self.senders[index].ask(self.now);
                self.send(index, Message::Call(call));
            }
        }
    }

    /// Tells the controller, keeps the journal, and brings the books up to date.
    fn decide(&mut self, event: Event) -> Vec<Decision> {
        let at = START + Duration::from_millis(self.now);
        let leader = &mut self.leader;
        let decisions = leader.controller.step(&event, at);
        self.journal.push(Entry::Happened { at, event });
        let in_force = leader.controller.in_force();
        leader.books.set_rate(in_force.rate);
        if self
            .rates
            .last()
            .is_none_or(|(_, last)| last.to_bits() != in_force.rate.to_bits())
        {
            self.rates.push((self.now, in_force.rate));
        }
        let stops =
            matches!(in_force.by, LimitedBy::Paused) || leader.controller.standing() == Standing::Open;
        self.stopped_at = stops.then(|| self.stopped_at.unwrap_or(self.now));
        for decision in &decisions {
            match *decision {
                Decision::Breaker(Transition::HalfOpened) => {
                    self.half_opened += 1;
                    self.probed = 0;
                }
                Decision::Rate {
                    from, to, version, ..
                } if to < from => self.push(version, to / from),
                _ => {}
            }
        }
        decisions
    }

    fn push(&mut self, version: u64, ratio: f64) {
        let epoch = self.leader.epoch;
        for sender in 0..self.senders.len() {
            let cut = Message::Cut {
                sender,
                epoch,
                version,
                ratio,
            };
            self.send(sender, cut);
        }
    }

    fn tick(&mut self) {
        if !self.leader.alive {
            return;
        }
        let at = START + Duration::from_millis(self.now);
        self.leader.books.expire(at);
        let measured = self.leader.meter.measured(at);
        let random = self.chance.part();
        let taken = Some(self.leader.meter.taken());
        self.decide(Event::Tick(Tick {
            measured,
            taken,
            random,
            ..Tick::default()
        }));
    }

    fn answer(&mut self, call: &Call) {
        let at = START + Duration::from_millis(self.now);
        let known = self.leader.books.sequence(call.id);
        if !self.leader.alive || known.is_some_and(|last| call.sequence <= last) {
            return;
        }
        let asked = self.asked(call);
        self.decide(Event::Asked(asked));
        let leader = &mut self.leader;
        let wants = if leader.controller.admits(call.id) {
            call.wants
        } else {
            0.0
        };
        let request = Request {
            sequence: call.sequence,
            wants,
            has: call.ask.has_rate,
            has_safe: 0.0,
            keeps: false,
        };
        let Some(granted) = leader.books.refresh(call.id, &request, at) else {
            return;
        };
        let leased = Event::Leased {
            holder: call.id,
            rate: granted.rate,
        };
        let decisions = self.decide(leased);
        let allowance = decisions.iter().find_map(|it| match it {
            Decision::Granted { allowance, .. } => Some(*allowance),
            _ => None,
        });
        // Written before it is said.
        self.saved = self.leader.controller.clone();
        let grant = Grant {
            epoch: self.leader.epoch,
            version: self.leader.controller.version(),
            rate: granted.rate,
            burst: granted.burst,
            ttl: TTL,
            granted_total: allowance.flatten().map(|allowance| allowance.granted_total),
            safe_rate: 0.0,
            safe_ttl: Duration::ZERO,
        };
        let Some(index) = self.senders.iter().position(|sender| sender.id == call.id) else {
            return;
        };
        let answer = Message::Answer {
            id: call.id,
            asked_at: call.ask.at,
            grant,
            settled: granted.settled,
        };
        self.send(index, answer);
    }

    fn asked(&mut self, call: &Call) -> paceline_domain::controller::Asked {
        let at = START + Duration::from_millis(self.now);
        let leader = &mut self.leader;
        let delta = leader.meter.report(call.id, call.totals.clone(), at);
        let before = leader.accepted.insert(call.id, call.accepted);
        let accepted = call.accepted.saturating_sub(before.unwrap_or(call.accepted));
        call.asked(delta, accepted)
    }

    fn renew(&mut self, id: HolderId, asked_at: Duration, grant: &Grant, settled: bool) {
        let now = self.now;
        let Some(sender) = self.senders.iter_mut().find(|sender| sender.id == id) else {
            return;
        };
        let taken = sender.lease.renew(grant, asked_at, Sender::time(now));
        if taken.is_ok() && !settled {
            sender.next_ask = now + REFRESH_SOON_MS;
        }
    }

    fn part(&mut self, call: &Call) {
        if !self.leader.alive {
            return;
        }
        let asked = self.asked(call);
        let left = Event::Left {
            holder: call.id,
            counts: asked.counts,
            said: asked.said,
        };
        self.decide(left);
        self.leader.books.release(call.id);
        self.leader.meter.forget(call.id);
        self.saved = self.leader.controller.clone();
    }

    /// Puts a message on its way: lost or late, as it goes.
    fn send(&mut self, sender: usize, message: Message) {
        let lost = self.faults && self.chance.below(10) == 0;
        if lost || self.senders[sender].cut_off_until > self.now {
            return;
        }
        let late = self.faults && self.chance.below(10) == 0;
        let delay = 1 + self.chance.below(if late { 1_500 } else { 30 });
        self.message_count += 1;
        self.messages
            .insert((self.now + delay, self.message_count), message);
    }

    fn change_leader(&mut self) {
        if self.faults && self.leader.alive && self.now >= self.leader_until {
            self.leader.alive = false;
            self.next_leader = Some(self.now + self.chance.below(4_000));
        }
        if self.next_leader.is_none_or(|at| self.now < at) {
            return;
        }
        self.next_leader = None;
        self.leader_until = self.now + 2_000 + self.chance.below(15_000);
        let at = START + Duration::from_millis(self.now);
        let controller = self.saved.clone().reopened(self.settings, at);
        self.journal.push(Entry::Opened(Box::new(controller.clone())));
        let rate = controller.in_force().rate;
        self.rates.push((self.now, rate));
        self.leader = Leader {
            books: Books::new(rate, at),
            meter: Meter::default(),
            accepted: BTreeMap::new(),
            epoch: self.leader.epoch + 1,
            alive: true,
            controller,
        };
    }

    /// Something happens to a sender, the provider, or by hand.
    fn upset(&mut self) {
        if self.now < self.next_upset {
            return;
        }
        self.next_upset = self.now + 200 + self.chance.below(2_000);
        let sender = self.chance.below(self.senders.len() as u64) as usize;
        match self.chance.below(10) {
            0 => self.senders[sender] = self.join(),
            1 => {
                let now = self.now;
                let call = self.senders[sender].ask(now);
                self.senders[sender].lease.drop_now(Sender::time(now));
                self.send(sender, Message::Leave(call));
                self.senders[sender] = self.join();
            }
            2 | 3 => self.senders[sender].cut_off_until = self.now + self.chance.below(5_000),
            4 => self.provider.limit = 20.0 + self.chance.below(600) as f64,
            5 => self.provider.down = true,
            6 | 7 => self.provider.down = false,
            8 if self.leader.alive => {
                let until = START + Duration::from_millis(self.now + 1_000 + self.chance.below(6_000));
                let action = match self.chance.below(3) {
                    0 => Action::Pause,
                    1 => Action::Resume,
                    _ => Action::Cap {
                        rate: 1.0 + self.chance.below(300) as f64,
                    },
                };
                let (who, why) = ("ops".to_owned(), "a test".to_owned());
                self.decide(Event::Set(Override {
                    action,
                    who,
                    why,
                    until,
                }));
                self.saved = self.leader.controller.clone();
            }
            _ => self.senders[sender].wants = self.chance.below(300) as f64,
        }
    }

    fn join(&mut self) -> Sender {
        self.incarnations += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.incarnations.to_be_bytes());
        let (wants, wait) = (self.chance.below(300) as f64, self.chance.below(500));
        Sender::new(HolderId(id), wants, self.now + wait)
    }

    fn check(&mut self) -> Result<(), Broken> {
        self.pushes.drain(..).collect::<Result<(), Broken>>()?;
        let time = Sender::time(self.now);
        let held: f64 = self.senders.iter().map(|sender| sender.lease.rate(time)).sum();
        let lives = in_books(TTL).as_millis() as u64;
        let horizon = self.now.saturating_sub(lives);
        let first = self.rates.iter().rposition(|(at, _)| *at <= horizon).unwrap_or(0);
        let in_force = self.rates[first..].iter().map(|(_, rate)| *rate);
        let allowed = in_force.fold(0.0, f64::max);
        let at = START + Duration::from_millis(self.now);
        let knows = self.leader.alive && !self.leader.books.is_learning(at);
        let outstanding = if knows {
            self.leader.books.outstanding(at)
        } else {
            held
        };
        invariants::leases_within_rate(held, outstanding, [f64::INFINITY])?;
        invariants::learning_within_rate(held, allowed)?;
        let sent = self
            .sent
            .last()
            .filter(|(sent_at, _)| *sent_at == at)
            .map_or(0, |(_, n)| *n);
        self.passed
            .step(sent, allowed, burst_of(allowed), Duration::from_millis(STEP_MS))?;
        if let Some(stopped_at) = self.stopped_at {
            let last = self.sent.last().map_or(Duration::ZERO, |(at, _)| *at);
            let stopped_at = START + Duration::from_millis(stopped_at);
            invariants::pause_holds(stopped_at, last)?;
        }
        let controller = &self.leader.controller;
        invariants::controller_is_sound(controller)?;
        if self.leader.alive && controller.standing() == Standing::HalfOpen {
            invariants::breaker_holds(Standing::HalfOpen, self.probed)?;
        }
        Ok(())
    }
}
