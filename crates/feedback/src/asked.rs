//! What the services that answer from the ledger share: whose question it is, which people it names, and what is answered where
//! there is no answer.

use std::time::Duration;

use paceline_domain::address::Address;
use paceline_domain::keyed::{self, AddressHash, UserHash};
use paceline_domain::time::Millis;
use paceline_kit::access::Caller;
use paceline_kit::address_key::AddressKey;
use paceline_kit::identity::is_name;
use paceline_ledger::LedgerError;
use paceline_store::StoreError;
use paceline_wire::convert;
use paceline_wire::status::{InvalidFields, RpcError, reason};
use prost_types::Timestamp;
use tonic::Code;

const COME_AGAIN: Duration = Duration::from_secs(1);
/// A store that is full is so for longer.
const COME_AGAIN_WHEN_FULL: Duration = Duration::from_secs(10);

/// The deployment's key, by which people are known.
pub(crate) struct PeopleKey(pub(crate) AddressKey);

impl PeopleKey {
    /// The hash of an address that was given in clear; what is wrong with it is added to `wrong`.
    pub(crate) fn address(&self, wrong: &mut InvalidFields, field: &str, given: &str) -> Option<AddressHash> {
        match Address::parse(given) {
            Ok(address) => Some(self.hash(&address)),
            Err(problem) => {
                wrong.add(field, problem.to_string());
                None
            }
        }
    }

    pub(crate) fn hash(&self, address: &Address) -> AddressHash {
        self.0.hash(address)
    }

    pub(crate) fn user(&self, tenant: &str, user_id: &str) -> UserHash {
        keyed::user_hash(self.0.bytes(), tenant, user_id)
    }
}

/// Adds to `wrong` what is no tenant's name.
pub(crate) fn check_tenant(wrong: &mut InvalidFields, tenant: &str) {
    if !is_name(tenant) {
        wrong.add("tenant", "must be 1 to 64 of [a-z0-9_-]");
    }
}

/// # Errors
/// If the tenant's messages, or all tenants' for an empty name, are not this caller's to ask after.
pub(crate) fn check_caller(caller: &Caller, tenant: &str) -> Result<(), RpcError> {
    let own = if tenant.is_empty() {
        caller.acts_for_all()
    } else {
        caller.acts_for(tenant)
    };
    if own {
        return Ok(());
    }
    let message = "the API key is not for this tenant";
    Err(RpcError::new(
        Code::PermissionDenied,
        reason::TENANT_REFUSED,
        message,
    ))
}

/// A time of a request; what is wrong with it is added to `wrong`.
pub(crate) fn time(wrong: &mut InvalidFields, field: &str, given: Option<&Timestamp>) -> Millis {
    match given.map(convert::millis) {
        None => Millis(0),
        Some(Ok(at)) => at,
        Some(Err(problem)) => {
            wrong.add(field, problem.to_string());
            Millis(0)
        }
    }
}

/// The ledger did not answer.
pub(crate) fn of_ledger(error: &LedgerError) -> RpcError {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the ledger does not answer a caller"
    );
    let message = "the ledger does not answer: it may or may not have happened; repeat the call";
    RpcError::new(Code::Unavailable, reason::STORE_UNAVAILABLE, message).retry_after(COME_AGAIN)
}

/// Redis did not.
pub(crate) fn of_store(error: &StoreError) -> RpcError {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "redis does not answer a caller"
    );
    match error {
        StoreError::Bug { .. } => RpcError::new(
            Code::Internal,
            reason::INTERNAL,
            "the store gave an unexpected answer",
        ),
        StoreError::OutOfMemory => RpcError::new(
            Code::ResourceExhausted,
            reason::STORE_FULL,
            "the store is full: some of it may have happened; repeat the call when there is room",
        )
        .retry_after(COME_AGAIN_WHEN_FULL),
        _ => {
            let message = "the store does not answer: it may or may not have happened; repeat the call";
            RpcError::new(Code::Unavailable, reason::STORE_UNAVAILABLE, message).retry_after(COME_AGAIN)
        }
    }
}
