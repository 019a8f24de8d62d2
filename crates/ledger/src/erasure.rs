//! Erasing what is known of an address: whose the messages were, what callers said of them, what providers told. What became of
//! the messages stays, and so does the proof: what was taken away, where, when, by whom and why, without the address.
//!
//! An erasure is done part by part, each in a transaction of its own with its share of the proof, so that a crash leaves a whole
//! number of parts. What was logged before the erasure and is copied after it comes without what the erasure takes.

use std::collections::{BTreeMap, BTreeSet};

use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;
use sha2::{Digest as _, Sha256};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _, Transaction};

use crate::ledger::connection;
use crate::query::{message_id, millis};
use crate::rows::{ROWS_MAX, integer, placeholders, unsigned};
use crate::{Act, Ledger, LedgerError, LoggedMessage, acts, kept};

type Writing = Transaction<'static, sqlx::Any>;

/// An act of erasing, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Names it. Its act is `erase:<id>`.
    pub id: String,
    pub tenant: String,
    /// Keyed hash.
    pub address: Vec<u8>,
    pub at: Millis,
    pub who: String,
    pub why: String,
}

/// What an erasure has taken away so far, by place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Messages that waited to be sent, and are cancelled.
    pub cancelled: u64,
    /// Dead letters and doubts, given up.
    pub discarded: u64,
    /// Messages that were being sent right then: nothing of them is erased.
    pub sending: u64,
    /// Rendered copies that waited for a sender.
    pub ready: u64,
    /// Acceptances in the ledger that do not name the person any more.
    pub messages: u64,
    /// Events in the ledger without what the provider told.
    pub events: u64,
    /// SHA-256 over the digest before it and what each part took away, in order: see [`Erased::digest_of`].
    pub digest: Vec<u8>,
    /// 0 until it is finished.
    pub finished_at: Millis,
}

/// Messages from which a part of an erasure took something, by the place where it was.
pub type Taken<'a> = (&'a str, &'a [(MessageId, Millis)]);

impl Erased {
    /// The digest after a part: SHA-256 of the digest before it, the place's name, and id and acceptance (8 bytes, big-endian) of
    /// each message in rising order.
    #[must_use]
    pub fn digest_of(before: &[u8], (place, messages): Taken<'_>) -> Vec<u8> {
        let mut sorted = messages.to_vec();
        sorted.sort_unstable();
        let mut digest = Sha256::new();
        digest.update(before);
        digest.update(place);
        for (id, accepted_at) in sorted {
            digest.update(id.0);
            digest.update(accepted_at.0.to_be_bytes());
        }
        digest.finalize().to_vec()
    }
}

impl Ledger {
    /// Begins an erasure, and writes its act. What is copied from now on of messages accepted until then comes without the person.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then it may have begun.
    pub async fn begin_erasure(&self, erasure: &Erasure) -> Result<(), LedgerError> {
        let act = Act {
            id: act_id(&erasure.id),
            at: erasure.at,
            act: "erase".to_owned(),
            who: erasure.who.clone(),
            why: erasure.why.clone(),
            tenant: erasure.tenant.clone(),
            messages: Vec::new(),
        };
        let sql = "INSERT INTO erasures (id, tenant, address, at, who, why) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
        self.within(async {
            let (mut writing, _) = self.begin(0).await?;
            sqlx::query(sql)
                .bind(erasure.id.clone())
                .bind(erasure.tenant.clone())
                .bind(erasure.address.clone())
                .bind(integer(erasure.at.0))
                .bind(erasure.who.clone())
                .bind(erasure.why.clone())
                .execute(connection(&mut writing))
                .await?;
            acts::write(&mut writing, &[act]).await?;
            writing.commit().await?;
            Ok(())
        })
        .await
    }

    /// Notes what a part of an erasure took away elsewhere: the counts of `part`, and each message's name on the act.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then it may be noted.
    pub async fn note_erased(
        &self,
        erasure: &Erasure,
        part: &Erased,
        taken: Taken<'_>,
    ) -> Result<(), LedgerError> {
        self.within(async {
            let (mut writing, _) = self.begin(0).await?;
            note(&mut writing, erasure, part, taken).await?;
            writing.commit().await?;
            Ok(())
        })
        .await
    }

