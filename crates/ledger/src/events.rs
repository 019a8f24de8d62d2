//! Outcomes: providers' events, and the transitions that callers wait for, in the order in which the ledger learnt of them.

use std::collections::{BTreeMap, BTreeSet};

use paceline_domain::id::MessageId;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _, Transaction};

use crate::ledger::connection;
use crate::query::{message_id, millis};
use crate::rows::{ROWS_MAX, integer, placeholders, unsigned};
use crate::types::{lane, lane_code};
use crate::{Event, Ledger, LedgerError, NewEvent, Sum, SumFilter};

/// Milliseconds of a day.
const DAY: u64 = 86_400_000;

/// Sums of one answer.
pub const SUMS_MAX: usize = 10_000;

pub(crate) const COLUMNS: &str =
    "seq, id, message_id, accepted_at, attempt, tenant, template, lane, kind, at, received_at, detail";

impl Ledger {
    /// Writes events and adds them to the sums, in one transaction; says of each whether it was new.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then all of it may be there, or nothing.
    pub async fn record_events(&self, events: Vec<NewEvent>) -> Result<Vec<bool>, LedgerError> {
        self.within(async {
            let (mut writing, before) = self.begin(events.len()).await?;
            let numbered: Vec<Event> = (unsigned(before) + 1..)
                .zip(events)
                .map(|(seq, event)| Event { seq, event })
                .collect();
            let new = write(&mut writing, &numbered).await?;
            writing.commit().await?;
            Ok(numbered.iter().map(|event| new.contains(&event.seq)).collect())
        })
        .await
    }

    /// Up to `count` events of a tenant after the number `seq`, by rising number; of `kinds`, or of all if there are none.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn events_since(
        &self,
        tenant: &str,
        seq: u64,
        kinds: &[String],
        count: u32,
    ) -> Result<Vec<Event>, LedgerError> {
        self.events_between(tenant, (seq, u64::MAX), kinds, count).await
    }

    /// The same after one number and up to another: where events of `kinds` are rare, finding `count` of them could take longer than a call
    /// may.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn events_between(
        &self,
        tenant: &str,
        (after, until): (u64, u64),
        kinds: &[String],
        count: u32,
    ) -> Result<Vec<Event>, LedgerError> {
        let chosen = if kinds.is_empty() {
            String::new()
        } else {
            format!("AND kind IN {}", placeholders(4, 1, kinds.len()))
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE tenant = $1 AND seq > $2 AND seq <= $3 {chosen} ORDER BY seq LIMIT $4"
        );
        self.within(async {
            let mut query = sqlx::query(AssertSqlSafe(sql))
                .bind(tenant.to_owned())
                .bind(integer(after))
                .bind(integer(until))
                .bind(i64::from(count));
            for kind in kinds {
                query = query.bind(kind.clone());
            }
            query.fetch_all(&self.pool).await?.iter().map(event).collect()
        })
        .await
    }

    /// The newest event's number: where a reader begins who wants only what comes.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn newest_event(&self) -> Result<u64, LedgerError> {
        self.within(async {
            let sql = "SELECT value FROM counters WHERE name = 'event'";
            Ok(unsigned(sqlx::query_scalar(sql).fetch_one(&self.pool).await?))
        })
        .await
    }

    /// Sums of events by tenant, template, lane, day and kind; one more than [`SUMS_MAX`] if there are more than that.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn sums(&self, filter: &SumFilter) -> Result<Vec<Sum>, LedgerError> {
        let sql = "SELECT tenant, template, lane, day, kind, events, messages FROM sums WHERE day >= $1 AND day <= $2 \
                   AND ($3 = '' OR tenant = $3) AND ($4 = '' OR template = $4) AND ($5 = 0 OR lane = $5) \
                   ORDER BY day, tenant, template, lane, kind LIMIT $6";
        self.within(async {
            let rows = sqlx::query(sql)
                .bind(integer(filter.days.0))
                .bind(integer(filter.days.1))
                .bind(filter.tenant.clone())
                .bind(filter.template.clone())
                .bind(filter.lane.map_or(0, lane_code))
                .bind(integer(SUMS_MAX as u64 + 1))
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(sum).collect()
        })
        .await
    }
}

/// Writes events with their numbers and adds those that were not there to the sums; answers with the numbers of these.
pub(crate) async fn write(
    writing: &mut Transaction<'static, sqlx::Any>,
    events: &[Event],
) -> Result<BTreeSet<u64>, LedgerError> {
    let mut new = BTreeSet::new();
    for chunk in events.chunks(ROWS_MAX) {
        let seen = kinds_seen(writing, chunk).await?;
        let inserted = insert(writing, chunk).await?;
        add_up(writing, chunk, &inserted, seen).await?;
        new.extend(inserted);
    }
    Ok(new)
}

