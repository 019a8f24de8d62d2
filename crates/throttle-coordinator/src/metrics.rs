//! What the coordinator counts. Keys as labels are bounded by `keys_max`.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use paceline_domain::aimd::CutReason;
use paceline_kit::clock::Clock;
use paceline_store::throttle::RateKey;

use crate::desk::{AccountDescription, Description, Desk, provider};

/// How a refresh was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Granted,
    NotLeader,
    Refused,
    Failed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::NotLeader => "not_leader",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// The instruments. Clones are the same instruments.
#[derive(Clone)]
pub(crate) struct Metrics {
    refreshes: Counter<u64>,
    cuts: Counter<u64>,
    reroutes: Counter<u64>,
    looks: Counter<u64>,
    feedback: Counter<u64>,
}

impl Metrics {
    /// The gauges are read from the desk when somebody looks: a coordinator that does not lead shows none.
    pub(crate) fn new(meter: &Meter, desk: &Desk, clock: impl Clock + Clone) -> Self {
        gauge(
            meter,
            desk,
            &clock,
            "throttle.current.rate",
            "The rate in force, in recipients per second",
            |key| key.rate,
        );
        gauge(
            meter,
            desk,
            &clock,
            "throttle.tokens.available",
            "What of the rate no sender holds, in recipients per second",
            |key| key.free,
        );
        gauge(
            meter,
            desk,
            &clock,
            "throttle.measured.rate",
            "What the senders send, in recipients per second",
            |key| key.measured,
        );
        let (routes, at) = (desk.clone(), clock.clone());
        meter
            .u64_observable_gauge("throttle.route")
            .with_description("1 for the provider by which the mail of an identity with a backup goes")
            .with_callback(move |observer| {
                for (identity, way) in routes.routes(at.boot()) {
                    let labels = [
                        KeyValue::new("provider", provider(way).as_str()),
                        KeyValue::new("identity", identity),
                    ];
                    observer.observe(1, &labels);
                }
            })
            .build();
        account_gauges(meter, desk, &clock);
        let lead = desk.clone();
        meter
            .u64_observable_gauge("throttle.leader")
            .with_description("1 while this coordinator leads")
            .with_callback(move |observer| observer.observe(lead.term(clock.boot()).is_some().into(), &[]))
            .build();
        Self {
            refreshes: meter
                .u64_counter("throttle.refreshes")
                .with_description("Refresh calls, by outcome")
                .build(),
            cuts: meter
                .u64_counter("throttle.cuts")
                .with_description("Cuts of a rate, by reason")
                .build(),
            reroutes: meter
                .u64_counter("throttle.reroutes")
                .with_description("Changes of the provider by which an identity's mail goes, by cause")
                .build(),
            looks: meter
                .u64_counter("throttle.account.looks")
                .with_description("Looks at a provider's account, by outcome")
                .build(),
            feedback: meter
                .u64_counter("throttle.feedback")
                .with_description("What providers reported of mail that they took, by kind, in recipients")
                .build(),
        }
    }

    pub(crate) fn refreshed(&self, outcome: Outcome) {
        self.refreshes
            .add(1, &[KeyValue::new("outcome", outcome.as_str())]);
    }

    pub(crate) fn rerouted(&self, identity: &str, to: &'static str, cause: &'static str) {
        let labels = [
            KeyValue::new("identity", identity.to_owned()),
            KeyValue::new("to", to),
            KeyValue::new("cause", cause),
        ];
        self.reroutes.add(1, &labels);
    }

    pub(crate) fn looked(&self, region: &str, outcome: &'static str) {
        let region = KeyValue::new("region", region.to_owned());
        self.looks.add(1, &[region, KeyValue::new("outcome", outcome)]);
    }

    /// Recipients of a key that bounced, complained, or were delivered to.
    pub(crate) fn feedback(&self, key: &RateKey, kind: &'static str, n: u64) {
        let [provider, identity] = labels(key);
        self.feedback
            .add(n, &[provider, identity, KeyValue::new("kind", kind)]);
    }

    pub(crate) fn cut(&self, key: &RateKey, reason: CutReason) {
        let [provider, identity] = labels(key);
        self.cuts
            .add(1, &[provider, identity, KeyValue::new("reason", reason.as_str())]);
    }
}

fn gauge(
    meter: &Meter,
    desk: &Desk,
    clock: &(impl Clock + Clone),
    name: &'static str,
    description: &'static str,
    value: fn(&Description) -> f64,
) {
    let (desk, clock) = (desk.clone(), clock.clone());
    meter
        .f64_observable_gauge(name)
        .with_description(description)
        .with_callback(move |observer| {
            for (key, description) in desk.describe(clock.boot()) {
                observer.observe(value(&description), &labels(&key));
            }
        })
        .build();
}

/// What a gauge of an account shows; `None` while that is not known.
type OfAccount = fn(&AccountDescription) -> Option<f64>;

/// What is known of the accounts. One that was never looked at has no age.
fn account_gauges(meter: &Meter, desk: &Desk, clock: &(impl Clock + Clone)) {
    let gauges: [(_, _, OfAccount); 4] = [
        (
            "throttle.account.age",
            "How long ago a look at the account was answered, in seconds",
            |it| Some(it.age?.as_secs_f64()),
        ),
        (
            "throttle.account.known",
            "1 while the last look at the account was answered, 0 while the configured limits hold",
            |it| Some(f64::from(u8::from(it.outcome == "ok"))),
        ),
        (
            "throttle.account.paused",
            "1 while the provider takes no mail of the account",
            |it| Some(f64::from(u8::from(it.paused.is_some()))),
        ),
        (
            "throttle.account.max.send.rate",
            "What all identities of the account may send together, in recipients per second",
            |it| it.max_send_rate,
        ),
    ];
    for (name, description, value) in gauges {
        let (desk, clock) = (desk.clone(), clock.clone());
        meter
            .f64_observable_gauge(name)
            .with_description(description)
            .with_callback(move |observer| {
                for account in desk.accounts(clock.boot()) {
                    if let Some(value) = value(&account) {
                        observer.observe(value, &[KeyValue::new("account", account.name)]);
                    }
                }
            })
            .build();
    }
}

fn labels(key: &RateKey) -> [KeyValue; 2] {
    [
        KeyValue::new("provider", key.provider.clone()),
        KeyValue::new("identity", key.identity.clone()),
    ]
}
