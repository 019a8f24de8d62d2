//! What coordinators and Redis do, and say to each other.

use std::rc::Rc;
use std::time::Duration;

use paceline_domain::controller::invariants::Broken;
use paceline_domain::controller::quota::DailySend;
use paceline_domain::controller::warm_up::Overflow;
use paceline_domain::controller::{Account, Event};

use super::{Message, RENEW_MS, START, TICK_MS, TIMEOUT_MS, TRY_MS, World};
use crate::coordinator::{Batch, half_opens, is_answer_s};
use crate::redis::{Adopted, Kept, Known, Term};

impl World {
    pub(super) fn coordinate(&mut self, index: usize) {
        let now = self.now;
        let it = &mut self.coordinators[index];
        if now < it.frozen_until || now < it.dead_until {
            return;
        }
        let at = it.clock.at(now);
        if let Some(over) = it.lead.take_if(|lead| at >= lead.until) {
            it.epoch_floor = it.epoch_floor.max(over.term.epoch);
            it.next_try = now;
            if now >= it.mute_until {
                self.redis.resign(over.term);
            }
        }
        let it = &mut self.coordinators[index];
        let Some(lead) = &mut it.lead else {
            if now >= it.next_try {
                it.next_try = now + TRY_MS;
                // A nonce for each try: an answer that comes late is of another lead.
                it.nonce = self.chance.any();
                let ask = Message::Lead {
                    from: index,
                    nonce: it.nonce,
                    floor: it.epoch_floor,
                    asked_at: at,
                };
                self.ask_redis(index, ask);
            }
            return;
        };
        let term = lead.term;
        if now >= lead.next_renewal {
            lead.next_renewal = now + RENEW_MS;
            let missing: Vec<usize> = (0..self.plan.identities)
                .filter(|key| !lead.keys.contains_key(key))
                .collect();
            self.ask_redis(
                index,
                Message::Renew {
                    from: index,
                    term,
                    asked_at: at,
                },
            );
            for key in missing {
                self.adopt(index, key, term);
            }
        }
        if !now.is_multiple_of(TICK_MS) {
            return;
        }
        for key in 0..self.plan.identities {
            self.keep(index, key, term);
        }
        if now.is_multiple_of(2 * TICK_MS) {
            self.allot(index);
        }
    }

    /// Time passes for a key, and what waits is written.
    fn keep(&mut self, index: usize, key: usize, term: Term) {
        let (now, random) = (self.now, self.chance.part());
        let Some((open, at)) = self.coordinators[index].key(key, now) else {
            return;
        };
        if now.is_multiple_of(2 * TICK_MS) {
            open.tick(random, at);
        }
        if let Some(kept) = open.flush(term, at, now) {
            self.ask_redis(
                index,
                Message::Commit {
                    from: index,
                    key,
                    kept,
                },
            );
        }
    }

    /// The leader looks at the account.
    fn allot(&mut self, index: usize) {
        let Some(rate) = self.plan.account else { return };
        self.coordinators[index].allot(&self.plan, rate, self.now);
    }

    fn adopt(&mut self, index: usize, key: usize, term: Term) {
        let known = self.coordinators[index].known(key);
        let adopt = Message::Adopt {
            from: index,
            key,
            term,
            known,
        };
        self.ask_redis(index, adopt);
    }

    pub(super) fn take_of_redis(&mut self, message: Message) -> Result<(), Broken> {
        let now = self.now;
        if self.redis.is_down(now) {
            return Ok(());
        }
        match message {
            Message::Lead {
                from,
                nonce,
                floor,
                asked_at,
            } => {
                let term = self.redis.lead(nonce, floor, now);
                self.answer_of_redis(
                    from,
                    Message::Led {
                        to: from,
                        term,
                        asked_at,
                    },
                );
            }
            Message::Renew { from, term, asked_at } => {
                let kept = self.redis.renew(term, now);
                self.answer_of_redis(
                    from,
                    Message::Renewed {
                        to: from,
                        term,
                        asked_at,
                        kept,
                    },
                );
            }
            Message::Adopt {
                from,
                key,
                term,
                known,
            } => self.adopt_in_redis((from, key), term, known)?,
            Message::Commit { from, key, kept } => self.commit_in_redis((from, key), &kept)?,
            told => self.coordinator_hears(told),
        }
        Ok(())
    }

    fn adopt_in_redis(
        &mut self,
        (from, key): (usize, usize),
        term: Term,
        known: Known,
    ) -> Result<(), Broken> {
        let adopted = self.redis.adopt(key, term, known).map(Box::new);
        if adopted.is_some() {
            self.checks.writes(&mut self.redis, key, term.epoch)?;
        }
        let answer = Message::Adopted {
            to: from,
            key,
            term,
            adopted,
            wall: self.wall(),
        };
        self.answer_of_redis(from, answer);
        Ok(())
    }

    fn commit_in_redis(&mut self, (from, key): (usize, usize), kept: &Rc<Kept>) -> Result<(), Broken> {
        let done = self.redis.commit(key, kept);
        let (term, rev) = (kept.term, kept.rev);
        if done {
            self.checks.writes(&mut self.redis, key, term.epoch)?;
            self.put_in_force((from, key), rev, term)?;
        }
        let answer = Message::Written {
            to: from,
            key,
            term,
            rev,
            done,
        };
        self.answer_of_redis(from, answer);
        Ok(())
    }