    /// Forgets of up to `count` messages whose they were: hashes, digests, tags, what providers' events told, and what is kept of them. Answers with how
    /// many: none is left once it is fewer than `count`.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then they may be forgotten.
    pub async fn erase(&self, erasure: &Erasure, count: u32) -> Result<u64, LedgerError> {
        let sql = "UPDATE messages SET recipient = $1, user_hash = $1, digests = $1, tags = '[]', erased_at = $2 \
                   WHERE (id, accepted_at) IN \
                   (SELECT id, accepted_at FROM messages WHERE tenant = $3 AND recipient = $4 LIMIT $5) \
                   RETURNING id, accepted_at";
        self.within(async {
            let (mut writing, _) = self.begin(0).await?;
            let rows = sqlx::query(sql)
                .bind(Vec::<u8>::new())
                .bind(integer(erasure.at.0))
                .bind(erasure.tenant.clone())
                .bind(erasure.address.clone())
                .bind(i64::from(count))
                .fetch_all(connection(&mut writing))
                .await?;
            let named = |row: &AnyRow| Ok((message_id(row, 0)?, millis(row, 1)?));
            let messages: Vec<_> = rows.iter().map(named).collect::<Result<_, LedgerError>>()?;
            let part = Erased {
                messages: messages.len() as u64,
                events: blank_events(&mut writing, &messages).await?,
                ..Erased::default()
            };
            kept::erase(&mut writing, &messages).await?;
            note(&mut writing, erasure, &part, ("ledger", &messages)).await?;
            writing.commit().await?;
            Ok(part.messages)
        })
        .await
    }

    /// How many messages [`Ledger::erase`] would forget whose they were.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn count_of_address(&self, tenant: &str, address: &[u8]) -> Result<u64, LedgerError> {
        let sql = "SELECT COUNT(*) FROM messages WHERE tenant = $1 AND recipient = $2";
        self.within(async {
            let count: i64 = sqlx::query_scalar(sql)
                .bind(tenant.to_owned())
                .bind(address.to_vec())
                .fetch_one(&self.pool)
                .await?;
            Ok(unsigned(count))
        })
        .await
    }

    /// Notes that nothing is left to erase. Repeated, the first time counts.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then it may be noted.
    pub async fn finish_erasure(&self, id: &str, now: Millis) -> Result<(), LedgerError> {
        let sql = "UPDATE erasures SET finished_at = $1 WHERE id = $2 AND finished_at = 0";
        self.within(async {
            let (mut writing, _) = self.begin(0).await?;
            sqlx::query(sql)
                .bind(integer(now.0))
                .bind(id.to_owned())
                .execute(connection(&mut writing))
                .await?;
            writing.commit().await?;
            Ok(())
        })
        .await
    }

    /// An erasure of a tenant, and what it has taken away so far.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn erasure(&self, tenant: &str, id: &str) -> Result<Option<(Erasure, Erased)>, LedgerError> {
        let sql = "SELECT id, tenant, address, at, who, why, cancelled, discarded, sending, ready, messages, events, digest, \
                   finished_at FROM erasures WHERE id = $1 AND tenant = $2";
        self.within(async {
            let row = sqlx::query(sql)
                .bind(id.to_owned())
                .bind(tenant.to_owned())
                .fetch_optional(&self.pool)
                .await?;
            row.as_ref().map(erasure).transpose()
        })
        .await
    }

    /// Forgets the addresses' hashes of erasures before `before`: what was logged by then has long been copied.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn forget_erased_addresses(&self, before: Millis) -> Result<u64, LedgerError> {
        let sql = "UPDATE erasures SET address = $1 WHERE at < $2 AND address <> $1";
        self.within(async {
            let (mut writing, _) = self.begin(0).await?;
            let query = sqlx::query(sql).bind(Vec::<u8>::new()).bind(integer(before.0));
            let forgotten = query.execute(connection(&mut writing)).await?.rows_affected();
            writing.commit().await?;
            Ok(forgotten)
        })
        .await
    }
}

fn act_id(erasure: &str) -> String {
    format!("erase:{erasure}")
}

