//! What is paced, as people name it: `ses/main`, or `main` for the same.

use paceline_wire::v1::ThrottleKey;

/// The provider of a key that names none.
const PROVIDER: &str = "ses";

/// Reads `PROVIDER/IDENTITY` or `IDENTITY`; whether the names are good, the coordinator says.
pub(crate) fn parse(text: &str) -> Result<ThrottleKey, String> {
    let (provider, identity) = text.split_once('/').unwrap_or((PROVIDER, text));
    if provider.is_empty() || identity.is_empty() {
        return Err("must be PROVIDER/IDENTITY or IDENTITY".to_owned());
    }
    Ok(ThrottleKey {
        provider: provider.to_owned(),
        identity: identity.to_owned(),
    })
}

/// `PROVIDER/IDENTITY`.
pub(crate) fn name(key: &ThrottleKey) -> String {
    format!("{}/{}", key.provider, key.identity)
}

#[cfg(test)]
mod tests {
    use super::{name, parse};

    #[test]
    fn an_identity_alone_is_one_of_ses() {
        let check = |text: &str, expected: &str| {
            assert_eq!(name(&parse(text).expect("a key")), expected);
        };
        check("main", "ses/main");
        check("ses/main", "ses/main");
        check("mailgun/main", "mailgun/main");
        assert!(parse("").is_err() && parse("ses/").is_err() && parse("/main").is_err());
    }
}
