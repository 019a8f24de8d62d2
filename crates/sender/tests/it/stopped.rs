//! What a standing stop meets at the sender ends without a call, and the log tells whose word it was.

use std::collections::BTreeMap;

use paceline_domain::id::MessageId;
use paceline_domain::record::State;
use paceline_domain::stop::{Said, Selector, Stop, StopMode};
use paceline_kit::clock::{Clock, SystemClock};
use paceline_wire::{stops, v1};
use prost::Message as _;

use crate::support::{Granting, Scripted, Sender, World, limits, parts, wish};

fn stop(id: &str, tenant: &str, mode: StopMode, who: &str) -> Stop {
    Stop {
        id: id.to_owned(),
        selector: Selector {
            tenant: Some(tenant.to_owned()),
            ..Selector::default()
        },
        mode,
        said: Said {
            who: who.to_owned(),
            why: "the wrong link".to_owned(),
            at: SystemClock.wall(),
        },
        release: None,
    }
}

/// What the log tells of each message: the act, who, and why.
async fn told(world: &World) -> BTreeMap<MessageId, (String, String, String)> {
    let log = world.redis.command(&["XRANGE", "{pl1:0}:log", "-", "+"]).await;
    let mut told = BTreeMap::new();
    for entry in log.array() {
        let fields = entry.array()[1].array();
        for field in fields.chunks(2).filter(|field| field[0].bytes()[..] == b"a"[..]) {
            let act = v1::LoggedAct::decode(&field[1].bytes()[..]).expect("an act");
            for id in act.message_ids {
                let id = MessageId(id.as_ref().try_into().expect("an id"));
                let said = (act.act.clone(), act.who.clone(), act.why.clone());
                assert_eq!(told.insert(id, said), None, "told twice");
            }
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_who_ended_or_held_what_a_stop_meets() {
    let world = World::start().await;
    let of = |tenant: &str| paceline_domain::record::Record {
        tenant: tenant.to_owned(),
        ..wish()
    };
    let ended = world.ready_as(5, of("acme"), |id| rendered_for("acme", id)).await;
    let held = world.ready_as(5, of("shop"), |id| rendered_for("shop", id)).await;
    for stop in [
        stop("1", "acme", StopMode::Cancel, "ann"),
        stop("2", "shop", StopMode::Hold, "bob"),
    ] {
        let written = world
            .store
            .write_stop(&stop.id, None, Some(stops::pack(&stop)))
            .await;
        written.expect("redis is there");
    }
    let provider = Scripted::accepting();
    let sender = Sender::start(
        parts(world.store.clone(), provider.clone(), limits("sender-1")),
        Granting::rate(2_000.0),
    );
    world.until(&ended, State::Cancelled).await;
    world.until(&held, State::Held).await;
    sender.drain().await;
    assert_eq!(provider.calls(), []);
    let said = |act: &str, who: &str| (act.to_owned(), who.to_owned(), "the wrong link".to_owned());
    let ended = ended.into_iter().map(|id| (id, said("cancel", "ann")));
    let held = held.into_iter().map(|id| (id, said("stop", "bob")));
    assert_eq!(told(&world).await, ended.chain(held).collect());
}

fn rendered_for(tenant: &str, id: MessageId) -> bytes::Bytes {
    let message = v1::RenderedMessage {
        recipient: Some(v1::Mailbox {
            address: format!("{id}@example.com"),
            ..v1::Mailbox::default()
        }),
        tenant: tenant.to_owned(),
        template: "welcome".to_owned(),
        ..v1::RenderedMessage::default()
    };
    paceline_wire::rendered::pack(&message).expect("compressible")
}
