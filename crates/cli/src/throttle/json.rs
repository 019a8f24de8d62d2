//! What the coordinator knows, as JSON: the fields are those of the contract, and what is absent there is null.

use paceline_wire::v1::{AccountDescription, DescribeResponse, KeyDescription};
use serde_json::{Value, json};

use super::table::name;

/// All in one line, without its end.
pub(super) fn of(answer: &DescribeResponse) -> Value {
    json!({
        "epoch": answer.epoch,
        "leader": answer.leader,
        "leader_address": answer.leader_address,
        "keys": answer.keys.iter().map(key).collect::<Vec<_>>(),
        "accounts": answer.accounts.iter().map(account).collect::<Vec<_>>(),
    })
}

fn key(key: &KeyDescription) -> Value {
    let mut value = json!({
        "key": name(key),
        "rate": key.rate,
        "limited_by": key.limited_by,
        "leased": key.leased,
        "wanted": key.wanted,
        "measured": key.measured,
        "version": key.version,
        "senders": key.senders,
        "throttled": key.throttled,
        "allotted": key.allotted,
        "account": key.account,
        "warm_up": key.warm_up.as_ref().map(|it| json!({
            "day": it.day, "cap": it.cap, "spent": it.spent, "overflow_to": it.overflow_to,
        })),
        "daily_left": key.daily_left,
        "daily_used": key.daily_used,
        "bounced": key.bounced,
        "accepted": key.accepted,
        "outstanding": key.outstanding,
        "route": key.route,
        "breaker": key.breaker,
        "overrides": overrides(key),
    });
    if !key.sender_shares.is_empty() {
        let share = key.sender_shares.iter().map(|it| {
            json!({"sender_id": it.sender_id, "wanted": it.wanted, "leased": it.leased, "used": it.used})
        });
        value["sender_shares"] = share.collect();
    }
    if !key.history.is_empty() {
        let sample = key
            .history
            .iter()
            .map(|it| json!({"rate": it.rate, "used": it.used}));
        value["history"] = sample.collect();
    }
    value
}

fn overrides(key: &KeyDescription) -> Value {
    let one = |it: &paceline_wire::v1::Override| {
        json!({
            "kind": it.kind,
            "rate": (it.kind == "cap").then_some(it.rate),
            "way": (it.kind == "route").then_some(&it.way),
            "who": it.who,
            "why": it.why,
            "left_ms": it.left_ms,
        })
    };
    key.overrides.iter().map(one).collect()
}

fn account(it: &AccountDescription) -> Value {
    json!({
        "name": it.name,
        "age_ms": it.age_ms,
        "outcome": it.outcome,
        "max_send_rate": it.max_send_rate,
        "max_24_hour_send": it.max_24_hour_send,
        "sent_last_24_hours": it.sent_last_24_hours,
        "paused": it.paused,
    })
}
