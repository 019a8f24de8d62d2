//! The wording of what is known of keys and accounts.

use paceline_domain::controller::breaker::Standing;
use paceline_domain::controller::overrides::{Action, Override};
use paceline_domain::controller::quota::DailySend;
use paceline_domain::controller::route::Way;
use paceline_domain::record::Provider;
use paceline_kit::identity::is_name;
use paceline_store::throttle::RateKey;
use paceline_wire::status::InvalidFields;
use paceline_wire::v1;

use super::wire_key;
use crate::desk::{AccountDescription, Description, Detail, Wanted};

const KEYS_MAX: usize = 1_000;
/// Ten minutes of so many keys fit well into one answer.
const KEYS_WITH_HISTORY_MAX: usize = 16;

/// The keys that a caller wants to hear of.
pub(super) fn wanted(request: v1::DescribeRequest) -> Result<Wanted, InvalidFields> {
    let keys_max = if request.history {
        KEYS_WITH_HISTORY_MAX
    } else {
        KEYS_MAX
    };
    if request.keys.len() > keys_max {
        let problem = format!("must be at most {keys_max}");
        return Err(InvalidFields::one("keys", problem));
    }
    if request.history && request.keys.is_empty() {
        return Err(InvalidFields::one(
            "keys",
            "must name those whose history is wanted",
        ));
    }
    let mut keys = Vec::with_capacity(request.keys.len());
    for (index, key) in request.keys.into_iter().enumerate() {
        keys.push(read_key(Some(key), &format!("keys[{index}]"))?);
    }
    Ok(Wanted {
        keys,
        history: request.history,
    })
}

/// A key that a caller names.
pub(super) fn read_key(key: Option<v1::ThrottleKey>, field: &str) -> Result<RateKey, InvalidFields> {
    let Some(key) = key else {
        return Err(InvalidFields::one(field, "is missing"));
    };
    if !is_name(&key.provider) || !is_name(&key.identity) {
        return Err(InvalidFields::one(
            field,
            "provider and identity must be 1 to 64 of [a-z0-9_-]",
        ));
    }
    if Provider::named(&key.provider).is_none() {
        let problem = "must be of a provider that is known here";
        return Err(InvalidFields::one(field, problem));
    }
    Ok(RateKey {
        provider: key.provider,
        identity: key.identity,
    })
}

pub(super) fn key(
    (key, description, detail): (RateKey, Description, Detail),
    senders: bool,
) -> v1::KeyDescription {
    let shares = detail.shares.into_iter().map(|share| v1::SenderShare {
        sender_id: share.sender,
        wanted: share.wanted,
        leased: share.leased,
        used: share.used,
    });
    let samples = detail.history.iter().map(|sample| v1::Sample {
        rate: sample.rate.into(),
        used: sample.used.into(),
    });
    v1::KeyDescription {
        key: Some(wire_key(key)),
        rate: description.rate,
        limited_by: description.limited_by.as_str().to_owned(),
        leased: description.leased,
        wanted: description.wanted,
        measured: description.measured,
        version: description.version,
        senders: u32::try_from(description.senders).unwrap_or(u32::MAX),
        route: description
            .route
            .map(|provider| provider.as_str())
            .unwrap_or_default()
            .to_owned(),
        breaker: description.breaker.map(standing).unwrap_or_default().to_owned(),
        throttled: detail.throttled,
        allotted: detail.allotted,
        account: detail.account.unwrap_or_default(),
        warm_up: detail.warm_up.map(|it| v1::WarmUpDescription {
            day: it.day,
            cap: it.cap,
            spent: it.spent,
            overflow_to: it.overflow_to.unwrap_or_default(),
        }),
        daily_left: detail.daily_left,
        daily_used: detail.daily_used,
        overrides: detail
            .overrides
            .iter()
            .map(|(it, left)| set_by_hand(it, *left))
            .collect(),
        bounced: detail.bounced,
        accepted: detail.accepted,
        outstanding: detail.outstanding,
        sender_shares: if senders { shares.collect() } else { Vec::new() },
        history: samples.collect(),
    }
}

pub(super) fn set_by_hand(it: &Override, left: std::time::Duration) -> v1::Override {
    v1::Override {
        kind: it.action.kind().as_str().to_owned(),
        rate: match it.action {
            Action::Cap { rate } => rate,
            _ => 0.0,
        },
        way: match it.action {
            Action::Route(way) => way_name(way).to_owned(),
            _ => String::new(),
        },
        who: it.who.clone(),
        why: it.why.clone(),
        left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
    }
}

pub(super) fn account(account: AccountDescription) -> v1::AccountDescription {
    let age_ms = |age: std::time::Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    v1::AccountDescription {
        name: account.name,
        age_ms: account.age.map(age_ms),
        outcome: account.outcome.to_owned(),
        max_send_rate: account.max_send_rate.unwrap_or_default(),
        max_24_hour_send: match account.daily {
            DailySend::Unlimited => -1,
            DailySend::Limited(max) => i64::try_from(max).unwrap_or(i64::MAX),
        },
        sent_last_24_hours: account.sent_last_24_hours,
        paused: account.paused.unwrap_or_default().to_owned(),
    }
}

pub(super) const fn way_name(way: Way) -> &'static str {
    match way {
        Way::Primary => "primary",
        Way::Backup => "backup",
    }
}

const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Closed => "closed",
        Standing::HalfOpen => "half_open",
        Standing::Open => "open",
    }
}
