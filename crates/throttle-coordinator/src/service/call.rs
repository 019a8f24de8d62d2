//! A sender's call, checked.

use std::collections::BTreeSet;
use std::time::Duration;

use paceline_domain::aimd::Totals;
use paceline_domain::controller::warm_up::Word;
use paceline_domain::lease::HolderId;
use paceline_domain::reason::Reason;
use paceline_domain::record::Provider;
use paceline_kit::identity::is_name;
use paceline_store::throttle::RateKey;
use paceline_wire::status::InvalidFields;
use paceline_wire::v1;

use crate::desk::{Backup, Item, way};

const SENDER_ID_MAX: usize = 128;
const ITEMS_MAX: usize = 1_000;
const VERSIONS_MAX: usize = 8;
/// Epochs and versions rise by one, and scripts count in doubles: what is beyond this is a sender gone wrong. What is below it is
/// believed by leaps only (`desk`), so that no single call brings the counters near it.
const EPOCH_MAX: u64 = 1 << 52;
const LATENCY_MS_MAX: u32 = 60_000;

/// Who calls, and what it says of each key.
pub(super) struct Call {
    pub(super) holder: HolderId,
    pub(super) items: Vec<(RateKey, Item)>,
}

impl Call {
    pub(super) fn read(
        sender_id: &str,
        incarnation: &[u8],
        items: Vec<v1::RefreshItem>,
    ) -> Result<Self, InvalidFields> {
        let mut wrong = InvalidFields::new();
        if sender_id.is_empty() || sender_id.len() > SENDER_ID_MAX {
            wrong.add("sender_id", "must be 1 to 128 characters");
        }
        let holder: Result<[u8; 16], _> = incarnation.try_into();
        if holder.is_err() {
            wrong.add("incarnation", "must be 16 bytes");
        }
        if items.len() > ITEMS_MAX {
            return Err(InvalidFields::one("items", "must be at most 1000"));
        }
        let mut seen = BTreeSet::new();
        let mut read = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match read_item(item) {
                Ok((key, _)) if !seen.insert(key.clone()) => {
                    wrong.add(format!("items[{index}].key"), "is there twice");
                }
                Ok(item) => read.push(item),
                Err((field, problem)) => wrong.add(format!("items[{index}].{field}"), problem),
            }
        }
        wrong.into_result()?;
        Ok(Self {
            holder: HolderId(holder.unwrap_or_default()),
            items: read,
        })
    }
}

/// The identities that have a backup. One that this coordinator does not know is no backup here.
pub(super) fn backups(backups: Vec<v1::Backup>) -> Result<Vec<Backup>, InvalidFields> {
    if backups.len() > ITEMS_MAX {
        return Err(InvalidFields::one("backups", "must be at most 1000"));
    }
    if !backups.iter().all(|backup| is_name(&backup.identity)) {
        return Err(InvalidFields::one(
            "backups",
            "must name identities, 1 to 64 of [a-z0-9_-]",
        ));
    }
    let known = backups
        .into_iter()
        .filter(|backup| Provider::named(&backup.provider) == Some(Provider::Mailgun));
    let read = |backup: v1::Backup| Backup {
        identity: backup.identity,
        told: backup.route.and_then(|route| {
            let provider = Provider::named(&route.provider)?;
            Some((way(provider), route.epoch, route.version))
        }),
    };
    Ok(known.map(read).collect())
}

pub(super) fn check_epoch(epoch: u64) -> Result<(), InvalidFields> {
    if epoch > EPOCH_MAX {
        return Err(InvalidFields::one("epoch_seen", "is no epoch of a coordinator"));
    }
    Ok(())
}

