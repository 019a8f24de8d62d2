//! `paceline throttle pause|resume|cap|route|clear`: what a person sets on a key, for a time.

use anyhow::Context as _;
use paceline_wire::v1::set_override_request::Action;
use paceline_wire::v1::{ClearOverrideRequest, SetOverrideRequest, ThrottleKey};

use super::table::{left, plain, value};
use crate::args::{ByHand, Kind};
use crate::coordinator::Coordinator;
use crate::key;

/// Sets it; returns when it holds.
pub(super) async fn set(
    mut coordinator: Coordinator<'_>,
    by_hand: &ByHand,
    action: Action,
) -> anyhow::Result<()> {
    let request = SetOverrideRequest {
        key: Some(by_hand.key.clone()),
        action: Some(action),
        who: by_hand.who.clone(),
        why: by_hand.why.clone(),
        for_ms: u64::try_from(by_hand.lasts.as_millis()).unwrap_or(u64::MAX),
    };
    let answer = coordinator
        .call(request, async |mut client, request| {
            client.set_override(request).await
        })
        .await?;
    let it = answer.r#override.context("an answer without what was set")?;
    let what = [it.kind.as_str(), &value(&it)].join(" ");
    println!(
        "{}: {} for {}, by {}: {}",
        key::name(&by_hand.key),
        what.trim_end_matches([' ', '-']),
        left(&it),
        plain(&it.who),
        plain(&it.why)
    );
    Ok(())
}

/// Takes it back.
pub(super) async fn clear(
    mut coordinator: Coordinator<'_>,
    key: &ThrottleKey,
    kind: Kind,
) -> anyhow::Result<()> {
    let kind = match kind {
        Kind::Pause => "pause",
        Kind::Resume => "resume",
        Kind::Cap => "cap",
        Kind::Route => "route",
    };
    let request = ClearOverrideRequest {
        key: Some(key.clone()),
        kind: kind.to_owned(),
    };
    let answer = coordinator
        .call(request, async |mut client, request| {
            client.clear_override(request).await
        })
        .await?;
    let name = key::name(key);
    if answer.cleared {
        println!("{name}: the {kind} is taken back");
    } else {
        println!("{name}: no {kind} was set");
    }
    Ok(())
}
