//! Attachments that are fetched: what the store may do, and what becomes of the message and of its neighbours.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_domain::stop::StopMode;
use paceline_store::{LogMode, NewMessage, Stage};
use paceline_templates::Template;
use paceline_testkit::cluster::free_ports;
use paceline_testkit::{ServiceProcess, eventually};
use paceline_wire::v1::{Attachment, StoredRequest};
use paceline_wire::{requests, v1};
use prost::Message as _;
use tokio::sync::Semaphore;

use crate::fallbacks::{act, log};
use crate::files::{Answer, Files, SECRET};
use crate::stops;
use crate::support::{Bench, PATIENCE, message, message_of, rendered};

pub(crate) const ADA: &str = "{\"name\": \"Ada\"}";
pub(crate) const CONTENT: &[u8] = b"%PDF the invoice";
/// Python: hashlib.sha256(b"%PDF the invoice").digest()
const SHA256: [u8; 32] = [
    0x3e, 0xb6, 0x7f, 0x35, 0x84, 0xc9, 0x03, 0x0f, 0x97, 0x1f, 0x6d, 0x86, 0x29, 0x84, 0xd3, 0xc7, 0x0c,
    0xff, 0x3b, 0x23, 0xcd, 0x2f, 0x3b, 0xf0, 0xd3, 0x8e, 0xd1, 0x57, 0x04, 0xf3, 0x20, 0x87,
];

/// The file `name` of the store, which is to be [`CONTENT`].
pub(crate) fn remote(files: &Files, name: &str) -> Attachment {
    at(files.url(name))
}

fn at(url: String) -> Attachment {
    Attachment {
        file_name: "invoice.pdf".to_owned(),
        content_type: "application/pdf".to_owned(),
        url,
        sha256: Bytes::from_static(&SHA256),
        ..Attachment::default()
    }
}

/// Message number `number` with these attachments, as ingest stores it.
pub(crate) fn with(number: u16, attachments: &[Attachment]) -> NewMessage {
    let mut sent = message(number, ADA);
    let mut request = StoredRequest::decode(sent.request).expect("our own");
    request.attachments = attachments.to_vec();
    sent.request = requests::write(request);
    sent
}

