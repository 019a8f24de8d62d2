//! Mail for which the day of its identity's warm-up has no room, and what goes on while no coordinator answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use paceline_domain::reason::Reason;
use paceline_domain::record::{Provider, Record, State};
use paceline_kit::identity::IdentitySettings;
use paceline_local::fault::{Action, Failure, Fault};
use paceline_local::{Lookalike, LookalikeOptions};
use paceline_providers::{Credentials, MailgunSettings, SesSettings};
use paceline_sender::leases::{LeaseError, LeaseSource};
use paceline_sender::provider::Providers;
use paceline_store::throttle::{Commit, Known, RateKey, Term};
use paceline_testkit::eventually;
use paceline_wire::v1;

use crate::support::{Granting, SOON, Scripted, Sender, World, identity, limits, parts, wish};

/// The day of "main" is used up, and "other" is warm.
#[derive(Clone)]
struct UsedUp {
    /// Whether main's mail may go as the other.
    overflows: Arc<AtomicBool>,
}

impl LeaseSource for UsedUp {
    async fn refresh(&mut self, request: v1::RefreshRequest) -> Result<v1::RefreshResponse, LeaseError> {
        let overflows = self.overflows.load(Ordering::SeqCst);
        let lease = |item: v1::RefreshItem| {
            let is_warm = item.key.as_ref().is_some_and(|key| key.identity == "other");
            let word = v1::WarmUpWord {
                first_day: 20_000,
                level: Some(0),
                overflow_to: "other".to_owned(),
            };
            v1::Lease {
                key: item.key,
                rate: if is_warm { 500.0 } else { 0.0 },
                burst: 50.0,
                ttl_ms: 2_000,
                version: 1,
                granted_total: (!is_warm).then_some(0),
                warm_up: (!is_warm).then_some(word),
                overflows: overflows && !is_warm,
                ..v1::Lease::default()
            }
        };
        Ok(v1::RefreshResponse {
            epoch: 1,
            leases: request.items.into_iter().map(lease).collect(),
            refresh_ms: 100,
            ..v1::RefreshResponse::default()
        })
    }

    async fn release(&mut self, _: v1::ReleaseRequest) -> Result<(), LeaseError> {
        Ok(())
    }
}

fn of_other() -> Record {
    Record {
        identity: "other".to_owned(),
        ..wish()
    }
}

fn identities() -> Vec<IdentitySettings> {
    let mut warm = identity("other");
    warm.ses.configuration_set = "warm".to_owned();
    vec![identity("main"), warm]
}

async fn lookalike() -> Lookalike {
    let address = "127.0.0.1:0".parse().expect("an address");
    let started = Lookalike::start(address, LookalikeOptions::default()).await;
    started.expect("a free port")
}

