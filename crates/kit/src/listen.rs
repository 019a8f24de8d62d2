//! Addresses to listen on.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize};

/// An address and port on the loopback interface; port 0 lets the system choose.
///
/// Anything off loopback needs TLS and credentials, which the listeners do not have yet: such a value is refused when the
/// settings are read, so that nothing is ever served in the clear to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ListenAddress(SocketAddr);

impl ListenAddress {
    #[must_use]
    pub const fn socket(self) -> SocketAddr {
        self.0
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
        let address: SocketAddr = text.parse().map_err(|_| {
            serde::de::Error::custom(format!("\"{text}\" is no IP:PORT such as 127.0.0.1:7070"))
        })?;
        if !address.ip().is_loopback() {
            return Err(serde::de::Error::custom(format!(
                "\"{text}\" is not a loopback address; listening off loopback needs TLS and credentials, which this \
                 release does not offer"
            )));
        }
        Ok(Self(address))
    }
}

#[cfg(test)]
mod tests {
    use super::ListenAddress;

    #[test]
    fn only_loopback_is_served() {
        let parse = |text: &str| serde_json::from_str::<ListenAddress>(&format!("\"{text}\""));
        assert_eq!(parse("127.0.0.1:0").expect("loopback").socket().port(), 0);
        assert!(parse("[::1]:7070").is_ok());
        let refusal = parse("0.0.0.0:7070").expect_err("every interface").to_string();
        assert!(refusal.contains("TLS and credentials"), "{refusal}");
        assert!(
            parse("localhost:7070")
                .expect_err("a name")
                .to_string()
                .contains("IP:PORT")
        );
    }
}
