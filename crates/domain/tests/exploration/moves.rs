//! What may happen next in a world, and what must never.

use std::collections::{BTreeSet, HashMap};

use paceline_domain::machine::invariants::{self, Broken};
use paceline_domain::machine::{Event, Step};
use paceline_domain::record::{DoubtPolicy, State};

use crate::act::{Act, Answer};
use crate::rules::{Mistake, positive, stepped};
use crate::version::{Claim, Version};
use crate::world::{SLOTS, Slot, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// Something happens to the record that no sender's hands matter for.
    Record(Act),
    Read {
        slot: usize,
        generation: u32,
    },
    Claim {
        slot: usize,
    },
    /// The claim finds the address suppressed.
    Suppress {
        slot: usize,
    },
    /// The claim finds a stop.
    Hold {
        slot: usize,
    },
    Call {
        slot: usize,
        taken: bool,
        answer: Answer,
    },
    /// The sender does not write the request after all.
    GiveUp {
        slot: usize,
    },
    Report {
        slot: usize,
    },
    /// The sender stands by its claim after a loss.
    Assert {
        slot: usize,
    },
    /// Claims are allowed again.
    HoldOver,
    /// The oldest write that could be lost can't any more.
    Sync,
    /// What came of the claim is recorded, for all that the sender knows.
    Settle {
        slot: usize,
    },
    Crash {
        slot: usize,
    },
    TimePasses,
    Forget {
        revisions: usize,
    },
    /// The queued entry is deleted, and its copy was refused.
    LoseEntry,
}

impl Move {
    /// The system goes on by itself with it: nobody fails, decides, or helps from outside. Only a stop's end is a person's.
    pub(crate) fn is_progress(self) -> bool {
        match self {
            Self::Record(act) => matches!(act, Act::Due | Act::Released | Act::ClaimLapsed | Act::WindowOver),
            Self::Read { .. }
            | Self::Claim { .. }
            | Self::Call { .. }
            | Self::GiveUp { .. }
            | Self::Report { .. }
            | Self::Settle { .. }
            | Self::Assert { .. }
            | Self::HoldOver
            | Self::Sync
            | Self::TimePasses => true,
            Self::Suppress { .. }
            | Self::Hold { .. }
            | Self::Crash { .. }
            | Self::Forget { .. }
            | Self::LoseEntry => false,
        }
    }
}

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Sent more often than policy and persons allowed.
    SentTwice,
    /// Sent by a claim that was made with evidence in hand.
    SentKnowingly,
    /// Evidence was applied, and the message is not accepted.
    EvidenceLost,
    /// What was claimed had been rendered for another generation.
    StaleEntryClaimed,
    /// No way leads to rest.
    Stuck,
    Broken(Broken),
}

pub(crate) struct Next {
    pub(crate) chosen: Move,
    pub(crate) world: World,
    pub(crate) violation: Option<Violation>,
}

#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) attempts: u32,
    pub(crate) generations: u32,
}

/// A row of the machine's table as it was met.
pub(crate) type Row = (State, &'static str, State);

/// What became of a version; none if it leads beyond the bounds.
#[derive(Clone, Copy)]
struct Applied {
    version: Version,
    moved: bool,
    violation: Option<Violation>,
}

/// When a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Once its claim is durable.
    Kept,
    /// At once: a lost claim is asserted, and nobody claims before it is.
    Local,
}

pub(crate) struct Rules {
    level: Level,
    pub(crate) policy: DoubtPolicy,
    pub(crate) mistake: Option<Mistake>,
    pub(crate) bounds: Bounds,
    pub(crate) rows: BTreeSet<Row>,
    /// The machine is pure: each (version, act) needs to be stepped only once.
    known: HashMap<u64, Option<Applied>>,
}

impl Rules {
    pub(crate) fn new(policy: DoubtPolicy, mistake: Option<Mistake>, bounds: Bounds, level: Level) -> Self {
        Self {
            level,
            policy,
            mistake,
            bounds,
            rows: BTreeSet::new(),
            known: HashMap::new(),
        }
    }

    /// Appends all that may happen next.
    pub(crate) fn next(&mut self, world: &World, found: &mut Vec<Next>) {
        self.records(world, found);
        for slot in 0..SLOTS {
            self.senders(world, slot, found);
        }
        if !world.late {
            found.push(plain(Move::TimePasses, World { late: true, ..*world }));
        }
        self.losses(world, found);
        let version = world.version();
        if self.mistake == Some(Mistake::HandOffInOneFlight) && version.state() == State::Queued {
            found.push(plain(Move::LoseEntry, world.amended(version.with_entry(false))));
        }
    }

