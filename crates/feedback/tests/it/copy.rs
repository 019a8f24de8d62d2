//! The logs come into the ledger, once and whole, whoever dies meanwhile and whatever is away.

mod bench;

use paceline_domain::record::State;
use paceline_ledger::Appended;
use paceline_testkit::{TestPostgres, eventually};

use bench::{Copying, PATIENCE, id, moves_of};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_and_became_of_it_stands_in_the_ledger() {
    let bench = Copying::on_sqlite().await;
    bench.enqueue(1..=3).await;
    bench.store.cancel(id(2)).await.expect("redis is there");
    let feedback = bench.feedback("").await;
    bench.all_copied(3).await;

    let ledger = bench.ledger().await;
    let timeline = ledger
        .timeline("shop", id(2))
        .await
        .expect("answers")
        .expect("is there");
    let message = &timeline.row.message;
    assert_eq!(
        (
            message.template.as_str(),
            message.identity.as_str(),
            message.tags.as_str()
        ),
        ("welcome", "main", "[[\"wave\",\"7\"]]")
    );
    assert_eq!((message.recipient.len(), message.user_hash.len()), (16, 16));
    assert_eq!(message.digests, b"digests");
    let states: Vec<_> = timeline.moves.iter().map(|m| m.state).collect();
    assert_eq!(states, [State::Queued, State::Cancelled]);
    assert_eq!(bench.events("shop").await, ["cancelled"]);
    // Copied, and cut off behind the copier but for the newest: what comes is copied by the process that runs.
    bench.enqueue(4..=5).await;
    bench.all_copied(5).await;
    assert!(!feedback.has_logged("ERROR"), "{}", feedback.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_copier_wrote_before_it_died_is_not_doubled() {
    let bench = Copying::on_sqlite().await;
    bench.enqueue(1..=2).await;
    bench.store.cancel(id(1)).await.expect("redis is there");
    // As one that dies between the ledger's commit and the acknowledgement.
    let read = bench
        .store
        .read_log(0, "dead", 100)
        .await
        .expect("redis is there");
    let ledger = bench.ledger().await;
    let moves = moves_of(&read);
    ledger.append(&[], &moves, &[]).await.expect("written");
    let feedback = bench.feedback("").await;
    bench.all_copied(2).await;

    let timeline = ledger
        .timeline("shop", id(1))
        .await
        .expect("answers")
        .expect("is there");
    assert_eq!(timeline.moves.len(), 2);
    assert_eq!(
        bench.events("shop").await,
        ["cancelled"],
        "an event, with the acceptance"
    );
    assert_eq!(
        bench.metric(&feedback, "feedback_ledger_conflicts").await,
        Some(0.0)
    );
    let again = ledger.append(&[], &moves, &[]).await.expect("written");
    assert_eq!(again, Appended::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_copy_one_is_killed_and_nothing_is_missing_or_doubled() {
    let bench = Copying::on_sqlite().await;
    let (first, second) = (bench.feedback("").await, bench.feedback("").await);
    for wave in 0..40_u8 {
        bench.enqueue(wave * 5..wave * 5 + 5).await;
        if wave == 20 {
            first.kill().expect("it runs");
        }
    }
    bench.all_copied(200).await;
    let ledger = bench.ledger().await;
    for number in 0..200 {
        let timeline = ledger.timeline("shop", id(number)).await.expect("answers");
        assert_eq!(timeline.expect("is there").moves.len(), 1, "{number}");
    }
    assert_eq!(
        bench.metric(&second, "feedback_ledger_conflicts").await,
        Some(0.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_ledger_is_away_mail_is_taken_and_the_log_waits() {
    let mut postgres = TestPostgres::start().await;
    let bench = Copying::on(postgres.url()).await;
    let feedback = bench.feedback("").await;
    bench.enqueue(1..=3).await;
    bench.all_copied(3).await;
    postgres.kill().await;
    bench.enqueue(4..=9).await;
    bench.store.cancel(id(4)).await.expect("mail goes on");
    bench.at_least(&feedback, "feedback_log_age", 2.0).await;
    assert!(bench.metric(&feedback, "feedback_log_bytes").await > Some(100.0));
    postgres.resume().await;
    bench.all_copied(9).await;
    eventually("the age falls", PATIENCE, async || {
        match bench.metric(&feedback, "feedback_log_age").await {
            Some(0.0) => Ok(()),
            age => Err(age),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_hangs_holds_up_its_copy_alone() {
    let bench = Copying::on_sqlite().await;
    let feedback = bench.feedback("").await;
    bench.enqueue(1..=2).await;
    bench.all_copied(2).await;
    let lock = bench.lock_sqlite().await;
    bench.enqueue(3..=9).await;
    bench.at_least(&feedback, "feedback_copy_failures", 2.0).await;
    bench.store.cancel(id(3)).await.expect("mail goes on");
    drop(lock);
    bench.all_copied(9).await;
    assert_eq!(
        bench.metric(&feedback, "feedback_ledger_conflicts").await,
        Some(0.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_with_two_contents_is_kept_twice_with_an_alert() {
    let bench = Copying::on_sqlite().await;
    bench.enqueue(1..=1).await;
    let read = bench.store.read_log(0, "peek", 10).await.expect("redis is there");
    let mut other = moves_of(&read);
    other[0].state = State::Held;
    bench
        .ledger()
        .await
        .append(&[], &other, &[])
        .await
        .expect("written");
    let feedback = bench.feedback("").await;
    bench.at_least(&feedback, "feedback_ledger_conflicts", 1.0).await;
    bench.nothing_waits().await;
    assert!(feedback.has_logged("redis has lost writes") && feedback.has_logged("ERROR"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_newer_waits_and_what_is_broken_stops_nothing() {
    let bench = Copying::on_sqlite().await;
    bench
        .redis
        .command(&["XADD", "{pl1:0}:log", "*", "e2", "from tomorrow"])
        .await;
    bench
        .redis
        .command(&["XADD", "{pl1:0}:log", "*", "e", "short"])
        .await;
    bench
        .redis
        .command(&["XADD", "{pl1:0}:log", "*", "e", "", "n", "no message"])
        .await;
    bench.enqueue(1..=3).await;
    let feedback = bench.feedback("").await;
    bench.known(3).await;
    bench.at_least(&feedback, "feedback_log_corrupt", 2.0).await;
    bench.at_least(&feedback, "feedback_log_newer", 2.0).await;
    let left = bench.store.log_since(0, "0", 1).await.expect("redis is there");
    let first = bench
        .redis
        .command(&["XRANGE", "{pl1:0}:log", "-", "+", "COUNT", "1"])
        .await;
    assert_eq!(left.len(), 1);
    assert!(format!("{first:?}").contains("from tomorrow"), "{first:?}");
    let pending = bench.redis.command(&["XPENDING", "{pl1:0}:log", "ledger"]).await;
    assert_eq!(pending.array()[0].integer(), 1, "the newer one alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_forgot_is_marked_as_lost() {
    let mut bench = Copying::on_sqlite().await;
    let feedback = bench.feedback("").await;
    bench.enqueue(1..=3).await;
    bench.store.cancel(id(3)).await.expect("redis is there");
    bench.all_copied(3).await;
    let ledger = bench.ledger().await;
    eventually("the run is known", PATIENCE, async || {
        match ledger.redis_run(0).await {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // As a crash would: the newest writes are gone, and the server is another run.
    for number in [1, 3] {
        bench
            .redis
            .command(&["DEL", &format!("{{pl1:0}}:m:{}", id(number))])
            .await;
    }
    bench.redis.crash().await;
    bench.redis.start_again().await;
    bench.at_least(&feedback, "feedback_ledger_lost", 1.0).await;
    assert_eq!(bench.events("shop").await, ["cancelled", "lost"]);
    let timeline = ledger
        .timeline("shop", id(1))
        .await
        .expect("answers")
        .expect("is there");
    assert_eq!(timeline.events.last().expect("lost").event.kind, "lost");
    assert!(feedback.has_logged("marked as lost"));
    eventually("all is looked through", PATIENCE, async || {
        match ledger.open_messages(None, 10).await {
            Ok(open) if open.len() == 1 && open[0].id == id(2) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(bench.metric(&feedback, "feedback_ledger_lost").await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_template_keeps_comes_with_the_log_and_nothing_else_does() {
    let bench = Copying::on_sqlite().await;
    bench.enqueue_kept(1, b"{\"order\":7}").await;
    bench.enqueue(2..=2).await;
    bench.log_parts(1, b"rendered").await;
    let _feedback = bench.feedback("").await;
    bench.all_copied(2).await;
    let ledger = bench.ledger().await;
    let kept = ledger.kept("shop", id(1)).await.expect("answers");
    let shown: Vec<_> = kept
        .iter()
        .map(|kept| (kept.generation, &kept.content[..]))
        .collect();
    assert_eq!(shown, [(0, &b"{\"order\":7}"[..]), (1, b"rendered")]);
    assert_eq!(kept[0].until.since(kept[0].accepted_at).as_secs(), 86_400);
    assert_eq!(ledger.kept("shop", id(2)).await.expect("answers"), []);
}
