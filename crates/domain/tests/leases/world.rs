//! The simulated world: one leader at a time, senders, and messages under way, in milliseconds of true time.

use std::collections::BTreeMap;
use std::time::Duration;

use paceline_domain::lease::invariant::{self, Broken};
use paceline_domain::lease::share::{holders_max, max_min};
use paceline_domain::lease::{Books, Grant, HolderId, LocalLease, Request, TTL, in_books};

const REFRESH_MS: u64 = 500;
const REFRESH_SOON_MS: u64 = 100;
/// Rounding of rates.
const SLACK: f64 = 1e-6;

/// splitmix64: all chance comes from one seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A clock that runs up to 1 % fast or slow and shows nobody else's time.
#[derive(Clone, Copy)]
struct Clock {
    offset: Duration,
    speed: f64,
}

impl Clock {
    fn new(chance: &mut Chance) -> Self {
        // The drift is the speed of two clocks against each other, so each may be off by half of it.
        let speed = 1.0 + (chance.below(1_001) as f64 - 500.0) / 100_000.0;
        let offset = Duration::from_secs(chance.below(1_000_000));
        Self { offset, speed }
    }

    fn at(self, true_ms: u64) -> Duration {
        self.offset + Duration::from_millis(true_ms).mul_f64(self.speed)
    }
}

struct Leader {
    books: Books,
    epoch: u64,
    clock: Clock,
    alive: bool,
}

struct Sender {
    id: HolderId,
    lease: LocalLease,
    clock: Clock,
    sequence: u64,
    wants: f64,
    /// Its next refresh; older ones that were planned are void.
    next_tick: u64,
    /// Cut off from everybody until then.
    cut_off_until: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Event {
    Tick {
        sender: usize,
    },
    Ask {
        sender: usize,
        id: HolderId,
        asked_at: Duration,
        request: Request,
    },
    Answer {
        sender: usize,
        id: HolderId,
        asked_at: Duration,
        grant: Grant,
        settled: bool,
    },
    Broadcast {
        sender: usize,
        epoch: u64,
        version: u64,
        ratio: f64,
    },
    Leave {
        id: HolderId,
    },
    ChangeRate,
    LeaderDies,
    NewLeader,
    Upset,
}

pub(crate) struct World {
    chance: Chance,
    now: u64,
    planned: BTreeMap<(u64, u64), Event>,
    planned_count: u64,
    leader: Leader,
    senders: Vec<Sender>,
    rate: f64,
    version: u64,
    /// When each rate came into force.
    rates: Vec<(u64, f64)>,
    incarnations: u64,
    faults: bool,
    pub(crate) journal: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, senders: usize) -> Self {
        let mut chance = Chance(seed);
        let clock = Clock::new(&mut chance);
        let rate = 100.0 + chance.below(900) as f64;
        let leader = Leader {
            books: Books::new(rate, clock.at(0)),
            epoch: 1,
            clock,
            alive: true,
        };
        let mut world = Self {
            chance,
            now: 0,
            planned: BTreeMap::new(),
            planned_count: 0,
            leader,
            senders: Vec::new(),
            rate,
            version: 1,
            rates: vec![(0, rate)],
            incarnations: 0,
            faults: true,
            journal: Vec::new(),
        };
        for index in 0..senders {
            let sender = world.new_sender();
            world.senders.push(sender);
            world.tick_in(index, 0);
        }
        for event in [Event::ChangeRate, Event::LeaderDies, Event::Upset] {
            world.plan(1_000, event);
        }
        world
    }

