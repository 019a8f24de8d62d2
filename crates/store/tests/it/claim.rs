//! Claims and what comes of them.

use std::time::Duration;

use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Fence, Nonce, Provider, State};
use paceline_domain::time::Millis;
use paceline_store::{Change, Claimed, Stage, StreamKey, Verdict};

use crate::SHARD;
use crate::support::{Bench, LEASE, RENDERED_AT, TRIES_MAX, accepted, claim_of, id, message, moved};

#[tokio::test]
async fn a_claim_takes_the_message_out_of_its_stream_and_into_open() {
    let bench = Bench::start().await;
    let accepted = bench.accept(&message(1)).await;
    let sending = bench.send_queued().await;
    assert_eq!((sending.state, sending.attempt), (State::Sending, 1));
    assert_eq!(
        (sending.nonce, sending.provider),
        (Nonce([1; 8]), Some(Provider::Ses))
    );
    assert_eq!(sending.due_at, bench.now() + LEASE);
    assert_eq!((sending.revision, sending.generation), (2, accepted.generation));
    assert_eq!(bench.waiting("open").await, [(id(1), sending.due_at.0)]);
    for stage in Stage::ALL {
        assert_eq!(bench.backlog(stage).await, 0);
    }
    assert!(bench.has_request(id(1)).await);
}

#[tokio::test]
async fn a_second_copy_is_dropped_even_within_one_call() {
    let bench = Bench::start().await;
    bench.accept(&message(1)).await;
    let entries = bench.read(Stage::Queued, "r").await;
    let items: Vec<_> = entries.iter().map(crate::support::hand_off_of).collect();
    for _ in 0..3 {
        bench
            .store
            .hand_off(SHARD, items.clone())
            .await
            .expect("there")
            .remove(0)
            .expect("added");
    }
    let copies: Vec<_> = bench.read(Stage::Ready, "s").await.iter().map(claim_of).collect();
    let [first, second, third] = copies.as_slice() else {
        panic!("{copies:?}")
    };
    let claims = bench.claim(1, vec![first.clone(), second.clone()]).await;
    assert!(
        matches!(claims.as_slice(), [Claimed::Sending(_), Claimed::Dropped]),
        "{claims:?}"
    );
    assert_eq!(bench.claim(2, vec![third.clone()]).await, [Claimed::Dropped]);
    assert_eq!(bench.get(id(1)).await.nonce, Nonce([1; 8]));
    assert_eq!(bench.backlog(Stage::Ready).await, 0);
}

#[tokio::test]
async fn the_same_call_again_is_answered_the_same_and_another_one_is_not() {
    let bench = Bench::start().await;
    bench.accept(&message(1)).await;
    bench.render_all().await;
    let copies: Vec<_> = bench.read(Stage::Ready, "s").await.iter().map(claim_of).collect();
    let first = bench.claim(1, copies.clone()).await;
    assert!(matches!(first.as_slice(), [Claimed::Sending(_)]), "{first:?}");
    bench.advance(LEASE / 2);
    // As when the server was replaced before the claim was known to be kept. The lease is not a longer one for that.
    assert_eq!(bench.claim(1, copies.clone()).await, first);
    assert_eq!(bench.claim(2, copies).await, [Claimed::Dropped]);
}

#[tokio::test]
async fn expired_and_suppressed_messages_end_at_the_claim() {
    let bench = Bench::start().await;
    let mut short = message(1);
    short.ttl = Duration::from_secs(1);
    bench.enqueue(vec![short, message(2), message(3)]).await;
    bench.render_all().await;
    bench.advance(Duration::from_secs(1));
    let mut items: Vec<_> = bench.read(Stage::Ready, "s").await.iter().map(claim_of).collect();
    let verdicts = [
        Verdict::Suppressed(Reason::HardBounced),
        Verdict::Suppressed(Reason::Unsubscribed),
        Verdict::NotAllowedHere,
    ];
    for (item, verdict) in items.iter_mut().zip(verdicts) {
        item.verdict = verdict;
    }
    assert_eq!(
        bench.claim(1, items).await,
        [Claimed::Expired, Claimed::Suppressed, Claimed::Suppressed]
    );
    for (number, state, reason) in [
        (1, State::Expired, "past_expiry"),
        (2, State::Suppressed, "unsubscribed"),
        (3, State::Suppressed, "not_allowed_here"),
    ] {
        let record = bench.get(id(number)).await;
        assert_eq!((record.state, record.reason.as_str()), (state, reason));
        assert!(!bench.has_request(id(number)).await);
        assert!(bench.ttl(id(number)).await > 0);
    }
    assert_eq!(bench.backlog(Stage::Ready).await, 0);
}

