//! SES fails and Mailgun takes its mail: both look-alikes, and the coordinator's own rules on a clock that the test moves.

use std::collections::HashMap;
use std::time::Duration;

use paceline_domain::controller::breaker::Standing;
use paceline_domain::controller::overrides::Action as ByHand;
use paceline_domain::controller::route::Way;
use paceline_domain::id::MessageId;
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Provider, Record, State};
use paceline_kit::identity::{IdentitySettings, MailgunIdentity};
use paceline_local::fault::{Action, Failure, Fault};
use paceline_local::{Lookalike, LookalikeOptions, Provider as Api};
use paceline_providers::{Credentials, MailgunSettings, SesSettings};
use paceline_sender::provider::Providers;
use paceline_testkit::eventually;

use crate::routing::Routing;
use crate::support::{SOON, Sender, World, identity, limits, parts, wish};

/// Redis's time goes on by this much with each look, so that what is deferred comes back.
const STEP: Duration = Duration::from_secs(5);

struct Both {
    world: World,
    lookalike: Lookalike,
    routing: Routing,
    senders: Vec<Sender<Providers>>,
    /// Where Mailgun's key lies.
    key: tempfile::NamedTempFile,
}

fn with_backup() -> IdentitySettings {
    IdentitySettings {
        mailgun: Some(MailgunIdentity {
            domain: "mg.main.example".to_owned(),
            region: None,
        }),
        ..identity("main")
    }
}

impl Both {
    async fn start(senders: usize) -> Self {
        let world = World::start().await;
        let address = "127.0.0.1:0".parse().expect("an address");
        let lookalike = Lookalike::start(address, LookalikeOptions::default())
            .await
            .expect("a free port");
        let key = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(key.path(), "key-of-a-test").expect("writable");
        let mut both = Self {
            world,
            lookalike,
            routing: Routing::start(),
            senders: Vec::new(),
            key,
        };
        for number in 1..=senders {
            let sender = both.sender(&format!("sender-{number}")).await;
            both.senders.push(sender);
        }
        both
    }

    async fn sender(&self, name: &str) -> Sender<Providers> {
        let ses = SesSettings {
            endpoint_url: Some(self.lookalike.url()),
            credentials: Credentials::LookAlike,
            ..SesSettings::default()
        };
        let mailgun = MailgunSettings {
            endpoint_url: Some(self.lookalike.url()),
            key_file: Some(self.key.path().to_owned()),
            ..MailgunSettings::default()
        };
        let identities = vec![with_backup()];
        let providers = Providers::connect(&identities, &ses, &mailgun).await;
        let store = self.world.another_store(self.world.redis.url()).await;
        let mut parts = parts(store, providers.expect("good settings"), limits(name));
        parts.identities = identities;
        Sender::start(parts, self.routing.clone())
    }

    fn fail(&self, provider: Api, action: Action) {
        self.lookalike.add_fault(Fault {
            provider: Some(provider),
            ..Fault::always(action)
        });
    }

    /// The ids that a provider has taken.
    fn taken(&self, provider: Api) -> Vec<String> {
        let mails = self.lookalike.inbox(0, 100_000).into_iter();
        let own = mails.filter(|mail| mail.provider == provider);
        own.map(|mail| mail.tags["paceline_id"].clone()).collect()
    }

    /// Calls of a provider's API.
    fn calls(&self, provider: Api) -> usize {
        let log = self.lookalike.log(0, 100_000);
        log.iter().filter(|entry| entry.provider == provider).count()
    }

    async fn until_accepted(&self, ids: &[MessageId]) {
        self.world.until_moving(ids, State::Accepted, STEP).await;
    }

