//! What one shard's reader has read and nobody has claimed: in turn over the streams, transactional mail before bulk, but for every
//! twentieth entry while both wait.
//!
//! Pure. A stream is one identity and one tenant, so taking turns over streams keeps a tenant's flood from standing before
//! its neighbours, and an identity that may not send now is passed over.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::lane::{Lane, LaneTurns};
use paceline_domain::record::Ticket;
use paceline_domain::time::Millis;
use paceline_store::{Addressee, StreamKey};

/// An entry in hand: read, still pending in its stream, not claimed.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) stream: StreamKey,
    pub(crate) entry_id: String,
    pub(crate) id: MessageId,
    pub(crate) ticket: Ticket,
    /// The rendered parts, compressed.
    pub(crate) rendered: Bytes,
    /// Whom it is for; `None` where a renderer of another release has not noted it.
    pub(crate) to: Option<Addressee>,
    pub(crate) rendered_at: Millis,
    /// On the boot-time clock.
    pub(crate) read_at: Duration,
}

/// What [`Buffer::take`] found.
#[derive(Debug)]
pub(crate) enum Taken<A> {
    Entry(Held, A),
    /// Nothing may go now; the soonest may after this long.
    Wait(Duration),
    Empty,
}

#[derive(Debug, Default)]
pub(crate) struct Buffer {
    transactional: Turns,
    bulk: Turns,
    lanes: LaneTurns,
    bytes: usize,
}

impl Buffer {
    pub(crate) fn push(&mut self, held: Held) {
        self.bytes += held.rendered.len();
        self.lane(held.stream.lane).push(held);
    }

    /// Takes the next entry that `admit` lets go, or says how long the soonest has to wait.
    pub(crate) fn take<A>(&mut self, mut admit: impl FnMut(&Held) -> Result<A, Duration>) -> Taken<A> {
        let mut soonest: Option<Duration> = None;
        for lane in self.lanes.order() {
            match self.lane(lane).take(&mut admit) {
                Taken::Entry(held, admission) => {
                    self.lanes.went(lane);
                    self.bytes -= held.rendered.len();
                    return Taken::Entry(held, admission);
                }
                Taken::Wait(wait) => soonest = Some(soonest.map_or(wait, |other| other.min(wait))),
                Taken::Empty => {}
            }
        }
        soonest.map_or(Taken::Empty, Taken::Wait)
    }

    /// Takes out everything that `unwanted` names.
    pub(crate) fn remove(&mut self, mut unwanted: impl FnMut(&Held) -> bool) -> Vec<Held> {
        let mut removed = self.transactional.remove(&mut unwanted);
        removed.append(&mut self.bulk.remove(&mut unwanted));
        self.bytes -= removed.iter().map(|held| held.rendered.len()).sum::<usize>();
        removed
    }

    pub(crate) fn entries(&self) -> usize {
        self.transactional.entries + self.bulk.entries
    }

