//! What calls say, held to its bounds. A problem names the field and the limit, never the value.

use paceline_domain::address::Address;
use paceline_domain::keyed::AddressHash;
use paceline_domain::suppression::{SuppressionReason, check_category};
use paceline_domain::time::Millis;
use paceline_kit::access::Caller;
use paceline_kit::identity::is_name;
use paceline_ledger::SuppressionPage;
use paceline_wire::status::InvalidFields;
use paceline_wire::{convert, v1};

use crate::suppressions::Suppress;

/// Entries of one request.
pub(super) const ITEMS_MAX: usize = 1_000;
/// In characters.
const WHO_MAX: usize = 64;
const WHY_MAX: usize = 500;

/// Who and why; the name of the caller's key, if it has one, is part of who it was.
pub(super) fn said(wrong: &mut InvalidFields, caller: &Caller, who: &str, why: &str) -> (String, String) {
    for (field, text, max) in [("who", who, WHO_MAX), ("why", why, WHY_MAX)] {
        let count = text.chars().count();
        if !(1..=max).contains(&count) {
            wrong.add(field, format!("has {count} characters, not 1 to {max}"));
        } else if text.chars().any(char::is_control) {
            wrong.add(field, "has control characters");
        }
    }
    let who = match caller.name() {
        "" => who.to_owned(),
        key => format!("{who} (key {key})"),
    };
    (who, why.to_owned())
}

pub(super) fn tenant(wrong: &mut InvalidFields, tenant: &str) {
    if !is_name(tenant) {
        wrong.add("tenant", "must be 1 to 64 of [a-z0-9_-]");
    }
}

/// An address; what is wrong with it is said by its rule.
pub(super) fn address(wrong: &mut InvalidFields, field: &str, text: &str) -> Option<Address> {
    Address::parse(text)
        .map_err(|error| wrong.add(field, error.to_string()))
        .ok()
}

/// `None` for UNSPECIFIED, and for what is wrong.
pub(super) fn reason(wrong: &mut InvalidFields, field: &str, number: i32) -> Option<SuppressionReason> {
    match v1::SuppressionReason::try_from(number) {
        Ok(v1::SuppressionReason::Unspecified) => None,
        Ok(v1::SuppressionReason::HardBounce) => Some(SuppressionReason::HardBounce),
        Ok(v1::SuppressionReason::Complaint) => Some(SuppressionReason::Complaint),
        Ok(v1::SuppressionReason::Unsubscribe) => Some(SuppressionReason::Unsubscribe),
        Ok(v1::SuppressionReason::Manual) => Some(SuppressionReason::Manual),
        Err(_) => {
            wrong.add(field, "is no reason of this release");
            None
        }
    }
}

/// A category, or none.
pub(super) fn category(wrong: &mut InvalidFields, field: &str, name: &str) {
    if !name.is_empty()
        && let Err(problem) = check_category(name)
    {
        wrong.add(field, problem.to_string());
    }
}

/// The entries of a call that takes all or nothing.
pub(super) fn items(
    wrong: &mut InvalidFields,
    tenant: &str,
    items: &[v1::NewSuppression],
    now: Millis,
) -> Vec<Suppress> {
    if !(1..=ITEMS_MAX).contains(&items.len()) {
        let problem = format!("has {} entries, not 1 to {ITEMS_MAX}", items.len());
        wrong.add("suppressions", problem);
        return Vec::new();
    }
    let each = items.iter().enumerate();
    each.filter_map(|(index, given)| item(wrong, &format!("suppressions[{index}]."), tenant, given, now))
        .collect()
}

/// One entry, whose fields stand under `path`.
pub(super) fn item(
    wrong: &mut InvalidFields,
    path: &str,
    tenant: &str,
    given: &v1::NewSuppression,
    now: Millis,
) -> Option<Suppress> {
    let named = |name: &str| format!("{path}{name}");
    let address = address(wrong, &named("address"), &given.address);
    let reason = reason(wrong, &named("reason"), given.reason);
    if given.reason == 0 {
        wrong.add(named("reason"), "is missing");
    }
    category(wrong, &named("category"), &given.category);
    if !given.category.is_empty() && reason.is_some_and(|reason| reason != SuppressionReason::Unsubscribe) {
        wrong.add(
            named("category"),
            "is only for what somebody unsubscribed from: every other reason is of all mail",
        );
    }
    let at = match given.at.as_ref().map(convert::millis) {
        None => Some(now),
        Some(Ok(at)) => Some(at),
        Some(Err(_)) => {
            wrong.add(named("at"), "is no time");
            None
        }
    };
    Some(Suppress {
        tenant: tenant.to_owned(),
        category: given.category.clone(),
        address: address?,
        reason: reason?,
        at: at?,
    })
}

/// Where a page begins; `None` at the first.
pub(super) fn page(wrong: &mut InvalidFields, token: &str) -> Option<SuppressionPage> {
    if token.is_empty() {
        return None;
    }
    let read = || {
        let (letter, rest) = token.split_at_checked(1)?;
        let (address, category) = rest.split_at_checked(32)?;
        let mut hash = [0; 16];
        hex::decode_to_slice(address, &mut hash).ok()?;
        (category.is_empty() || check_category(category).is_ok()).then(|| SuppressionPage {
            category: category.to_owned(),
            address: AddressHash(hash),
            reason: SuppressionReason::from_letter(letter.as_bytes()[0]),
        })
    };
    let page = read();
    if page.is_none() {
        wrong.add("page_token", "is none that an answer had");
    }
    page
}