    fn losses(&self, world: &World, found: &mut Vec<Next>) {
        for revisions in 1..=world.forgettable() {
            let lost = match self.level {
                Level::Kept => world.forgotten(revisions),
                Level::Local => world.lost(revisions),
            };
            found.push(plain(Move::Forget { revisions }, lost));
        }
        if self.level == Level::Local && world.forgettable() > 0 {
            found.push(plain(Move::Sync, world.synced()));
        }
        if world.held && (world.silent == 0 || self.mistake == Some(Mistake::HoldTooShort)) {
            let over = World {
                held: false,
                silent: 0,
                ..*world
            };
            found.push(plain(Move::HoldOver, over));
        }
    }

    /// What happens to the record by time, by rendering, by persons and by the provider's events. An event may come at
    /// any time after its send, and any number of times.
    fn records(&mut self, world: &World, found: &mut Vec<Next>) {
        const ALWAYS: [Act; 12] = [
            Act::Due,
            Act::Buried,
            Act::Postponed,
            Act::Released,
            Act::ClaimLapsed,
            Act::WindowOver,
            Act::Cancelled,
            Act::Redriven,
            Act::Discarded,
            Act::Erased,
            Act::Resubmitted { scheduled: false },
            Act::Resubmitted { scheduled: true },
        ];
        for act in ALWAYS {
            self.record(world, act, found);
        }
        if world.sends > 0 {
            self.record(world, Act::EvidenceSent, found);
        }
        for attempt in 1..=self.bounds.attempts {
            if world.refused & 1 << attempt != 0 {
                self.record(world, Act::EvidenceNotSent { attempt }, found);
            }
        }
    }

    fn record(&mut self, world: &World, act: Act, found: &mut Vec<Next>) {
        if let Some(applied) = self.apply(world, act) {
            let anew = applied.moved && matches!(act, Act::Resubmitted { .. });
            let next = put(world, applied);
            found.push(Next {
                chosen: Move::Record(act),
                world: World {
                    late: next.late && !anew,
                    ..next
                },
                violation: applied.violation,
            });
        }
    }

    fn senders(&mut self, world: &World, slot: usize, found: &mut Vec<Next>) {
        if let Some(claim) = world.slots[slot].claim().filter(|_| world.is_silent(slot)) {
            self.assertion(world, slot, claim, found);
        }
        match world.slots[slot] {
            Slot::Idle => {
                let version = world.version();
                let own = version.state() != State::Queued || version.entry();
                let newest = version.generation() - u32::from(!own);
                for generation in 1..=newest {
                    let holds = Slot::Entry { generation };
                    found.push(plain(
                        Move::Read { slot, generation },
                        world.with_slot(slot, holds),
                    ));
                }
            }
            Slot::Entry { generation } => self.entry(world, slot, generation, found),
            Slot::Claimed {
                claim,
                forgotten,
                knowing,
            } => {
                let answer = Answer::Deferred;
                let given_up = world.with_slot(slot, Slot::Answered { claim, answer });
                found.push(plain(Move::GiveUp { slot }, given_up));
                found.push(plain(Move::Crash { slot }, world.with_slot(slot, Slot::Idle)));
                if self.level == Level::Local || self.mistake == Some(Mistake::CallBeforeDurable) {
                    calls(world, slot, claim, knowing, found);
                } else if !forgotten {
                    calls(&world.durable(claim.attempt(), slot), slot, claim, knowing, found);
                }
            }
            Slot::Answered { claim, answer } => self.answered(world, slot, (claim, answer), found),
        }
    }

    fn assertion(&mut self, world: &World, slot: usize, claim: Claim, found: &mut Vec<Next>) {
        if let Some(applied) = self.apply(world, Act::Asserted { claim, slot }) {
            found.push(Next {
                chosen: Move::Assert { slot },
                world: put(world, applied).spoken(slot),
                violation: applied.violation,
            });
        }
    }

    /// What came of a claim. Where claims are not kept, the sender keeps both until they can't be lost.
    fn answered(
        &mut self,
        world: &World,
        slot: usize,
        (claim, answer): (Claim, Answer),
        found: &mut Vec<Next>,
    ) {
        let act = Act::Reported {
            attempt: claim.attempt(),
            slot,
            answer,
        };
        if let Some(applied) = self.apply(world, act) {
            found.push(Next {
                chosen: Move::Report { slot },
                world: put(world, applied),
                violation: applied.violation,
            });
        }
        let kept = self.level == Level::Kept
            || (world.is_durable(claim, slot)
                && !self.stepped(world.durable_version(), world.late, act).moved);
        if kept {
            found.push(plain(Move::Settle { slot }, world.with_slot(slot, Slot::Idle)));
        }
    }

