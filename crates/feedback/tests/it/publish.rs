//! What is published is kept once and for good, and stands announced whatever happens on the way.

mod refused;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use paceline_kit::client::{ClientSettings, Connection};
use paceline_kit::secret::Secret;
use paceline_store::{Announced, Durability, LogUse, Store, StoreConfig};
use paceline_testkit::proxy::Moment;
use paceline_testkit::{Proxy, ServiceProcess, TestPostgres, TestRedis, eventually};
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::publish_service_client::PublishServiceClient;
use tonic::{Code, Status};

use crate::support;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Files = HashMap<String, Bytes>;

/// A template whose subject says its version and more.
pub(crate) fn bundle(name: &str, version: u32, more: &str, subject: &str) -> Files {
    let manifest = format!("name = \"{name}\"\nversion = {version}\nlane = \"transactional\"\n{more}");
    let files = [
        ("template.toml", manifest.as_str()),
        ("subject.hbs", subject),
        ("body.html.hbs", "<p>Hello {{name}}</p>"),
        ("body.txt.hbs", "Hello {{name}}"),
        ("schema.json", "{\"name\": \"string\"}"),
        ("examples/first.json", "{\"name\": \"Ada\"}"),
    ];
    files
        .map(|(path, text)| (path.to_owned(), Bytes::copy_from_slice(text.as_bytes())))
        .into()
}

fn client(service: &ServiceProcess, key: &str) -> PublishServiceClient<Connection> {
    let settings = ClientSettings {
        api_key: Secret::new(key),
        ..ClientSettings::default()
    };
    let client = settings.read().expect("good settings");
    let channel = client.channel(&format!("http://{}", service.grpc()));
    PublishServiceClient::new(channel.expect("an address"))
}

async fn publish_as(
    service: &ServiceProcess,
    key: &str,
    files: Files,
) -> Result<v1::PublishResponse, Status> {
    let request = v1::PublishRequest {
        files,
        who: "ann".to_owned(),
        why: "a test".to_owned(),
        ..v1::PublishRequest::default()
    };
    let answer = client(service, key).publish(request).await?;
    Ok(answer.into_inner())
}

pub(crate) async fn publish(service: &ServiceProcess, files: Files) -> Result<v1::PublishResponse, Status> {
    publish_as(service, "", files).await
}

/// Asks whether it may be published, with these beside it.
async fn ask(service: &ServiceProcess, files: Files, with: &[&str]) -> Result<v1::PublishResponse, Status> {
    let request = v1::PublishRequest {
        files,
        who: "ann".to_owned(),
        why: "a test".to_owned(),
        validate_only: true,
        published_with: with.iter().map(|name| (*name).to_owned()).collect(),
    };
    Ok(client(service, "").publish(request).await?.into_inner())
}

async fn listed(service: &ServiceProcess, request: v1::ListPublishedRequest) -> v1::ListPublishedResponse {
    let answer = client(service, "").list_published(request).await;
    answer.expect("it answers").into_inner()
}

async fn store(redis: &TestRedis) -> Store {
    let config = StoreConfig {
        url: redis.url().to_owned(),
        tls: None,
        allow_plaintext_password: false,
        shards: 1,
        command_timeout: Duration::from_secs(2),
        durability: Durability::Local,
        replicas: 0,
        allow_unsafe: false,
        log: LogUse::default(),
        log_entries_max: 1_000,
    };
    Store::connect(&config).await.expect("a safe redis")
}

/// What stands announced, by name and version; each with its bundle.
async fn announced(store: &Store) -> Vec<Announced> {
    let mut announced = store.announcements().await.expect("redis is there").announced;
    announced.sort();
    for version in &announced {
        let bundle = store.get_bundle(&version.hash).await.expect("redis is there");
        assert!(bundle.is_some(), "{version:?}");
    }
    announced
}

/// Waits until exactly these stand announced, as `name version hash`.
async fn stand_announced(store: &Store, expected: &[&v1::PublishResponse]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|it| format!("{} {} {}", it.template, it.version, it.bundle_hash))
        .collect();
    eventually("those stand announced", PATIENCE, async || {
        let announced = announced(store).await.into_iter();
        let found: Vec<_> = announced
            .map(|it| format!("{} {} {}", it.name, it.version, hex::encode(it.hash)))
            .collect();
        if found == expected {
            Ok(())
        } else {
            Err(found.join(", "))
        }
    })
    .await;
}

