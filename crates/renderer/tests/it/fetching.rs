//! Messages whose files are fetched, when there are too many of them, when something else is missing, and when they come again.

use bytes::Bytes;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_store::{Enqueued, Stage};
use paceline_testkit::eventually;

use crate::attachments::{ADA, CONTENT, fetching, remote, with};
use crate::files::{Answer, Files};
use crate::support::{Bench, PATIENCE, message, message_of, rendered, template};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_never_answers_keeps_no_other_store_s_mail_waiting() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let (stuck, good) = (Files::start().await, Files::start().await);
    stuck.put("one", &[Answer::Never]);
    good.put_file("one", CONTENT);
    for number in 1..=20 {
        bench.accept(with(number, &[remote(&stuck, "one")])).await;
    }
    let settings = format!(
        "[attachments]\nurl_prefixes = [{:?}, {:?}]\nfetches_max = 2\ntimeout = \"10s\"\nretry_min = \"1m\"",
        stuck.prefix(),
        good.prefix()
    );
    let renderer = bench.renderer(&settings);
    stuck.is_asked("one", 1).await;
    for number in 101..=105 {
        bench.accept(with(number, &[remote(&good, "one")])).await;
        let entry = bench.ready(1).await.remove(0);
        assert_eq!(rendered(&entry).attachments[0].content, CONTENT);
    }
    assert_eq!(
        (stuck.seen("one"), good.seen("one")),
        (1, 5),
        "all of it while the first was waited for"
    );
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_for_a_message_that_has_no_template() {
    let bench = Bench::start().await;
    let files = Files::start().await;
    files.put_file("one", CONTENT);
    let sent = with(1, &[remote(&files, "one")]);
    bench.accept(sent.clone()).await;
    let renderer = bench.renderer(&fetching(&files, ""));
    let waiting = bench.becomes(sent.id, State::Deferred).await;
    assert_eq!((waiting.reason, waiting.tries), (Reason::BundleMissing, 0));
    assert_eq!(files.seen("one"), 0);
    bench.put_bundle().await;
    let entry = bench.ready(1).await.remove(0);
    assert_eq!(rendered(&entry).attachments[0].content, CONTENT);
    renderer.stop().await;
    assert_eq!(files.seen("one"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_fills_no_redis() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    bench.knows_address_key().await;
    let files = Files::start().await;
    files.put_file("one", CONTENT);
    let sent = with(1, &[remote(&files, "one")]);
    bench.accept(sent.clone()).await;
    // Much later than the connections of the renderer, which take memory too, are counted.
    let info = bench.redis.command(&["INFO", "memory"]).await.bytes();
    let info = String::from_utf8_lossy(&info).into_owned();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    let used: f64 = used.and_then(|used| used.parse().ok()).expect("in INFO");
    let bound = format!("{:.0}", used / 0.65);
    bench.redis.configure("maxmemory", &bound).await;
    let renderer = bench.renderer(&fetching(&files, ""));
    let waiting = bench.becomes(sent.id, State::Deferred).await;
    assert_eq!((waiting.reason, waiting.tries), (Reason::StoreFull, 0));
    let plain = message(2, ADA);
    bench.accept(plain).await;
    assert!(rendered(&bench.ready(1).await[0]).attachments.is_empty());
    assert_eq!(files.seen("one"), 0);
    bench.redis.configure("maxmemory", "0").await;
    let entry = bench.ready(1).await.remove(0);
    assert_eq!(rendered(&entry).attachments[0].content, CONTENT);
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_sent_again_has_all_of_its_time_once_more() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let files = Files::start().await;
    files.put("one", &[Answer::Whole(503, "", Vec::new())]);
    let sent = with(1, &[remote(&files, "one")]);
    bench.accept(sent.clone()).await;
    let renderer = bench.renderer(&fetching(&files, "attachments.missing_max = \"2s\""));
    let dead = bench.becomes(sent.id, State::Dead).await;
    assert_eq!(dead.reason, Reason::AttachmentUnavailable);
    let mut again = sent.clone();
    again.resubmit = true;
    let answer = bench.store.enqueue(0, vec![again]).await.expect("redis is there");
    assert!(matches!(answer[..], [Enqueued::Resubmitted(_)]), "{answer:?}");
    // Three times deferred, and queued in between.
    let waits = eventually("it waits again and again", PATIENCE, async || {
        let record = bench.store.get(sent.id).await.expect("redis is there");
        let record = record.expect("a record");
        assert_ne!(record.state, State::Dead);
        if record.revision >= dead.revision + 6 {
            Ok(())
        } else {
            Err(record.revision)
        }
    });
    waits.await;
    bench.becomes(sent.id, State::Dead).await;
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_over_is_fetched_alone() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let files = Files::start().await;
    files.put("one", &[Answer::Never]);
    let left: Vec<_> = (1..=3)
        .map(|number| with(number, &[remote(&files, "one")]))
        .collect();
    for message in &left {
        bench.accept(message.clone()).await;
    }
    let mut streams = bench.store.active(0).await.expect("redis is there");
    streams.retain(|stream| stream.stage == Stage::Queued);
    let read = bench.store.read(0, Stage::Queued, "dead", &streams, 9).await;
    assert_eq!(read.expect("redis is there").len(), left.len());
    let own = "[work]\nreclaim_idle = \"4s\"\n[attachments]\ntimeout = \"500ms\"\nconnect_timeout = \"500ms\"\nretry_min = \"1m\"\n";
    let renderer = bench.renderer(&format!("{own}url_prefixes = [{:?}]", files.prefix()));
    for message in &left {
        bench.becomes(message.id, State::Deferred).await;
    }
    renderer.stop().await;
    assert_eq!((files.seen("one"), files.at_once()), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_bundle_is_named_in_a_way_of_a_later_release_waits_for_that() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let sent = message_of(1, &template(), |request| {
        request.bundle_hash = Bytes::new();
    });
    bench.accept(sent.clone()).await;
    let renderer = bench.renderer("templates.missing_max = \"1s\"\n");
    for state in [State::Deferred, State::Dead] {
        let record = bench.becomes(sent.id, state).await;
        assert_eq!((record.reason, record.tries), (Reason::BundleMissing, 0));
    }
    renderer.stop().await;
}
