//! Records and entries that can't be read do not stop their neighbours.

use paceline_domain::reason::Reason;
use paceline_domain::record::{Fence, Nonce, State};
use paceline_store::{Change, Claimed, Enqueued, EntryBody, Report, Stage, StreamKey, Unrendered};

use crate::SHARD;
use crate::support::{Bench, accepted, claim_of, id, message, record_key, stream_key, ticket_of, wish};

/// Makes the first message's record one of a newer format, the second's unreadable.
async fn spoil(bench: &Bench) {
    let newer = record_key(id(1));
    let corrupt = record_key(id(2));
    let commands: [[&[u8]; 4]; 2] = [
        [b"SETRANGE", newer.as_bytes(), b"0", b"\x02"],
        [b"SETRANGE", corrupt.as_bytes(), b"1", b"?"],
    ];
    for command in commands {
        bench.redis.command(&command).await;
    }
}

async fn three_ready(bench: &Bench) {
    bench.enqueue(vec![message(1), message(2), message(3)]).await;
    bench.render_all().await;
    spoil(bench).await;
}

#[tokio::test]
async fn a_claim_takes_the_readable_and_leaves_the_newer() {
    let bench = Bench::start().await;
    three_ready(&bench).await;
    let claims = bench.claim_all(1).await;
    assert!(
        matches!(
            claims.as_slice(),
            [Claimed::Newer, Claimed::Corrupt, Claimed::Sending(_)]
        ),
        "{claims:?}"
    );
    // The newer one's entry stays for who can read it; the corrupt one is shown to a person.
    assert_eq!(bench.backlog(Stage::Ready).await, 1);
    assert_eq!(bench.waiting("dead").await, [(id(2), bench.now().0)]);
}

#[tokio::test]
async fn a_provider_of_a_release_to_come_is_left_alone() {
    let bench = Bench::start().await;
    bench.enqueue(vec![message(1)]).await;
    bench.render_all().await;
    let record = record_key(id(1));
    let command: [&[u8]; 4] = [b"SETRANGE", record.as_bytes(), b"3", b"\x09"];
    bench.redis.command(&command).await;
    let claims = bench.claim_all(1).await;
    assert!(matches!(claims.as_slice(), [Claimed::Newer]), "{claims:?}");
    assert!(bench.store.get(id(1)).await.is_err());
    assert_eq!(bench.backlog(Stage::Ready).await, 1);
    assert!(bench.waiting("dead").await.is_empty());
}

#[tokio::test]
async fn every_other_script_goes_on_too() {
    let bench = Bench::start().await;
    three_ready(&bench).await;
    let again = bench.enqueue(vec![message(1), message(2), message(3)]).await;
    assert!(
        matches!(
            again.as_slice(),
            [Enqueued::Newer, Enqueued::Corrupt, Enqueued::Duplicate(_)]
        ),
        "{again:?}"
    );
    let fence = Fence {
        attempt: 1,
        nonce: Nonce::default(),
    };
    let reports = (1..=3)
        .map(|n| Report {
            id: id(n),
            fence,
            outcome: accepted(),
        })
        .collect();
    let changes = bench.store.finish(SHARD, reports).await.expect("there");
    assert!(
        matches!(
            changes.as_slice(),
            [Change::Newer, Change::Corrupt, Change::Moved(_)]
        ),
        "{changes:?}"
    );
    let items: Vec<_> = (1..=3).map(|n| (id(n), fence)).collect();
    for changes in [
        bench.store.lapse(SHARD, &items).await,
        bench.store.resolve(SHARD, &items).await,
    ] {
        let changes = changes.expect("there");
        assert!(
            matches!(
                changes.as_slice(),
                [Change::Newer, Change::Corrupt, Change::Unchanged(_)]
            ),
            "{changes:?}"
        );
    }
    assert_eq!(bench.store.cancel(id(1)).await.expect("there"), Change::Newer);
    assert_eq!(bench.store.redrive(id(2)).await.expect("there"), Change::Corrupt);
    assert!(bench.store.get(id(2)).await.is_err());
    assert_eq!(bench.get(id(3)).await.state, State::Accepted);
}

#[tokio::test]
async fn burying_goes_on_and_shows_the_corrupt() {
    let bench = Bench::start().await;
    bench.enqueue(vec![message(1), message(2), message(3)]).await;
    spoil(&bench).await;
    let items = bench
        .read(Stage::Queued, "r")
        .await
        .iter()
        .map(|entry| {
            let (id, ticket) = ticket_of(entry);
            Unrendered {
                stream: entry.stream.clone(),
                entry_id: entry.entry_id.clone(),
                id,
                ticket,
                reason: Reason::RenderFailed,
            }
        })
        .collect();
    let changes = bench.store.bury(SHARD, items).await.expect("there");
    assert!(
        matches!(
            changes.as_slice(),
            [Change::Newer, Change::Corrupt, Change::Moved(_)]
        ),
        "{changes:?}"
    );
    assert_eq!(bench.backlog(Stage::Queued).await, 1);
    let dead: Vec<_> = bench
        .waiting("dead")
        .await
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(dead, [id(2), id(3)]);
}

