//! What senders get, and what it costs them to be told "too fast".

use paceline_testkit::{TestRedis, eventually};
use paceline_wire::v1;
use tokio::sync::Mutex;
use tonic::Code;

use crate::support::{Coordinator, PATIENCE, Sender, key, now, settle, store};

const ADAPTIVE: &str = "[rates]\nstart = 100.0\nceiling = 200.0";

#[tokio::test]
async fn senders_share_the_rate_max_min_and_never_hold_more() {
    let redis = TestRedis::start().await;
    let coordinator = Coordinator::start(&redis, "").await;
    coordinator.leads().await;
    let mut senders = vec![
        Sender::new(1, 1_000.0, &coordinator),
        Sender::new(2, 50.0, &coordinator),
    ];
    settle(&mut senders, &[250.0, 50.0], 300.0).await;

    let joined_at = now();
    senders.push(Sender::new(3, 1_000.0, &coordinator));
    let waiting = senders[2].refresh().await.expect("it leads");
    assert_eq!(waiting.refresh_ms, 100, "a share is on its way to it");
    settle(&mut senders, &[125.0, 50.0, 125.0], 300.0).await;
    let joined = now() - joined_at;
    let settled = senders[2].refresh().await.expect("it leads");
    assert_eq!(settled.refresh_ms, 500);
    assert!(
        joined.as_millis() < 1_500,
        "as fast as the others ask: {joined:?}"
    );

    senders.remove(0).release().await;
    let left_at = now();
    settle(&mut senders, &[50.0, 250.0], 300.0).await;
    let left = now() - left_at;
    assert!(
        left.as_millis() < 1_500,
        "what is given back is free at once: {left:?}"
    );
    let described = coordinator.describe().await.expect("an answer");
    let key = &described.keys[0];
    assert_eq!((key.senders, key.limited_by.as_str()), (2, "start"));
    assert!(
        (key.leased - 300.0).abs() < 0.01 && (key.wanted - 1_050.0).abs() < 0.01,
        "{key:?}"
    );
}

#[tokio::test]
async fn throttles_cut_the_rate_and_a_restart_goes_on_from_there() {
    let redis = TestRedis::start().await;
    let coordinator = Coordinator::start(&redis, ADAPTIVE).await;
    coordinator.leads().await;
    let mut sender = Sender::new(1, 500.0, &coordinator);
    settle(std::slice::from_mut(&mut sender), &[100.0], 100.0).await;
    let version = sender.lease.version();

    let sending = Mutex::new(&mut sender);
    let cut = eventually("the provider's answer cuts the rate", PATIENCE, async || {
        let mut sender = sending.lock().await;
        sender.counts.sent(3);
        sender.counts.throttled(version, 1);
        sender.refresh().await.expect("it leads");
        coordinator.rate().await.filter(|rate| *rate < 100.0)
    })
    .await;
    assert!((10.0..=80.0).contains(&cut), "{cut}");
    sender.refresh().await.expect("it leads");
    assert!(sender.lease.version() > version && sender.rate() <= cut + 1e-6);

    let store = store(&redis).await;
    let saved = eventually("the cut rate is in redis", PATIENCE, async || {
        let saved = store.granted_rate(&key()).await.expect("an answer")?;
        (saved < 100.0).then_some(saved)
    })
    .await;
    coordinator.process.kill().expect("it runs");
    let restarted = Coordinator::start(&redis, ADAPTIVE).await;
    restarted.leads().await;
    sender.turn_to(&restarted);
    let answer = sender.refresh().await.expect("it leads");
    let rate = restarted.rate().await.expect("the key is known");
    assert!((rate - saved).abs() < 1e-3, "{rate} is not {saved}");
    assert!(answer.leases[0].version > version);
}

#[tokio::test]
async fn a_rate_that_is_used_without_complaint_rises() {
    let redis = TestRedis::start().await;
    let coordinator = Coordinator::start(&redis, ADAPTIVE).await;
    coordinator.leads().await;
    let mut sender = Sender::new(1, 500.0, &coordinator);
    settle(std::slice::from_mut(&mut sender), &[100.0], 100.0).await;
    let sending = Mutex::new(sender);
    let rate = eventually("the rate rises", PATIENCE, async || {
        let mut sender = sending.lock().await;
        // As a sender does: what the bucket gives is sent.
        let taken = sender.lease.take_up_to(100, now());
        sender.counts.sent(taken);
        sender.refresh().await.expect("it leads");
        coordinator.rate().await.filter(|rate| *rate > 100.0)
    })
    .await;
    assert!(rate <= 105.0 * 1.05, "a step at a time: {rate}");
}

#[tokio::test]
async fn a_call_that_is_wrong_is_told_what() {
    let redis = TestRedis::start().await;
    let coordinator = Coordinator::start(&redis, "").await;
    let request = v1::RefreshRequest {
        sender_id: "s".to_owned(),
        incarnation: vec![1, 2].into(),
        ..v1::RefreshRequest::default()
    };
    let status = coordinator
        .client
        .clone()
        .refresh(request)
        .await
        .expect_err("2 bytes");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("incarnation"), "{status}");
}

#[tokio::test]
async fn its_metrics_show_the_rate_and_who_leads() {
    let redis = TestRedis::start().await;
    let coordinator = Coordinator::start(&redis, "").await;
    coordinator.leads().await;
    let mut sender = Sender::new(1, 120.0, &coordinator);
    settle(std::slice::from_mut(&mut sender), &[210.0], 300.0).await;
    let metrics = coordinator.metrics().await;
    let labels = "{identity=\"main\",provider=\"ses\"}";
    for line in [
        format!("throttle_current_rate{labels} 300"),
        format!("throttle_tokens_available{labels} 90"),
        "throttle_leader 1".to_owned(),
        "throttle_refreshes_total{outcome=\"granted\"}".to_owned(),
    ] {
        assert!(metrics.contains(&line), "no {line} in\n{metrics}");
    }
}
