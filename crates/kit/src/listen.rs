//! Addresses to listen on.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize};

/// An IP address and port; port 0 lets the system choose.
///
/// Off loopback a gRPC listener needs TLS and credentials, which [`Entrance`](crate::entrance::Entrance) asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ListenAddress(SocketAddr);

impl ListenAddress {
    #[must_use]
    pub const fn socket(self) -> SocketAddr {
        self.0
    }

    /// True if nothing outside of this machine reaches it.
    #[must_use]
    pub const fn is_loopback(self) -> bool {
        self.0.ip().is_loopback()
    }

    /// True for every interface (`0.0.0.0`, `[::]`): no address at which others reach it.
    #[must_use]
    pub const fn is_unspecified(self) -> bool {
        self.0.ip().is_unspecified()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let address = text.parse().map_err(|_| {
            serde::de::Error::custom(format!("\"{text}\" is no IP:PORT such as 127.0.0.1:7070"))
        })?;
        Ok(Self(address))
    }
}

#[cfg(test)]
mod tests {
    use super::ListenAddress;

    #[test]
    fn an_address_is_an_ip_and_a_port() {
        let parse = |text: &str| serde_json::from_str::<ListenAddress>(&format!("\"{text}\""));
        assert_eq!(parse("127.0.0.1:0").expect("loopback").socket().port(), 0);
        for (text, loopback, unspecified) in [
            ("127.8.8.8:1", true, false),
            ("[::1]:7070", true, false),
            ("0.0.0.0:7070", false, true),
            ("[::]:7070", false, true),
            ("10.0.0.1:7070", false, false),
            // Reachable or not, depending on the system: taken for a network's.
            ("[::ffff:127.0.0.1]:7070", false, false),
        ] {
            let address = parse(text).expect(text);
            assert_eq!(
                (address.is_loopback(), address.is_unspecified()),
                (loopback, unspecified),
                "{text}"
            );
        }
        let refusal = parse("localhost:7070").expect_err("a name").to_string();
        assert!(refusal.contains("IP:PORT"), "{refusal}");
    }
}
