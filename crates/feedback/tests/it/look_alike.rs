//! The look-alike tells what became of mail, well or badly, and doubt is settled all the same.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::StatusCode;
use paceline_domain::id::MessageId;
use paceline_domain::record::{Record, State};
use paceline_local::events::{EventAction, EventFault, EventKind, Webhooks};
use paceline_local::{Lookalike, LookalikeOptions};
use paceline_testkit::eventually;
use serde_json::json;

use crate::webhooks::bench::{Beside, SIGNING_KEY};

const SOON: Duration = Duration::from_secs(30);

struct World {
    lookalike: Lookalike,
    beside: Beside,
}

impl World {
    async fn start() -> Self {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let lookalike = Lookalike::start(any, LookalikeOptions::default())
            .await
            .expect("it starts");
        let (_, ca) = lookalike.topic();
        let beside = Beside::start(lookalike.address(), &ca).await;
        let web = beside.feedback.process.web().expect("it has a listener");
        lookalike.set_webhooks(Webhooks {
            sns: Some(format!("http://{web}/ses/sns")),
            mailgun: Some(format!("http://{web}/mailgun")),
            mailgun_key: SIGNING_KEY.to_owned(),
        });
        Self { lookalike, beside }
    }

    /// The provider takes an email whose sender never learnt of it.
    async fn take(&self, to: &str, id: MessageId, record: &Record) {
        let tag = |name: &str, value: String| json!({"Name": name, "Value": value});
        let email = json!({
            "FromEmailAddress": "shop@example.com", "Destination": {"ToAddresses": [to]},
            "Content": {"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}},
            "ConfigurationSetName": "set",
            "EmailTags": [
                tag("paceline_id", id.to_string()), tag("paceline_accepted", record.accepted_at.0.to_string()),
                tag("paceline_attempt", record.attempt.to_string()), tag("paceline_tenant", "acme".to_owned()),
            ],
        });
        let url = format!("{}/v2/email/outbound-emails", self.lookalike.url());
        assert_eq!(self.beside.post_to(&url, &email).await, StatusCode::OK);
    }

    async fn until_events(&self, expected: &[&str]) {
        eventually("the events", SOON, || async {
            let mut events = self.beside.events("acme").await;
            events.sort();
            if events == expected { Ok(()) } else { Err(events) }
        })
        .await;
    }

    fn fault(&self, kind: EventKind, action: EventAction) {
        let fault = EventFault {
            events: Some(1),
            kind: Some(kind),
            action,
        };
        assert!(self.lookalike.add_event_fault(fault));
    }
}

#[tokio::test]
async fn what_the_provider_took_is_accepted_and_delivered() {
    let world = World::start().await;
    let (id, doubted) = world.beside.in_doubt(1).await;
    world.take("success@simulator.amazonses.com", id, &doubted).await;
    world.until_events(&["delivered", "sent"]).await;
    assert_eq!(world.beside.get(id).await.state, State::Accepted);
    let mail = world.lookalike.inbox(0, 1).remove(0);
    assert!(world.lookalike.tell(&mail.id, EventKind::Open));
    world.until_events(&["delivered", "opened", "sent"]).await;
}

#[tokio::test]
async fn the_simulator_s_addresses_bounce_and_complain() {
    let world = World::start().await;
    let (bounced, record) = world.beside.in_doubt(1).await;
    world
        .take("bounce@simulator.amazonses.com", bounced, &record)
        .await;
    world.until_events(&["bounced_hard", "sent"]).await;
    let (complained, record) = world.beside.in_doubt(2).await;
    world
        .take("complaint+a@simulator.amazonses.com", complained, &record)
        .await;
    world
        .until_events(&["bounced_hard", "complained", "delivered", "sent", "sent"])
        .await;
    for id in [bounced, complained] {
        assert_eq!(world.beside.get(id).await.state, State::Accepted);
    }
}

#[tokio::test]
async fn events_that_go_astray_change_nothing_wrongly() {
    for (action, expected) in [
        (EventAction::Lose, &["delivered"][..]),
        (EventAction::Forge, &["delivered"]),
        (EventAction::Double, &["delivered", "sent"]),
        (EventAction::Swap, &["delivered", "sent"]),
        (EventAction::Delay(300), &["delivered", "sent"]),
    ] {
        let world = World::start().await;
        let (id, doubted) = world.beside.in_doubt(1).await;
        world.fault(EventKind::Send, action);
        world.take("success@simulator.amazonses.com", id, &doubted).await;
        world.until_events(expected).await;
        assert_eq!(world.beside.get(id).await.state, State::Accepted, "{action:?}");
        if action == EventAction::Forge {
            eventually("the forged one is refused", SOON, || async {
                let stats = world.lookalike.event_stats();
                if stats.refused == 1 { Ok(()) } else { Err(stats) }
            })
            .await;
        }
    }
}

#[tokio::test]
async fn no_event_is_no_evidence() {
    let world = World::start().await;
    let (id, doubted) = world.beside.in_doubt(1).await;
    world.fault(EventKind::Send, EventAction::Lose);
    world.fault(EventKind::Delivery, EventAction::Lose);
    world.take("success@simulator.amazonses.com", id, &doubted).await;
    let (other, record) = world.beside.in_doubt(2).await;
    world
        .take("success@simulator.amazonses.com", other, &record)
        .await;
    world.until_events(&["delivered", "sent"]).await;
    assert_eq!(world.beside.get(id).await, doubted);
}
