//! Whether a message may go now: the rate lease, the gate and the open requests of each (provider, identity).
//!
//! An [`Admission`] is taken before the claim and held until the outcome is known. Dropped before the request was written, it
//! gives its token back, so that nothing is lost by a claim that finds its message gone; dropped later, it counts as sent.
//! No lock is held across an await, and none is shared by two keys.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::latency::Latency;
use paceline_domain::lease::{Counts, Grant, LocalLease, Refusal};
use paceline_domain::reason::Reason;
use paceline_domain::record::Provider;
use paceline_kit::clock::Clock;
use paceline_store::throttle::{Cut, RateKey};
use paceline_wire::v1;
use tokio::sync::Notify;

use crate::demand::Demand;
use crate::key_gate::KeyGate;
use admission::Over;
pub(crate) use admission::{Admission, Withdrawn};
use route::Route;

mod admission;
mod key;
mod route;

/// How soon to ask again where nobody can say when it helps.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long mail that could not go counts as waiting for its own provider: longer than it is deferred.
const BOUND_FRESH: Duration = Duration::from_secs(60);

/// The keys of this sender: for each identity of its settings one at SES, and where it has a backup one at Mailgun.
pub(crate) struct Pacing {
    clock: Arc<dyn Clock>,
    in_flight_per_key_max: u32,
    identities: BTreeMap<String, Ways>,
    /// Set when a key begins to want something: the next refresh need not be waited for.
    pub(crate) wanted: Notify,
}

/// One identity: its keys, and by which of them its mail goes.
struct Ways {
    ses: SharedKey,
    mailgun: Option<SharedKey>,
    route: Mutex<Route>,
}

type SharedKey = Arc<Mutex<Key>>;

struct Key {
    lease: LocalLease,
    /// Bulk mail may go while less than this is spent: what is above is transactional mail's. `None` is without a bound.
    bulk_total: Option<u64>,
    /// The warm-up as the coordinator said it last.
    warm_up: Option<v1::WarmUpWord>,
    /// The warm-up's day is used up: what there is no budget for goes by its other identity.
    overflows: bool,
    /// Not before this time, since the provider has refused it.
    overflow_from: Duration,
    counts: Counts,
    gate: KeyGate,
    demand: Demand,
    latency: Latency,
    in_flight: u32,
    /// Spoken of to the coordinator, now or before.
    is_used: bool,
    /// Mail waits here until then that no other provider may send.
    bound_until: Duration,
}

/// How a key stands: for gauges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) provider: &'static str,
    pub(crate) identity: &'a str,
    pub(crate) tokens: f64,
    /// Recipients per second that go on without a coordinator.
    pub(crate) safe_rate: f64,
    pub(crate) paused: Option<Reason>,
}

impl Ways {
    fn key(&self, provider: Provider) -> Option<&SharedKey> {
        match provider {
            Provider::Ses => Some(&self.ses),
            Provider::Mailgun => self.mailgun.as_ref(),
        }
    }

    fn keys(&self) -> impl Iterator<Item = (Provider, &SharedKey)> {
        Provider::ALL
            .into_iter()
            .filter_map(|provider| Some((provider, self.key(provider)?)))
    }

    /// The keys that mail may go by now. A probe comes first: it is small, and what it finds brings the mail back.
    fn open_keys(&self) -> impl Iterator<Item = (Provider, &SharedKey)> {
        let route = self.route();
        let ways = route.probe().into_iter().chain([route.by()]);
        ways.filter_map(|provider| Some((provider, self.key(provider)?)))
    }

    fn route(&self) -> Route {
        *lock(&self.route)
    }
}

impl Pacing {
    /// `identities` with whether each has a backup.
    pub(crate) fn new<'a>(
        identities: impl Iterator<Item = (&'a str, bool)>,
        in_flight_per_key_max: u32,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let now = clock.boot();
        let ways = |has_backup: bool| Ways {
            ses: Key::shared(true, now),
            mailgun: has_backup.then(|| Key::shared(false, now)),
            route: Mutex::default(),
        };
        Self {
            clock,
            in_flight_per_key_max,
            identities: identities
                .map(|(identity, has_backup)| (identity.to_owned(), ways(has_backup)))
                .collect(),
            wanted: Notify::new(),
        }
    }

    pub(crate) fn knows(&self, identity: &str) -> bool {
        self.identities.contains_key(identity)
    }

    /// Leave to send `id` now by the provider of the identity's route, or how long to wait before asking again.
    pub(crate) fn admit(&self, identity: &str, lane: Lane, id: MessageId) -> Result<Admission, Duration> {
        let ways = self.identities.get(identity).ok_or(ASK_AGAIN)?;
        let mut soonest = None;
        for (provider, key) in ways.open_keys() {
            let own = self.admit_by(provider, key, (lane, id));
            match own.or_else(|wait| self.admit_over((provider, key), (lane, id)).ok_or(wait)) {
                Ok(admission) => return Ok(admission),
                Err(wait) => soonest = Some(soonest.map_or(wait, |other: Duration| other.min(wait))),
            }
        }
        Err(soonest.unwrap_or(ASK_AGAIN))
    }