    /// What Redis's clock says.
    fn wall(&self) -> Duration {
        let true_secs = (START + Duration::from_millis(self.now)).as_secs();
        Duration::from_secs(true_secs.saturating_add_signed(self.wall_jump))
    }

    fn coordinator_hears(&mut self, message: Message) {
        match message {
            Message::Led { to, term, asked_at } => self.begin(to, term, asked_at),
            Message::Renewed {
                to,
                term,
                asked_at,
                kept,
            } => {
                let it = &mut self.coordinators[to];
                if kept {
                    it.extend(term, asked_at);
                } else {
                    it.lead.take_if(|lead| lead.term == term);
                }
            }
            Message::Adopted {
                to,
                key,
                term,
                adopted,
                wall,
            } => self.open((to, key), term, adopted, wall),
            Message::Written {
                to,
                key,
                term,
                rev,
                done,
            } => self.written((to, key), term, rev, done),
            _ => {}
        }
    }

    /// Rates count from the moment at which they are written.
    fn put_in_force(&mut self, (from, key): (usize, usize), rev: u64, term: Term) -> Result<(), Broken> {
        let Some(lead) = self.coordinators[from]
            .lead
            .as_mut()
            .filter(|lead| lead.term == term)
        else {
            return Ok(());
        };
        let open = lead.keys.get_mut(&key);
        let Some((kept, _, batch)) = open.and_then(|open| open.write.as_mut()) else {
            return Ok(());
        };
        if kept.rev != rev {
            return Ok(());
        }
        let rates = std::mem::take(&mut batch.rates);
        let half_opens = half_opens(&batch.decisions);
        let decisions = std::mem::take(&mut batch.decisions);
        self.checks.cuts += decisions.iter().filter(|it| is_answer_s(it)).count();
        let controller = kept.controller.clone();
        self.checks
            .in_force((key, &rates), half_opens, controller.as_ref(), self.now)
    }

    fn begin(&mut self, to: usize, term: Option<Term>, asked_at: Duration) {
        let now = self.now;
        let it = &mut self.coordinators[to];
        if now < it.dead_until || it.lead.is_some() {
            return;
        }
        let Some(term) = term.filter(|term| term.nonce == it.nonce) else {
            return;
        };
        it.begin(term, asked_at, now);
        if it.lead(now).is_some_and(|lead| lead.term == term) {
            for key in 0..self.plan.identities {
                self.adopt(to, key, term);
            }
        } else {
            it.lead = None;
            self.redis.resign(term);
        }
    }

    fn open(
        &mut self,
        (to, index): (usize, usize),
        term: Term,
        adopted: Option<Box<Adopted>>,
        wall: Duration,
    ) {
        let now = self.now;
        let (settings, reserve, sent) = (self.plan.settings, self.plan.reserve, self.provider.accepted);
        let it = &mut self.coordinators[to];
        if now < it.dead_until {
            return;
        }
        let Some(adopted) = adopted else {
            it.lead.take_if(|lead| lead.term == term);
            return;
        };
        it.open((index, term), *adopted, (settings, reserve), wall, now);
        if self.plan.warm_up
            && let Some((key, at)) = it.key(index, now)
            && key.controller.warm_up().is_none()
        {
            key.step(Event::WarmUp(Overflow::Defer), at);
        }
        // The leader looks at the account before it grants.
        if let DailySend::Limited(_) = settings.daily
            && let Some((key, at)) = it.key(index, now)
        {
            let looked = Account {
                max_send_rate: None,
                daily: settings.daily,
                sent_last_24_hours: sent,
                enabled: true,
            };
            key.step(Event::Account(looked), at);
        }
        self.allot(to);
    }

    fn written(&mut self, (to, index): (usize, usize), term: Term, rev: u64, done: bool) {
        let now = self.now;
        let it = &mut self.coordinators[to];
        if now < it.dead_until || it.lead.as_ref().is_none_or(|lead| lead.term != term) {
            return;
        }
        if !done {
            // Fenced.
            it.lead = None;
            it.next_try = now;
            self.redis.resign(term);
            return;
        }
        it.wrote.insert(index, (term.epoch, rev));
        let Some((key, _)) = it.key(index, now) else {
            return;
        };
        let Some(Batch { replies, cuts, .. }) = key.written(rev) else {
            return;
        };
        for reply in replies {
            self.tell(reply.index, Message::Reply(reply));
        }
        if self.plan.broadcasts {
            for (version, ratio) in cuts {
                for sender in 0..self.senders.len() {
                    if self.senders[sender].identity != index {
                        continue;
                    }
                    self.tell(
                        sender,
                        Message::Cut {
                            sender,
                            epoch: term.epoch,
                            version,
                            ratio,
                        },
                    );
                }
            }
        }
    }

    /// Redis answers or does not: a connection loses nothing in between.
    fn ask_redis(&mut self, from: usize, message: Message) {
        let it = &self.coordinators[from];
        // Who hears nothing has no connection soon.
        let has_none = self.now < it.deaf_until && self.now >= it.deaf_since + TIMEOUT_MS;
        if self.now >= it.mute_until && !has_none {
            let delay = 1 + self.chance.below(8);
            self.post(delay, message);
        }
    }

    fn answer_of_redis(&mut self, to: usize, message: Message) {
        if self.now >= self.coordinators[to].deaf_until {
            let delay = 1 + self.chance.below(8);
            self.post(delay, message);
        }
    }
}
