//! The providers' accounts at the desk: what the last look said, and what the keys of one account share.
//!
//! SES limits an account in a region, not an identity. Of the rate, each key may lease its allotment only
//! (`domain::controller::account`). Of the day's quota, each key's controller is told what the account's other keys spent and hold,
//! right before it grants, so that two of them never grant the same recipients.

use std::collections::BTreeMap;
use std::time::Duration;

use paceline_domain::controller::account::Account as Bucket;
use paceline_domain::controller::quota::DailySend;
use paceline_domain::controller::{Account, Event};
use paceline_domain::lease::{SAFE_TTL, TTL, in_books};
use paceline_store::throttle::RateKey;

use super::key::PacedKey;
use crate::config::Config;

const SES: &str = "ses";

/// What a look at an account said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    pub(crate) account: Account,
    /// False if what it said of the day's quota made no sense: then `account.daily` is nobody's word.
    pub(crate) knows_daily: bool,
    /// Why the provider takes no mail of it, as a code.
    pub(crate) paused: Option<&'static str>,
}

/// A look that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// What was spent here when it began.
    spent: u64,
}

/// What people are told of an account.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AccountDescription {
    pub(crate) name: String,
    /// Since the last look that was answered.
    pub(crate) age: Option<Duration>,
    /// Of the last look, as a code.
    pub(crate) outcome: &'static str,
    pub(crate) max_send_rate: Option<f64>,
    pub(crate) daily: DailySend,
    pub(crate) sent_last_24_hours: u64,
    pub(crate) paused: Option<&'static str>,
}

/// All accounts that are configured.
pub(super) struct Accounts {
    all: Vec<SharedAccount>,
    /// The account of each identity of SES, by its place in `all`.
    of_identity: BTreeMap<String, usize>,
    /// When the lead began.
    led_since: Duration,
    /// How long what a leader before has granted may be spent, safe rates included.
    granted_max: Duration,
}

struct SharedAccount {
    region: String,
    /// Until SES says, or where it does not.
    configured_rate: Option<f64>,
    configured_daily: DailySend,
    /// Absent while no limit is known: then none holds.
    bucket: Option<Bucket<RateKey>>,
    looked: Option<(Look, Duration)>,
    outcome: &'static str,
    /// Somebody wants it to be looked at soon.
    wished: bool,
    /// Recipients spent by all its keys, since the lead began.
    spent: u64,
    /// Granted to the senders of all its keys, and not spent.
    outstanding: u64,
    /// What was spent when the last look began.
    spent_at_look: u64,
    lines: BTreeMap<RateKey, Line>,
    /// How many keys share it by the settings.
    identities: usize,
}

/// One key's part in the day's quota, in recipients.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// The key's own total.
    total: u64,
    outstanding: u64,
    /// Of `SharedAccount::spent`, what the key spent itself or has been told.
    known: u64,
    /// What it was told last that the others hold, by whichever leader.
    others_hold: u64,
}

impl Accounts {
    pub(super) fn new(config: &Config) -> Self {
        let sharing = |region: &str| {
            config
                .identity
                .iter()
                .filter(|it| it.ses.region == region)
                .count()
        };
        let all: Vec<SharedAccount> = config
            .account
            .iter()
            .map(|it| SharedAccount::new(&it.region, it.max_send_rate(), it.daily(), sharing(&it.region)))
            .collect();
        let place = |region: &str| all.iter().position(|it| it.region == region);
        let of_identity = config
            .identity
            .iter()
            .filter_map(|it| Some((it.name.clone(), place(&it.ses.region)?)))
            .collect();
        Self {
            all,
            of_identity,
            led_since: Duration::ZERO,
            granted_max: if config.keeps_back() { TTL + SAFE_TTL } else { TTL },
        }
    }

    /// This process leads from `now` on.
    pub(super) const fn led(&mut self, now: Duration) {
        self.led_since = now;
    }

    /// Another lead begins: what was known is old.
    pub(super) fn begin(&mut self) {
        for account in &mut self.all {
            let (rate, daily) = (account.configured_rate, account.configured_daily);
            *account = SharedAccount::new(&account.region, rate, daily, account.identities);
        }
    }