    /// The same for a message that `provider` alone may send, whatever the route is.
    pub(crate) fn admit_bound(
        &self,
        (identity, lane): (&str, Lane),
        provider: Provider,
        id: MessageId,
    ) -> Result<Admission, Duration> {
        let ways = self.identities.get(identity).ok_or(ASK_AGAIN)?;
        let key = ways.key(provider).ok_or(ASK_AGAIN)?;
        let admission = self.admit_by(provider, key, (lane, id));
        if admission.is_err() {
            lock(key).bound_until = self.clock.boot() + BOUND_FRESH;
        }
        admission
    }

    /// Leave to send it as the identity that takes what the warm-up of its own has no room for.
    fn admit_over(
        &self,
        (provider, home): (Provider, &SharedKey),
        (lane, id): (Lane, MessageId),
    ) -> Option<Admission> {
        let (identity, key) = self.overflow((provider, home), lane)?;
        let mut admission = self.admit_by(provider, key, (lane, id)).ok()?;
        admission.over = Some(Over {
            identity: identity.to_owned(),
            home: Arc::clone(home),
        });
        Some(admission)
    }

    /// That identity, and its key at the same provider.
    fn overflow(&self, (provider, home): (Provider, &SharedKey), lane: Lane) -> Option<(&str, &SharedKey)> {
        let to = lock(home).overflow_to(lane, self.clock.boot())?;
        let (identity, ways) = self.identities.get_key_value(&to)?;
        let mut open = ways.open_keys();
        let (_, key) = open.find(|(other, key)| *other == provider && !Arc::ptr_eq(key, home))?;
        Some((identity, key))
    }

    fn admit_by(
        &self,
        provider: Provider,
        shared: &SharedKey,
        (lane, id): (Lane, MessageId),
    ) -> Result<Admission, Duration> {
        let now = self.clock.boot();
        let mut key = lock(shared);
        if key.in_flight >= self.in_flight_per_key_max || key.budget_left(lane) == 0 {
            return Err(ASK_AGAIN);
        }
        let pass = key.gate.admit(id, now)?;
        if let Err(refusal) = key.lease.try_take(1, now) {
            key.gate.returned(pass, now);
            return Err(wait_of(refusal));
        }
        key.in_flight += 1;
        let sent_under = key.lease.version();
        let clock = Arc::clone(&self.clock);
        let key = Arc::clone(shared);
        Ok(Admission::new((key, provider), (pass, sent_under), clock, now))
    }

    /// How many entries of the identity's lane are worth holding: what `time` brings at its rate and its budget still lets go, or what a
    /// probe needs. Zero means that what is held should go back.
    pub(crate) fn room(&self, identity: &str, lane: Lane, time: Duration) -> usize {
        let now = self.clock.boot();
        let Some(ways) = self.identities.get(identity) else {
            return 0;
        };
        let rooms = ways.open_keys().map(|(provider, key)| {
            let over = self.overflow((provider, key), lane);
            let over = over.map_or(0, |(_, key)| lock(key).room(lane, time, now));
            lock(key).room(lane, time, now).saturating_add(over)
        });
        rooms.fold(0, usize::saturating_add)
    }

    /// Notes that the identity's streams hold mail; with `backlog` more than is read.
    pub(crate) fn saw(&self, identity: &str, backlog: bool) {
        let now = self.clock.boot();
        let Some(ways) = self.identities.get(identity) else {
            return;
        };
        let route = ways.route();
        for (provider, key) in ways.keys() {
            let over = self.overflow((provider, key), Lane::Bulk).map(|(_, key)| key);
            for key in std::iter::once(key).chain(over) {
                if lock(key).demand.saw(backlog, now) && route.leads_to(provider) {
                    self.wanted.notify_one();
                }
            }
        }
    }

    /// What to tell the coordinator of each key. The time is that of the asking: answers to earlier questions are void. A backup's
    /// key is not spoken of before mail goes by it.
    pub(crate) fn ask(&self) -> (Duration, Vec<v1::RefreshItem>) {
        let now = self.clock.boot();
        let mut items = Vec::with_capacity(self.identities.len());
        for (identity, ways) in &self.identities {
            let route = ways.route();
            for (provider, key) in ways.keys() {
                let mut key = lock(key);
                let leads = route.leads_to(provider);
                key.is_used |= leads || key.bound_until > now;
                if key.is_used {
                    let wants = key.wants(leads, self.in_flight_per_key_max, now);
                    items.push(key.item(throttle_key(provider, identity), wants, now));
                }
            }
        }
        (now, items)
    }

    /// The identities that have a backup, with the newest word of each route.
    pub(crate) fn backups(&self) -> Vec<v1::Backup> {
        let with_backup = self.identities.iter().filter(|(_, ways)| ways.mailgun.is_some());
        let backup = |(identity, ways): (&String, &Ways)| v1::Backup {
            identity: identity.clone(),
            provider: Provider::Mailgun.as_str().to_owned(),
            route: ways.route().word(identity),
        };
        with_backup.map(backup).collect()
    }

