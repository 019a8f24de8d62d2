//! Which streams to read, and how much of each: pure.
//!
//! A read's COUNT holds for each of its streams, so what is missing is dealt out one by one over the streams, in turn, and
//! streams with the same share make one read.

use std::collections::{BTreeMap, HashMap};

use paceline_store::StreamKey;

/// Reads to make at one time: for each COUNT its streams.
pub(crate) type Reads = BTreeMap<u32, Vec<StreamKey>>;

/// Deals `room` entries out over `streams`, beginning with number `turn` (modulo their number), at most as many to an
/// identity as `room_of` says.
pub(crate) fn deal(
    streams: &[&StreamKey],
    room: usize,
    room_of: impl Fn(&str) -> usize,
    turn: usize,
) -> Reads {
    let mut left = room;
    let mut identities: HashMap<&str, usize> = HashMap::new();
    let mut shares = vec![0_u32; streams.len()];
    loop {
        let mut dealt = false;
        for offset in 0..streams.len() {
            let index = (turn + offset) % streams.len();
            let identity = streams[index].identity.as_str();
            let own = identities.entry(identity).or_insert_with(|| room_of(identity));
            if left == 0 || *own == 0 {
                continue;
            }
            left -= 1;
            *own -= 1;
            shares[index] += 1;
            dealt = true;
        }
        if !dealt {
            break;
        }
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

    use super::{asked, deal};
    use crate::buffer::tests::stream;

    #[test]
    fn what_is_missing_is_dealt_out_over_the_streams() {
        let streams: Vec<_> = ["a", "b", "c"]
            .map(|tenant| stream(Lane::Bulk, "main", tenant))
            .into();
        let streams: Vec<_> = streams.iter().collect();
        let reads = deal(&streams, 8, |_| 100, 1);
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
        let reads = deal(&streams, 2, |_| 100, 19);
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
        let reads = deal(&streams, 50, room_of, 0);
        assert_eq!(reads[&1], [streams[0].clone()]);
        assert_eq!(reads[&49], [streams[3].clone()]);
        assert_eq!(reads.len(), 2);
        assert!(deal(&[], 50, room_of, 3).is_empty());
    }
}