    pub(crate) const fn entries_in(&self, lane: Lane) -> usize {
        match lane {
            Lane::Transactional => self.transactional.entries,
            Lane::Bulk => self.bulk.entries,
        }
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much of one identity is here, by lane.
    pub(crate) fn entries_of(&self, identity: &str, lane: Lane) -> usize {
        let turns = match lane {
            Lane::Transactional => &self.transactional,
            Lane::Bulk => &self.bulk,
        };
        let own = turns
            .streams
            .iter()
            .filter(|(stream, _)| stream.identity == identity);
        own.map(|(_, queue)| queue.len()).sum()
    }

    pub(crate) fn holds(&self, stream: &StreamKey) -> bool {
        self.entries_in_stream(stream) > 0
    }

    pub(crate) fn entries_in_stream(&self, stream: &StreamKey) -> usize {
        let turns = match stream.lane {
            Lane::Transactional => &self.transactional,
            Lane::Bulk => &self.bulk,
        };
        turns.streams.get(stream).map_or(0, VecDeque::len)
    }

    const fn lane(&mut self, lane: Lane) -> &mut Turns {
        match lane {
            Lane::Transactional => &mut self.transactional,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

/// The streams of one lane; none is empty, and each stands in `order` once.
#[derive(Debug, Default)]
struct Turns {
    streams: HashMap<StreamKey, VecDeque<Held>>,
    order: VecDeque<StreamKey>,
    entries: usize,
}

impl Turns {
    fn push(&mut self, held: Held) {
        self.entries += 1;
        if let Some(queue) = self.streams.get_mut(&held.stream) {
            queue.push_back(held);
        } else {
            self.order.push_back(held.stream.clone());
            self.streams.insert(held.stream.clone(), VecDeque::from([held]));
        }
    }

    fn take<A>(&mut self, admit: &mut impl FnMut(&Held) -> Result<A, Duration>) -> Taken<A> {
        let mut soonest: Option<Duration> = None;
        for _ in 0..self.order.len() {
            let Some(stream) = self.order.pop_front() else {
                break;
            };
            let Some(queue) = self.streams.get_mut(&stream) else {
                continue;
            };
            match queue.front().map(&mut *admit) {
                Some(Ok(admission)) => {
                    let held = queue.pop_front();
                    if queue.is_empty() {
                        self.streams.remove(&stream);
                    } else {
                        self.order.push_back(stream);
                    }
                    if let Some(held) = held {
                        self.entries -= 1;
                        return Taken::Entry(held, admission);
                    }
                }
                Some(Err(wait)) => {
                    soonest = Some(soonest.map_or(wait, |other| other.min(wait)));
                    self.order.push_back(stream);
                }
                None => {
                    self.streams.remove(&stream);
                }
            }
        }
        soonest.map_or(Taken::Empty, Taken::Wait)
    }

    fn remove(&mut self, unwanted: &mut impl FnMut(&Held) -> bool) -> Vec<Held> {
        let mut removed = Vec::new();
        for queue in self.streams.values_mut() {
            let (out, kept): (VecDeque<Held>, VecDeque<Held>) = queue.drain(..).partition(&mut *unwanted);
            removed.extend(out);
            *queue = kept;
        }
        self.streams.retain(|_, queue| !queue.is_empty());
        self.order.retain(|stream| self.streams.contains_key(stream));
        self.entries -= removed.len();
        removed
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use paceline_domain::id::MessageId;
    use paceline_domain::lane::Lane;
    use paceline_domain::record::Ticket;
    use paceline_domain::time::Millis;
    use paceline_store::{Stage, StreamKey};

    use super::{Buffer, Held, Taken};

    pub(crate) fn stream(lane: Lane, identity: &str, tenant: &str) -> StreamKey {
        StreamKey {
            stage: Stage::Ready,
            lane,
            identity: identity.to_owned(),
            tenant: tenant.to_owned(),
        }
    }

    fn held(stream: StreamKey, number: u8) -> Held {
        Held {
            stream,
            entry_id: format!("{number}-0"),
            id: MessageId([number; 16]),
            ticket: Ticket {
                accepted_at: Millis(1),
                generation: 1,
            },
            rendered: Bytes::from(vec![0; 10]),
            to: None,
            rendered_at: Millis(1),
            read_at: Duration::ZERO,
        }
    }

    fn taken(buffer: &mut Buffer, admit: impl FnMut(&Held) -> Result<(), Duration>) -> Option<u8> {
        match buffer.take(admit) {
            Taken::Entry(held, ()) => Some(held.id.0[0]),
            Taken::Wait(_) | Taken::Empty => None,
        }
    }

    #[test]
    fn transactional_mail_goes_first_and_tenants_take_turns() {
        let mut buffer = Buffer::default();
        let flood = stream(Lane::Transactional, "main", "flood");
        for number in 10..13 {
            buffer.push(held(stream(Lane::Bulk, "main", "news"), number));
        }
        for number in 0..3 {
            buffer.push(held(flood.clone(), number));
        }
        buffer.push(held(stream(Lane::Transactional, "main", "quiet"), 5));
        let order: Vec<u8> = std::iter::from_fn(|| taken(&mut buffer, |_| Ok(()))).collect();
        assert_eq!(order, [0, 5, 1, 2, 10, 11, 12]);
        assert_eq!((buffer.entries(), buffer.bytes()), (0, 0));
        assert!(matches!(buffer.take(|_| Ok(())), Taken::Empty));
    }

    #[test]
    fn a_flood_of_transactional_mail_leaves_bulk_mail_every_twentieth() {
        let mut buffer = Buffer::default();
        for _ in 0..100 {
            buffer.push(held(stream(Lane::Transactional, "main", "flood"), 0));
            buffer.push(held(stream(Lane::Bulk, "main", "news"), 1));
        }
        let first: Vec<u8> = (0..40).filter_map(|_| taken(&mut buffer, |_| Ok(()))).collect();
        let bulk_at: Vec<usize> = (0..40).filter(|at| first[*at] == 1).collect();
        assert_eq!(bulk_at, [19, 39]);
    }

    #[test]
    fn an_identity_that_must_wait_is_passed_over() {
        let mut buffer = Buffer::default();
        buffer.push(held(stream(Lane::Transactional, "slow", "a"), 1));
        buffer.push(held(stream(Lane::Transactional, "slower", "a"), 2));
        buffer.push(held(stream(Lane::Bulk, "quick", "a"), 3));
        let admit = |held: &Held| match held.stream.identity.as_str() {
            "slow" => Err(Duration::from_secs(2)),
            "slower" => Err(Duration::from_secs(9)),
            _ => Ok(()),
        };
        assert_eq!(taken(&mut buffer, admit), Some(3));
        assert!(matches!(buffer.take(admit), Taken::Wait(wait) if wait == Duration::from_secs(2)));
        assert_eq!(buffer.entries(), 2);
    }

    #[test]
    fn what_is_removed_leaves_the_rest_in_order() {
        let mut buffer = Buffer::default();
        let (a, b) = (stream(Lane::Bulk, "a", "t"), stream(Lane::Bulk, "b", "t"));
        for number in 0..4 {
            buffer.push(held(a.clone(), number));
            buffer.push(held(b.clone(), number + 10));
        }
        let removed = buffer.remove(|held| held.stream.identity == "a" || held.id.0[0] == 11);
        assert_eq!(removed.len(), 5);
        assert!(!buffer.holds(&a) && buffer.holds(&b));
        assert_eq!(buffer.entries_of("b", Lane::Bulk), 3);
        assert_eq!((buffer.entries_in(Lane::Bulk), buffer.bytes()), (3, 30));
        let order: Vec<u8> = std::iter::from_fn(|| taken(&mut buffer, |_| Ok(()))).collect();
        assert_eq!(order, [10, 12, 13]);
    }
}
