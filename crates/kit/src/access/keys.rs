//! The keys file, and what a caller with a key is.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use http::Extensions;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::identity::is_name;
use crate::settings::SettingsError;
use crate::tls;

const SETTING: &str = "access.keys";
const DIGEST_BYTES: usize = 32;
/// The tenant of a key for all tenants.
const EVERY_TENANT: &str = "*";

/// The `[access]` section. An empty path is one that is not set.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessSettings {
    /// The file of API keys, TOML.
    pub keys: PathBuf,
}

/// What a key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Handing messages over.
    Enqueue,
    /// Asking after messages, queues and rates.
    Read,
    /// Calling messages back, stopping mail, and what else people do to it.
    Operate,
    /// Listing, previewing and checking templates.
    Templates,
    /// Publishing templates.
    Publish,
    /// Leasing rates: for senders.
    Throttle,
    /// Reading addresses that are kept sealed, in clear, beside the scope of the call.
    Addresses,
}

impl Scope {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Templates => "templates",
            Self::Publish => "publish",
            Self::Throttle => "throttle",
            Self::Addresses => "addresses",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    tenant: String,
    scopes: Vec<Scope>,
}

/// Whom a key stands for. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Holder>);

#[derive(Debug)]
struct Holder {
    name: String,
    /// `None` for all.
    tenant: Option<String>,
    /// `None` for all.
    scopes: Option<Vec<Scope>>,
}

impl Caller {
    /// The caller of a listener without keys, who may do everything.
    #[must_use]
    pub fn anyone() -> Self {
        Self(Arc::new(Holder {
            name: String::new(),
            tenant: None,
            scopes: None,
        }))
    }

    /// The caller without a key of what is open to everybody: no tenant's, without scopes.
    pub(super) fn nobody() -> Self {
        Self(Arc::new(Holder {
            name: String::new(),
            tenant: Some(String::new()),
            scopes: Some(Vec::new()),
        }))
    }

    /// Who made a request. Nobody, who may do nothing, if no [`AccessLayer`](super::AccessLayer) stood before it.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_else(Self::nobody)
    }

    /// True if it may act for `tenant`.
    #[must_use]
    pub fn acts_for(&self, tenant: &str) -> bool {
        self.0.tenant.as_deref().is_none_or(|own| own == tenant)
    }

    /// True if it may act for every tenant.
    #[must_use]
    pub fn acts_for_all(&self) -> bool {
        self.0.tenant.is_none()
    }

    /// True if its key has `scope`.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.0
            .scopes
            .as_ref()
            .is_none_or(|scopes| scopes.contains(&scope))
    }

    /// The key's name, for logs; empty for [`Caller::anyone`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

/// The keys of a listener.
#[derive(Debug)]
pub struct Keys(HashMap<[u8; DIGEST_BYTES], Caller>);

impl AccessSettings {
    /// Reads the keys; `None` if no file is set.
    ///
    /// # Errors
    /// A file that is missing, larger than 1 MiB or not of this form, or keys that can't be told apart. Names the entry or the
    /// line, never what stands there: it may be a key.
    pub fn read(&self) -> Result<Option<Keys>, SettingsError> {
        if self.keys.as_os_str().is_empty() {
            return Ok(None);
        }
        let refuse =
            |problem: String| SettingsError::invalid(SETTING, format!("{}: {problem}", self.keys.display()));
        let content = tls::read(SETTING, &self.keys)?;
        let content = String::from_utf8(content).map_err(|_| refuse("is no UTF-8".to_owned()))?;
        Keys::parse(&content).map(Some).map_err(refuse)
    }
}

impl Keys {
    fn parse(content: &str) -> Result<Self, String> {
        // The error's own text shows the line.
        let file: File = toml::from_str(content).map_err(|error| {
            let before = error.span().and_then(|span| content.get(..span.start));
            let line = before.map_or(1, |before| before.lines().count().max(1));
            format!(
                "line {line} or the entry there does not read; each [[key]] has name, sha256, tenant and scopes, of \
                 enqueue, read, operate, templates, publish, throttle and addresses"
            )
        })?;
        if file.key.is_empty() {
            return Err("has no [[key]]".to_owned());
        }
        let mut names = HashSet::new();
        let mut keys = HashMap::new();
        for (index, entry) in file.key.into_iter().enumerate() {
            let number = index + 1;
            let Entry {
                name,
                sha256,
                tenant,
                scopes,
            } = entry;
            if !is_name(&name) || !names.insert(name.clone()) {
                return Err(format!(
                    "name of [[key]] number {number} must be 1 to 64 of [a-z0-9_-], and in no other entry"
                ));
            }
            if tenant != EVERY_TENANT && !is_name(&tenant) {
                return Err(format!(
                    "tenant of {name} must be 1 to 64 of [a-z0-9_-], or \"*\" for all"
                ));
            }
            if scopes.is_empty() {
                return Err(format!("scopes of {name} are none"));
            }
            let digest = hex::decode(&sha256)
                .ok()
                .and_then(|digest| <[u8; DIGEST_BYTES]>::try_from(digest).ok())
                .ok_or_else(|| format!("sha256 of {name} must be the 64 hexadecimal digits of a SHA-256"))?;
            let tenant = (tenant != EVERY_TENANT).then_some(tenant);
            let caller = Caller(Arc::new(Holder {
                name: name.clone(),
                tenant,
                scopes: Some(scopes),
            }));
            if keys.insert(digest, caller).is_some() {
                return Err(format!("sha256 of {name} is another entry's"));
            }
        }
        Ok(Self(keys))
    }