/// The renderer's settings for that store.
pub(crate) fn fetching(files: &Files, own: &str) -> String {
    format!(
        "attachments.url_prefixes = [{:?}]\nattachments.retry_min = \"50ms\"\nattachments.retry_max = \"200ms\"\n{own}",
        files.prefix()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_stands_where_its_url_stood() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let files = Files::start().await;
    files.put_file("one", CONTENT);
    let content = Attachment {
        file_name: "note.txt".to_owned(),
        content: Bytes::from_static(b"a note"),
        ..Attachment::default()
    };
    let parts = [remote(&files, "one"), content.clone(), remote(&files, "one")];
    bench.accept(with(1, &parts)).await;
    let renderer = bench.renderer(&fetching(&files, ""));
    let entry = bench.ready(1).await.remove(0);
    let sent = rendered(&entry);
    let shown = format!("{sent:?}");
    assert!(!shown.contains(SECRET) && shown.contains("invoice.pdf"));
    let fetched = Attachment {
        url: String::new(),
        sha256: Bytes::new(),
        content: Bytes::from_static(CONTENT),
        ..parts[0].clone()
    };
    assert_eq!(sent.attachments, [fetched.clone(), content, fetched]);
    renderer.stop().await;
    assert_eq!(bench.backlog(Stage::Queued).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_will_not_be_had_is_a_dead_letter_and_its_neighbours_go_on() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let files = Files::start().await;
    let whole = |status, headers, body: &[u8]| [Answer::Whole(status, headers, body.to_vec())];
    files.put_file("target", CONTENT);
    files.put("forbidden", &whole(403, "", CONTENT));
    files.put("missing", &whole(404, "", CONTENT));
    files.put("gone", &whole(410, "", CONTENT));
    files.put("moved", &whole(302, "location: target\r\n", CONTENT));
    files.put("part", &whole(206, "", CONTENT));
    files.put("other", &whole(200, "", b"%PDF the in-voice"));
    files.put("empty", &whole(200, "", b""));
    files.put("large", &whole(200, "", &vec![b'x'; (7 << 20) + 1]));
    files.put("endless", &[Answer::Endless]);
    let rows = [
        (remote(&files, "forbidden"), Reason::AttachmentRefused),
        (remote(&files, "missing"), Reason::AttachmentRefused),
        (remote(&files, "gone"), Reason::AttachmentRefused),
        (remote(&files, "moved"), Reason::AttachmentRefused),
        (remote(&files, "part"), Reason::AttachmentRefused),
        (remote(&files, "other"), Reason::AttachmentChanged),
        (remote(&files, "empty"), Reason::AttachmentRefused),
        (remote(&files, "large"), Reason::AttachmentRefused),
        (remote(&files, "endless"), Reason::AttachmentRefused),
        (remote(&files, "../mail/target"), Reason::AttachmentRefused),
    ];
    let mut sent = Vec::new();
    for (number, (part, reason)) in (1..).zip(rows) {
        let message = with(number, &[part]);
        sent.push((message.id, reason));
        bench.accept(message).await;
        bench.accept(self::message(number + 100, ADA)).await;
    }
    let renderer = bench.renderer(&fetching(&files, ""));
    for (number, (id, reason)) in (1..).zip(&sent) {
        assert_eq!(
            bench.becomes(*id, State::Dead).await.reason,
            *reason,
            "row {number}"
        );
    }
    bench.ready(sent.len()).await;
    renderer.stop().await;
    assert_eq!(files.seen("target"), 0, "no redirect is followed");
    assert_eq!(bench.backlog(Stage::Ready).await, sent.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_message_together_are_bounded() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let files = Files::start().await;
    files.put_file("one", CONTENT);
    let beside = |bytes: usize| Attachment {
        file_name: "a".to_owned(),
        content: vec![b'x'; bytes].into(),
        ..Attachment::default()
    };
    let fits = (7 << 20) - CONTENT.len();
    let (good, bad) = (
        with(1, &[beside(fits), remote(&files, "one")]),
        with(2, &[beside(fits + 1), remote(&files, "one")]),
    );
    // The first of both still fits.
    let twice = [
        beside(fits - CONTENT.len() + 1),
        remote(&files, "one"),
        remote(&files, "one"),
    ];
    let bad = [bad, with(3, &twice)];
    bench.accept(good).await;
    for message in &bad {
        bench.accept(message.clone()).await;
    }
    let renderer = bench.renderer(&fetching(&files, ""));
    for message in &bad {
        let reason = bench.becomes(message.id, State::Dead).await.reason;
        assert_eq!(reason, Reason::AttachmentRefused);
    }
    assert_eq!(rendered(&bench.ready(1).await[0]).attachments[1].content, CONTENT);
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again_and_no_try_of_the_message_counts() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    for (number, trouble) in (1..).zip([
        Answer::Whole(503, "", b"SlowDown".to_vec()),
        Answer::Whole(429, "", Vec::new()),
        Answer::Half(CONTENT.to_vec()),
        Answer::HalfWithoutLength(CONTENT.to_vec()),
        Answer::Never,
    ]) {
        let files = Files::start().await;
        let good = Answer::Whole(200, "", CONTENT.to_vec());
        files.put("one", &[trouble.clone(), good]);
        let sent = with(number, &[remote(&files, "one")]);
        bench.accept(sent.clone()).await;
        let own = "attachments.timeout = \"500ms\"\nattachments.connect_timeout = \"500ms\"\nattachments.retry_min = \"2s\"\nattachments.retry_max = \"2s\"";
        let settings = format!("attachments.url_prefixes = [{:?}]\n{own}", files.prefix());
        let renderer = bench.renderer(&settings);
        let waiting = bench.becomes(sent.id, State::Deferred).await;
        assert_eq!(
            (waiting.reason, waiting.tries),
            (Reason::AttachmentUnavailable, 0),
            "{trouble:?}"
        );
        let parts = rendered(&bench.ready(1).await[0]);
        assert_eq!(parts.attachments[0].content, CONTENT, "{trouble:?}");
        renderer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_is_waited_for_and_no_longer_than_that() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let gone = format!("http://127.0.0.1:{}/", free_ports(1)[0]);
    let sent = with(1, &[at(format!("{gone}one"))]);
    bench.accept(sent.clone()).await;
    let own = format!("attachments.missing_max = \"1s\"\nattachments.url_prefixes = [{gone:?}]\n");
    let own = own + "attachments.retry_min = \"50ms\"\nattachments.retry_max = \"200ms\"";
    let renderer = bench.renderer(&own);
    let waiting = bench.becomes(sent.id, State::Deferred).await;
    assert_eq!(waiting.reason, Reason::AttachmentUnavailable);
    let dead = bench.becomes(sent.id, State::Dead).await;
    assert_eq!((dead.reason, dead.tries), (Reason::AttachmentUnavailable, 0));
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_never_answers_holds_up_no_other_mail() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let files = Files::start().await;
    files.put("one", &[Answer::Never]);
    // More than there are places and room for, and more than all batches together hold.
    let mut stuck = Vec::new();
    for number in 1..=140 {
        let message = with(number, &[remote(&files, "one")]);
        stuck.push(message.id);
        bench.accept(message).await;
    }
    let own = fetching(
        &files,
        "attachments.fetches_max = 1\nattachments.timeout = \"15s\"",
    );
    let renderer = bench.renderer(&own);
    files.is_asked("one", 1).await;
    for number in 1_001..=1_020 {
        bench.accept(message(number, ADA)).await;
    }
    // Whoever waits for a place does so for half of that time.
    let ready = tokio::time::timeout(Duration::from_secs(7), bench.ready(20)).await;
    for entry in ready.expect("no batch waits") {
        assert!(rendered(&entry).attachments.is_empty());
    }
    assert_eq!(files.seen("one"), 1, "all of it while the first was waited for");
    renderer.stop().await;
    for id in stuck {
        let record = bench
            .store
            .get(id)
            .await
            .expect("redis is there")
            .expect("a record");
        let is_there = matches!(record.state, State::Queued | State::Deferred);
        assert!(is_there, "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_again_and_again_is_left_alone_for_a_while() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let files = Files::start().await;
    files.put("one", &[Answer::Whole(500, "", Vec::new())]);
    let all: Vec<_> = (1..=30)
        .map(|number| with(number, &[remote(&files, "one")]))
        .collect();
    for message in &all {
        bench.accept(message.clone()).await;
    }
    let own = "attachments.fetches_max = 1\nattachments.retry_min = \"1m\"\nattachments.retry_max = \"1m\"";
    let settings = format!("attachments.url_prefixes = [{:?}]\n{own}", files.prefix());
    let renderer = bench.renderer(&settings);
    for message in &all {
        let waiting = bench.becomes(message.id, State::Deferred).await;
        assert_eq!(waiting.reason, Reason::AttachmentUnavailable);
    }
    renderer.stop().await;
    assert_eq!(files.seen("one"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_renderer_fetched_when_it_was_killed_another_one_sends_once() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let files = Files::start().await;
    let good = Answer::Whole(200, "", CONTENT.to_vec());
    files.put("one", &[Answer::Never, good]);
    bench.accept(with(1, &[remote(&files, "one")])).await;
    let own = fetching(
        &files,
        "work.reclaim_idle = \"4s\"\nattachments.timeout = \"2s\"\nattachments.connect_timeout = \"1s\"\n",
    );
    let first = ServiceProcess::start("renderer", &bench.settings(bench.redis.url(), &own)).await;
    let first = first.expect("it starts");
    files.is_asked("one", 1).await;
    first.kill().expect("it was there");
    let second = bench.renderer(&own);
    let entries = bench.ready(1).await;
    assert_eq!(rendered(&entries[0]).attachments[0].content, CONTENT);
    second.stop().await;
    let backlog = (
        bench.backlog(Stage::Queued).await,
        bench.backlog(Stage::Ready).await,
    );
    assert_eq!(backlog, (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_learns_which_attachment_and_why_and_not_where_it_was() {
    let bench = Bench::start_with(LogMode::Ledger).await;
    bench.put_bundle().await;
    let files = Files::start().await;
    files.put_file("one", CONTENT);
    let sent = with(1, &[remote(&files, "one"), remote(&files, "none")]);
    bench.accept(sent.clone()).await;
    let lost = with(2, &[at(files.url("one").replace("/mail/", "/mail/../"))]);
    bench.accept(lost.clone()).await;
    let own = fetching(
        &files,
        "redis.log = \"ledger\"\nname = \"one\"\ntelemetry.log = \"debug\"",
    );
    let renderer = ServiceProcess::start("renderer", &bench.settings(bench.redis.url(), &own)).await;
    let renderer = renderer.expect("it starts");
    bench.becomes(sent.id, State::Dead).await;
    bench.becomes(lost.id, State::Dead).await;
    assert!(renderer.has_logged("attachments[1]: its store answers 404"));
    assert!(!renderer.has_logged(SECRET));
    let entries = log(&bench).await;
    assert!(!format!("{entries:?}").contains(SECRET));
    let acts: Vec<v1::LoggedAct> = entries.iter().filter_map(|fields| act(fields)).collect();
    assert_eq!(acts.len(), 2, "{acts:?}");
    let of_sent = |act: &&v1::LoggedAct| act.message_ids == [&sent.id.0[..]];
    let act = acts.iter().find(of_sent).expect("an act");
    assert_eq!((act.act.as_str(), act.who.as_str()), ("unfetched", "one"));
    assert_eq!(act.why, "attachments[1]: its store answers 404");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_below_no_prefix_here_waits_for_another_renderer_and_no_longer_than_that() {
    for own in ["", "url_prefixes = [\"https://files.example/\"]\n"] {
        let bench = Bench::start().await;
        bench.put_bundle().await;
        let files = Files::start().await;
        files.put_file("one", CONTENT);
        let sent = with(1, &[remote(&files, "one")]);
        bench.accept(sent.clone()).await;
        let waits = "missing_max = \"1s\"\nretry_min = \"50ms\"\nretry_max = \"200ms\"\n";
        let renderer = bench.renderer(&format!("[attachments]\n{own}{waits}"));
        for state in [State::Deferred, State::Dead] {
            let reason = bench.becomes(sent.id, state).await.reason;
            assert_eq!(reason, Reason::AttachmentRefused, "{own}");
        }
        renderer.stop().await;
        assert_eq!(files.seen("one"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_while_it_is_fetched_is_held() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let files = Files::start().await;
    let gate = Arc::new(Semaphore::new(0));
    files.put("one", &[Answer::Gated(Arc::clone(&gate), CONTENT.to_vec())]);
    let sent = with(1, &[remote(&files, "one")]);
    bench.accept(sent.clone()).await;
    let renderer = bench.renderer(&fetching(&files, ""));
    files.is_asked("one", 1).await;
    stops::write(&bench, None, &stops::stop(StopMode::Hold)).await;
    // The renderer looks at the stops once a second: until it has heard of this one it renders what comes. Then its sweep may come first.
    let mut probes = 0;
    loop {
        let probe = message(101 + probes, ADA);
        bench.accept(probe.clone()).await;
        let is_read = eventually("it is read", PATIENCE, async || {
            (bench.backlog(Stage::Queued).await <= 1).then_some(())
        });
        is_read.await;
        let record = bench.store.get(probe.id).await.expect("redis is there");
        if record.expect("a record").state == State::Held {
            break;
        }
        probes += 1;
        assert!(probes < 5_000, "the renderer hears of no stop");
    }
    gate.add_permits(1);
    renderer.stop().await;
    bench.becomes(sent.id, State::Held).await;
    let ready = bench.backlog(Stage::Ready).await;
    for entry in bench.ready(usize::try_from(ready).expect("few")).await {
        assert!(rendered(&entry).attachments.is_empty(), "it is not even rendered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_nothing_attaches_is_no_broken_picture_in_a_mailbox() {
    let bench = Bench::start().await;
    let files = [
        (
            "template.toml",
            "name = \"shown\"\nversion = 1\nlane = \"transactional\"\n[from]\naddress = \"a@example.com\"\n",
        ),
        ("subject.hbs", "Hello"),
        ("body.html.hbs", "<img alt=\"\" src=\"cid:logo\"><p>Hello</p>"),
        ("schema.json", "{}"),
        ("examples/first.json", "{}"),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
    let template = Template::from_files(&files.into()).expect("a good bundle");
    bench.put(&template).await;
    let logo = |content_id: &str| Attachment {
        file_name: "logo.png".to_owned(),
        content: Bytes::from_static(b"\x89PNG"),
        content_id: content_id.to_owned(),
        ..Attachment::default()
    };
    let sent = |number, id| message_of(number, &template, |request| request.attachments = vec![logo(id)]);
    let broken = [sent(1, "other"), sent(2, "")];
    for message in &broken {
        bench.accept(message.clone()).await;
    }
    bench.accept(sent(3, "logo")).await;
    let renderer = bench.renderer("");
    for message in &broken {
        let reason = bench.becomes(message.id, State::Dead).await.reason;
        assert_eq!(reason, Reason::RenderFailed);
    }
    let parts = rendered(&bench.ready(1).await[0]);
    assert_eq!(parts.attachments, [logo("logo")]);
    renderer.stop().await;
}