#[tokio::test]
async fn a_due_id_whose_record_can_not_be_read_leaves_the_head_of_the_line() {
    let bench = Bench::start().await;
    let messages = [1, 2].map(|n| {
        let mut later = message(n);
        later.record.send_at = bench.now() + std::time::Duration::from_secs(1);
        later
    });
    bench.enqueue(messages.to_vec()).await;
    spoil(&bench).await;
    bench.advance(std::time::Duration::from_secs(1));
    let stream = StreamKey::of(&wish(), Stage::Queued);
    let items = [(id(1), stream.clone()), (id(2), stream)];
    let changes = bench.store.promote(SHARD, &items).await.expect("there");
    assert_eq!(changes, [Change::Newer, Change::Corrupt]);
    assert_eq!(bench.waiting("later").await.len(), 1);
    assert_eq!(bench.waiting("dead").await, [(id(2), bench.now().0)]);
}

#[tokio::test]
async fn every_cut_and_every_lie_of_length_is_corrupt_and_none_breaks_a_script() {
    let bench = Bench::start().await;
    bench.accept(&message(1)).await;
    let key = record_key(id(1));
    let whole = bench.redis.command(&["GET", &key]).await.bytes();
    let mut spoiled: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    spoiled.push([&whole[..], b"x"].concat());
    spoiled.push([&whole[..70], &[255], &whole[71..]].concat());
    spoiled.push([&whole[..2], &[32], &whole[3..]].concat());
    for bytes in spoiled {
        let command: [&[u8]; 3] = [b"SET", key.as_bytes(), &bytes];
        bench.redis.command(&command).await;
        let answer = bench.store.cancel(id(1)).await.expect("there");
        assert_eq!(answer, Change::Corrupt, "{} bytes", bytes.len());
    }
}

#[tokio::test]
async fn entries_of_a_newer_format_and_of_none_are_told_apart() {
    let bench = Bench::start().await;
    bench.accept(&message(1)).await;
    let key = stream_key(Stage::Queued);
    for field in ["e2", "other", "e"] {
        bench.redis.command(&["XADD", &key, "*", field, "value"]).await;
    }
    let bodies: Vec<_> = bench
        .read(Stage::Queued, "r")
        .await
        .into_iter()
        .map(|entry| entry.body)
        .collect();
    assert!(
        matches!(
            bodies.as_slice(),
            [
                EntryBody::Message { .. },
                EntryBody::Newer,
                EntryBody::Corrupt,
                EntryBody::Corrupt
            ]
        ),
        "{bodies:?}"
    );
}

#[tokio::test]
async fn a_ticket_of_another_acceptance_claims_nothing() {
    let bench = Bench::start().await;
    bench.accept(&message(1)).await;
    bench.render_all().await;
    let mut item = claim_of(&bench.read(Stage::Ready, "s").await[0]);
    item.ticket.accepted_at.0 += 1;
    assert_eq!(bench.claim(1, vec![item]).await, [Claimed::Dropped]);
    assert_eq!(bench.get(id(1)).await.state, State::Queued);
}

#[tokio::test]
async fn a_due_id_without_a_stream_is_judged_by_its_record_and_queues_nothing() {
    let bench = Bench::start().await;
    let messages = [1, 2, 3].map(|n| {
        let mut later = message(n);
        later.record.send_at = bench.now() + std::time::Duration::from_secs(1);
        later
    });
    bench.enqueue(messages.to_vec()).await;
    spoil(&bench).await;
    bench.advance(std::time::Duration::from_secs(1));
    let items = [1, 2, 3, 4].map(|n| (id(n), None));
    let changes = bench.store.promote(SHARD, &items).await.expect("there");
    assert!(
        matches!(
            changes.as_slice(),
            [
                Change::Newer,
                Change::Corrupt,
                Change::Unchanged(_),
                Change::Missing
            ]
        ),
        "{changes:?}"
    );
    assert_eq!(bench.waiting("dead").await, [(id(2), bench.now().0)]);
    let past_the_newer = bench.store.later_due_after(SHARD, 1, 10).await.expect("there");
    assert_eq!(past_the_newer, [(id(3), bench.now())]);
}
