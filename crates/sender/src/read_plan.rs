//! Which streams to read, and how much of each: pure.
//!
//! A read's COUNT holds for each of its streams, so what is missing is dealt out one by one, each time to the stream of which
//! the least is in hand, and streams with the same share make one read. A tenant that comes while another's flood fills the
//! read-ahead so gets the room that is freed until both hold the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use paceline_store::StreamKey;

/// Reads to make at one time: for each COUNT its streams.
pub(crate) type Reads = BTreeMap<u32, Vec<StreamKey>>;

/// Deals `room` entries out over `streams`, at most as many to an identity as `room_of` says. Of streams that have as much in
/// hand (`held`), number `turn` (modulo their number) comes first.
pub(crate) fn deal(
    streams: &[&StreamKey],
    room: usize,
    room_of: impl Fn(&str) -> usize,
    held: impl Fn(&StreamKey) -> usize,
    turn: usize,
) -> Reads {
    let mut identities: HashMap<&str, usize> = HashMap::new();
    let mut shares = vec![0_u32; streams.len()];
    // What is in hand, the place in this turn, and the stream: the least first.
    let mut next: BinaryHeap<Reverse<(usize, usize, usize)>> = (0..streams.len())
        .map(|offset| {
            let index = (turn % streams.len() + offset) % streams.len();
            Reverse((held(streams[index]), offset, index))
        })
        .collect();
    for _ in 0..room {
        let with_room = std::iter::from_fn(|| next.pop()).find(|Reverse((.., index))| {
            let identity = streams[*index].identity.as_str();
            *identities.entry(identity).or_insert_with(|| room_of(identity)) > 0
        });
        let Some(Reverse((in_hand, offset, index))) = with_room else {
            break;
        };
        if let Some(own) = identities.get_mut(streams[index].identity.as_str()) {
            *own -= 1;
        }
        shares[index] += 1;
        next.push(Reverse((in_hand + 1, offset, index)));
    }
    let mut reads = Reads::new();
    for (stream, share) in streams.iter().zip(shares).filter(|(_, share)| *share > 0) {
        reads.entry(share).or_default().push((*stream).clone());
    }
    reads
}

/// How many entries the reads ask for.
pub(crate) fn asked(reads: &Reads) -> usize {
    reads
        .iter()
        .map(|(count, streams)| *count as usize * streams.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use paceline_domain::lane::Lane;
    use paceline_store::StreamKey;

    use super::{asked, deal};
    use crate::buffer::tests::stream;

    #[test]
    fn what_is_missing_is_dealt_out_over_the_streams() {
        let streams: Vec<_> = ["a", "b", "c"]
            .map(|tenant| stream(Lane::Bulk, "main", tenant))
            .into();
        let streams: Vec<_> = streams.iter().collect();
        let reads = deal(&streams, 8, |_| 100, |_| 0, 1);
        // b and c come first in this turn.
        assert_eq!(reads[&3], [streams[1].clone(), streams[2].clone()]);
        assert_eq!(reads[&2], [streams[0].clone()]);
        assert_eq!(asked(&reads), 8);
    }

    #[test]
    fn fewer_entries_than_streams_go_to_those_whose_turn_it_is() {
        let streams: Vec<_> = (0..10)
            .map(|n| stream(Lane::Bulk, "main", &n.to_string()))
            .collect();
        let streams: Vec<_> = streams.iter().collect();
        let reads = deal(&streams, 2, |_| 100, |_| 0, 19);
        assert_eq!(reads[&1], [streams[0].clone(), streams[9].clone()]);
        assert_eq!(asked(&reads), 2);
    }

    #[test]
    fn an_identity_gets_no_more_than_its_room() {
        let streams = [
            stream(Lane::Bulk, "slow", "a"),
            stream(Lane::Bulk, "slow", "b"),
            stream(Lane::Bulk, "closed", "a"),
            stream(Lane::Bulk, "quick", "a"),
        ];
        let streams: Vec<_> = streams.iter().collect();
        let room_of = |identity: &str| match identity {
            "slow" => 1,
            "closed" => 0,
            _ => 100,
        };
        let reads = deal(&streams, 50, room_of, |_| 0, 0);
        assert_eq!(reads[&1], [streams[0].clone()]);
        assert_eq!(reads[&49], [streams[3].clone()]);
        assert_eq!(reads.len(), 2);
        assert!(deal(&[], 50, room_of, |_| 0, 3).is_empty());
    }

    #[test]
    fn a_stream_that_comes_later_gets_the_room_until_all_hold_the_same() {
        let streams = ["flood", "late", "other"].map(|tenant| stream(Lane::Bulk, "main", tenant));
        let streams: Vec<_> = streams.iter().collect();
        let held = |stream: &StreamKey| match stream.tenant.as_str() {
            "flood" => 10,
            "other" => 4,
            _ => 0,
        };
        let reads = deal(&streams, 4, |_| 100, held, 0);
        assert_eq!(reads, [(4, vec![streams[1].clone()])].into());
        // Up to 10 each, and what is left in turn.
        let reads = deal(&streams, 17, |_| 100, held, 0);
        assert_eq!(
            reads,
            [
                (1, vec![streams[0].clone()]),
                (6, vec![streams[2].clone()]),
                (10, vec![streams[1].clone()]),
            ]
            .into()
        );
    }
}