    /// Lets `ms` pass and looks at the invariants after each event.
    pub(crate) fn run(&mut self, ms: u64, faults: bool) -> Result<(), String> {
        self.faults = faults;
        let end = self.now + ms;
        if !faults {
            for sender in &mut self.senders {
                sender.cut_off_until = self.now;
            }
            if !self.leader.alive {
                self.plan(0, Event::NewLeader);
            }
        }
        while let Some(entry) = self.planned.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.journal.push(format!("{at} {event:?}"));
            self.happen(event);
            self.check()
                .map_err(|problem| format!("{problem}, at {at} after {}", self.journal.len()))?;
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { sender } => self.tick(sender),
            Event::Ask {
                sender,
                id,
                asked_at,
                request,
            } => self.answer(sender, id, asked_at, request),
            Event::Answer {
                sender,
                id,
                asked_at,
                grant,
                settled,
            } => {
                let now = self.now;
                let it = &mut self.senders[sender];
                if it.id == id && it.lease.renew(&grant, asked_at, it.clock.at(now)).is_ok() && !settled {
                    self.tick_in(sender, REFRESH_SOON_MS);
                }
            }
            Event::Broadcast {
                sender,
                epoch,
                version,
                ratio,
            } => {
                let it = &mut self.senders[sender];
                it.lease.cut(epoch, version, ratio, it.clock.at(self.now));
            }
            Event::Leave { id } if self.leader.alive => self.leader.books.release(id),
            Event::Leave { .. } => {}
            Event::ChangeRate => self.change_rate(),
            Event::LeaderDies => self.leader_dies(),
            Event::NewLeader => self.elect(),
            Event::Upset => self.upset(),
        }
    }

    fn tick(&mut self, sender: usize) {
        let it = &mut self.senders[sender];
        if it.next_tick != self.now {
            return;
        }
        let asked = it.lease.ask(it.clock.at(self.now));
        it.sequence += 1;
        let request = Request {
            sequence: it.sequence,
            wants: it.wants,
            has: asked.has_rate,
            has_safe: 0.0,
            keeps: false,
        };
        let id = it.id;
        self.tick_in(sender, REFRESH_MS);
        self.send(
            sender,
            &Event::Ask {
                sender,
                id,
                asked_at: asked.at,
                request,
            },
        );
    }

    fn answer(&mut self, sender: usize, id: HolderId, asked_at: Duration, request: Request) {
        let leader = &mut self.leader;
        if !leader.alive {
            return;
        }
        let Some(granted) = leader.books.refresh(id, &request, leader.clock.at(self.now)) else {
            return;
        };
        let grant = Grant {
            epoch: leader.epoch,
            version: self.version,
            rate: granted.rate,
            burst: granted.burst,
            ttl: TTL,
            granted_total: None,
            safe_rate: 0.0,
            safe_ttl: Duration::ZERO,
        };
        let settled = granted.settled;
        self.send(
            sender,
            &Event::Answer {
                sender,
                id,
                asked_at,
                grant,
                settled,
            },
        );
    }

    /// Puts a message on its way: lost, doubled or late, as it goes.
    fn send(&mut self, sender: usize, message: &Event) {
        if self.senders[sender].cut_off_until > self.now {
            return;
        }
        let copies = match self.chance.below(12) {
            0 if self.faults => 0,
            1 if self.faults => 2,
            _ => 1,
        };
        for _ in 0..copies {
            // Late within one refresh, or far too late.
            let delay_max = match self.chance.below(12) {
                0 | 1 if self.faults => 600,
                2 if self.faults => 3_000,
                _ => 40,
            };
            let delay = self.chance.below(delay_max);
            self.plan(delay, message.clone());
        }
    }

    fn change_rate(&mut self) {
        let again = 200 + self.chance.below(3_000);
        self.plan(again, Event::ChangeRate);
        if !self.faults || !self.leader.alive {
            return;
        }
        let ratio = [0.5, 0.8, 0.8, 1.05, 2.0][self.chance.below(5) as usize];
        self.rate = (self.rate * ratio).clamp(80.0, 5_000.0);
        self.rates.push((self.now, self.rate));
        self.leader.books.set_rate(self.rate);
        if ratio < 1.0 {
            self.version += 1;
            let (epoch, version) = (self.leader.epoch, self.version);
            for sender in 0..self.senders.len() {
                self.send(
                    sender,
                    &Event::Broadcast {
                        sender,
                        epoch,
                        version,
                        ratio,
                    },
                );
            }
        }
    }

    fn leader_dies(&mut self) {
        let again = 1_000 + self.chance.below(12_000);
        self.plan(again, Event::LeaderDies);
        if self.faults && self.leader.alive {
            self.leader.alive = false;
            let vacancy = self.chance.below(4_000);
            self.plan(vacancy, Event::NewLeader);
        }
    }

    fn elect(&mut self) {
        if self.leader.alive {
            return;
        }
        let clock = Clock::new(&mut self.chance);
        self.leader = Leader {
            books: Books::new(self.rate, clock.at(self.now)),
            epoch: self.leader.epoch + 1,
            clock,
            alive: true,
        };
    }

    /// Something happens to a sender: it crashes, leaves, is cut off or wants something else.
    fn upset(&mut self) {
        let again = 100 + self.chance.below(1_500);
        self.plan(again, Event::Upset);
        if !self.faults {
            return;
        }
        let sender = self.chance.below(self.senders.len() as u64) as usize;
        match self.chance.below(6) {
            0 => self.restart(sender),
            1 => {
                let it = &mut self.senders[sender];
                it.lease.drop_now(it.clock.at(self.now));
                let leave = Event::Leave { id: it.id };
                self.send(sender, &leave);
                self.restart(sender);
            }
            2 | 3 => self.senders[sender].cut_off_until = self.now + self.chance.below(5_000),
            _ => self.senders[sender].wants = self.chance.below(600) as f64,
        }
    }

    fn restart(&mut self, sender: usize) {
        self.senders[sender] = self.new_sender();
        let delay = self.chance.below(1_000);
        self.tick_in(sender, delay);
    }

    fn new_sender(&mut self) -> Sender {
        self.incarnations += 1;
        let clock = Clock::new(&mut self.chance);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.incarnations.to_be_bytes());
        Sender {
            id: HolderId(id),
            lease: LocalLease::new(clock.at(self.now)),
            clock,
            sequence: 0,
            wants: self.chance.below(600) as f64,
            next_tick: 0,
            cut_off_until: 0,
        }
    }

    fn tick_in(&mut self, sender: usize, delay: u64) {
        // At least one millisecond, so that no two questions of a sender are asked at one time.
        self.senders[sender].next_tick = self.now + delay.max(1);
        self.plan(delay.max(1), Event::Tick { sender });
    }

    fn plan(&mut self, delay: u64, event: Event) {
        self.planned_count += 1;
        self.planned.insert((self.now + delay, self.planned_count), event);
    }

    fn check(&self) -> Result<(), Broken> {
        let held: f64 = self
            .senders
            .iter()
            .map(|it| it.lease.rate(it.clock.at(self.now)))
            .sum();
        let horizon = self.now.saturating_sub(in_books(TTL).as_millis() as u64);
        let first = self.rates.iter().rposition(|(at, _)| *at <= horizon).unwrap_or(0);
        invariant::held_within_rate(held, self.rates[first..].iter().map(|(_, rate)| *rate))?;
        let (books, now) = (&self.leader.books, self.leader.clock.at(self.now));
        if self.leader.alive {
            invariant::held_within_books(held, books, now)?;
            invariant::granted_within_bound(books, now)?;
        }
        Ok(())
    }

    /// After a calm time each sender that wants something holds its max-min share and its part of half of what is left.
    pub(crate) fn check_shares(&self) -> Result<(), String> {
        let wants: Vec<f64> = self.senders.iter().map(|it| it.wants).collect();
        if wants.len() > holders_max(self.rate) {
            return Ok(());
        }
        let shares = max_min(self.rate, &wants);
        let left = self.rate - shares.iter().sum::<f64>();
        let wanting = wants.iter().filter(|wants| **wants > 0.0).count();
        for (it, share) in self.senders.iter().zip(shares) {
            let share = if it.wants > 0.0 {
                share + left / 2.0 / wanting as f64
            } else {
                share
            };
            let held = it.lease.rate(it.clock.at(self.now));
            if (held - share).abs() > 0.01 * share + SLACK {
                return Err(format!(
                    "a sender holds {held}, its share of {} is {share}",
                    self.rate
                ));
            }
        }
        Ok(())
    }
}