    /// A key is open. It learns what is known of its account.
    pub(super) fn opened(&mut self, key: &RateKey, paced: &mut PacedKey, now: Duration) {
        let Some(account) = self.of(key) else { return };
        let line = Line {
            total: paced.spent_total(),
            outstanding: paced.outstanding(),
            known: account.spent,
            others_hold: paced.siblings_outstanding(),
        };
        account.outstanding += line.outstanding;
        account.lines.insert(key.clone(), line);
        if let Some((look, _)) = account.looked {
            paced.happened(&Event::Account(account.since(look.account)), now);
        } else if let Some(known) = paced.max_send_rate_seen() {
            // A leader before has seen it, and this one has no look of its own yet. The keys may have seen it at different times.
            let others = account.bucket.as_ref().map(Bucket::max_send_rate);
            account.bound(others.map_or(known, |others| others.min(known)));
        }
    }

    /// Before a key grants of a day's quota: what its siblings have spent and hold is told to it.
    pub(super) fn before(&mut self, key: &RateKey, paced: &mut PacedKey, now: Duration) {
        let may_be_held = self.may_be_held(now);
        if let Some(account) = self.of(key)
            && account.daily() != DailySend::Unlimited
        {
            account.tell(key, paced, may_be_held && account.lacks_some(), now);
        }
    }

    /// After anything happened to a key: what it spent and holds is its siblings' to know.
    pub(super) fn after(&mut self, key: &RateKey, paced: &PacedKey) {
        let Some(account) = self.of(key) else { return };
        let Some(line) = account.lines.get_mut(key) else {
            return;
        };
        let new = paced.spent_total().saturating_sub(line.total);
        line.total = paced.spent_total();
        line.known += new;
        account.spent += new;
        account.outstanding = account.outstanding.saturating_sub(line.outstanding);
        line.outstanding = paced.outstanding();
        account.outstanding += line.outstanding;
    }

    /// A sender is refused for the account's sake.
    pub(super) fn wish(&mut self, key: &RateKey) {
        if let Some(account) = self.of(key) {
            account.wished = true;
        }
    }

    /// Shares every account's rate anew among its keys. While it is not known what all of them hold, none gets more than it has: an
    /// identity that is not open, or that learns, may hold what a leader before has granted.
    pub(super) fn allot(&mut self, keys: &mut BTreeMap<RateKey, PacedKey>, now: Duration) {
        let may_be_held = self.may_be_held(now);
        for account in &mut self.all {
            let mut opened = account.lines.keys().filter_map(|key| keys.get(key));
            let all_known =
                !(may_be_held && account.lacks_some()) && opened.all(|paced| !paced.books.is_learning(now));
            let Some(bucket) = &mut account.bucket else {
                continue;
            };
            let demands = account.lines.keys().filter_map(|key| {
                let paced = keys.get(key)?;
                Some((key.clone(), paced.demand(now)))
            });
            bucket.allot(&demands.collect());
            for key in account.lines.keys() {
                if let Some(paced) = keys.get_mut(key) {
                    let allotted = bucket.allotted(key);
                    // One that learns grants nobody more than it has by itself.
                    let may_grow = all_known || paced.books.is_learning(now);
                    let held = paced.books.outstanding(now);
                    paced.allot(if may_grow { allotted } else { allotted.min(held) });
                }
            }
        }
    }

    /// Whether somebody wants a look at it soon.
    pub(super) fn is_wished(&self, region: &str) -> bool {
        self.all.iter().any(|it| it.region == region && it.wished)
    }

    pub(super) fn ask(&mut self, region: &str) -> Option<Asked> {
        let account = self.all.iter_mut().find(|it| it.region == region)?;
        account.wished = false;
        Some(Asked { spent: account.spent })
    }