    /// Every message was taken once, by the provider that its record names.
    async fn assert_each_once(&self, ids: &[MessageId]) {
        let stats = self.lookalike.stats();
        assert_eq!(stats.duplicates, 0, "{:?}", stats.duplicate_ids);
        let mut by: HashMap<String, Provider> = HashMap::new();
        by.extend(self.taken(Api::Ses).into_iter().map(|id| (id, Provider::Ses)));
        by.extend(
            self.taken(Api::Mailgun)
                .into_iter()
                .map(|id| (id, Provider::Mailgun)),
        );
        for id in ids {
            let record = self.world.get(*id).await;
            assert_eq!(record.provider, by.get(&id.to_string()).copied(), "{id}");
        }
    }

    async fn drain(self) {
        for sender in self.senders {
            sender.drain().await;
        }
        self.lookalike.stop().await;
    }
}

fn unavailable() -> Action {
    Action::Refuse(Failure::new(503, Some("ServiceUnavailable"), "down"))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_ses_fails_mail_goes_by_mailgun_and_comes_back_after_one_sender_probed() {
    let both = Both::start(2).await;
    let mut ids = both.world.ready(20, wish()).await;
    both.until_accepted(&ids).await;
    assert_eq!(both.taken(Api::Ses).len(), 20, "by SES while it is well");

    both.fail(Api::Ses, unavailable());
    let away = both.world.ready(300, wish()).await;
    both.until_accepted(&away).await;
    assert_eq!(both.routing.way(), Way::Backup);
    assert_eq!(both.taken(Api::Mailgun).len(), 300);
    ids.extend(away);

    both.lookalike.clear_faults();
    assert_eq!(both.routing.standing(Provider::Ses), Standing::Open);
    both.routing.advance(Duration::from_secs(40));
    // Mail goes on by Mailgun while one sender probes with 20.
    loop {
        let more = both.world.ready(5, wish()).await;
        both.until_accepted(&more).await;
        ids.extend(more);
        if both.routing.standing(Provider::Ses) == Standing::Closed {
            break;
        }
        assert!(ids.len() < 5_000, "no probe closes the breaker");
    }
    assert_eq!(both.taken(Api::Ses).len(), 20 + 20);
    assert_eq!(both.routing.probers(), 1);

    let still = both.world.ready(20, wish()).await;
    both.until_accepted(&still).await;
    assert_eq!(both.taken(Api::Ses).len(), 40, "well, but not for a minute yet");
    ids.extend(still);
    both.routing.advance(Duration::from_secs(60));
    eventually("the way is back", SOON, || async {
        let way = both.routing.way();
        if way == Way::Primary { Ok(()) } else { Err(way) }
    })
    .await;
    both.routing.until_told().await;
    let back = both.world.ready(20, wish()).await;
    both.until_accepted(&back).await;
    assert_eq!(both.taken(Api::Ses).len(), 60);
    ids.extend(back);
    both.assert_each_once(&ids).await;
    both.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ses_may_have_sent_stays_with_ses_while_mailgun_takes_the_rest() {
    let both = Both::start(1).await;
    let resend = Record {
        policy: DoubtPolicy::Resend,
        ..wish()
    };
    both.lookalike.add_fault(Fault::once(Action::AcceptThenReset));
    let doubt = both.world.ready(1, resend).await;
    both.world.until(&doubt, State::InDoubt).await;

    both.routing.set(Provider::Ses, ByHand::Route(Way::Backup));
    both.routing.set(Provider::Ses, ByHand::Pause);
    both.routing.until_told().await;
    let rest = both.world.ready(50, wish()).await;
    both.until_accepted(&rest).await;
    assert_eq!(both.taken(Api::Mailgun).len(), 50);
    // Its window ends, and it is to be sent once more: by nobody but SES, which is paused.
    eventually("it was held back from Mailgun", SOON, || async {
        both.world.advance(STEP);
        both.world.turn().await;
        let record = both.world.get(doubt[0]).await;
        if record.resent && record.attempt > 2 {
            Ok(())
        } else {
            Err(format!("{} {}", record.state, record.attempt))
        }
    })
    .await;
    assert_eq!(both.calls(Api::Ses), 1);
    assert_eq!(both.world.get(doubt[0]).await.provider, Some(Provider::Ses));

    both.routing.set(Provider::Ses, ByHand::Resume);
    both.until_accepted(&doubt).await;
    assert_eq!((both.calls(Api::Ses), both.calls(Api::Mailgun)), (2, 50));
    assert_eq!(both.world.get(doubt[0]).await.provider, Some(Provider::Ses));
    both.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_both_away_all_waits_and_nothing_is_sent_twice() {
    let both = Both::start(2).await;
    both.fail(Api::Ses, unavailable());
    // Taken, and not told: Mailgun's 500 is doubt.
    both.fail(
        Api::Mailgun,
        Action::AcceptThenFail(Failure::new(500, None, "down")),
    );
    let held = Record {
        doubt_window_s: 86_400,
        ..wish()
    };
    let ids = both.world.ready(300, held).await;
    eventually("both breakers are open", SOON, || async {
        both.world.advance(Duration::from_secs(1));
        both.world.turn().await;
        let standings = [Provider::Ses, Provider::Mailgun].map(|provider| both.routing.standing(provider));
        if standings == [Standing::Open; 2] {
            Ok(())
        } else {
            Err(standings)
        }
    })
    .await;
    both.routing.until_told().await;
    let calls = (both.calls(Api::Ses), both.calls(Api::Mailgun));
    for _ in 0..10 {
        both.world.advance(STEP);
        both.world.turn().await;
        both.routing.until_told().await;
    }
    assert_eq!(
        (both.calls(Api::Ses), both.calls(Api::Mailgun)),
        calls,
        "all waits"
    );
    let doubts = both.taken(Api::Mailgun);
    assert!(doubts.len() >= 50 && doubts.len() < 300, "{}", doubts.len());
    for id in &ids {
        let record = both.world.get(*id).await;
        if doubts.contains(&id.to_string()) {
            assert_eq!(
                (record.state, record.reason, record.provider),
                (State::InDoubt, Reason::AnswerUnclear, Some(Provider::Mailgun))
            );
        } else {
            assert!(
                matches!(record.state, State::Queued | State::Deferred),
                "{}",
                record.state
            );
        }
    }

    both.lookalike.clear_faults();
    both.routing.set(Provider::Ses, ByHand::Route(Way::Primary));
    let rest: Vec<MessageId> = ids
        .iter()
        .copied()
        .filter(|id| !doubts.contains(&id.to_string()))
        .collect();
    both.routing.advance(Duration::from_secs(40));
    // They have backed off for up to ten minutes. Some go by Mailgun, as probes.
    both.world.until_moving(&rest, State::Accepted, STEP * 20).await;
    both.assert_each_once(&rest).await;
    both.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_a_cap_of_the_backup_hold_like_any() {
    let both = Both::start(1).await;
    both.routing.set(Provider::Ses, ByHand::Route(Way::Backup));
    both.routing.until_told().await;
    let first = both.world.ready(5, wish()).await;
    both.until_accepted(&first).await;
    assert_eq!(both.calls(Api::Mailgun), 5);

    both.routing.set(Provider::Mailgun, ByHand::Pause);
    both.routing.until_told().await;
    let waiting = both.world.ready(60, wish()).await;
    for _ in 0..5 {
        both.routing.until_told().await;
    }
    assert_eq!((both.calls(Api::Mailgun), both.calls(Api::Ses)), (5, 0));

    both.routing.set(Provider::Mailgun, ByHand::Cap { rate: 20.0 });
    both.routing.set(Provider::Mailgun, ByHand::Resume);
    let began = tokio::time::Instant::now();
    both.until_accepted(&waiting).await;
    // 60 at 20 a second, of which the bucket holds a tenth of a second.
    assert!(
        began.elapsed() >= Duration::from_millis(2_700),
        "{:?}",
        began.elapsed()
    );
    assert_eq!((both.calls(Api::Mailgun), both.calls(Api::Ses)), (65, 0));
    both.drain().await;
}
