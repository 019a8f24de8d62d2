//! What must hold of Redis after each operation, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use paceline_domain::id::MessageId;
use paceline_domain::record::{State, Ticket};
use paceline_store::Stage;

use super::{MESSAGES, World};
use crate::SHARD;
use crate::support::{id, stream_key};

impl World<'_> {
    /// Redis holds what the model says, and where some worker looks for it.
    pub(super) async fn check(&self) {
        let ids: Vec<_> = (1..=MESSAGES).map(id).collect();
        let records = self.bench.store.get_many(SHARD, &ids).await.expect("readable");
        for (id, record) in ids.iter().zip(records) {
            assert_eq!(record.as_ref(), self.model.get(id));
        }
        let entries = self.entries().await;
        let mut waiting: BTreeMap<&str, BTreeSet<(MessageId, u64)>> = BTreeMap::new();
        for (&id, record) in &self.model {
            let (set, at) = match record.state {
                State::Sending => ("open", record.due_at),
                State::Scheduled | State::Deferred => ("later", record.due_at),
                State::InDoubt => ("doubt", record.due_at),
                State::Dead => ("dead", record.changed_at),
                State::Held => ("held", record.changed_at),
                State::Queued => {
                    assert!(
                        entries.contains(&(id, record.ticket())),
                        "nothing names {id}: {record:?}"
                    );
                    continue;
                }
                _ => continue,
            };
            waiting.entry(set).or_default().insert((id, at.0));
        }
        for set in ["open", "later", "doubt", "dead", "held"] {
            let expected = waiting.remove(set).unwrap_or_default();
            assert_eq!(
                self.bench.waiting(set).await.into_iter().collect::<BTreeSet<_>>(),
                expected,
                "{set}"
            );
        }
    }

    /// The tickets in both streams.
    async fn entries(&self) -> BTreeSet<(MessageId, Ticket)> {
        let mut tickets = BTreeSet::new();
        for stage in Stage::ALL {
            let range = self
                .bench
                .redis
                .command(&["XRANGE", &stream_key(stage), "-", "+"])
                .await;
            for entry in range.array() {
                let bytes = entry.array()[1].array()[1].bytes();
                let id = MessageId(bytes[..16].try_into().expect("26 bytes"));
                for (&known, record) in &self.model {
                    if known == id && packed(id, record.ticket())[..] == bytes[..] {
                        tickets.insert((id, record.ticket()));
                    }
                }
            }
        }
        tickets
    }

    /// What holds at the end: lifetimes, requests, and a log that tells every revision once.
    pub(super) async fn check_the_end(&self) {
        let log = self
            .bench
            .store
            .log_since(SHARD, "0", 10_000)
            .await
            .expect("there");
        let moves: Vec<_> = log.into_iter().flat_map(|(_, moves)| moves).collect();
        for (&id, record) in &self.model {
            let ended = record.state.at_rest() && record.state != State::Dead;
            assert_eq!(self.bench.ttl(id).await > 0, ended, "{record:?}");
            let has_request = self.bench.has_request(id).await;
            assert!(has_request != ended || (self.lossy && !has_request), "{record:?}");
            let own: Vec<_> = moves.iter().filter(|t| t.id == id).collect();
            let revisions: Vec<_> = own.iter().map(|t| t.revision).collect();
            if self.lossy {
                assert!(revisions.is_sorted_by(|one, next| one < next), "{revisions:?}");
            } else {
                assert_eq!(revisions, (1..=record.revision).collect::<Vec<_>>());
            }
            let last = own.last().expect("at least the acceptance");
            assert_eq!(
                (last.state, last.reason, last.attempt, last.at, last.accepted_at),
                (
                    record.state,
                    record.reason,
                    record.attempt,
                    record.changed_at,
                    record.accepted_at
                )
            );
        }
    }
}

pub(super) fn packed(id: MessageId, ticket: Ticket) -> Vec<u8> {
    let accepted_at = ticket.accepted_at.0.to_be_bytes();
    [&id.0[..], &accepted_at[2..], &ticket.generation.to_be_bytes()].concat()
}