fn erasure(row: &AnyRow) -> Result<(Erasure, Erased), LedgerError> {
    let count = |column: usize| Ok::<_, LedgerError>(unsigned(row.try_get(column)?));
    let erasure = Erasure {
        id: row.try_get(0)?,
        tenant: row.try_get(1)?,
        address: row.try_get(2)?,
        at: millis(row, 3)?,
        who: row.try_get(4)?,
        why: row.try_get(5)?,
    };
    let erased = Erased {
        cancelled: count(6)?,
        discarded: count(7)?,
        sending: count(8)?,
        ready: count(9)?,
        messages: count(10)?,
        events: count(11)?,
        digest: row.try_get(12)?,
        finished_at: millis(row, 13)?,
    };
    Ok((erasure, erased))
}

/// Takes what providers told from the events of these messages; says of how many.
async fn blank_events(writing: &mut Writing, messages: &[(MessageId, Millis)]) -> Result<u64, LedgerError> {
    let mut blanked = 0;
    for chunk in messages.chunks(ROWS_MAX) {
        // What is our own is no more than the transitions say.
        let sql = format!(
            "WITH asked (id, accepted_at) AS (VALUES {}) UPDATE events SET detail = '{{}}' FROM asked WHERE \
             events.message_id = asked.id AND events.accepted_at = asked.accepted_at AND events.detail <> '{{}}' AND \
             events.id NOT LIKE 'paceline:%'",
            placeholders(0, chunk.len(), 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for (id, accepted_at) in chunk {
            query = query.bind(id.0.to_vec()).bind(integer(accepted_at.0));
        }
        blanked += query.execute(connection(writing)).await?.rows_affected();
    }
    Ok(blanked)
}

/// Adds a part to the proof.
async fn note(
    writing: &mut Writing,
    erasure: &Erasure,
    part: &Erased,
    taken: Taken<'_>,
) -> Result<(), LedgerError> {
    let sql = "SELECT digest FROM erasures WHERE id = $1";
    let before: Vec<u8> = sqlx::query_scalar(sql)
        .bind(erasure.id.clone())
        .fetch_one(connection(writing))
        .await?;
    let digest = if taken.1.is_empty() {
        before
    } else {
        Erased::digest_of(&before, taken)
    };
    let sql = "UPDATE erasures SET cancelled = cancelled + $1, discarded = discarded + $2, sending = sending + $3, \
               ready = ready + $4, messages = messages + $5, events = events + $6, digest = $7 WHERE id = $8";
    let mut query = sqlx::query(sql);
    for count in [
        part.cancelled,
        part.discarded,
        part.sending,
        part.ready,
        part.messages,
        part.events,
    ] {
        query = query.bind(integer(count));
    }
    query
        .bind(digest)
        .bind(erasure.id.clone())
        .execute(connection(writing))
        .await?;
    let ids: BTreeSet<MessageId> = taken.1.iter().map(|(id, _)| *id).collect();
    acts::name_messages(
        writing,
        &act_id(&erasure.id),
        &ids.into_iter().collect::<Vec<_>>(),
    )
    .await
}

/// When each person among these messages was erased last, by tenant and address.
pub(crate) async fn erased_at(
    writing: &mut Writing,
    messages: &[LoggedMessage],
) -> Result<BTreeMap<(String, Vec<u8>), Millis>, LedgerError> {
    let addresses: BTreeSet<&Vec<u8>> = messages.iter().map(|message| &message.recipient).collect();
    let addresses: Vec<_> = addresses
        .into_iter()
        .filter(|address| !address.is_empty())
        .collect();
    let mut erased = BTreeMap::new();
    for chunk in addresses.chunks(ROWS_MAX) {
        let sql = format!(
            "SELECT tenant, address, MAX(at) FROM erasures WHERE address IN {} GROUP BY tenant, address",
            placeholders(0, 1, chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for address in chunk {
            query = query.bind((*address).clone());
        }
        for row in query.fetch_all(connection(writing)).await? {
            erased.insert((row.try_get(0)?, row.try_get(1)?), millis(&row, 2)?);
        }
    }
    Ok(erased)
}