type Seen = BTreeSet<(MessageId, u64, String)>;

/// Of which kinds the messages have events already.
async fn kinds_seen(
    writing: &mut Transaction<'static, sqlx::Any>,
    events: &[Event],
) -> Result<Seen, LedgerError> {
    if events.is_empty() {
        return Ok(Seen::new());
    }
    let sql = format!(
        "WITH asked (id, accepted_at, kind) AS (VALUES {}) SELECT DISTINCT e.message_id, e.accepted_at, e.kind FROM asked \
         JOIN events e ON e.message_id = asked.id AND e.accepted_at = asked.accepted_at AND e.kind = asked.kind",
        placeholders(0, events.len(), 3)
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for Event { event, .. } in events {
        query = query
            .bind(event.message_id.0.to_vec())
            .bind(integer(event.accepted_at.0))
            .bind(event.kind.clone());
    }
    let rows = query.fetch_all(connection(writing)).await?;
    rows.iter()
        .map(|row| Ok((message_id(row, 0)?, millis(row, 1)?.0, row.try_get(2)?)))
        .collect()
}

async fn insert(
    writing: &mut Transaction<'static, sqlx::Any>,
    events: &[Event],
) -> Result<BTreeSet<u64>, LedgerError> {
    if events.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sql = format!(
        "INSERT INTO events ({COLUMNS}) VALUES {} ON CONFLICT DO NOTHING RETURNING seq",
        placeholders(0, events.len(), 12)
    );
    let mut query = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false);
    for Event { seq, event } in events {
        query = query
            .bind(integer(*seq))
            .bind(event.id.clone())
            .bind(event.message_id.0.to_vec())
            .bind(integer(event.accepted_at.0))
            .bind(i64::from(event.attempt))
            .bind(event.tenant.clone())
            .bind(event.template.clone())
            .bind(lane_code(event.lane))
            .bind(event.kind.clone())
            .bind(integer(event.at.0))
            .bind(integer(event.received_at.0))
            .bind(event.detail.clone());
    }
    let new: Vec<i64> = query.fetch_all(connection(writing)).await?;
    Ok(new.into_iter().map(unsigned).collect())
}

/// Tenant, template, lane, day and kind of a sum.
type SumKey = (String, String, i64, u64, String);

async fn add_up(
    writing: &mut Transaction<'static, sqlx::Any>,
    events: &[Event],
    new: &BTreeSet<u64>,
    mut seen: Seen,
) -> Result<(), LedgerError> {
    let mut sums: BTreeMap<SumKey, (i64, i64)> = BTreeMap::new();
    for Event { event, .. } in events.iter().filter(|event| new.contains(&event.seq)) {
        let key = (
            event.tenant.clone(),
            event.template.clone(),
            lane_code(event.lane),
            event.at.0 / DAY,
            event.kind.clone(),
        );
        let sum = sums.entry(key).or_default();
        sum.0 += 1;
        if seen.insert((event.message_id, event.accepted_at.0, event.kind.clone())) {
            sum.1 += 1;
        }
    }
    for ((tenant, template, lane, day, kind), (events, messages)) in sums {
        sqlx::query(
            "INSERT INTO sums (tenant, template, lane, day, kind, events, messages) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (tenant, template, lane, day, kind) DO UPDATE SET events = sums.events + excluded.events, \
             messages = sums.messages + excluded.messages",
        )
        .bind(tenant)
        .bind(template)
        .bind(lane)
        .bind(integer(day))
        .bind(kind)
        .bind(events)
        .bind(messages)
        .execute(connection(writing))
        .await?;
    }
    Ok(())
}

/// An event from a row of [`COLUMNS`].
pub(crate) fn event(row: &AnyRow) -> Result<Event, LedgerError> {
    Ok(Event {
        seq: unsigned(row.try_get(0)?),
        event: NewEvent {
            id: row.try_get(1)?,
            message_id: message_id(row, 2)?,
            accepted_at: millis(row, 3)?,
            attempt: u32::try_from(row.try_get::<i64, _>(4)?).unwrap_or(0),
            tenant: row.try_get(5)?,
            template: row.try_get(6)?,
            lane: lane(row.try_get(7)?),
            kind: row.try_get(8)?,
            at: millis(row, 9)?,
            received_at: millis(row, 10)?,
            detail: row.try_get(11)?,
        },
    })
}

fn sum(row: &AnyRow) -> Result<Sum, LedgerError> {
    Ok(Sum {
        tenant: row.try_get(0)?,
        template: row.try_get(1)?,
        lane: lane(row.try_get(2)?),
        day: unsigned(row.try_get(3)?),
        kind: row.try_get(4)?,
        events: unsigned(row.try_get(5)?),
        messages: unsigned(row.try_get(6)?),
    })
}
