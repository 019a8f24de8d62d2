//! Whoever is suppressed is not written to, however old the queue is; and what is not known stops mail.

use std::time::Duration;

use paceline_domain::address::Address;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Record, State};
use paceline_domain::suppression::SuppressionReason;
use paceline_domain::time::Millis;
use paceline_kit::address_key::AddressKey;
use paceline_kit::secret::Secret;
use paceline_sender::Parts;
use paceline_store::{Addressee, BucketState, SUPPRESSION_BUCKETS, Suppression};
use paceline_testkit::eventually;

use crate::support::{Granting, SOON, Scripted, Sender, World, limits, parts, wish};

fn key() -> AddressKey {
    let key = AddressKey::read(&Secret::new("0123456789abcdef0123456789abcdef"));
    key.expect("long enough").expect("not empty")
}

/// To whom the message goes, as its renderer notes it.
fn to(id: MessageId) -> Addressee {
    Addressee {
        address: key().hash(&Address::parse(&format!("{id}@example.com")).expect("an address")),
        category: String::new(),
        despite_complaint: false,
    }
}

async fn suppress(world: &World, id: MessageId, category: &str, reason: SuppressionReason) {
    let suppression = Suppression {
        tenant: "acme".to_owned(),
        address: to(id).address,
        category: category.to_owned(),
        revision: 1,
        reason: Some(reason),
        at: Millis(1),
    };
    world
        .store
        .suppress(&[suppression])
        .await
        .expect("redis is there");
}

/// As feedback does once it has written everything.
async fn complete(world: &World) {
    for bucket in 0..SUPPRESSION_BUCKETS {
        let bucket = u8::try_from(bucket).expect("there are 256");
        let (run, _) = world
            .store
            .suppression_bucket(bucket)
            .await
            .expect("redis is there");
        let state = world.store.suppression_bucket_complete(bucket, &run).await;
        assert_eq!(state.expect("redis is there"), BucketState::Complete);
    }
}

fn minding(world: &World, provider: Scripted) -> Sender<Scripted> {
    Sender::start(
        Parts {
            address_key: Some(key()),
            ..parts(world.store.clone(), provider, limits("sender-1"))
        },
        Granting::rate(2_000.0),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_to_who_was_suppressed_since_the_mail_was_rendered() {
    let world = World::start().await;
    complete(&world).await;
    let ids = world.ready(40, wish()).await;
    world.advance(Duration::from_secs(3_600));
    suppress(&world, ids[3], "", SuppressionReason::HardBounce).await;
    suppress(&world, ids[17], "", SuppressionReason::Complaint).await;
    let provider = Scripted::accepting();
    // The renderer has noted no addressee: the sender reads the recipients itself.
    let sender = minding(&world, provider.clone());
    let is_suppressed = |id: &&MessageId| [ids[3], ids[17]].contains(id);
    let (_, others): (Vec<MessageId>, Vec<MessageId>) = ids.iter().partition(is_suppressed);
    world.until(&[ids[3], ids[17]], State::Suppressed).await;
    world.until(&others, State::Accepted).await;
    for (id, reason) in [(ids[3], Reason::HardBounced), (ids[17], Reason::Complained)] {
        let record = world.get(id).await;
        assert_eq!((record.reason, record.attempt), (reason, 0));
        assert_eq!(provider.calls_of(id), 0);
    }
    assert_eq!(provider.calls().len(), 38);
    sender.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn category_lane_and_the_template_s_wish_decide() {
    let world = World::start().await;
    complete(&world).await;
    let news = |id| Addressee {
        category: "news".to_owned(),
        ..to(id)
    };
    let despite = |id| Addressee {
        despite_complaint: true,
        ..to(id)
    };
    let bulk = Record {
        lane: Lane::Bulk,
        ..wish()
    };
    let plain = world.ready_to(1, wish(), to).await[0];
    let unsubscribed = world.ready_to(1, bulk, news).await[0];
    let reset = world.ready_to(1, wish(), despite).await[0];
    for id in [plain, unsubscribed] {
        suppress(&world, id, "news", SuppressionReason::Unsubscribe).await;
    }
    suppress(&world, reset, "", SuppressionReason::Complaint).await;
    let sender = minding(&world, Scripted::accepting());
    world.until(&[plain, reset], State::Accepted).await;
    world.until(&[unsubscribed], State::Suppressed).await;
    assert_eq!(world.get(unsubscribed).await.reason, Reason::Unsubscribed);
    sender.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_claimed_before_all_suppressions_are_known() {
    let world = World::start().await;
    let ids = world.ready(20, wish()).await;
    suppress(&world, ids[5], "", SuppressionReason::HardBounce).await;
    let provider = Scripted::accepting();
    let sender = minding(&world, provider.clone());
    // What is known suffices for the one; for the others it does not.
    world.until(&[ids[5]], State::Suppressed).await;
    eventually("its health says so", SOON, || async {
        match sender.pipeline.problem() {
            Some(problem) if problem.contains("suppressed") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(provider.calls(), []);
    complete(&world).await;
    let others: Vec<MessageId> = ids.iter().filter(|id| **id != ids[5]).copied().collect();
    world.until(&others, State::Accepted).await;
    assert_eq!(provider.calls().len(), 19);
    for id in others {
        assert_eq!(world.get(id).await.attempt, 1, "claimed once");
    }
    sender.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_claimed_while_the_suppressed_can_t_be_looked_up() {
    let world = World::start().await;
    complete(&world).await;
    let id = world.ready(1, wish()).await[0];
    let bucket = format!("{{pl1:sup:{}}}", to(id).address.0[0]);
    // Another type than the look-up asks for: it fails, and everything else works.
    let broken = format!("{bucket}:broken");
    world.redis.command(&["RENAME", &bucket, &broken]).await;
    world.redis.command(&["SET", &bucket, "x"]).await;
    let provider = Scripted::accepting();
    let sender = minding(&world, provider.clone());
    eventually("its health says so", SOON, || async {
        match sender.pipeline.problem() {
            Some(problem) if problem.contains("suppressed") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(provider.calls(), []);
    assert_eq!(world.get(id).await.state, State::Queued);
    world.redis.command(&["RENAME", &broken, &bucket]).await;
    world.until(&[id], State::Accepted).await;
    sender.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nobody_is_asked_for() {
    let world = World::start().await;
    let ids = world.ready(5, wish()).await;
    suppress(&world, ids[0], "", SuppressionReason::HardBounce).await;
    let sender = crate::support::sender(&world, Scripted::accepting());
    world.until(&ids, State::Accepted).await;
    sender.drain().await;
}
