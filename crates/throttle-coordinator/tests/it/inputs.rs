//! What the coordinator hears from elsewhere than senders: SES of its accounts, people, and events of providers.

use std::net::{Ipv4Addr, SocketAddr};

use paceline_local::fault::Failure;
use paceline_local::ses::AccountAnswer;
use paceline_local::{Lookalike, LookalikeOptions};
use paceline_testkit::{TestRedis, eventually};
use paceline_wire::status::RpcError;
use paceline_wire::v1;
use paceline_wire::v1::set_override_request::{Action, Cap, Pause, Resume};

use crate::support::{Coordinator, PATIENCE, Sender};

async fn lookalike(answer: AccountAnswer) -> Lookalike {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let lookalike = Lookalike::start(address, LookalikeOptions::default())
        .await
        .expect("it starts");
    lookalike.set_account(answer);
    lookalike
}

/// A coordinator that looks at the account of "main", with a configured limit of 40/s.
async fn coordinator(redis: &TestRedis, lookalike: &Lookalike) -> Coordinator {
    let settings = format!(
        "[rates]\nstart = 300.0\n[ses]\nendpoint_url = \"{}\"\ncredentials = \"look_alike\"\nconnect_timeout = \"300ms\"\n\
         attempt_timeout = \"1s\"\n[[account]]\nregion = \"eu-west-1\"\nlook_every = \"2s\"\nmax_send_rate = 40.0\n\
         [[identity]]\nname = \"main\"\nfrom_domains = [\"x.example\"]\ntenants = [\"*\"]\n[identity.ses]\n\
         region = \"eu-west-1\"\nconfiguration_set = \"events\"",
        lookalike.url()
    );
    let coordinator = Coordinator::start(redis, &settings).await;
    coordinator.leads().await;
    let mut sender = Sender::new(1, 500.0, &coordinator);
    sender.refresh().await.expect("it leads");
    coordinator
}

