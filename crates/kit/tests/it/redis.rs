//! The `[redis]` section: what is refused when it is read, and by which name.

use std::path::Path;

use paceline_kit::SettingsError;
use paceline_kit::redis::RedisSettings;
use paceline_store::Store;
use paceline_testkit::cluster::free_ports;
use paceline_testkit::{Authority, TestRedis};

const REST: &str = "shards = 1\ncommand_timeout = \"2s\"\ndurability = \"local\"\nreplicas = 0\nallow_unsafe = false\n\
                    log = \"ring\"\nlog_change = false\nlog_entries_max = 1000\nallow_plaintext_password = false\n";

fn settings(url: &str, tls: &str) -> RedisSettings {
    toml::from_str(&format!("url = \"{url}\"\n{REST}[tls]\n{tls}")).expect("the keys that there are")
}

/// The setting that is named, and the whole text.
fn refused(url: &str, tls: &str) -> (&'static str, String) {
    let error = settings(url, tls).validate().expect_err("refused");
    match &error {
        SettingsError::Invalid { key, .. } => (key, error.to_string()),
        other => panic!("{other}"),
    }
}

fn shown(setting: &str, path: &Path) -> String {
    format!("{setting} = {:?}\n", path.to_str().expect("UTF-8"))
}

#[test]
fn a_password_off_loopback_needs_tls_or_a_word_of_the_operator() {
    let (key, text) = refused("redis://:swordfish@redis.internal:6379", "");
    assert_eq!(key, "redis.url");
    assert!(text.contains("redis.allow_plaintext_password"), "{text}");
    assert!(!text.contains("swordfish"), "{text}");
    let mut allowed = settings("redis://:swordfish@redis.internal:6379", "");
    allowed.allow_plaintext_password = true;
    allowed.validate().expect("the network encrypts by itself");
    settings("rediss://:swordfish@redis.internal:6379", "")
        .validate()
        .expect("by TLS");
    settings("redis://:swordfish@127.0.0.1:6379", "")
        .validate()
        .expect("on this machine");
}

#[test]
fn a_tls_file_that_does_not_fit_is_refused_by_its_setting_and_never_shown() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a temporary directory");
    let junk = folder.path().join("junk.pem");
    std::fs::write(&junk, "swordfish").expect("writable");
    let (own, other) = (ours.issue("sender"), theirs.issue("sender"));
    let (certificate, key) = (shown("certificate", &own.certificate), shown("key", &own.key));
    for (tls, expected) in [
        (shown("ca", Path::new("/nowhere/ca.pem")), "redis.tls.ca"),
        (shown("ca", &junk), "redis.tls.ca"),
        (certificate.clone(), "redis.tls.key"),
        (key.clone(), "redis.tls.certificate"),
        (certificate.clone() + &shown("key", &junk), "redis.tls.key"),
        (certificate.clone() + &shown("key", &other.key), "redis.tls.key"),
        ("domain = \"not a name\"\n".to_owned(), "redis.tls.domain"),
    ] {
        let (found, text) = refused("rediss://redis.internal:6379", &tls);
        assert_eq!(found, expected, "{tls}");
        assert!(!text.contains("swordfish"), "{text}");
    }
    let (found, text) = refused("redis://127.0.0.1:6379", &shown("ca", ours.ca()));
    assert_eq!(found, "redis.url");
    assert!(text.contains("redis.tls.ca would not be used"), "{text}");
    settings(
        "rediss://redis.internal:6379",
        &(shown("ca", ours.ca()) + &certificate + &key),
    )
    .validate()
    .expect("all files fit");
}

#[tokio::test]
async fn the_settings_are_those_that_the_store_connects_with() {
    let authority = Authority::new();
    let own = authority.issue("redis.internal");
    let client = authority.issue("sender");
    let port = free_ports(1)[0].to_string();
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (ca, certificate, key) = (text(authority.ca()), text(&own.certificate), text(&own.key));
    let _redis = TestRedis::with(&[
        ("tls-port", &port),
        ("tls-ca-cert-file", &ca),
        ("tls-cert-file", &certificate),
        ("tls-key-file", &key),
    ])
    .await;
    let tls = shown("ca", authority.ca())
        + &shown("certificate", &client.certificate)
        + &shown("key", &client.key)
        + "domain = \"redis.internal\"\n";
    let settings = settings(&format!("rediss://127.0.0.1:{port}"), &tls);
    let store = Store::connect(&settings.store().expect("good files"))
        .await
        .expect("trusted, and known");
    store.ping().await.expect("there");
}
