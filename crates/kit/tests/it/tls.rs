//! TLS and mTLS between a listener and its clients.

use paceline_kit::access::AccessSettings;
use paceline_kit::client::{ChannelError, ClientSettings};
use paceline_testkit::Authority;
use paceline_testkit::authority::{Pair, Validity};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::listener::{Listener, check, served, trusting, with_key};

fn showing(settings: ClientSettings, pair: &Pair) -> ClientSettings {
    ClientSettings {
        certificate: pair.certificate.clone(),
        key: pair.key.clone(),
        ..settings
    }
}

#[tokio::test]
async fn a_client_speaks_only_to_a_server_that_its_ca_vouches_for() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let listener = Listener::start(
        &served(&ours.issue("127.0.0.1"), None),
        &AccessSettings::default(),
    )
    .await;
    let health = listener.health(&trusting(ours.ca())).await;
    assert_eq!(health.expect("its CA is ours"), ServingStatus::Serving);

    for (why, settings) in [
        ("another CA", trusting(theirs.ca())),
        ("the system's CAs", ClientSettings::default()),
        (
            "another name",
            ClientSettings {
                domain: "ingest".to_owned(),
                ..trusting(ours.ca())
            },
        ),
    ] {
        let refused = listener.health(&settings).await.expect_err(why);
        assert_eq!(refused.code(), tonic::Code::Unavailable, "{why}: {refused:?}");
        assert!(
            format!("{refused:?}").contains("certificate"),
            "{why}: {refused:?}"
        );
    }
    let plain = check(listener.connect(&with_key(""))).await;
    plain.expect_err("a listener with TLS speaks nothing else");
}

#[tokio::test]
async fn a_certificate_may_name_another_host_than_the_url_if_the_client_says_which() {
    let ours = Authority::new();
    let tls = served(&ours.issue("ingest.internal"), None);
    let listener = Listener::start(&tls, &AccessSettings::default()).await;
    listener
        .health(&trusting(ours.ca()))
        .await
        .expect_err("it is not 127.0.0.1's");
    let settings = ClientSettings {
        domain: "ingest.internal".to_owned(),
        ..trusting(ours.ca())
    };
    listener.health(&settings).await.expect("it is that name's");
}

#[tokio::test]
async fn a_certificate_holds_in_its_time_alone() {
    let ours = Authority::new();
    for validity in [Validity::Expired, Validity::NotYet] {
        let pair = ours.issue_for("127.0.0.1", validity);
        let listener = Listener::start(&served(&pair, None), &AccessSettings::default()).await;
        let refused = listener.health(&trusting(ours.ca())).await;
        let refused = format!("{:?}", refused.expect_err("out of its time"));
        let word = if validity == Validity::Expired {
            "Expired"
        } else {
            "NotValidYet"
        };
        assert!(refused.contains(word), "{refused}");
    }
}

#[tokio::test]
async fn with_a_client_ca_nobody_comes_in_without_its_certificate() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let tls = served(&ours.issue("127.0.0.1"), Some(ours.ca()));
    let listener = Listener::start(&tls, &AccessSettings::default()).await;
    let plain = trusting(ours.ca());
    let health = listener
        .health(&showing(plain.clone(), &ours.issue("sender")))
        .await;
    assert_eq!(health.expect("its certificate is ours"), ServingStatus::Serving);

    listener.health(&plain).await.expect_err("no certificate");
    for (why, pair) in [
        ("another CA's", theirs.issue("sender")),
        ("an expired one", ours.issue_for("sender", Validity::Expired)),
    ] {
        listener
            .health(&showing(plain.clone(), &pair))
            .await
            .expect_err(why);
    }
}

#[tokio::test]
async fn what_is_set_for_tls_is_never_left_unused() {
    let ours = Authority::new();
    let named = ClientSettings {
        domain: "ingest".to_owned(),
        ..ClientSettings::default()
    };
    for (setting, settings) in [
        ("client.ca", trusting(ours.ca())),
        (
            "client.certificate",
            showing(ClientSettings::default(), &ours.issue("sender")),
        ),
        ("domain", named),
    ] {
        let client = settings.read().expect("good files");
        client.check("https://ingest:1").expect("it is used");
        for address in ["http://127.0.0.1:1", "http://localhost:1", "http://ingest:1"] {
            let refused = client.check(address).expect_err(address);
            assert!(
                matches!(refused, ChannelError::TlsUnused(found) if found == setting),
                "{setting}, {address}: {refused}"
            );
            assert!(
                refused
                    .to_string()
                    .ends_with(&format!("{setting} would not be used"))
            );
        }
    }
    let client = ClientSettings::default().read().expect("no files");
    client.check("http://ingest:1").expect("nothing is set");
}