/// Waits until the key's rate, what set it, and the look's outcome are so.
async fn comes_to(coordinator: &Coordinator, rate: f64, by: &str, outcome: &str) -> v1::DescribeResponse {
    eventually("the account holds", PATIENCE, async || {
        let answer = coordinator.describe().await.expect("it answers");
        let key = &answer.keys[0];
        let is_so = (key.rate - rate).abs() < 1e-6
            && key.limited_by == by
            && answer.accounts.first().is_some_and(|it| it.outcome == outcome);
        if is_so {
            Ok(answer)
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await
}

/// The rate once this rule sets it.
async fn rate_by(coordinator: &Coordinator, by: &str) -> f64 {
    eventually("the rule is in force", PATIENCE, async || {
        let answer = coordinator.describe().await.expect("it answers");
        let key = &answer.keys[0];
        (key.limited_by == by)
            .then_some(key.rate)
            .ok_or_else(|| format!("{key:?}"))
    })
    .await
}

fn throttle_key() -> Option<v1::ThrottleKey> {
    Some(v1::ThrottleKey {
        provider: "ses".to_owned(),
        identity: "main".to_owned(),
    })
}

#[tokio::test]
async fn what_the_account_allows_is_in_force_and_a_lower_rate_cuts() {
    let redis = TestRedis::start().await;
    let lookalike = lookalike(AccountAnswer {
        max_send_rate: Some(30.0),
        max_24_hour_send: Some(1_000.0),
        sent_last_24_hours: Some(100.0),
        ..AccountAnswer::default()
    })
    .await;
    let coordinator = coordinator(&redis, &lookalike).await;
    let answer = comes_to(&coordinator, 30.0, "quota", "ok").await;
    assert_eq!(answer.keys[0].account, "ses/eu-west-1");
    // 98 % of it, less what is sent.
    assert_eq!(answer.keys[0].daily_left, Some(880));
    assert_eq!(answer.accounts[0].max_24_hour_send, 1_000);
    lookalike.set_account(AccountAnswer {
        max_send_rate: Some(14.0),
        max_24_hour_send: Some(-1.0),
        ..AccountAnswer::default()
    });
    let answer = comes_to(&coordinator, 14.0, "quota", "ok").await;
    assert_eq!(
        (answer.keys[0].daily_left, answer.accounts[0].max_24_hour_send),
        (None, -1)
    );
}

#[tokio::test]
async fn an_account_that_ses_has_paused_waits_until_it_may_send() {
    let redis = TestRedis::start().await;
    let lookalike = lookalike(AccountAnswer {
        enforcement_status: Some("SHUTDOWN".to_owned()),
        ..AccountAnswer::default()
    })
    .await;
    let coordinator = coordinator(&redis, &lookalike).await;
    let answer = comes_to(&coordinator, 0.0, "account_disabled", "ok").await;
    assert_eq!(answer.accounts[0].paused, "enforcement");
    lookalike.set_account(AccountAnswer {
        max_send_rate: Some(20.0),
        ..AccountAnswer::default()
    });
    comes_to(&coordinator, 20.0, "quota", "ok").await;
}

#[tokio::test]
async fn an_account_that_cannot_be_looked_at_goes_on_with_the_configured_limit() {
    let redis = TestRedis::start().await;
    let refuses = |status, code| AccountAnswer {
        failure: Some(Failure::new(status, Some(code), "no")),
        ..AccountAnswer::default()
    };
    let lookalike = lookalike(refuses(403, "AccessDeniedException")).await;
    let coordinator = coordinator(&redis, &lookalike).await;
    comes_to(&coordinator, 40.0, "start", "denied").await;
    let metrics = coordinator.metrics().await;
    assert!(
        metrics.contains("throttle_account_known{account=\"ses/eu-west-1\"} 0"),
        "{metrics}"
    );
    assert!(metrics.contains("outcome=\"denied\""), "{metrics}");
    lookalike.set_account(refuses(404, "NotFoundException"));
    comes_to(&coordinator, 40.0, "start", "not_found").await;
    lookalike.set_account(AccountAnswer {
        hangs: true,
        ..AccountAnswer::default()
    });
    comes_to(&coordinator, 40.0, "start", "no_answer").await;
    // Late, but in time.
    lookalike.set_account(AccountAnswer {
        max_send_rate: Some(12.0),
        latency_ms: 500,
        ..AccountAnswer::default()
    });
    comes_to(&coordinator, 12.0, "quota", "ok").await;
}

#[tokio::test]
async fn people_set_and_clear_and_another_leader_knows() {
    let redis = TestRedis::start().await;
    let coordinator = Coordinator::start(&redis, "").await;
    coordinator.leads().await;
    let request = |action| v1::SetOverrideRequest {
        key: throttle_key(),
        action: Some(action),
        who: "ops".to_owned(),
        why: "a test".to_owned(),
        for_ms: 3_600_000,
    };
    let mut client = coordinator.client.clone();
    let set = client.set_override(request(Action::Pause(Pause {}))).await;
    assert_eq!(
        set.expect("it is set").into_inner().r#override.expect("it").kind,
        "pause"
    );
    let capped = client.set_override(request(Action::Cap(Cap { rate: 5.0 }))).await;
    capped.expect("it is set");
    for (field, wrong) in [
        ("cap.rate", request(Action::Cap(Cap { rate: 0.0 }))),
        (
            "who",
            v1::SetOverrideRequest {
                who: String::new(),
                ..request(Action::Pause(Pause {}))
            },
        ),
        (
            "for_ms",
            v1::SetOverrideRequest {
                for_ms: 1,
                ..request(Action::Pause(Pause {}))
            },
        ),
    ] {
        let error = RpcError::from(&client.set_override(wrong).await.expect_err(field));
        assert!(format!("{error}").contains(field), "{field}: {error}");
    }
    coordinator.process.kill().expect("it runs");
    let next = Coordinator::start(&redis, "").await;
    next.leads().await;
    Sender::new(1, 500.0, &next).refresh().await.expect("it leads");
    let answer = next.describe().await.expect("it answers");
    assert_eq!(
        (answer.keys[0].rate, answer.keys[0].limited_by.as_str()),
        (0.0, "paused")
    );
    let kinds: Vec<&str> = answer.keys[0]
        .overrides
        .iter()
        .map(|it| it.kind.as_str())
        .collect();
    assert_eq!(kinds, ["pause", "cap"]);
    let mut client = next.client.clone();
    let clear = |kind: &str| v1::ClearOverrideRequest {
        key: throttle_key(),
        kind: kind.to_owned(),
    };
    let cleared = client
        .clear_override(clear("pause"))
        .await
        .expect("it is cleared");
    assert!(cleared.into_inner().cleared);
    let answer = next.describe().await.expect("it answers");
    assert_eq!(
        (answer.keys[0].rate, answer.keys[0].limited_by.as_str()),
        (5.0, "cap")
    );
}

#[tokio::test]
async fn bounces_pause_once_counted_and_a_person_resumes() {
    let redis = TestRedis::start().await;
    let coordinator = Coordinator::start(&redis, "").await;
    coordinator.leads().await;
    let mut sender = Sender::new(1, 500.0, &coordinator);
    sender.refresh().await.expect("it leads");
    sender.counts.sent(200);
    sender.counts.accepted(200);
    sender.refresh().await.expect("it leads");
    let mut client = coordinator.client.clone();
    // 2 % exactly, however often it is said, is no pause.
    let batch = |n: u8, hard_bounces| v1::FeedbackRequest {
        batch_id: vec![n; 16].into(),
        items: vec![v1::FeedbackItem {
            key: throttle_key(),
            hard_bounces,
            complaints: 1,
            deliveries: 190,
        }],
    };
    for repeated in [false, true, true] {
        let answer = client
            .feedback(batch(1, 4))
            .await
            .expect("it is counted")
            .into_inner();
        assert_eq!(answer.repeated, repeated);
    }
    let answer = coordinator.describe().await.expect("it answers");
    assert_eq!((answer.keys[0].bounced, answer.keys[0].accepted), (4, 200));
    assert_eq!(answer.keys[0].limited_by, "start");
    client.feedback(batch(2, 1)).await.expect("it is counted");
    assert!(rate_by(&coordinator, "bounces").await < 1e-9);
    let resume = v1::SetOverrideRequest {
        key: throttle_key(),
        action: Some(Action::Resume(Resume {})),
        who: "ops".to_owned(),
        why: "the list is clean now".to_owned(),
        for_ms: 60_000,
    };
    client.set_override(resume).await.expect("it is set");
    assert!((rate_by(&coordinator, "start").await - 300.0).abs() < 1e-9);
}

#[tokio::test]
async fn a_warm_up_begins_with_a_hundred_and_ends_by_hand() {
    let redis = TestRedis::start().await;
    let coordinator = Coordinator::start(&redis, "").await;
    coordinator.leads().await;
    let mut client = coordinator.client.clone();
    let start = v1::StartWarmUpRequest {
        key: throttle_key(),
        overflow_to: "warm".to_owned(),
    };
    for wrong in ["main", "No name"] {
        let wrong = v1::StartWarmUpRequest {
            overflow_to: wrong.to_owned(),
            ..start.clone()
        };
        let refused = client.start_warm_up(wrong).await.expect_err("it is refused");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains("overflow_to"), "{refused}");
    }
    client.start_warm_up(start.clone()).await.expect("it begins");
    let again = client.start_warm_up(start).await.expect_err("it has begun");
    assert_eq!(RpcError::from(&again).reason, "warming_up");
    let answer = coordinator.describe().await.expect("it answers");
    let warm_up = answer.keys[0].warm_up.as_ref().expect("it is warming up");
    assert_eq!((warm_up.day, warm_up.cap, warm_up.spent), (1, 100, 0));
    assert_eq!(warm_up.overflow_to, "warm");
    let stop = v1::StopWarmUpRequest { key: throttle_key() };
    let stopped = client
        .stop_warm_up(stop.clone())
        .await
        .expect("an answer")
        .into_inner();
    assert!(stopped.stopped);
    let stopped = client.stop_warm_up(stop).await.expect("an answer").into_inner();
    assert!(!stopped.stopped);
}
