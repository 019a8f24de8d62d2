//! Who may send as whom.

use paceline_kit::identity::IdentitySettings;

/// The identity by which `tenant` may send from `domain`. The settings are checked to hold at most one.
pub(super) fn of<'a>(
    identities: &'a [IdentitySettings],
    tenant: &str,
    domain: &str,
) -> Option<&'a IdentitySettings> {
    identities
        .iter()
        .find(|identity| identity.sends_from(domain) && identity.allows(tenant))
}
