//! Whatever goes well is sent once, by whoever comes first.

use std::collections::HashSet;

use paceline_domain::lane::Lane;
use paceline_domain::record::{Record, State};

use crate::support::{Granting, Scripted, Sender, World, limits, parts, wish};

#[tokio::test(flavor = "multi_thread")]
async fn two_senders_send_each_message_exactly_once() {
    let world = World::start().await;
    let provider = Scripted::accepting();
    let mut senders = Vec::new();
    for name in ["sender-1", "sender-2"] {
        let store = world.another_store(world.redis.url()).await;
        let parts = parts(store, provider.clone(), limits(name));
        senders.push(Sender::start(parts, Granting::rate(2_000.0)));
    }
    let mut ids = Vec::new();
    for lane in Lane::ALL {
        for (identity, tenant) in [("main", "acme"), ("main", "umbrella"), ("other", "acme")] {
            let wish = Record {
                lane,
                identity: identity.to_owned(),
                tenant: tenant.to_owned(),
                ..wish()
            };
            ids.extend(world.ready(100, wish).await);
        }
    }
    world.until(&ids, State::Accepted).await;
    let calls = provider.calls();
    assert_eq!(calls.len(), ids.len());
    let sent: HashSet<_> = calls.iter().map(|call| call.id).collect();
    assert_eq!(sent.len(), ids.len());
    assert!(calls.iter().all(|call| call.attempt == 1));
    for sender in senders {
        sender.drain().await;
    }
    let depths = world.store.depths().await.expect("redis is there");
    assert_eq!(
        (depths.open, depths.later, depths.doubt, depths.dead),
        (0, 0, 0, 0)
    );
    assert!(
        depths.streams.iter().all(|stream| stream.backlog == 0),
        "{depths:?}"
    );
    let record = world.get(ids[0]).await;
    assert_eq!(record.provider_id, format!("ses-{}", ids[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_of_an_identity_that_is_not_here_is_left_alone() {
    let world = World::start().await;
    let provider = Scripted::accepting();
    let strange = Record {
        identity: "elsewhere".to_owned(),
        ..wish()
    };
    let strangers = world.ready(5, strange).await;
    let own = world.ready(5, wish()).await;
    let sender = crate::support::sender(&world, provider.clone());
    world.until(&own, State::Accepted).await;
    sender.drain().await;
    assert_eq!(provider.calls().len(), 5);
    for id in strangers {
        assert_eq!(world.get(id).await.state, State::Queued);
    }
}