#[tokio::test]
async fn unread_mail_ends_with_its_time_and_the_rest_is_left_to_its_readers() {
    let bench = Bench::start().await;
    let mut short = message(1);
    short.ttl = Duration::from_secs(1);
    bench.enqueue(vec![short, message(2), message(3)]).await;
    bench.render_all().await;
    bench.store.cancel(id(3)).await.expect("there");
    let stream = StreamKey::of(&bench.get(id(2)).await, Stage::Ready);
    let first = bench.store.look(SHARD, &stream, None, 2).await.expect("there");
    let after = Some(first[1].entry_id.as_str());
    let second = bench.store.look(SHARD, &stream, after, 2).await.expect("there");
    assert_eq!((first.len(), second.len()), (2, 1));
    let all = [first, second].concat();
    let early = bench.store.expire(SHARD, &all[..1]).await.expect("there");
    assert!(matches!(early[0], Change::Unchanged(_)), "{early:?}");
    bench.advance(Duration::from_secs(1));
    let changes = bench.store.expire(SHARD, &all).await.expect("there");
    assert!(
        matches!(
            changes.as_slice(),
            [Change::Moved(_), Change::Unchanged(_), Change::Unchanged(_)]
        ),
        "{changes:?}"
    );
    assert_eq!(bench.get(id(1)).await.state, State::Expired);
    assert!(!bench.has_request(id(1)).await);
    // The cancelled message's entry is gone, too; the other's was not even delivered.
    assert_eq!(bench.backlog(Stage::Ready).await, 1);
    let claimed = bench.claim_all(1).await;
    assert!(
        matches!(claimed.as_slice(), [Claimed::Sending(record)] if record.attempt == 1),
        "{claimed:?}"
    );
}

#[tokio::test]
async fn accepted_is_final_and_keeps_the_record_for_its_window() {
    let bench = Bench::start().await;
    let sending = bench.sending(&message(1)).await;
    let record = moved(bench.report(id(1), sending.fence(), accepted()).await);
    assert_eq!(
        (record.state, record.provider_id.as_str()),
        (State::Accepted, "0100019abc")
    );
    assert_eq!(bench.waiting("open").await, []);
    assert!(!bench.has_request(id(1)).await);
    assert!((604_700..=604_800).contains(&bench.ttl(id(1)).await));
    let again = bench.report(id(1), sending.fence(), accepted()).await;
    assert_eq!(again, Change::Unchanged(record.clone()));
    let late = Outcome::Refused {
        reason: Reason::MessageRefused,
    };
    assert_eq!(
        bench.report(id(1), sending.fence(), late).await,
        Change::Unchanged(record)
    );
}

#[tokio::test]
async fn a_late_positive_result_applies_in_every_state_and_a_negative_one_in_none() {
    let bench = Bench::start().await;
    let first = bench.sending(&message(1)).await;
    let deferred = Outcome::Deferred {
        reason: Reason::Throttled,
        delay: Duration::ZERO,
    };
    moved(bench.report(id(1), first.fence(), deferred).await);
    moved(bench.promote(id(1)).await);
    moved(bench.store.cancel(id(1)).await.expect("there"));
    let stale = Fence {
        attempt: 1,
        nonce: Nonce([9; 8]),
    };
    let refused = Outcome::Refused {
        reason: Reason::MessageRefused,
    };
    assert!(matches!(
        bench.report(id(1), stale, refused).await,
        Change::Unchanged(_)
    ));
    assert_eq!(
        moved(bench.report(id(1), stale, accepted()).await).state,
        State::Accepted
    );
}

