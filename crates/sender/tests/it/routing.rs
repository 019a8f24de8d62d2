//! A coordinator in the test: the rules of `domain` for each key and for the route, on a clock that goes on by itself and that the
//! test moves ahead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use paceline_domain::aimd::{Limits, Mode};
use paceline_domain::controller::bounces::Resume;
use paceline_domain::controller::breaker::Standing;
use paceline_domain::controller::overrides::{Action, Override};
use paceline_domain::controller::quota::DailySend;
use paceline_domain::controller::route::{Route, Sight, Way};
use paceline_domain::controller::{Asked, Controller, Counts, Decision, Event, Settings, Tick};
use paceline_domain::lease::budget::Said;
use paceline_domain::lease::{Books, HolderId, Request};
use paceline_domain::record::Provider;
use paceline_kit::clock::{Clock, SystemClock};
use paceline_sender::LeaseSource;
use paceline_sender::leases::LeaseError;
use paceline_testkit::eventually;
use paceline_wire::v1;

use crate::support::SOON;

const RATE: f64 = 1_000.0;
/// How long SES must have been well before mail comes back to it.
const BACK_AFTER: Duration = Duration::from_secs(60);

/// The coordinator of one identity, "main". Clones are one.
#[derive(Clone)]
pub(crate) struct Routing(Arc<Mutex<State>>);

struct State {
    ahead: Duration,
    keys: BTreeMap<Provider, Key>,
    route: Route,
    version: u64,
    /// Answers given, by sender.
    told: BTreeMap<HolderId, u64>,
    probers: BTreeSet<HolderId>,
}

struct Key {
    controller: Controller,
    books: Books,
    before: BTreeMap<HolderId, (u64, u64, u64)>,
}

impl Routing {
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(State {
            ahead: Duration::from_secs(100),
            keys: BTreeMap::new(),
            route: Route::default(),
            version: 0,
            told: BTreeMap::new(),
            probers: BTreeSet::new(),
        })))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.state().ahead += by;
    }

    pub(crate) fn way(&self) -> Way {
        self.state().route.way()
    }

    pub(crate) fn standing(&self, provider: Provider) -> Standing {
        self.state().standing(provider)
    }

    /// Senders that ever had a part of the rate of a half-open key.
    pub(crate) fn probers(&self) -> usize {
        self.state().probers.len()
    }

    /// Sets something by hand.
    pub(crate) fn set(&self, provider: Provider, action: Action) {
        let mut state = self.state();
        let now = state.now();
        let by_hand = Override {
            action,
            who: "ops".to_owned(),
            why: "a test".to_owned(),
            until: now + Duration::from_secs(3_600),
        };
        let key = state.key(provider);
        let decisions = key.controller.step(&Event::Set(by_hand), now);
        assert!(
            !decisions.iter().any(|it| matches!(it, Decision::NotSet(_))),
            "{decisions:?}"
        );
    }

    /// Waits until every sender has been answered twice more: the first answer may be of before.
    pub(crate) async fn until_told(&self) {
        let before = self.state().told.clone();
        eventually("every sender is told", SOON, || async {
            let told = self.state().told.clone();
            let is_told =
                |(holder, count): (&HolderId, &u64)| *count >= before.get(holder).copied().unwrap_or(0) + 2;
            if !told.is_empty() && told.iter().all(is_told) {
                Ok(())
            } else {
                Err(told.len())
            }
        })
        .await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics under it")
    }
}

impl State {
    fn now(&self) -> Duration {
        SystemClock.boot() + self.ahead
    }

    fn standing(&self, provider: Provider) -> Standing {
        let key = self.keys.get(&provider);
        key.map_or(Standing::Closed, |key| key.controller.standing())
    }

    fn key(&mut self, provider: Provider) -> &mut Key {
        let now = self.now();
        self.keys.entry(provider).or_insert_with(|| {
            let settings = Settings {
                limits: Limits {
                    mode: Mode::Static,
                    start: RATE,
                    floor: 10.0,
                    ceiling: 5_000.0,
                    max_send_rate: None,
                    cut_on_errors: false,
                    feedback: Duration::ZERO,
                },
                daily: DailySend::Unlimited,
                resume: Resume::ByHand,
                breaker: true,
                route_back_after: BACK_AFTER,
            };
            Key {
                controller: Controller::new(settings, None, now),
                // Elected long ago.
                books: Books::new(RATE, now.saturating_sub(Duration::from_secs(60))),
                before: BTreeMap::new(),
            }
        })
    }