async fn start(world: &World, lookalike: &Lookalike, leases: UsedUp) -> Sender<Providers> {
    let ses = SesSettings {
        endpoint_url: Some(lookalike.url()),
        credentials: Credentials::LookAlike,
        ..SesSettings::default()
    };
    let identities = identities();
    let providers = Providers::connect(&identities, &ses, &MailgunSettings::default()).await;
    let mut parts = parts(
        world.store.clone(),
        providers.expect("good settings"),
        limits("one"),
    );
    parts.identities = identities;
    Sender::start(parts, leases)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_day_has_no_room_for_goes_as_the_warm_identity_and_says_so() {
    let world = World::start().await;
    let lookalike = lookalike().await;
    let leases = UsedUp {
        overflows: Arc::new(AtomicBool::new(false)),
    };
    let ids = world.ready(3, wish()).await;
    let own = world.ready(1, of_other()).await;
    // It may have been sent: as its own identity, or not at all.
    let doubtful = Record {
        maybe_sent: true,
        provider: Some(Provider::Ses),
        ..wish()
    };
    let bound = world.ready(1, doubtful).await;
    let sender = start(&world, &lookalike, leases.clone()).await;
    world.until(&own, State::Accepted).await;
    assert_eq!(
        lookalike.inbox(0, 10).len(),
        1,
        "the day is used up, and nothing goes as another"
    );
    leases.overflows.store(true, Ordering::SeqCst);
    world.until(&ids, State::Accepted).await;
    let mails = lookalike.inbox(0, 10);
    for id in &ids {
        let id = id.to_string();
        let mail = mails
            .iter()
            .find(|mail| mail.tags["paceline_id"] == id)
            .expect("it was taken");
        assert_eq!(mail.configuration_set.as_deref(), Some("warm"));
        assert_eq!(mail.tags["paceline_via"], "other");
    }
    let own = own[0].to_string();
    let mail = mails
        .iter()
        .find(|mail| mail.tags["paceline_id"] == own)
        .expect("it was taken");
    assert_eq!(mail.tags.get("paceline_via"), None);
    eventually("the doubtful one was claimed, and given up", SOON, || async {
        let record = world.get(bound[0]).await;
        match (record.state, record.reason) {
            (State::Deferred, Reason::NotWritten) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let bound = bound[0].to_string();
    let mails = lookalike.inbox(0, 10);
    assert!(mails.iter().all(|mail| mail.tags["paceline_id"] != bound));
    sender.drain().await;
    lookalike.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_refuses_as_another_goes_back_and_pauses_nobody_else() {
    let world = World::start().await;
    let lookalike = lookalike().await;
    let refusal = Failure::new(400, Some("MailFromDomainNotVerifiedException"), "not verified");
    lookalike.add_fault(Fault::always(Action::Refuse(refusal)));
    let leases = UsedUp {
        overflows: Arc::new(AtomicBool::new(true)),
    };
    let ids = world.ready(1, wish()).await;
    let sender = start(&world, &lookalike, leases).await;
    world.until(&ids, State::Deferred).await;
    lookalike.clear_faults();
    let own = world.ready(2, of_other()).await;
    let further = world.ready(1, wish()).await;
    world.until(&own, State::Accepted).await;
    assert_eq!(
        lookalike.inbox(0, 10).len(),
        2,
        "no further one follows for a while"
    );
    assert_ne!(world.get(further[0]).await.state, State::Accepted);
    sender.drain().await;
    lookalike.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_refused_as_another_waits_for_its_own_identity() {
    let world = World::start().await;
    let lookalike = lookalike().await;
    let refusal = Failure::new(400, Some("MessageRejected"), "not as this identity");
    lookalike.add_fault(Fault::always(Action::Refuse(refusal)));
    let leases = UsedUp {
        overflows: Arc::new(AtomicBool::new(true)),
    };
    let ids = world.ready(1, wish()).await;
    let sender = start(&world, &lookalike, leases).await;
    world.until(&ids, State::Deferred).await;
    assert_eq!(world.get(ids[0]).await.reason, Reason::MessageRefused);
    lookalike.clear_faults();
    let further = world.ready(1, wish()).await;
    world.until(&further, State::Accepted).await;
    sender.drain().await;
    lookalike.stop().await;
}

/// A coordinator's word with a safe rate, until it falls silent.
#[derive(Clone)]
struct Safe(Granting);

impl LeaseSource for Safe {
    async fn refresh(&mut self, request: v1::RefreshRequest) -> Result<v1::RefreshResponse, LeaseError> {
        let mut answer = self.0.refresh(request).await?;
        for lease in &mut answer.leases {
            lease.safe_rate = 50.0;
            lease.safe_ttl_ms = 60_000;
        }
        Ok(answer)
    }

    async fn release(&mut self, request: v1::ReleaseRequest) -> Result<(), LeaseError> {
        self.0.release(request).await
    }
}

/// Writes the key's state as a leader does.
async fn write(world: &World, key: &RateKey, epoch: u64, version: u64) {
    let term = Term {
        epoch,
        nonce: format!("nonce-{epoch}"),
    };
    let adopted = world.store.adopt_rate(key, &term, 1, Known::default()).await;
    let adopted = adopted.expect("redis answers").expect("it is the newest");
    let commit = Commit {
        rate: 500.0,
        version,
        format: 1,
        snapshot: None,
        events: String::new(),
        complete: true,
        leases: Vec::new(),
        cuts: Vec::new(),
    };
    let written = world.store.commit_rate(key, &term, adopted.rev, &commit).await;
    written.expect("redis answers").expect("it is not fenced");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_coordinator_the_safe_rate_goes_on_until_the_rate_is_another() {
    let world = World::start().await;
    let key = RateKey {
        provider: "ses".to_owned(),
        identity: "main".to_owned(),
    };
    write(&world, &key, 1, 1).await;
    let leases = Safe(Granting::rate(500.0));
    let provider = Scripted::accepting();
    let parts = parts(world.store.clone(), provider.clone(), limits("one"));
    let sender = Sender::start(parts, leases.clone());
    let first = world.ready(1, wish()).await;
    world.until(&first, State::Accepted).await;
    leases.0.answers.store(false, Ordering::SeqCst);
    eventually("the lease has lapsed, and something is left", SOON, || async {
        let rate = sender.pipeline.safe_rate("main");
        if (rate - 50.0).abs() < 1e-9 {
            Ok(())
        } else {
            Err(rate)
        }
    })
    .await;
    let later = world.ready(5, wish()).await;
    world.until(&later, State::Accepted).await;
    // The coordinator, which this sender does not reach, has cut the rate.
    write(&world, &key, 2, 2).await;
    eventually("nothing is left", SOON, || async {
        let rate = sender.pipeline.safe_rate("main");
        if rate <= 0.0 { Ok(()) } else { Err(rate) }
    })
    .await;
    let sent = provider.calls().len();
    let waiting = world.ready(1, wish()).await;
    sender.drain().await;
    assert_eq!(
        (provider.calls().len(), world.get(waiting[0]).await.state),
        (sent, State::Queued)
    );
}
