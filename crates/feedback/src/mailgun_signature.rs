//! Whether a call of the webhook is Mailgun's own.
//!
//! Mailgun signs a timestamp and a token, not the event. So one signature is good for one call: its token is remembered for as long
//! as its timestamp is taken, and a token that comes again is not believed again. What was not stored may come again, though, for
//! Mailgun repeats a call that was not answered 200; so a token counts as used once its event is durable.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use paceline_domain::time::Millis;
use paceline_kit::secret::Secret;
use paceline_providers::events::mailgun::Signature;
use sha2::Sha256;

/// Ahead of our clock, a timestamp may be so much.
const AHEAD_MAX: Duration = Duration::from_secs(5 * 60);

/// Why a call is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    #[error("the signature does not hold")]
    Forged,
    #[error("the timestamp is out of the window")]
    OutOfWindow,
}

/// What there is to know of a call whose signature holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    New,
    /// Its event is durable already.
    Used,
}

/// The keys, and the tokens that were used.
pub(crate) struct Signatures {
    keys: Vec<Secret>,
    window: Duration,
    tokens_max: usize,
    used: Mutex<Used>,
}

/// Tokens by keyed hashes of 64 bits, so that some 50 bytes hold one: what is forgotten too soon keeps out calls that Mailgun
/// repeats. That two have the same hash is as likely as that a caller guesses a key.
#[derive(Default)]
struct Used {
    hasher: RandomState,
    tokens: HashSet<u64>,
    by_time: BTreeSet<(Millis, u64)>,
    /// Tokens of this time or before may have been forgotten.
    forgotten_until: Millis,
}

impl Signatures {
    /// Any of `keys` signs: while they are changed, two do. A timestamp is taken for `window`, and at most `tokens_max` tokens are
    /// remembered; past that, what is as old as a forgotten one is refused.
    #[must_use]
    pub(crate) fn new(keys: Vec<Secret>, window: Duration, tokens_max: usize) -> Self {
        Self {
            keys,
            window,
            tokens_max,
            used: Mutex::default(),
        }
    }

    /// # Errors
    /// A signature by none of the keys, or one whose time is over.
    pub(crate) fn check(&self, signature: &Signature, now: Millis) -> Result<Freshness, SignatureError> {
        if !self.keys.iter().any(|key| is_by(key, signature)) {
            return Err(SignatureError::Forged);
        }
        let at = time_of(signature).ok_or(SignatureError::OutOfWindow)?;
        if at > now + AHEAD_MAX || now.since(at) > self.window {
            return Err(SignatureError::OutOfWindow);
        }
        let used = self.used();
        if used.tokens.contains(&used.hasher.hash_one(&signature.token)) {
            Ok(Freshness::Used)
        } else if at <= used.forgotten_until {
            Err(SignatureError::OutOfWindow)
        } else {
            Ok(Freshness::New)
        }
    }