#[tokio::test]
async fn failures_count_as_tries_and_the_last_one_buries() {
    let bench = Bench::start().await;
    bench.accept(&message(1)).await;
    let delay = Duration::from_secs(30);
    for number in 1..=TRIES_MAX {
        let sending = bench.send_queued().await;
        let failed = Outcome::Failed {
            reason: Reason::ProviderUnavailable,
            delay,
        };
        let record = moved(bench.report(id(1), sending.fence(), failed).await);
        assert_eq!(record.tries, u32::from(number));
        if number < TRIES_MAX {
            assert_eq!(
                (record.state, record.due_at),
                (State::Deferred, bench.now() + delay)
            );
            assert_eq!(bench.waiting("later").await, [(id(1), record.due_at.0)]);
            bench.advance(delay);
            moved(bench.promote(id(1)).await);
        } else {
            assert_eq!(
                (record.state, record.reason),
                (State::Dead, Reason::TriesExhausted)
            );
            assert_eq!(bench.waiting("dead").await, [(id(1), bench.now().0)]);
            assert_eq!(bench.ttl(id(1)).await, -1);
            assert!(bench.has_request(id(1)).await);
        }
    }
    assert_eq!(moved(bench.store.redrive(id(1)).await.expect("there")).tries, 0);
}

#[tokio::test]
async fn a_report_of_another_claim_of_the_same_number_changes_nothing() {
    let bench = Bench::start().await;
    let sending = bench.sending(&message(1)).await;
    let other = Fence {
        nonce: Nonce([9; 8]),
        ..sending.fence()
    };
    let refused = Outcome::Refused {
        reason: Reason::MessageRefused,
    };
    let answer = bench.report(id(1), other, refused).await;
    assert_eq!(answer, Change::Unchanged(sending));
}

#[tokio::test]
async fn a_report_on_a_message_that_is_gone_is_answered_so() {
    let bench = Bench::start().await;
    let fence = Fence {
        attempt: 1,
        nonce: Nonce([1; 8]),
    };
    assert_eq!(bench.report(id(1), fence, accepted()).await, Change::Missing);
}

#[tokio::test]
async fn the_log_tells_each_revision_once() {
    let bench = Bench::start().await;
    let end = bench.store.log_end(SHARD).await.expect("there");
    assert_eq!(end, "0-0");
    let sending = bench.sending(&message(1)).await;
    bench.report(id(1), sending.fence(), accepted()).await;
    bench.report(id(1), sending.fence(), accepted()).await;
    let log = bench.store.log_since(SHARD, &end, 100).await.expect("there");
    let moves: Vec<_> = log.iter().flat_map(|(_, moves)| moves).collect();
    let told: Vec<_> = moves
        .iter()
        .map(|t| (t.revision, t.state, t.attempt, t.rendered_at))
        .collect();
    assert_eq!(
        told,
        [
            (1, State::Queued, 0, Millis(0)),
            (2, State::Sending, 1, RENDERED_AT),
            (3, State::Accepted, 1, Millis(0))
        ]
    );
    assert!(
        moves
            .iter()
            .all(|t| t.id == id(1) && t.accepted_at == sending.accepted_at)
    );
    let (last, _) = log.last().expect("three");
    assert_eq!(bench.store.log_since(SHARD, last, 100).await.expect("there"), []);
    assert_eq!(&bench.store.log_end(SHARD).await.expect("there"), last);
}

#[tokio::test]
async fn each_claim_of_a_batch_is_logged_with_its_own_time_of_rendering() {
    let bench = Bench::start().await;
    bench.enqueue((1..=4).map(message).collect()).await;
    bench.render_all().await;
    let mut items: Vec<_> = bench.read(Stage::Ready, "s").await.iter().map(claim_of).collect();
    items[0].verdict = Verdict::NotAllowedHere;
    for (item, at) in items.iter_mut().zip([7, 8, 0, Millis::MAX.0]) {
        item.rendered_at = Millis(at);
    }
    let end = bench.store.log_end(SHARD).await.expect("there");
    bench.claim(1, items).await;
    let log = bench.store.log_since(SHARD, &end, 100).await.expect("there");
    let [(_, moves)] = log.as_slice() else {
        panic!("one entry for the batch: {log:?}")
    };
    let told: Vec<_> = moves.iter().map(|t| (t.state, t.rendered_at)).collect();
    assert_eq!(
        told,
        [
            (State::Suppressed, Millis(0)),
            (State::Sending, Millis(8)),
            (State::Sending, Millis(0)),
            (State::Sending, Millis::MAX)
        ]
    );
}
