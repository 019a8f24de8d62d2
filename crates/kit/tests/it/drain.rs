//! What the end of a server does to calls that are open.

use std::time::Duration;

use paceline_kit::access::AccessSettings;
use paceline_kit::tls::ServerTlsSettings;
use paceline_testkit::Authority;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::listener::{Listener, served, trusting, with_key};

const DRAIN_MAX: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn an_open_watch_of_health_does_not_hold_up_the_drain() {
    let ours = Authority::new();
    let tls = served(&ours.issue("127.0.0.1"), None);
    for (settings, scheme) in [(ServerTlsSettings::default(), "http"), (tls, "https")] {
        let mut listener = Listener::with_drain(&settings, &AccessSettings::default(), DRAIN_MAX).await;
        let client = if scheme == "https" {
            trusting(ours.ca()).read().expect("good files")
        } else {
            with_key("")
        };
        let connection = client.channel(&format!("{scheme}://{}", listener.address));
        let mut health = HealthClient::new(connection.expect("a URL"));
        let watch = health.watch(HealthCheckRequest::default()).await;
        let mut watch = watch.expect("health answers").into_inner();
        let first = watch
            .message()
            .await
            .expect("a status")
            .expect("the watch is open");
        assert_eq!(first.status(), ServingStatus::Serving, "{scheme}");

        // The client keeps its connection and reads the rest only when the server is gone.
        let stopped = tokio::time::timeout(PATIENCE, listener.stop()).await;
        assert!(stopped.is_ok(), "{scheme}: the watch held up the drain");
        let last = watch.message().await.expect("a status").expect("the last one");
        assert_eq!(last.status(), ServingStatus::NotServing, "{scheme}");
        let end = watch.message().await.expect("no error");
        assert!(end.is_none(), "{scheme}: {end:?}");
    }
}
