//! Doubt: how it comes, and how it ends.

use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Fence, Nonce, Provider, Record, State};
use paceline_domain::time::Millis;
use paceline_store::waiting_all::Place;
use paceline_store::{Change, Evidence, Finding, Stage};

use crate::support::{Bench, DOUBT_WINDOW, LEASE, id, message, moved};
use crate::{SHARD, TAG};

async fn lapse(bench: &Bench, record: &Record) -> Change {
    let due = bench.store.lapse(SHARD, &[(id(1), record.fence())]).await;
    due.expect("there").remove(0)
}

async fn resolve(bench: &Bench, record: &Record) -> Change {
    let over = bench.store.resolve(SHARD, &[(id(1), record.fence())]).await;
    over.expect("there").remove(0)
}

async fn evidence(bench: &Bench, finding: Finding) -> Change {
    let evidence = Evidence { id: id(1), finding };
    bench
        .store
        .evidence(SHARD, vec![evidence])
        .await
        .expect("there")
        .remove(0)
}

#[tokio::test]
async fn a_claim_lapses_only_after_its_lease_and_only_its_own() {
    let bench = Bench::start().await;
    let sending = bench.sending(&message(1)).await;
    assert_eq!(lapse(&bench, &sending).await, Change::Unchanged(sending.clone()));
    bench.advance(LEASE);
    let page = bench
        .store
        .open_from(SHARD, Place::default(), 10)
        .await
        .expect("there");
    assert_eq!((page.ids, page.next), (vec![(id(1), sending.due_at)], None));
    let other = Record {
        nonce: Nonce([9; 8]),
        ..sending.clone()
    };
    assert_eq!(lapse(&bench, &other).await, Change::Unchanged(sending.clone()));
    let doubt = moved(lapse(&bench, &sending).await);
    assert_eq!(
        (doubt.state, doubt.reason, doubt.maybe_sent),
        (State::InDoubt, Reason::ClaimLapsed, true)
    );
    assert_eq!(bench.waiting("open").await, []);
    assert_eq!(
        bench.waiting("doubt").await,
        [(id(1), (bench.now() + DOUBT_WINDOW).0)]
    );
}

#[tokio::test]
async fn a_set_is_gone_through_page_by_page_even_where_many_share_a_deadline() {
    let bench = Bench::start().await;
    let deadline_of = |number: u8| if number <= 5 { 1 } else { u64::from(number) };
    let open = format!("{TAG}:open");
    for number in 1..=8 {
        let (score, member) = (deadline_of(number).to_string(), format!("number-{number:09}"));
        bench.redis.command(&["ZADD", &open, &score, &member]).await;
    }
    let mut seen = Vec::new();
    let mut next = Some(Place::default());
    while let Some(place) = next {
        let page = bench.store.open_from(SHARD, place, 2).await.expect("there");
        assert!(page.ids.len() <= 2 && seen.len() <= 8, "{page:?}");
        seen.extend(page.ids);
        next = page.next;
    }
    let all = (1..=8).map(|number| {
        let id = format!("number-{number:09}");
        let id = MessageId(id.as_bytes().try_into().expect("16 bytes"));
        (id, Millis(deadline_of(number)))
    });
    assert_eq!(seen, all.collect::<Vec<_>>());
}

#[tokio::test]
async fn unsettled_doubt_goes_to_the_dead_letters() {
    let bench = Bench::start().await;
    let sending = bench.sending(&message(1)).await;
    bench.advance(LEASE);
    let doubt = moved(lapse(&bench, &sending).await);
    assert_eq!(resolve(&bench, &sending).await, Change::Unchanged(doubt.clone()));
    bench.advance(DOUBT_WINDOW);
    let page = bench
        .store
        .doubt_from(SHARD, Place::default(), 10)
        .await
        .expect("there");
    assert_eq!((page.ids, page.next), (vec![(id(1), doubt.due_at)], None));
    let dead = moved(resolve(&bench, &sending).await);
    assert_eq!((dead.state, dead.reason), (State::Dead, Reason::DoubtUnsettled));
    assert_eq!(
        bench.store.dead(SHARD, 10).await.expect("there"),
        [(id(1), bench.now())]
    );
    assert_eq!(bench.waiting("doubt").await, []);
}

