//! The sets of waiting messages as they stand, due or not, a page at a time.
//!
//! A worker that ends a lease or a window must have seen that claim for its whole time, so it looks at what is not due yet.

use std::fmt;
use std::str::FromStr;

use fred::interfaces::SortedSetsInterface;
use fred::types::Value;
use fred::types::sorted_sets::{ZRange, ZRangeBound, ZRangeKind, ZSort};
use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;

use crate::keys::Waiting;
use crate::streams::list;
use crate::{Store, StoreError};

/// Where a page begins: by score and not by rank, so that what leaves the set before it moves nothing out of sight. The
/// default is the set's beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    from: Millis,
    /// Ids of just that score that earlier pages had.
    skip: u32,
}

/// Ids with their deadlines, the earliest first, and where to go on unless the set ends here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub ids: Vec<(MessageId, Millis)>,
    pub next: Option<Place>,
}

impl Place {
    /// The beginning of the same score: for who has taken ids of it out of the set meanwhile.
    #[must_use]
    pub const fn rewound(self) -> Self {
        Self { skip: 0, ..self }
    }

    fn after(self, scores: &[Millis], count: u32) -> Option<Self> {
        let full = scores.len() >= count as usize;
        let from = *scores.last().filter(|_| full)?;
        let same = scores.iter().rev().take_while(|at| **at == from).count();
        let before = if from == self.from { self.skip } else { 0 };
        let skip = before.saturating_add(u32::try_from(same).unwrap_or(u32::MAX));
        Some(Self { from, skip })
    }
}

impl Page {
    /// Where to go on for who has taken those that are `gone` out of the set: what was behind them has moved up.
    #[must_use]
    pub fn next_without(&self, gone: impl Fn(&MessageId) -> bool) -> Option<Place> {
        let next = self.next?;
        let same = self.ids.iter().filter(|(id, at)| *at == next.from && gone(id));
        let same = u32::try_from(same.count()).unwrap_or(u32::MAX);
        Some(Place {
            skip: next.skip.saturating_sub(same),
            ..next
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.from.0, self.skip)
    }
}

/// A text that is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a place in a set")]
pub struct NotAPlace;

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let (from, skip) = text.split_once('.').ok_or(NotAPlace)?;
        let from = from.parse().map_err(|_| NotAPlace)?;
        if from > Millis::MAX.0 {
            return Err(NotAPlace);
        }
        Ok(Self {
            from: Millis(from),
            skip: skip.parse().map_err(|_| NotAPlace)?,
        })
    }
}

impl Store {
    /// Claimed messages and when their lease ends.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn open_from(&self, shard: u16, place: Place, count: u32) -> Result<Page, StoreError> {
        self.page(shard, Waiting::Open, place, count).await
    }

    /// Messages in doubt and when their window ends.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn doubt_from(&self, shard: u16, place: Place, count: u32) -> Result<Page, StoreError> {
        self.page(shard, Waiting::Doubt, place, count).await
    }

    /// Scheduled and deferred messages and when they are due.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn later_from(&self, shard: u16, place: Place, count: u32) -> Result<Page, StoreError> {
        self.page(shard, Waiting::Later, place, count).await
    }

    /// Dead letters and since when they are.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn dead_from(&self, shard: u16, place: Place, count: u32) -> Result<Page, StoreError> {
        self.page(shard, Waiting::Dead, place, count).await
    }

    /// Held messages and since when they are.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn held_from(&self, shard: u16, place: Place, count: u32) -> Result<Page, StoreError> {
        self.page(shard, Waiting::Held, place, count).await
    }

    async fn page(&self, shard: u16, waiting: Waiting, place: Place, count: u32) -> Result<Page, StoreError> {
        let client = self.commands.client();
        let page = client.zrange::<Value, _, _, _>(
            self.keys.waiting(shard, waiting),
            bound(ZRangeBound::Score(score(place.from))),
            bound(ZRangeBound::InfiniteScore),
            Some(ZSort::ByScore),
            false,
            Some((place.skip.into(), count.into())),
            true,
        );
        let members = members(list(self.commands.ask(page).await?)?)?;
        let scores: Vec<Millis> = members.iter().map(|(_, at)| *at).collect();
        let strangers = members.iter().filter(|(id, _)| id.is_none()).count();
        if strangers > 0 {
            tracing::error!(
                shard,
                set = waiting.as_str(),
                strangers,
                "a sorted set holds what is no id"
            );
        }
        Ok(Page {
            ids: members
                .into_iter()
                .filter_map(|(id, at)| Some((id?, at)))
                .collect(),
            next: place.after(&scores, count),
        })
    }
}

const fn bound(range: ZRangeBound) -> ZRange {
    ZRange {
        kind: ZRangeKind::Inclusive,
        range,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "scores are times of 48 bits, which the scripts see to"
)]
const fn score(at: Millis) -> f64 {
    at.0 as f64
}

/// The members with their scores. What is no id keeps its place in the count of the pages, and stands before nobody.
fn members(parts: Vec<Value>) -> Result<Vec<(Option<MessageId>, Millis)>, StoreError> {
    let mut parts = parts.into_iter();
    let mut members = Vec::with_capacity(parts.len() / 2);
    while let (Some(member), Some(score)) = (parts.next(), parts.next()) {
        let id = member.into_bytes().and_then(|bytes| bytes[..].try_into().ok());
        let at = score.as_u64();
        let at = at.ok_or_else(|| StoreError::bug("a score of a sorted set is no time"))?;
        members.push((id.map(MessageId), Millis(at)));
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use paceline_domain::time::Millis;

    use super::Place;

    fn place(from: u64, skip: u32) -> Place {
        Place {
            from: Millis(from),
            skip,
        }
    }

    #[test]
    fn pages_follow_each_other_even_within_one_score() {
        let after = |place: Place, scores: &[u64]| {
            let scores: Vec<_> = scores.iter().copied().map(Millis).collect();
            place.after(&scores, 3)
        };
        let start = Place::default();
        assert_eq!(after(start, &[5, 6, 7]), Some(place(7, 1)));
        assert_eq!(after(place(7, 1), &[7, 8, 8]), Some(place(8, 2)));
        assert_eq!(after(place(8, 2), &[8, 8, 8]), Some(place(8, 5)));
        assert_eq!(after(place(8, 5), &[8, 9]), None, "the set ends here");
        assert_eq!(after(start, &[]), None);
    }
}
