//! Rows of the ledger as answers.

use paceline_domain::suppression::SuppressionReason;
use paceline_ledger::{SuppressionPage, SuppressionRow};
use paceline_wire::{convert, v1};

/// A row; `address` in clear, or empty.
pub(super) fn suppression(row: &SuppressionRow, address: String) -> v1::Suppression {
    let removed = row.removed.clone();
    v1::Suppression {
        address_hash: hex::encode(row.key.address.0),
        address,
        category: row.key.category.clone(),
        reason: reason(row.reason).into(),
        at: Some(convert::timestamp(row.at)),
        source: row.source.clone(),
        who: row.who.clone(),
        why: row.why.clone(),
        removed_at: removed.as_ref().map(|removed| convert::timestamp(removed.at)),
        removed_by: removed
            .as_ref()
            .map(|removed| removed.by.clone())
            .unwrap_or_default(),
        removed_why: removed.map(|removed| removed.why).unwrap_or_default(),
    }
}

const fn reason(reason: SuppressionReason) -> v1::SuppressionReason {
    match reason {
        SuppressionReason::HardBounce => v1::SuppressionReason::HardBounce,
        SuppressionReason::Complaint => v1::SuppressionReason::Complaint,
        SuppressionReason::Unsubscribe => v1::SuppressionReason::Unsubscribe,
        SuppressionReason::Manual => v1::SuppressionReason::Manual,
    }
}

/// The page after a row.
pub(super) fn page(row: &SuppressionRow) -> SuppressionPage {
    SuppressionPage {
        category: row.key.category.clone(),
        address: row.key.address,
        reason: row.reason,
    }
}

/// The same as a token: reason, hash, category.
pub(super) fn token(row: &SuppressionRow) -> String {
    format!(
        "{}{}{}",
        char::from(row.reason.letter()),
        hex::encode(row.key.address.0),
        row.key.category
    )
}