    fn tick(&mut self, now: Duration) {
        for key in self.keys.values_mut() {
            let tick = Event::Tick(Tick {
                measured: 0.0,
                taken: None,
                random: 0.5,
                ..Tick::default()
            });
            key.controller.step(&tick, now);
            key.books.set_rate(key.controller.in_force().rate);
        }
        let forced = self.keys.get(&Provider::Ses);
        let sight = Sight {
            backup: Some(self.standing(Provider::Mailgun)),
            forced: forced.and_then(|key| key.controller.overrides().way()),
            told: None,
        };
        self.route.see(sight);
        let primary = self.standing(Provider::Ses);
        if self.route.step(primary, BACK_AFTER, now).is_some() {
            self.version += 1;
        }
    }

    fn refresh(&mut self, request: &v1::RefreshRequest) -> v1::RefreshResponse {
        let now = self.now();
        let holder = HolderId(request.incarnation.as_ref().try_into().expect("16 bytes"));
        assert_eq!(request.backups.len(), 1, "the one identity has a backup");
        let mut leases = Vec::new();
        for item in &request.items {
            let named = item.key.clone().expect("a key");
            let provider = Provider::named(&named.provider).expect("one of ours");
            let lease = self.key(provider).refresh(holder, request.sequence, item, now);
            if self.standing(provider) == Standing::HalfOpen && lease.rate > 0.0 {
                self.probers.insert(holder);
            }
            leases.push(lease);
        }
        self.tick(now);
        *self.told.entry(holder).or_default() += 1;
        let (by, other) = match self.route.way() {
            Way::Primary => (Provider::Ses, Provider::Mailgun),
            Way::Backup => (Provider::Mailgun, Provider::Ses),
        };
        let is_probed = self.standing(other) == Standing::HalfOpen;
        v1::RefreshResponse {
            epoch: 1,
            leases,
            leader_address: String::new(),
            refresh_ms: 100,
            routes: vec![v1::Route {
                identity: "main".to_owned(),
                provider: by.as_str().to_owned(),
                epoch: 1,
                version: self.version,
                probe: if is_probed { other.as_str() } else { "" }.to_owned(),
            }],
        }
    }
}

impl Key {
    fn refresh(
        &mut self,
        holder: HolderId,
        sequence: u64,
        item: &v1::RefreshItem,
        now: Duration,
    ) -> v1::Lease {
        let totals = (item.sent_total, item.accepted_total, item.errors_total);
        let before = self.before.insert(holder, totals).unwrap_or_default();
        let asked = Asked {
            holder,
            counts: Counts {
                sent: totals.0 - before.0,
                accepted: totals.1 - before.1,
                failed: totals.2 - before.2,
                throttled: Vec::new(),
            },
            said: Said {
                sequence,
                granted_total: item.granted_total,
                spent_total: item.spent_total,
            },
            has_version: item.has_version,
            wants: item.wants > 0.0,
            idle: item.has_rate <= 0.0,
            refused: None,
            warm_up: None,
        };
        self.controller.step(&Event::Asked(asked), now);
        self.books.set_rate(self.controller.in_force().rate);
        let wants = if self.controller.admits(holder) {
            item.wants
        } else {
            0.0
        };
        let request = Request {
            sequence,
            wants,
            has: item.has_rate,
            has_safe: 0.0,
            keeps: false,
        };
        let granted = self.books.refresh(holder, &request, now).expect("in order");
        let leased = Event::Leased {
            holder,
            rate: granted.rate,
        };
        let decisions = self.controller.step(&leased, now);
        let allowance = decisions.iter().find_map(|it| match it {
            Decision::Granted { allowance, .. } => *allowance,
            _ => None,
        });
        v1::Lease {
            key: item.key.clone(),
            rate: granted.rate,
            burst: granted.burst,
            granted_total: allowance.map(|allowance| allowance.granted_total),
            ttl_ms: 2_000,
            version: self.controller.version(),
            ..v1::Lease::default()
        }
    }
}

impl LeaseSource for Routing {
    async fn refresh(&mut self, request: v1::RefreshRequest) -> Result<v1::RefreshResponse, LeaseError> {
        Ok(self.state().refresh(&request))
    }

    async fn release(&mut self, _: v1::ReleaseRequest) -> Result<(), LeaseError> {
        Ok(())
    }
}
