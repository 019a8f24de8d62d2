//! What is rendered where a message's own template can't be.

use std::time::Duration;

use bytes::Bytes;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_kit::clock::{Clock, SystemClock};
use paceline_store::{LogMode, NewMessage};
use paceline_templates::{Files, Template};
use paceline_testkit::resp::Reply;
use paceline_wire::v1::LoggedAct;
use prost::Message as _;

use crate::support::{Bench, message_of, rendered};

/// A template that says its name, and prints `field` where there is one.
fn named(name: &str, schema: &str, field: &str) -> Template {
    let files = [
        (
            "template.toml",
            format!(
                "name = \"{name}\"\nversion = 1\nlane = \"transactional\"\n[from]\naddress = \"{name}@example.com\"\n"
            ),
        ),
        ("subject.hbs", format!("From {name} {field}")),
        ("body.html.hbs", "<p>Hello</p>".to_owned()),
        ("schema.json", schema.to_owned()),
        ("examples/first.json", "{\"n\": 1, \"missing\": 1}".to_owned()),
    ];
    let files: Files = files
        .map(|(path, text)| (path.to_owned(), text.into_bytes()))
        .into();
    Template::from_files(&files).expect("a good bundle")
}

/// A message of `template`, for which these stand in.
fn with_fallbacks(number: u16, template: &Template, fallbacks: &[&Template]) -> NewMessage {
    message_of(number, template, |request| {
        let hashes: Vec<u8> = fallbacks.iter().flat_map(|fallback| fallback.hash().0).collect();
        request.fallback_hashes = Some(hashes.into());
        request.data = Bytes::from_static(b"{\"n\": 7}");
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_fallback_that_takes_the_data_and_renders_is_sent() {
    let bench = Bench::start().await;
    let broken = named("broken", "{}", "{{missing}}");
    let unfit = named("unfit", "{\"n\": \"string\"}", "");
    let broken_too = named("broken-too", "{\"n\": \"integer\"}", "{{missing}}");
    let good = named("good", "{\"n\": \"integer\"}", "{{n}}");
    for template in [&broken, &unfit, &broken_too, &good] {
        bench.put(template).await;
    }
    bench
        .accept(with_fallbacks(1, &broken, &[&unfit, &broken_too, &good]))
        .await;
    let renderer = bench.renderer("");
    let parts = rendered(&bench.ready(1).await[0]);
    assert_eq!(parts.subject, "From good 7");
    assert_eq!(parts.from.expect("a From").address, "good@example.com");
    assert_eq!(parts.template, "broken", "whose mail it is stays");
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_that_is_missing_is_waited_for() {
    let bench = Bench::start().await;
    let (broken, good) = (named("broken", "{}", "{{missing}}"), named("good", "{}", ""));
    let (late, never_put) = (named("late", "{}", ""), named("never-put", "{}", ""));
    bench.put(&broken).await;
    bench.put(&good).await;
    let waiting = with_fallbacks(1, &broken, &[&late, &good]);
    bench.accept(waiting.clone()).await;
    let renderer = bench.renderer("templates.missing_max = \"20s\"");
    let record = bench.becomes(waiting.id, State::Deferred).await;
    assert_eq!(record.reason, Reason::BundleMissing);
    bench.put(&late).await;
    assert_eq!(rendered(&bench.ready(1).await[0]).subject, "From late ");
    renderer.stop().await;

    bench
        .accept(with_fallbacks(2, &broken, &[&never_put, &good]))
        .await;
    let renderer = bench.renderer("templates.missing_max = \"1s\"");
    assert_eq!(rendered(&bench.ready(1).await[0]).subject, "From good ");
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_lets_it_wait() {
    let bench = Bench::start_with(LogMode::Ledger).await;
    let (broken, good) = (named("broken", "{}", "{{missing}}"), named("good", "{}", ""));
    bench.put(&broken).await;
    bench.put(&good).await;
    let sent = with_fallbacks(1, &broken, &[&good]);
    bench.accept(sent.clone()).await;
    bench.knows_address_key().await;
    bench.redis.configure("maxmemory", "1").await;
    let renderer = bench.renderer("redis.log = \"ledger\"\nwork.full_wait = \"1s\"");
    let record = bench.becomes(sent.id, State::Deferred).await;
    assert_eq!(record.reason, Reason::StoreFull);
    bench.redis.configure("maxmemory", "0").await;
    assert_eq!(rendered(&bench.ready(1).await[0]).subject, "From good ");
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_learns_which_one_it_was_and_why() {
    let bench = Bench::start_with(LogMode::Ledger).await;
    let (broken, good) = (named("broken", "{}", "{{missing}}"), named("good", "{}", "{{n}}"));
    bench.put(&broken).await;
    bench.put(&good).await;
    let sent = with_fallbacks(1, &broken, &[&good]);
    bench.accept(sent.clone()).await;
    let renderer = bench.renderer("redis.log = \"ledger\"\nname = \"one\"");
    bench.ready(1).await;
    renderer.stop().await;
    let acts: Vec<_> = log(&bench)
        .await
        .into_iter()
        .filter_map(|fields| act(&fields))
        .collect();
    let [act] = &acts[..] else {
        panic!("one act expected: {acts:?}")
    };
    assert_eq!(
        (act.act.as_str(), act.who.as_str(), act.tenant.as_str()),
        ("fallback", "one", "acme")
    );
    assert_eq!(act.message_ids, [sent.id.0.to_vec()]);
    assert_eq!(
        act.why,
        "rendered by good 1: template broken 1, subject.hbs line 1: the variable `missing` is missing"
    );
}

/// The fields of the log's entries.
pub(crate) async fn log(bench: &Bench) -> Vec<Vec<Reply>> {
    let Reply::Array(keys) = bench.redis.command(&["KEYS", "*:log"]).await else {
        panic!("keys expected")
    };
    let [Reply::Bytes(key)] = &keys[..] else {
        panic!("one log expected: {keys:?}")
    };
    let range: [&[u8]; 4] = [b"XRANGE", key, b"-", b"+"];
    let entries = bench.redis.command(&range).await;
    entries
        .array()
        .iter()
        .map(|entry| entry.array()[1].array().to_vec())
        .collect()
}

pub(crate) fn act(fields: &[Reply]) -> Option<LoggedAct> {
    let named = fields.chunks(2).find(|pair| pair[0].bytes() == b"a"[..])?;
    Some(LoggedAct::decode(named[1].bytes()).expect("an act"))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_one_that_renders_the_message_is_a_dead_letter() {
    let bench = Bench::start().await;
    let broken = named("broken", "{}", "{{missing}}");
    let unfit = named("unfit", "{\"n\": \"string\"}", "");
    bench.put(&broken).await;
    bench.put(&unfit).await;
    let sent = with_fallbacks(1, &broken, &[&unfit]);
    bench.accept(sent.clone()).await;
    let renderer = bench.renderer("");
    assert_eq!(
        bench.becomes(sent.id, State::Dead).await.reason,
        Reason::RenderFailed
    );
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_stays_away_is_stood_in_for() {
    let bench = Bench::start().await;
    let never_put = named("never-put", "{}", "");
    let good = named("good", "{}", "");
    bench.put(&good).await;
    bench.accept(with_fallbacks(1, &never_put, &[&good])).await;
    let lonely = with_fallbacks(2, &never_put, &[]);
    bench.accept(lonely.clone()).await;
    let renderer = bench.renderer("templates.missing_max = \"1s\"");
    assert_eq!(rendered(&bench.ready(1).await[0]).subject, "From good ");
    assert_eq!(
        bench.becomes(lonely.id, State::Dead).await.reason,
        Reason::BundleMissing
    );
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_scheduled_for_long_waits_for_its_bundle_as_any_other() {
    let bench = Bench::start().await;
    let (late, good) = (named("late", "{}", ""), named("good", "{}", ""));
    bench.put(&good).await;
    let mut sent = with_fallbacks(1, &late, &[&good]);
    // By then it is older than what it may wait for its bundle.
    sent.record.send_at = SystemClock.wall() + Duration::from_secs(3);
    bench.accept(sent.clone()).await;
    let renderer = bench.renderer("templates.missing_max = \"2s\"");
    let record = bench.becomes(sent.id, State::Deferred).await;
    assert_eq!(record.reason, Reason::BundleMissing);
    bench.put(&late).await;
    assert_eq!(rendered(&bench.ready(1).await[0]).subject, "From late ");
    renderer.stop().await;
}
