//! The real provider client against the look-alike of SES.

use std::collections::HashSet;
use std::time::Duration;

use paceline_domain::record::State;
use paceline_local::ses::fault::{Action, Failure, Fault};
use paceline_local::{Lookalike, LookalikeOptions};
use paceline_providers::{Credentials, MailgunSettings, SesSettings};
use paceline_sender::provider::Providers;

use crate::support::{RENDERED_AT, World, identity, sender, wish};

pub(crate) async fn lookalike() -> (Lookalike, Providers) {
    let address = "127.0.0.1:0".parse().expect("an address");
    let lookalike = Lookalike::start(address, LookalikeOptions::default())
        .await
        .expect("a free port");
    let regions = regions(&lookalike).await;
    (lookalike, regions)
}

/// A further client of the look-alike.
pub(crate) async fn regions(lookalike: &Lookalike) -> Providers {
    let settings = SesSettings {
        endpoint_url: Some(lookalike.url()),
        credentials: Credentials::LookAlike,
        // Longer than any answer that a test holds back.
        attempt_timeout: Duration::from_secs(30),
        ..SesSettings::default()
    };
    let regions = Providers::connect(&[identity("main")], &settings, &MailgunSettings::default()).await;
    regions.expect("good settings")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_in_the_inbox_once_with_its_tags() {
    let world = World::start().await;
    let (lookalike, ses) = lookalike().await;
    let sender = sender(&world, ses);
    let ids = world.ready(100, wish()).await;
    world.until(&ids, State::Accepted).await;
    sender.drain().await;
    let stats = lookalike.stats();
    assert_eq!(
        (stats.accepted, stats.distinct_ids, stats.duplicates),
        (100, 100, 0)
    );
    let inbox = lookalike.inbox(0, 1_000);
    let sent: HashSet<_> = inbox
        .iter()
        .map(|mail| mail.tags["paceline_id"].clone())
        .collect();
    assert_eq!(sent, ids.iter().map(ToString::to_string).collect());
    let mail = &inbox[0];
    assert_eq!(mail.tags["paceline_attempt"], "1");
    assert_eq!(mail.configuration_set.as_deref(), Some("events"));
    assert_eq!(mail.subject, "Hello");
    let tracking = [("open_tracking", "DISABLED"), ("click_tracking", "DISABLED")];
    assert_eq!(
        mail.options,
        tracking.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    let log = world
        .store
        .log_since(0, "0", 1_000)
        .await
        .expect("redis is there");
    let claims = log
        .iter()
        .flat_map(|(_, moves)| moves)
        .filter(|moved| moved.state == State::Sending);
    let rendered: Vec<_> = claims.map(|claim| claim.rendered_at).collect();
    assert_eq!(
        rendered,
        vec![RENDERED_AT; 100],
        "each claim is logged with the time of rendering"
    );
    lookalike.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_doubt_and_a_busy_provider_is_tried_again() {
    let world = World::start().await;
    let (lookalike, ses) = lookalike().await;
    let sender = sender(&world, ses);
    lookalike.add_fault(Fault::once(Action::AcceptThenReset));
    let lost = world.ready(1, wish()).await;
    world.until(&lost, State::InDoubt).await;
    let busy = Failure::new(503, Some("ServiceUnavailable"), "busy");
    lookalike.add_fault(Fault::once(Action::Refuse(busy)));
    let tried = world.ready(1, wish()).await;
    world
        .until_moving(&tried, State::Accepted, Duration::from_secs(5))
        .await;
    sender.drain().await;
    let record = world.get(tried[0]).await;
    assert_eq!((record.attempt, record.tries), (2, 0), "nobody passed in between");
    assert_eq!((lookalike.stats().accepted, lookalike.stats().duplicates), (2, 0));
    lookalike.stop().await;
}
