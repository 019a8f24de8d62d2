//! Walking through what waits for people: dead letters and doubts, by a filter, a bounded number of messages in each call.

use std::fmt;
use std::str::FromStr;

use paceline_domain::id::MessageId;
use paceline_domain::record::{Record, State};
use paceline_domain::time::Millis;
use paceline_kit::access::Caller;
use paceline_kit::identity::is_name;
use paceline_store::waiting_all::{Page, Place};
use paceline_store::{Store, StoreError};
use paceline_wire::status::{InvalidFields, RpcError};
use paceline_wire::text::line_problem;
use paceline_wire::{convert, v1};
use prost_types::Timestamp;

use crate::error;

/// Messages in one look, and looks of one call.
const LOOK: u32 = 256;
const LOOKS_MAX: u32 = 40;
/// The longest text of a filter, in characters.
const TEXT_MAX: usize = 256;
/// Messages of a page, where the caller does not say, and at most.
const PAGE_SIZE: u32 = 100;
const PAGE_SIZE_MAX: u32 = 1_000;

/// Which messages. An empty text fits all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    tenant: String,
    template: String,
    reason: String,
    since: Millis,
    until: Millis,
    id: Option<MessageId>,
}

/// What is walked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    Dead,
    Doubt,
}

/// Where a walk goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    shard: u16,
    place: Place,
}

/// A message that fits, and when its set says that it came there or is over. Without a record it can't be read.
pub(crate) struct Found {
    pub(crate) id: MessageId,
    pub(crate) at: Millis,
    pub(crate) record: Option<Record>,
}

impl Filter {
    /// The filter of a request; what is wrong with it is added to `wrong`.
    pub(crate) fn read(
        wrong: &mut InvalidFields,
        filter: Option<&v1::MessageFilter>,
        message_id: &str,
    ) -> Self {
        let filter = filter.cloned().unwrap_or_default();
        if !filter.tenant.is_empty() && !is_name(&filter.tenant) {
            wrong.add("filter.tenant", "must be 1 to 64 of [a-z0-9_-]");
        }
        for (field, text) in [
            ("filter.template", &filter.template),
            ("filter.reason", &filter.reason),
        ] {
            if let Some(problem) = line_problem(text, 0, TEXT_MAX) {
                wrong.add(field, problem);
            }
        }
        let mut time = |field: &str, at: Option<&Timestamp>, otherwise| match at.map(convert::millis) {
            None => otherwise,
            Some(Ok(at)) => at,
            Some(Err(problem)) => {
                wrong.add(field, problem.to_string());
                otherwise
            }
        };
        let since = time("filter.since", filter.since.as_ref(), Millis(0));
        let until = time("filter.until", filter.until.as_ref(), Millis::MAX);
        let id = (!message_id.is_empty()).then(|| message_id.parse());
        if matches!(id, Some(Err(_))) {
            wrong.add("message_id", "must be 26 characters of Crockford base32");
        }
        Self {
            tenant: filter.tenant,
            template: filter.template,
            reason: filter.reason,
            since,
            until,
            id: id.and_then(Result::ok),
        }
    }

    /// # Errors
    /// If it is not for this caller to ask for.
    pub(crate) fn check(&self, caller: &Caller) -> Result<(), RpcError> {
        let own = if self.tenant.is_empty() {
            caller.acts_for_all()
        } else {
            caller.acts_for(&self.tenant)
        };
        if own { Ok(()) } else { Err(error::tenant_refused()) }
    }

    fn fits(&self, set: Set, found: &Found) -> bool {
        let fits = |given: &str, is: &str| given.is_empty() || given == is;
        let in_time = (self.since..self.until).contains(&found.at);
        let whose = match (&found.record, set) {
            (Some(record), Set::Dead) if record.state != State::Dead => false,
            (Some(record), Set::Doubt) if record.state != State::InDoubt => false,
            (Some(record), _) => {
                fits(&self.tenant, &record.tenant)
                    && fits(&self.template, &record.template)
                    && fits(&self.reason, record.reason.as_str())
            }
            // Nobody knows whose it is.
            (None, Set::Dead) => {
                self.tenant.is_empty()
                    && self.template.is_empty()
                    && fits(
                        &self.reason,
                        paceline_domain::reason::Reason::RecordCorrupt.as_str(),
                    )
            }
            (None, Set::Doubt) => false,
        };
        in_time && whose
    }
}