fn read_item(item: v1::RefreshItem) -> Result<(RateKey, Item), (&'static str, &'static str)> {
    let key = item.key.ok_or(("key", "is missing"))?;
    if !is_name(&key.provider) || !is_name(&key.identity) {
        return Err(("key", "provider and identity must be 1 to 64 of [a-z0-9_-]"));
    }
    if Provider::named(&key.provider).is_none() {
        return Err(("key.provider", "must be one that is known here"));
    }
    if !is_rate(item.wants) {
        return Err(("wants", "must be a rate of at least 0"));
    }
    if !is_rate(item.has_rate) {
        return Err(("has_rate", "must be a rate of at least 0"));
    }
    if !is_rate(item.has_safe_rate) {
        return Err(("has_safe_rate", "must be a rate of at least 0"));
    }
    if item.throttled.len() > VERSIONS_MAX {
        return Err(("throttled", "must be the newest 8 versions at most"));
    }
    if item.has_version > EPOCH_MAX {
        return Err(("has_version", "is no version of a lease"));
    }
    let word = item.warm_up.as_ref();
    if word.is_some_and(|word| !word.overflow_to.is_empty() && !is_name(&word.overflow_to)) {
        return Err(("warm_up.overflow_to", "must be empty or 1 to 64 of [a-z0-9_-]"));
    }
    if item.latency_ms.is_some_and(|ms| ms > LATENCY_MS_MAX) {
        return Err(("latency_ms", "must be at most 60000"));
    }
    let throttled = item.throttled.iter().map(|count| (count.version, count.total));
    let totals = Totals {
        sent: item.sent_total,
        errors: item.errors_total,
        throttled: throttled.collect(),
    };
    let key = RateKey {
        provider: key.provider,
        identity: key.identity,
    };
    let item = Item {
        wants: item.wants,
        has: item.has_rate,
        has_safe: item.has_safe_rate,
        has_version: item.has_version,
        totals,
        accepted: item.accepted_total,
        granted: item.granted_total,
        spent: item.spent_total,
        latency: item.latency_ms.map(|ms| Duration::from_millis(ms.into())),
        warm_up: item.warm_up.map(|word| Word {
            first_day: word.first_day,
            level: word.level,
            overflow_to: (!word.overflow_to.is_empty()).then_some(word.overflow_to),
        }),
        refused: (!item.refused_reason.is_empty()).then(|| Reason::named(&item.refused_reason)),
    };
    Ok((key, item))
}

fn is_rate(rate: f64) -> bool {
    rate.is_finite() && rate >= 0.0
}

#[cfg(test)]
mod tests {
    use paceline_wire::v1;

    use super::{Call, check_epoch};

    fn item(identity: &str) -> v1::RefreshItem {
        v1::RefreshItem {
            key: Some(v1::ThrottleKey {
                provider: "ses".to_owned(),
                identity: identity.to_owned(),
            }),
            wants: 10.0,
            ..v1::RefreshItem::default()
        }
    }

    #[test]
    fn a_good_call_is_read() {
        let call = Call::read("sender-1", &[7; 16], vec![item("a"), item("b")]).expect("good");
        assert_eq!(call.items.len(), 2);
        assert_eq!(call.holder.0, [7; 16]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |sender: &str, incarnation: &[u8], items: Vec<v1::RefreshItem>, field: &str| {
            let wrong = Call::read(sender, incarnation, items)
                .err()
                .unwrap_or_else(|| panic!("{field} is accepted"));
            assert!(
                wrong.violations().iter().any(|v| v.field == field),
                "{field}: {wrong}"
            );
        };
        let ok = &[0; 16];
        check("", ok, vec![], "sender_id");
        check("s", &[0; 15], vec![], "incarnation");
        check("s", ok, vec![item("a"), item("a")], "items[1].key");
        check("s", ok, vec![item("a/b")], "items[0].key");
        check("s", ok, vec![item("a}")], "items[0].key");
        let mut elsewhere = item("a");
        elsewhere.key.as_mut().expect("it has one").provider = "sendmail".to_owned();
        check("s", ok, vec![elsewhere], "items[0].key.provider");
        let wants = |wants| v1::RefreshItem { wants, ..item("a") };
        check("s", ok, vec![wants(f64::NAN)], "items[0].wants");
        check("s", ok, vec![wants(-1.0)], "items[0].wants");
        let mut safe = item("a");
        safe.has_safe_rate = f64::INFINITY;
        check("s", ok, vec![safe], "items[0].has_safe_rate");
        let throttled = vec![v1::ThrottledCount::default(); 9];
        check(
            "s",
            ok,
            vec![v1::RefreshItem {
                throttled,
                ..item("a")
            }],
            "items[0].throttled",
        );
        let mut slow = item("a");
        slow.latency_ms = Some(60_001);
        check("s", ok, vec![slow], "items[0].latency_ms");
        let mut over = item("a");
        over.warm_up = Some(v1::WarmUpWord {
            overflow_to: "No name".to_owned(),
            ..v1::WarmUpWord::default()
        });
        check("s", ok, vec![over], "items[0].warm_up.overflow_to");
        check("s", ok, vec![item("a"); 1_001], "items");
        assert!(check_epoch(u64::MAX).is_err());
    }
}