    /// Takes the coordinator's answer to the question of `asked_at`.
    pub(crate) fn renew(&self, answer: &v1::RefreshResponse, asked_at: Duration) {
        let now = self.clock.boot();
        for lease in &answer.leases {
            let Some(named) = &lease.key else { continue };
            let Some(mut key) = self.key(&named.provider, &named.identity) else {
                continue;
            };
            let grant = Grant {
                epoch: answer.epoch,
                version: lease.version,
                rate: lease.rate,
                burst: lease.burst,
                ttl: Duration::from_millis(u64::from(lease.ttl_ms)),
                granted_total: lease.granted_total,
                safe_rate: lease.safe_rate,
                safe_ttl: Duration::from_millis(u64::from(lease.safe_ttl_ms)),
            };
            match key.lease.renew(&grant, asked_at, now) {
                Ok(()) => {
                    key.bulk_total = lease.bulk_total;
                    key.warm_up.clone_from(&lease.warm_up);
                    key.overflows = lease.overflows;
                }
                Err(stale) => tracing::debug!(identity = named.identity, %stale, "lease not taken"),
            }
        }
        self.reroute(answer);
    }

    fn reroute(&self, answer: &v1::RefreshResponse) {
        let routes: BTreeMap<&str, &v1::Route> = answer
            .routes
            .iter()
            .map(|route| (route.identity.as_str(), route))
            .collect();
        let with_backup = self.identities.iter().filter(|(_, ways)| ways.mailgun.is_some());
        for (identity, ways) in with_backup {
            let mut route = lock(&ways.route);
            let before = *route;
            if route.hear(routes.get(identity.as_str()).copied(), answer.epoch) {
                let to = route.by().as_str();
                tracing::info!(identity, to, "mail of the identity goes by another provider");
            }
            if (route.by(), route.probe()) != (before.by(), before.probe()) {
                // Its key has no lease yet.
                self.wanted.notify_one();
            }
        }
    }

    /// Takes a cut that was broadcast, and says what it did. It never raises a rate.
    pub(crate) fn cut(&self, cut: &Cut) -> &'static str {
        let now = self.clock.boot();
        let Some(mut key) = self.key(&cut.key.provider, &cut.key.identity) else {
            return "foreign";
        };
        if key.lease.cut(cut.epoch, cut.version, cut.ratio, now) {
            "applied"
        } else {
            "old"
        }
    }

    /// The keys whose safe rates count only with a look, and when that look begins.
    pub(crate) fn to_be_looked_at(&self) -> (Duration, Vec<RateKey>) {
        let now = self.clock.boot();
        let lapsed = self.all().filter(|(.., key)| lock(key).lease.needs_look(now));
        let named = |(identity, provider, _): (&str, Provider, &SharedKey)| RateKey {
            provider: provider.as_str().to_owned(),
            identity: identity.to_owned(),
        };
        (now, lapsed.map(named).collect())
    }

    /// Takes a look at a key, which began at `at`: epoch and version of its rate in Redis.
    pub(crate) fn looked(&self, key: &RateKey, state: Option<(u64, u64)>, at: Duration) {
        if let Some(mut key) = self.key(&key.provider, &key.identity) {
            key.lease.looked(state, at);
        }
    }

    /// Gives every lease up: nothing is admitted from here on.
    pub(crate) fn drop_leases(&self) {
        let now = self.clock.boot();
        for (.., key) in self.all() {
            lock(key).lease.drop_now(now);
        }
    }

    /// The largest epoch that any lease has seen.
    pub(crate) fn epoch_seen(&self) -> u64 {
        let epochs = self.all().map(|(.., key)| lock(key).lease.epoch());
        epochs.max().unwrap_or(0)
    }

    /// How each key stands that was ever used.
    pub(crate) fn standings(&self) -> Vec<Standing<'_>> {
        let now = self.clock.boot();
        let standing = |(identity, provider, key): (_, Provider, &SharedKey)| {
            let key = lock(key);
            key.is_used.then(|| Standing {
                provider: provider.as_str(),
                identity,
                tokens: key.lease.available(now),
                safe_rate: if key.lease.is_safe(now) {
                    key.lease.rate(now)
                } else {
                    0.0
                },
                paused: key.gate.paused(),
            })
        };
        self.all().filter_map(standing).collect()
    }

    fn all(&self) -> impl Iterator<Item = (&str, Provider, &SharedKey)> {
        self.identities.iter().flat_map(|(identity, ways)| {
            ways.keys()
                .map(move |(provider, key)| (identity.as_str(), provider, key))
        })
    }

    fn key(&self, provider: &str, identity: &str) -> Option<MutexGuard<'_, Key>> {
        let ways = self.identities.get(identity)?;
        Some(lock(ways.key(Provider::named(provider)?)?))
    }
}

/// How soon to ask again.
const fn wait_of(refusal: Refusal) -> Duration {
    match refusal {
        Refusal::Wait(wait) => wait,
        Refusal::Lapsed | Refusal::BudgetSpent => ASK_AGAIN,
    }
}

fn throttle_key(provider: Provider, identity: &str) -> v1::ThrottleKey {
    v1::ThrottleKey {
        provider: provider.as_str().to_owned(),
        identity: identity.to_owned(),
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