    /// A look has ended; `Err` says as a code why there is no answer.
    pub(super) fn looked(
        &mut self,
        region: &str,
        asked: Asked,
        answer: Result<Look, &'static str>,
        keys: &mut BTreeMap<RateKey, PacedKey>,
        now: Duration,
    ) {
        let may_be_held = self.may_be_held(now);
        let Some(account) = self.all.iter_mut().find(|it| it.region == region) else {
            return;
        };
        let mut look = match answer {
            Ok(look) => look,
            Err(outcome) => {
                account.outcome = outcome;
                return;
            }
        };
        account.outcome = "ok";
        if !look.knows_daily {
            // What held before goes on to hold.
            look.account.daily = account.daily();
        }
        account.looked = Some((look, now));
        account.spent_at_look = asked.spent;
        if let Some(rate) = look.account.max_send_rate.or(account.configured_rate) {
            account.bound(rate);
        }
        let event = Event::Account(account.since(look.account));
        for (key, paced) in keys {
            // First what is counted here: what the provider has more is others' mail.
            account.tell(key, paced, may_be_held && account.lacks_some(), now);
            if account.lines.contains_key(key) {
                paced.happened(&event, now);
            }
        }
    }

    /// The name of the account that a key shares.
    pub(super) fn name(&self, key: &RateKey) -> Option<String> {
        let place = self.place(key)?;
        Some(self.all[place].name())
    }

    pub(super) fn describe(&self, now: Duration) -> Vec<AccountDescription> {
        self.all.iter().map(|it| it.describe(now)).collect()
    }

    /// True while leases, or safe rates, of a leader before may live: those of a key that nobody has opened yet.
    fn may_be_held(&self, now: Duration) -> bool {
        now < self.led_since + in_books(self.granted_max)
    }

    fn of(&mut self, key: &RateKey) -> Option<&mut SharedAccount> {
        let place = self.place(key)?;
        self.all.get_mut(place)
    }

    fn place(&self, key: &RateKey) -> Option<usize> {
        let is_ses = key.provider == SES;
        self.of_identity.get(&key.identity).copied().filter(|_| is_ses)
    }
}

impl SharedAccount {
    fn new(region: &str, rate: Option<f64>, daily: DailySend, identities: usize) -> Self {
        Self {
            region: region.to_owned(),
            configured_rate: rate,
            configured_daily: daily,
            bucket: rate.map(Bucket::new),
            looked: None,
            outcome: "none",
            wished: false,
            spent: 0,
            outstanding: 0,
            spent_at_look: 0,
            lines: BTreeMap::new(),
            identities,
        }
    }

    /// True while some of its keys are not open.
    fn lacks_some(&self) -> bool {
        self.lines.len() < self.identities
    }

    fn name(&self) -> String {
        format!("{SES}/{}", self.region)
    }

    fn bound(&mut self, rate: f64) {
        match &mut self.bucket {
            Some(bucket) => bucket.set_max_send_rate(rate),
            None => self.bucket = Some(Bucket::new(rate)),
        }
    }

    /// Tells a key what its siblings have spent and hold. `lacks_some` of them: they may hold what a leader before has told.
    fn tell(&mut self, key: &RateKey, paced: &mut PacedKey, lacks_some: bool, now: Duration) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let mut outstanding = self.outstanding.saturating_sub(line.outstanding);
        if lacks_some {
            outstanding = outstanding.max(line.others_hold);
        }
        let spent = self.spent.saturating_sub(line.known);
        if spent == 0 && outstanding == line.others_hold {
            return;
        }
        (line.known, line.others_hold) = (self.spent, outstanding);
        paced.happened(&Event::Siblings { spent, outstanding }, now);
    }

    fn daily(&self) -> DailySend {
        self.looked
            .map_or(self.configured_daily, |(look, _)| look.account.daily)
    }

    /// What a look said, and what was spent here since it began: the provider may not have counted that.
    const fn since(&self, mut account: Account) -> Account {
        let new = self.spent.saturating_sub(self.spent_at_look);
        account.sent_last_24_hours = account.sent_last_24_hours.saturating_add(new);
        account
    }

    fn describe(&self, now: Duration) -> AccountDescription {
        let look = self.looked.map(|(look, _)| look);
        AccountDescription {
            name: self.name(),
            age: self.looked.map(|(_, at)| now.saturating_sub(at)),
            outcome: self.outcome,
            max_send_rate: self.bucket.as_ref().map(Bucket::max_send_rate),
            daily: self.daily(),
            sent_last_24_hours: look.map_or(0, |look| look.account.sent_last_24_hours),
            paused: look.and_then(|look| look.paused),
        }
    }
}