    /// Whom `key` stands for.
    pub(super) fn caller(&self, key: &[u8]) -> Option<&Caller> {
        let digest: [u8; DIGEST_BYTES] = Sha256::digest(key).into();
        self.0.get(&digest)
    }

    #[cfg(test)]
    pub(super) fn of(content: &str) -> Self {
        Self::parse(content).expect("good keys")
    }
}

#[cfg(test)]
mod tests {
    use super::{Caller, Keys, Scope};

    // printf swordfish | sha256sum
    const DIGEST: &str = "b9f195c5cc7ef6afadbfbc42892ad47d3b24c6bc94bb510c4564a90a14e8b799";
    const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    fn entry(name: &str, sha256: &str, tenant: &str, scopes: &str) -> String {
        format!(
            "[[key]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\ntenant = \"{tenant}\"\nscopes = {scopes}\n"
        )
    }

    #[test]
    fn a_key_is_known_by_its_digest_alone() {
        let keys = Keys::of(&format!(
            "{}{}",
            entry("shop", DIGEST, "shop", "[\"enqueue\", \"read\"]"),
            entry("ops", OTHER, "*", "[\"operate\"]")
        ));
        let caller = keys.caller(b"swordfish").expect("it is there");
        assert_eq!(caller.name(), "shop");
        assert!(caller.acts_for("shop") && !caller.acts_for("other") && !caller.acts_for_all());
        assert!(caller.has(Scope::Enqueue) && caller.has(Scope::Read) && !caller.has(Scope::Operate));
        assert!(keys.caller(b"Swordfish").is_none());
        assert!(keys.caller(DIGEST.as_bytes()).is_none(), "the digest is no key");
        assert!(keys.caller(b"").is_none());
    }

    #[test]
    fn whom_no_layer_has_met_may_do_nothing() {
        let caller = Caller::of(&http::Extensions::new());
        assert!(!caller.acts_for("shop") && !caller.acts_for_all() && !caller.has(Scope::Read));
        let mut extensions = http::Extensions::new();
        extensions.insert(Caller::anyone());
        assert!(Caller::of(&extensions).acts_for("shop"));
    }

    #[test]
    fn what_does_not_read_is_named_and_never_shown() {
        let twice = |a: &str, b: &str| format!("{a}{b}");
        for (named, content) in [
            ("no [[key]]", String::new()),
            ("sha256 of shop", entry("shop", "swordfish", "shop", "[\"read\"]")),
            (
                "sha256 of shop",
                entry("shop", &DIGEST[..62], "shop", "[\"read\"]"),
            ),
            (
                "line 3",
                "[[key]]\nname = \"shop\"\nsha256 = swordfish\n".to_owned(),
            ),
            ("line 5", entry("shop", DIGEST, "shop", "[\"swordfish\"]")),
            ("line 1", "swordfish = \"swordfish\"\n".to_owned()),
            ("scopes of shop", entry("shop", DIGEST, "shop", "[]")),
            ("tenant of shop", entry("shop", DIGEST, "", "[\"read\"]")),
            (
                "name of [[key]] number 1",
                entry("", DIGEST, "shop", "[\"read\"]"),
            ),
            (
                "name of [[key]] number 2",
                twice(
                    &entry("shop", DIGEST, "shop", "[\"read\"]"),
                    &entry("shop", OTHER, "shop", "[\"read\"]"),
                ),
            ),
            (
                "sha256 of other",
                twice(
                    &entry("shop", DIGEST, "shop", "[\"read\"]"),
                    &entry("other", &DIGEST.to_uppercase(), "other", "[\"read\"]"),
                ),
            ),
        ] {
            let error = Keys::parse(&content).expect_err(named);
            assert!(error.contains(named), "{named}: {error}");
            assert!(!error.contains("swordfish"), "{error}");
        }
    }
}