    /// The event that came with a signature that was checked is durable.
    pub(crate) fn use_up(&self, signature: &Signature, now: Millis) {
        let at = time_of(signature).unwrap_or_default();
        let mut used = self.used();
        let token = used.hasher.hash_one(&signature.token);
        if used.tokens.insert(token) {
            used.by_time.insert((at, token));
        }
        while let Some((oldest, _)) = used.by_time.first() {
            let is_over = now.since(*oldest) > self.window;
            if !is_over && used.by_time.len() <= self.tokens_max {
                break;
            }
            let Some((at, token)) = used.by_time.pop_first() else {
                break;
            };
            used.tokens.remove(&token);
            used.forgotten_until = used.forgotten_until.max(at);
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In constant time.
fn is_by(key: &Secret, signature: &Signature) -> bool {
    let Ok(claimed) = hex::decode(&signature.signature) else {
        return false;
    };
    Hmac::<Sha256>::new_from_slice(key.expose().as_bytes())
        .expect("a key of any length will do")
        .chain_update(&signature.timestamp)
        .chain_update(&signature.token)
        .verify_slice(&claimed)
        .is_ok()
}

fn time_of(signature: &Signature) -> Option<Millis> {
    let seconds: u64 = signature.timestamp.parse().ok()?;
    Some(Millis(seconds.checked_mul(1_000)?)).filter(|&at| at <= Millis::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_domain::time::Millis;
    use paceline_kit::secret::Secret;
    use paceline_providers::events::mailgun::Signature;

    use super::{Freshness, SignatureError, Signatures};

    const SECOND: u64 = 1_529_006_854;
    const NOW: Millis = Millis(SECOND * 1_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    /// printf '%s%s' TIMESTAMP TOKEN | openssl dgst -sha256 -hmac swordfish
    const KNOWN: &str = "8f1374f8b0a03f12352a732249b78a818381567a022c867a67157ace578f45a3";

    fn known() -> Signature {
        Signature {
            timestamp: SECOND.to_string(),
            token: "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0".to_owned(),
            signature: KNOWN.to_owned(),
        }
    }

    fn signatures(keys: &[&str], tokens_max: usize) -> Signatures {
        let keys = keys.iter().map(|&key| Secret::new(key)).collect();
        Signatures::new(keys, HOUR, tokens_max)
    }

    fn signed(seconds: u64, token: &str) -> Signature {
        use hmac::{Hmac, KeyInit, Mac};
        let mac = Hmac::<sha2::Sha256>::new_from_slice(b"swordfish").expect("a key");
        let signature = mac
            .chain_update(format!("{seconds}{token}"))
            .finalize()
            .into_bytes();
        Signature {
            timestamp: seconds.to_string(),
            token: token.to_owned(),
            signature: hex::encode(signature),
        }
    }

    #[test]
    fn a_signature_of_any_key_holds_and_no_other() {
        assert_eq!(
            signatures(&["old", "swordfish"], 10).check(&known(), NOW),
            Ok(Freshness::New)
        );
        let forged = Err(SignatureError::Forged);
        assert_eq!(signatures(&["cod"], 10).check(&known(), NOW), forged);
        assert_eq!(signatures(&[], 10).check(&known(), NOW), forged);
        let ours = signatures(&["swordfish"], 10);
        for change in [
            |signature: &mut Signature| signature.token.push('0'),
            |signature: &mut Signature| signature.timestamp = (SECOND + 1).to_string(),
            |signature: &mut Signature| signature.signature.truncate(62),
            |signature: &mut Signature| signature.signature.clear(),
            |signature: &mut Signature| "zz".clone_into(&mut signature.signature),
        ] {
            let mut changed = known();
            change(&mut changed);
            assert_eq!(ours.check(&changed, NOW), forged);
        }
    }

    #[test]
    fn a_time_is_taken_within_the_window_alone() {
        let ours = signatures(&["swordfish"], 10);
        assert!(ours.check(&known(), NOW + HOUR).is_ok());
        let late = NOW + HOUR + Duration::from_millis(1);
        assert_eq!(ours.check(&known(), late), Err(SignatureError::OutOfWindow));
        assert!(ours.check(&known(), NOW - Duration::from_secs(300)).is_ok());
        assert_eq!(
            ours.check(&known(), NOW - Duration::from_secs(301)),
            Err(SignatureError::OutOfWindow)
        );
    }

    #[test]
    fn a_token_is_used_once_its_event_is_durable() {
        let ours = signatures(&["swordfish"], 10);
        assert_eq!(ours.check(&known(), NOW), Ok(Freshness::New));
        assert_eq!(ours.check(&known(), NOW), Ok(Freshness::New), "it was not stored");
        ours.use_up(&known(), NOW);
        assert_eq!(ours.check(&known(), NOW), Ok(Freshness::Used));
    }

    #[test]
    fn memory_is_bounded_and_what_was_forgotten_is_not_believed_again() {
        let ours = signatures(&["swordfish"], 2);
        let all: Vec<Signature> = (0..4)
            .map(|number| signed(SECOND + number, &format!("token-{number}")))
            .collect();
        for signature in &all[1..] {
            ours.use_up(signature, NOW);
        }
        assert_eq!(ours.check(&all[3], NOW), Ok(Freshness::Used));
        assert_eq!(ours.check(&all[2], NOW), Ok(Freshness::Used));
        assert_eq!(
            ours.check(&all[1], NOW),
            Err(SignatureError::OutOfWindow),
            "forgotten"
        );
        assert_eq!(
            ours.check(&all[0], NOW),
            Err(SignatureError::OutOfWindow),
            "as old as a forgotten one"
        );
        assert_eq!(ours.check(&signed(SECOND + 9, "new"), NOW), Ok(Freshness::New));
    }
}