    /// A claim acknowledges and deletes the entry, whatever it finds.
    fn entry(&mut self, world: &World, slot: usize, entry: u32, found: &mut Vec<Next>) {
        found.push(plain(Move::Crash { slot }, world.with_slot(slot, Slot::Idle)));
        let mut met = vec![
            (Move::Claim { slot }, Act::Claimed { entry, slot }),
            (Move::Suppress { slot }, Act::Suppressed { entry }),
        ];
        // Only a release ends a hold, so that one at the last generation would be stuck for the bound's sake.
        if world.version().generation() < self.bounds.generations {
            met.push((Move::Hold { slot }, Act::Held { entry }));
        }
        if world.held {
            return;
        }
        for (chosen, act) in met {
            let Some(applied) = self.apply(world, act) else {
                continue;
            };
            let before = world.version();
            let sending = applied.moved && applied.version.state() == State::Sending;
            let holds = if sending {
                Slot::Claimed {
                    claim: match self.level {
                        Level::Kept => Claim::bare(applied.version.attempt()),
                        Level::Local => Claim::of(applied.version),
                    },
                    forgotten: false,
                    knowing: before.evidence(),
                }
            } else {
                Slot::Idle
            };
            let stale = (sending && entry != before.generation()).then_some(Violation::StaleEntryClaimed);
            found.push(Next {
                chosen,
                world: put(world, applied).with_slot(slot, holds),
                violation: applied.violation.or(stale),
            });
        }
    }

    fn apply(&mut self, world: &World, act: Act) -> Option<Applied> {
        let version = world.version();
        let key = u64::from(version.0) | u64::from(world.late) << 32 | act.code() << 33;
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        let applied = self.stepped(version, world.late, act);
        let within = applied.version.attempt() <= self.bounds.attempts
            && applied.version.generation() <= self.bounds.generations;
        let applied = within.then_some(applied);
        self.known.insert(key, applied);
        applied
    }

    fn stepped(&mut self, version: Version, late: bool, act: Act) -> Applied {
        let record = version.record(self.policy, late);
        let (event, now) = act.event(&record);
        let step = stepped(self.mistake, &record, &event, now);
        let evidence = version.evidence() || positive(&event);
        let (mut next, moved, broken) = match step {
            Step::Moved(next) => {
                self.rows.insert((record.state, act.name(), next.state));
                let kept = match event {
                    Event::Asserted { .. } => invariants::assertion(&record, &next),
                    _ => invariants::transition(&record, &next),
                };
                let broken = kept.err().map(Violation::Broken);
                let queued = next.state == State::Queued;
                (version.of_record(&next).with_entry(queued), true, broken)
            }
            Step::Unchanged(_) => (dropped(version, act), false, None),
        };
        next = match (event, next.state()) {
            (Event::Redriven, State::Queued) if moved && version.maybe_sent() && !evidence => {
                next.one_more_allowed()
            }
            (Event::WindowOver { .. }, State::Queued) if moved => next.resend_allowed(),
            _ => next,
        };
        if evidence {
            next = next.with_evidence();
        }
        let lost = (evidence && next.state() != State::Accepted).then_some(Violation::EvidenceLost);
        Applied {
            version: next,
            moved,
            violation: broken.or(lost),
        }
    }
}

/// A refused entry is deleted too. None is, that the record waits for.
fn dropped(version: Version, act: Act) -> Version {
    let (Act::Claimed { entry, .. } | Act::Suppressed { entry } | Act::Held { entry }) = act else {
        return version;
    };
    version.with_entry(version.entry() && entry != version.generation())
}

/// The call, and all that may come of it. It may be made long after the claim's deadline: a process can be stopped between
/// its last look at the clock and the write.
fn calls(world: &World, slot: usize, claim: Claim, knowing: bool, found: &mut Vec<Next>) {
    const RESULTS: [(bool, Answer); 6] = [
        (true, Answer::Accepted),
        (true, Answer::Unknown),
        (false, Answer::Refused),
        (false, Answer::Failed),
        (false, Answer::Deferred),
        (false, Answer::Unknown),
    ];
    for (taken, answer) in RESULTS {
        let unclear = !taken && answer == Answer::Unknown;
        let sends = world.sends + u32::from(taken);
        let violation = if taken && sends > world.version().allowed() {
            Some(Violation::SentTwice)
        } else if taken && knowing {
            Some(Violation::SentKnowingly)
        } else {
            None
        };
        let next = World {
            sends: sends.min(7),
            refused: world.refused | u32::from(unclear) << claim.attempt(),
            ..*world
        };
        found.push(Next {
            chosen: Move::Call { slot, taken, answer },
            world: next.with_slot(slot, Slot::Answered { claim, answer }),
            violation,
        });
    }
}

fn put(world: &World, applied: Applied) -> World {
    if applied.moved {
        world.written(applied.version)
    } else {
        world.amended(applied.version)
    }
}

const fn plain(chosen: Move, world: World) -> Next {
    Next {
        chosen,
        world,
        violation: None,
    }
}