async fn is_kept_and_announced_once(url: &str) {
    let redis = TestRedis::start().await;
    let service = support::start(&redis, url, "").await.expect("a feedback service");
    let store = store(&redis).await;
    let first = publish(&service, bundle("a", 1, "", "one"))
        .await
        .expect("published");
    assert_eq!(
        (first.template.as_str(), first.version, first.already),
        ("a", 1, false)
    );
    stand_announced(&store, &[&first]).await;

    // The answer was lost, so it is asked again.
    let again = publish(&service, bundle("a", 1, "", "one")).await.expect("there");
    assert_eq!(
        (again.bundle_hash.as_str(), again.already),
        (first.bundle_hash.as_str(), true)
    );
    let taken = publish(&service, bundle("a", 1, "", "other"))
        .await
        .expect_err("refused");
    let taken = RpcError::from(&taken);
    assert_eq!(
        (taken.code, taken.reason.as_ref()),
        (Code::AlreadyExists, reason::VERSION_TAKEN)
    );
    assert!(taken.message.contains("raise `version`"), "{taken}");

    let mut all = vec![first];
    for version in 2..=5 {
        let files = bundle("a", version, "", "one");
        all.push(publish(&service, files).await.expect("published"));
    }
    // Four are announced, and what is older than they are is of no use.
    stand_announced(&store, &all[1..].iter().collect::<Vec<_>>()).await;
    let files = bundle("b", 7, "fallback = \"a\"\n", "seven");
    let other = publish(&service, files).await.expect("published");
    let page = v1::ListPublishedRequest {
        page_size: 4,
        ..v1::ListPublishedRequest::default()
    };
    let rows = listed(&service, page.clone()).await;
    let numbers: Vec<u32> = rows.templates.iter().map(|row| row.version).collect();
    assert_eq!(numbers, [5, 4, 3, 2]);
    let next = v1::ListPublishedRequest {
        page_token: rows.next_page_token,
        ..page
    };
    let rows = listed(&service, next).await;
    let [last, of_b] = rows.templates.as_slice() else {
        panic!("{rows:?}");
    };
    assert_eq!((last.template.as_str(), last.version), ("a", 1));
    assert_eq!(
        (of_b.template.as_str(), &of_b.bundle_hash),
        ("b", &other.bundle_hash)
    );
    assert_eq!((of_b.who.as_str(), of_b.why.as_str()), ("ann", "a test"));
    assert!(of_b.at.is_some() && rows.next_page_token.is_empty());
    let outdated = publish(&service, bundle("b", 1, "", "one")).await;
    assert!(outdated.is_ok(), "one version is newer: {outdated:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_kept_and_announced_once_in_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
    is_kept_and_announced_once(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_kept_and_announced_once_in_postgresql() {
    let postgres = TestPostgres::start().await;
    is_kept_and_announced_once(&postgres.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_publishers_that_race_by_two_processes_exactly_one_wins() {
    let postgres = TestPostgres::start().await;
    let redis = TestRedis::start().await;
    let start = async || {
        support::start(&redis, &postgres.url(), "")
            .await
            .expect("a service")
    };
    let services = [start().await, start().await];
    let calls = (0..8).map(|number| {
        let files = bundle("a", 1, "", &format!("content {number}"));
        publish(&services[number % 2], files)
    });
    let answers = futures_util::future::join_all(calls).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let won: Vec<_> = won.into_iter().flatten().collect();
    assert_eq!((won.len(), lost.len()), (1, 7));
    for refused in lost.into_iter().filter_map(Result::err) {
        assert_eq!(refused.code(), Code::AlreadyExists, "{refused}");
    }
    stand_announced(&store(&redis).await, &[&won[0]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_by_a_process_that_died_is_announced_by_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
    let redis = TestRedis::on_loopback(&[]).await;
    let proxy = Proxy::start(redis.server().address().clone()).await;
    let service = support::start_at(&proxy.url(), &url, "", "log = \"ring\"").await;
    let mut service = service.expect("a feedback service");
    let store = store(&redis).await;
    proxy.freeze(&["HSET", "{pl1:tpl}:published"], 0, Moment::Before);
    let lost = {
        let call = publish(&service, bundle("a", 1, "", "one"));
        let frozen = eventually("it is about to be announced", PATIENCE, async || {
            if proxy.is_frozen() { Ok(()) } else { Err("not yet") }
        });
        tokio::select! {
            () = frozen => {}
            answer = call => panic!("answered before the announcement: {answer:?}"),
        }
        service.kill().expect("it runs");
        service.wait(Duration::from_secs(10)).await
    };
    assert!(!lost.expect("it ends").success());
    assert_eq!(announced(&store).await, []);
    let next = support::start(&redis, &url, "")
        .await
        .expect("a feedback service");
    eventually("it is announced", PATIENCE, async || {
        match announced(&store).await.len() {
            1 => Ok(()),
            count => Err(count),
        }
    })
    .await;
    let again = publish(&next, bundle("a", 1, "", "one")).await.expect("there");
    assert!(again.already);
    stand_announced(&store, &[&again]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_has_lost_comes_back() {
    let feedback = support::Feedback::start("").await;
    let store = store(&feedback.redis).await;
    eventually("it is said that nothing is published", PATIENCE, async || {
        let revision = store.announcements_revision().await;
        revision.expect("redis is there").ok_or("nothing is said")
    })
    .await;
    let first = publish(&feedback.process, bundle("a", 1, "", "one")).await;
    let first = first.expect("published");
    let second = publish(&feedback.process, bundle("b", 1, "", "one")).await;
    let second = second.expect("published");
    feedback.redis.command(&["DEL", "{pl1:tpl}:published"]).await;
    stand_announced(&store, &[&first, &second]).await;
    feedback.redis.command(&["FLUSHALL"]).await;
    stand_announced(&store, &[&first, &second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_asks_gets_the_answer_and_nothing_is_kept() {
    let feedback = support::Feedback::start("").await;
    let service = &feedback.process;
    let would = ask(service, bundle("a", 2, "", "one"), &[])
        .await
        .expect("it may");
    assert_eq!(
        (would.version, would.already, would.newest_version),
        (2, false, 0)
    );
    let listed = listed(service, v1::ListPublishedRequest::default()).await;
    assert!(listed.templates.is_empty() && announced(&store(&feedback.redis).await).await.is_empty());
    let there = publish(service, bundle("a", 2, "", "one"))
        .await
        .expect("published");
    assert_eq!(there.newest_version, 2);
    let taken = ask(service, bundle("a", 2, "", "other"), &[]).await;
    assert_eq!(taken.expect_err("refused").code(), Code::AlreadyExists);
    // Whoever publishes an earlier version again is told what mail gets.
    let newer = publish(service, bundle("a", 3, "", "two"))
        .await
        .expect("published");
    let again = publish(service, bundle("a", 2, "", "one")).await.expect("there");
    assert_eq!(
        (newer.newest_version, again.already, again.newest_version),
        (3, true, 3)
    );

    let names = |fallback| bundle("c", 1, fallback, "one");
    let alone = ask(service, names("fallback = \"b\"\n"), &[]).await;
    assert_eq!(alone.expect_err("`b` is not there").code(), Code::InvalidArgument);
    let with = ask(service, names("fallback = \"b\"\n"), &["b", "c"]).await;
    with.expect("it comes with it");
    let with = v1::PublishRequest {
        files: names(""),
        who: "ann".to_owned(),
        why: "a test".to_owned(),
        published_with: vec!["b".to_owned()],
        ..v1::PublishRequest::default()
    };
    let refused = client(service, "").publish(with).await.expect_err("no question");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_lost_alone_comes_back_by_the_call_and_by_itself() {
    let feedback = support::Feedback::start("").await;
    let store = store(&feedback.redis).await;
    let first = publish(&feedback.process, bundle("a", 1, "", "one")).await;
    let first = first.expect("published");
    let key = format!("{{pl1:tpl}}:{}", first.bundle_hash);
    feedback.redis.command(&["DEL", &key]).await;
    let again = publish(&feedback.process, bundle("a", 1, "", "one")).await;
    assert!(again.expect("there").already);
    stand_announced(&store, &[&first]).await;
    feedback.redis.command(&["DEL", &key]).await;
    // Else that is looked at once a minute.
    let announcements = "{pl1:tpl}:published";
    feedback
        .redis
        .command(&["HSET", announcements, "rev", "another"])
        .await;
    eventually("it is there", PATIENCE, async || {
        let there = feedback.redis.command(&["EXISTS", &key]).await.integer();
        if there == 1 { Ok(()) } else { Err("it is not") }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_redis_is_full_the_answer_says_so() {
    let feedback = support::Feedback::start("").await;
    feedback.redis.configure("maxmemory", "1").await;
    let refused = publish(&feedback.process, bundle("a", 1, "", "one")).await;
    let refused = RpcError::from(&refused.expect_err("no room"));
    assert_eq!(refused.reason, reason::STORE_FULL, "{refused}");
    feedback.redis.configure("maxmemory", "0").await;
    let again = publish(&feedback.process, bundle("a", 1, "", "one"))
        .await
        .expect("room");
    stand_announced(&store(&feedback.redis).await, &[&again]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_ledger_publishing_is_unavailable_until_it_is_back() {
    let mut postgres = TestPostgres::start().await;
    let redis = TestRedis::start().await;
    let service = support::start(&redis, &postgres.url(), "")
        .await
        .expect("a service");
    postgres.kill().await;
    let refused = publish(&service, bundle("a", 1, "", "one"))
        .await
        .expect_err("no ledger");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    postgres.resume().await;
    eventually("it publishes", PATIENCE, async || {
        match publish(&service, bundle("a", 1, "", "one")).await {
            Ok(_) => Ok(()),
            Err(status) => Err(status),
        }
    })
    .await;
    assert_eq!(announced(&store(&redis).await).await.len(), 1);
}
