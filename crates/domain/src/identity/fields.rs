//! Which top-level fields of a payload are part of a message's identity.
//!
//! A field that says how or when a message came about (a trace id, a click tag) differs between two tries at the same
//! message; were it hashed, each try would be a message of its own. A field that is wrongly left out does worse: a second
//! message with another content passes for a duplicate. So the built-in list is short, and the template decides the rest.

use std::collections::BTreeSet;

use crate::canonical::nfc;

const VOLATILE_NAMES: [&str; 5] = ["event_id", "request_id", "sent_at", "timestamp", "trace_id"];
const VOLATILE_PREFIX: &str = "utm_";

/// True of a field that does not count unless the template says so.
#[must_use]
pub fn volatile_by_default(name: &str) -> bool {
    name.starts_with(VOLATILE_PREFIX) || VOLATILE_NAMES.contains(&name)
}

/// Why a field is part of a message's identity, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldRule {
    /// The template's allow-list has it.
    Allowed,
    /// The template has an allow-list, and not this field in it.
    NotAllowed,
    /// The template says that it is volatile.
    Volatile,
    /// It is on the built-in list of volatile fields.
    BuiltIn,
    /// No list has it, so it counts.
    Unlisted,
}

impl FieldRule {
    pub const ALL: [Self; 5] = [
        Self::Allowed,
        Self::NotAllowed,
        Self::Volatile,
        Self::BuiltIn,
        Self::Unlisted,
    ];

    /// True if the field counts.
    #[must_use]
    pub const fn counts(self) -> bool {
        matches!(self, Self::Allowed | Self::Unlisted)
    }

    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "the template's `identity` names it",
            Self::NotAllowed => "the template's `identity` does not name it",
            Self::Volatile => "the template's `volatile` names it",
            Self::BuiltIn => "it is volatile by default",
            Self::Unlisted => "no list names it",
        }
    }
}

/// A template's choice. The default is the built-in list alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityFields {
    allow: Option<BTreeSet<String>>,
    volatile: BTreeSet<String>,
}

impl IdentityFields {
    /// With `allow`, these fields count and no others. Without it all count but those of the built-in list and of
    /// `volatile`. Of a name in both lists the allow-list decides.
    #[must_use]
    pub fn new(allow: Option<Vec<String>>, volatile: Vec<String>) -> Self {
        let set = |names: Vec<String>| names.iter().map(|name| nfc(name).into_owned()).collect();
        Self {
            allow: allow.map(set),
            volatile: set(volatile),
        }
    }

    /// True if the field `name` is part of the identity.
    #[must_use]
    pub fn counts(&self, name: &str) -> bool {
        self.rule(name).counts()
    }

    /// Whether the field `name` is part of the identity, and why.
    #[must_use]
    pub fn rule(&self, name: &str) -> FieldRule {
        let name = nfc(name);
        match &self.allow {
            Some(allow) if allow.contains(name.as_ref()) => FieldRule::Allowed,
            Some(_) => FieldRule::NotAllowed,
            None if self.volatile.contains(name.as_ref()) => FieldRule::Volatile,
            None if volatile_by_default(&name) => FieldRule::BuiltIn,
            None => FieldRule::Unlisted,
        }
    }

    /// The fields that the template's lists name.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        let allowed = self.allow.iter().flatten();
        allowed.chain(&self.volatile).map(String::as_str)
    }

    /// True if the template's manifest names the field itself, in either list. A field that is printed, does not count
    /// and is not named is a mistake: two different emails would be one message.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        let name = nfc(name);
        let allowed = |allow: &BTreeSet<String>| allow.contains(name.as_ref());
        self.allow.as_ref().is_some_and(allowed) || self.volatile.contains(name.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::{FieldRule, IdentityFields};

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn without_lists_all_fields_count_but_the_built_in_ones() {
        let fields = IdentityFields::default();
        for name in [
            "utm_source",
            "utm_",
            "event_id",
            "trace_id",
            "request_id",
            "timestamp",
            "sent_at",
        ] {
            assert!(!fields.counts(name) && !fields.names(name), "{name}");
        }
        for name in ["utm", "Timestamp", "id", "my_event_id", ""] {
            assert!(fields.counts(name), "{name}");
        }
    }

    #[test]
    fn volatile_adds_to_the_built_in_list() {
        let fields = IdentityFields::new(None, list(&["nonce", "cafe\u{301}"]));
        assert!(!fields.counts("nonce") && fields.names("nonce"));
        assert!(!fields.counts("caf\u{e9}"));
        assert!(!fields.counts("timestamp") && !fields.names("timestamp"));
        assert!(fields.counts("total") && !fields.names("total"));
    }

    #[test]
    fn an_allow_list_decides_alone() {
        let fields = IdentityFields::new(Some(list(&["timestamp", "both"])), list(&["both", "name"]));
        assert!(fields.counts("timestamp") && fields.names("timestamp"));
        assert!(fields.counts("both"));
        assert!(!fields.counts("name") && fields.names("name"));
        assert!(!fields.counts("total") && !fields.names("total"));
        assert!(!IdentityFields::new(Some(Vec::new()), Vec::new()).counts("total"));
    }

    #[test]
    fn each_field_has_a_reason() {
        let listed = IdentityFields::new(None, list(&["nonce", "trace_id"]));
        for (name, rule) in [
            ("nonce", FieldRule::Volatile),
            ("trace_id", FieldRule::Volatile),
            ("utm_source", FieldRule::BuiltIn),
            ("total", FieldRule::Unlisted),
        ] {
            assert_eq!(listed.rule(name), rule, "{name}");
        }
        let allowing = IdentityFields::new(Some(list(&["total"])), list(&["nonce"]));
        assert_eq!(allowing.rule("total"), FieldRule::Allowed);
        assert_eq!(allowing.rule("nonce"), FieldRule::NotAllowed);
        assert_eq!(allowing.listed().collect::<Vec<_>>(), ["total", "nonce"]);
        let texts: std::collections::BTreeSet<_> = FieldRule::ALL.map(FieldRule::as_str).into();
        assert_eq!(texts.len(), FieldRule::ALL.len());
    }
}