impl Cursor {
    /// The cursor of a token that an answer held; what is wrong with it is added to `wrong`.
    pub(crate) fn read(wrong: &mut InvalidFields, token: &str, shards: u16) -> Self {
        if token.is_empty() {
            return Self::default();
        }
        match token.parse() {
            Ok(cursor @ Self { shard, .. }) if shard < shards => cursor,
            _ => {
                wrong.add("page_token", "is none that an answer held");
                Self::default()
            }
        }
    }

    /// The same place where what was found behind it has left it: what came to its place is looked at, too.
    pub(crate) fn rewound(self) -> Self {
        Self {
            place: self.place.rewound(),
            ..self
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.shard, self.place)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(token: &str) -> Result<Self, ()> {
        let (shard, place) = token.split_once('.').ok_or(())?;
        Ok(Self {
            shard: shard.parse().map_err(|_| ())?,
            place: place.parse().map_err(|_| ())?,
        })
    }
}

/// The size of a page that a request asks for; what is wrong with it is added to `wrong`.
pub(crate) fn page_size(wrong: &mut InvalidFields, asked: u32) -> usize {
    if asked > PAGE_SIZE_MAX {
        wrong.add("page_size", format!("is {asked}, at most {PAGE_SIZE_MAX}"));
    }
    let size = if asked == 0 { PAGE_SIZE } else { asked };
    size as usize
}

/// How a cursor is told; empty for the end.
pub(crate) fn token(cursor: Option<Cursor>) -> String {
    cursor.map(|cursor| cursor.to_string()).unwrap_or_default()
}

/// The next messages of a set that fit: up to one look's worth over `want`, after a bounded number of looks; and where to go on, unless the
/// set ends here.
///
/// # Errors
/// If Redis does not answer.
pub(crate) async fn next(
    store: &Store,
    set: Set,
    filter: &Filter,
    from: Cursor,
    want: usize,
) -> Result<(Vec<Found>, Option<Cursor>), StoreError> {
    if let Some(id) = filter.id {
        return Ok((one(store, set, filter, id).await?, None));
    }
    let (mut found, mut cursor) = (Vec::new(), from);
    for _ in 0..LOOKS_MAX {
        // No more than is wanted is looked at: what a look brings can't be given back.
        let missing = want.saturating_sub(found.len());
        let count = LOOK.min(u32::try_from(missing).unwrap_or(LOOK).max(1));
        let page = page(store, set, cursor, count).await?;
        let ids: Vec<MessageId> = page.ids.iter().map(|(id, _)| *id).collect();
        let records = store.get_readable(cursor.shard, &ids).await?;
        let all = page.ids.into_iter().zip(records);
        let all = all.map(|((id, at), record)| Found { id, at, record });
        found.extend(all.filter(|found| filter.fits(set, found)));
        cursor = match page.next {
            Some(place) => Cursor { place, ..cursor },
            None if cursor.shard + 1 < store.shards() => Cursor {
                shard: cursor.shard + 1,
                place: Place::default(),
            },
            None => return Ok((found, None)),
        };
        if found.len() >= want {
            break;
        }
    }
    Ok((found, Some(cursor)))
}

async fn page(store: &Store, set: Set, cursor: Cursor, count: u32) -> Result<Page, StoreError> {
    match set {
        Set::Dead => store.dead_from(cursor.shard, cursor.place, count).await,
        Set::Doubt => store.doubt_from(cursor.shard, cursor.place, count).await,
    }
}

async fn one(store: &Store, set: Set, filter: &Filter, id: MessageId) -> Result<Vec<Found>, StoreError> {
    let record = store.get(id).await?;
    let found = record.map(|record| Found {
        id,
        at: match set {
            Set::Dead => record.changed_at,
            Set::Doubt => record.due_at,
        },
        record: Some(record),
    });
    Ok(found
        .into_iter()
        .filter(|found| filter.fits(set, found))
        .collect())
}

#[cfg(test)]
mod tests {
    use paceline_wire::status::InvalidFields;

    use super::Cursor;

    #[test]
    fn only_a_token_of_an_answer_is_read() {
        let read = |token: &str| {
            let mut wrong = InvalidFields::new();
            let cursor = Cursor::read(&mut wrong, token, 2);
            wrong.is_empty().then(|| cursor.to_string())
        };
        assert_eq!(read("1.1700000000000.3").as_deref(), Some("1.1700000000000.3"));
        assert_eq!(read("").as_deref(), Some("0.0.0"));
        for wrong in [
            "2.0.0",
            "1",
            "1.x.0",
            "1.0",
            "1.0.-1",
            "1.0.0.0",
            "1.99999999999999999999.0",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
