//! Mail to others than those whom a deployment writes to ends unsent, and is counted.

use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_kit::telemetry::{Telemetry, TelemetrySettings};
use paceline_sender::{Deliver, DeliverMode, Parts};

use crate::support::{Granting, Scripted, Sender, World, limits, parts, wish};

#[tokio::test(flavor = "multi_thread")]
async fn only_who_is_listed_is_written_to() {
    let world = World::start().await;
    let ids = world.ready(20, wish()).await;
    let listed = [format!("{}@example.com", ids[7])];
    let provider = Scripted::accepting();
    let telemetry = Telemetry::new("sender", &TelemetrySettings::default()).expect("no endpoint");
    let sender = Sender::start(
        Parts {
            deliver: Deliver::new(DeliverMode::AllowList, &listed).expect("a good list"),
            meter: telemetry.meter("test"),
            ..parts(world.store.clone(), provider.clone(), limits("sender-1"))
        },
        Granting::rate(2_000.0),
    );
    let (allowed, others): (Vec<_>, Vec<_>) = ids.iter().partition(|id| **id == ids[7]);
    world.until(&others, State::Suppressed).await;
    world.until(&allowed, State::Accepted).await;
    for id in others {
        let record = world.get(id).await;
        assert_eq!(record.reason, Reason::NotAllowedHere);
        assert_eq!((record.attempt, record.maybe_sent), (0, false));
        assert_eq!(provider.calls_of(id), 0);
    }
    assert_eq!(provider.calls().len(), 1);
    let scraped = telemetry.scrape();
    let counted = scraped.lines().find(|line| {
        line.starts_with("sender_suppressed_total{") && line.contains("reason=\"not_allowed_here\"")
    });
    assert!(counted.is_some_and(|line| line.ends_with(" 19")), "{scraped}");
    sender.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_simulator_nobody_else_is_written_to() {
    let world = World::start().await;
    let ids = world.ready(5, wish()).await;
    let provider = Scripted::accepting();
    let sender = Sender::start(
        Parts {
            deliver: Deliver::new(DeliverMode::Simulator, &[]).expect("nothing else is needed"),
            ..parts(world.store.clone(), provider.clone(), limits("sender-1"))
        },
        Granting::rate(2_000.0),
    );
    world.until(&ids, State::Suppressed).await;
    assert_eq!(provider.calls(), []);
    sender.drain().await;
}