#[tokio::test]
async fn the_policy_resends_once_per_acceptance() {
    let bench = Bench::start().await;
    let mut code = message(1);
    code.record.policy = DoubtPolicy::Resend;
    bench.accept(&code).await;
    for round in 0..2 {
        let sending = bench.send_queued().await;
        let unknown = Outcome::Unknown {
            reason: Reason::Timeout,
        };
        moved(bench.report(id(1), sending.fence(), unknown).await);
        bench.advance(DOUBT_WINDOW);
        let record = moved(resolve(&bench, &sending).await);
        if round == 0 {
            assert_eq!(
                (record.state, record.reason),
                (State::Queued, Reason::DoubtResent)
            );
            assert!(record.resent);
        } else {
            assert_eq!(record.state, State::Dead);
        }
    }
}

#[tokio::test]
async fn evidence_of_sending_applies_in_every_state() {
    let bench = Bench::start().await;
    let sent = Finding::Sent {
        provider: Provider::Ses,
        provider_id: "p-1".to_owned(),
    };
    assert_eq!(evidence(&bench, sent.clone()).await, Change::Missing);
    bench.accept(&message(1)).await;
    moved(bench.store.cancel(id(1)).await.expect("there"));
    let record = moved(evidence(&bench, sent.clone()).await);
    assert_eq!(
        (record.state, record.reason),
        (State::Accepted, Reason::EventSaysSent)
    );
    assert_eq!(
        (record.provider, record.provider_id.as_str()),
        (Some(Provider::Ses), "p-1")
    );
    assert_eq!(evidence(&bench, sent).await, Change::Unchanged(record));
}

#[tokio::test]
async fn evidence_of_not_sending_speaks_for_its_own_attempt() {
    let bench = Bench::start().await;
    let sending = bench.sending(&message(1)).await;
    let unknown = Outcome::Unknown {
        reason: Reason::Timeout,
    };
    let doubt = moved(bench.report(id(1), sending.fence(), unknown).await);
    let not_sent = |attempt| Finding::NotSent {
        attempt,
        reason: Reason::ProviderUnavailable,
        delay: Duration::from_secs(5),
    };
    assert_eq!(evidence(&bench, not_sent(2)).await, Change::Unchanged(doubt));
    let record = moved(evidence(&bench, not_sent(1)).await);
    assert_eq!(
        (record.state, record.due_at),
        (State::Deferred, bench.now() + Duration::from_secs(5))
    );
    assert_eq!(bench.waiting("doubt").await, []);
    assert_eq!(bench.waiting("later").await, [(id(1), record.due_at.0)]);
}

#[tokio::test]
async fn strays_leave_the_sets_of_waiting_ids() {
    let bench = Bench::start().await;
    bench.accept(&message(1)).await;
    let member = id(1).0;
    for set in ["open", "later", "doubt"] {
        let key = format!("{TAG}:{set}");
        for stray in [member, id(2).0] {
            let command: [&[u8]; 4] = [b"ZADD", key.as_bytes(), b"1", &stray];
            bench.redis.command(&command).await;
        }
    }
    let fence = Fence {
        attempt: 0,
        nonce: Nonce::default(),
    };
    let items = [(id(1), fence), (id(2), fence)];
    bench.store.lapse(SHARD, &items).await.expect("there");
    bench.store.resolve(SHARD, &items).await.expect("there");
    bench.promote(id(1)).await;
    assert_eq!(bench.promote(id(2)).await, Change::Missing);
    for set in ["open", "later", "doubt"] {
        assert_eq!(bench.waiting(set).await, [], "{set}");
    }
    assert_eq!(bench.backlog(Stage::Queued).await, 1);
}
