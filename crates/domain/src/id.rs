//! A message's id: 16 bytes, of which the first two place it.

use std::fmt;
use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use std::sync::LazyLock;

/// Crockford's base32, lower case: only characters that an SES tag allows, none that people confuse.
static CROCKFORD: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    spec.translate.from.push_str("ABCDEFGHJKMNPQRSTVWXYZOoIiLl");
    spec.translate.to.push_str("abcdefghjkmnpqrstvwxyz001111");
    spec.encoding().expect("the alphabet is constant and valid")
});

/// Two bytes of partition, then fourteen of content. Shown as 26 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

impl MessageId {
    /// The first 16 bits: the same for all messages of one (tenant, user id).
    #[must_use]
    pub const fn partition(self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// Which of `shards` holds the message.
    #[must_use]
    pub const fn shard(self, shards: u16) -> u16 {
        ((self.partition() as u32 * shards as u32) >> 16) as u16
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&CROCKFORD.encode(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// A text that is no message id.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a message id: 26 characters of Crockford base32 expected")]
pub struct InvalidMessageId;

impl FromStr for MessageId {
    type Err = InvalidMessageId;

    fn from_str(text: &str) -> Result<Self, InvalidMessageId> {
        let bytes = CROCKFORD.decode(text.as_bytes()).map_err(|_| InvalidMessageId)?;
        bytes.try_into().map(Self).map_err(|_| InvalidMessageId)
    }
}

#[cfg(test)]
mod tests {
    use super::MessageId;

    #[test]
    fn ids_read_back_and_spread_over_shards() {
        let id = MessageId([0xff, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        let text = id.to_string();
        assert_eq!(text.len(), 26);
        assert_eq!(text.parse::<MessageId>().expect("its own text"), id);
        assert_eq!(text.to_uppercase().parse::<MessageId>().expect("upper case"), id);
        assert_eq!((id.shard(1), id.shard(16)), (0, 15));
        assert!("".parse::<MessageId>().is_err());
        assert!("u".repeat(26).parse::<MessageId>().is_err());
    }
}
