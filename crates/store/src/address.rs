//! Where Redis is, as the URL says it, and what may be sent there.
//!
//! A password goes in the clear only where nobody else can listen: over a Unix socket or loopback, unless the settings say that the
//! network encrypts by itself. The nodes that Redis or its sentinels name are held to the same rule as the URL's own.

use std::net::IpAddr;

use fred::types::config::{Config, Server, ServerConfig};

use crate::{StoreConfig, StoreError};

/// A URL that was read.
pub(crate) struct Address {
    /// Without TLS, which [`Address::tls`] asks for.
    pub(crate) client: Config,
    pub(crate) tls: bool,
}

/// # Errors
/// A URL that can't be read, a password that would travel in the clear, or TLS that would not be used; named by its setting, never
/// with what it holds.
pub(crate) fn read(config: &StoreConfig) -> Result<Address, StoreError> {
    let address = parse(&config.url)?;
    if !address.tls && config.tls.is_some() {
        return Err(misconfigured(
            "not rediss://",
            "the settings of redis.tls would not be used",
        ));
    }
    if let ServerConfig::Unix { .. } = address.client.server {
        return Ok(address);
    }
    for host in address.client.server.hosts() {
        check(&address, config, &host)?;
    }
    Ok(address)
}

/// The same rule for a node that Redis named.
///
/// # Errors
/// If a password would travel there in the clear.
pub(crate) fn check_password(config: &StoreConfig, node: &Server) -> Result<(), StoreError> {
    check(&parse(&config.url)?, config, node)
}

/// The path of a socket is taken as it is: as part of a URL, a space in it would be encoded, and not decoded again.
fn parse(url: &str) -> Result<Address, StoreError> {
    if let Some(path) = url.strip_prefix("redis+unix://") {
        let client = Config {
            server: ServerConfig::new_unix_socket(path),
            ..Config::default()
        };
        return Ok(Address { client, tls: false });
    }
    // The client's own TLS would trust the system's CAs alone.
    let plain = url.strip_prefix("rediss").map(|rest| format!("redis{rest}"));
    Ok(Address {
        client: Config::from_url(plain.as_deref().unwrap_or(url))?,
        tls: plain.is_some(),
    })
}

fn check(address: &Address, config: &StoreConfig, node: &Server) -> Result<(), StoreError> {
    if address.tls || config.allow_plaintext_password || !has_password(&address.client) {
        return Ok(());
    }
    if is_loopback(&node.host) {
        return Ok(());
    }
    Err(misconfigured(
        "off loopback and not rediss://, so the password would travel in the clear",
        "use TLS, or set redis.allow_plaintext_password = true where the network encrypts by itself",
    ))
}

fn has_password(client: &Config) -> bool {
    let sentinels = match &client.server {
        ServerConfig::Sentinel { password, .. } => password.is_some(),
        _ => false,
    };
    sentinels || client.password.is_some()
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn misconfigured(found: &str, remedy: &str) -> StoreError {
    StoreError::Misconfigured {
        setting: "redis.url",
        found: found.to_owned(),
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fred::types::config::Server;

    use super::{check_password, read};
    use crate::{Durability, StoreConfig};

    fn config(url: &str) -> StoreConfig {
        StoreConfig {
            url: url.to_owned(),
            tls: None,
            allow_plaintext_password: false,
            shards: 1,
            command_timeout: Duration::from_secs(2),
            durability: Durability::Local,
            replicas: 0,
            allow_unsafe: false,
            log: crate::LogUse::default(),
            log_entries_max: 1_000,
        }
    }

    #[test]
    fn a_password_leaves_the_machine_by_tls_alone() {
        for url in [
            "redis://:swordfish@127.0.0.1:6379",
            "redis://user:swordfish@localhost:6379",
            "redis://:swordfish@[::1]:6379",
            "redis+unix:///run/redis.sock",
            "redis://redis.internal:6379",
            "rediss://:swordfish@redis.internal:6379",
            "rediss-cluster://:swordfish@10.0.0.1:6379?node=10.0.0.2:6379",
        ] {
            assert!(read(&config(url)).is_ok(), "{url}");
        }
        for url in [
            "redis://:swordfish@10.0.0.1:6379",
            "redis://user:swordfish@redis.internal:6379",
            "redis://:swordfish@localhost.example:6379",
            "redis://:swordfish@0.0.0.0:6379",
            "redis-cluster://:swordfish@127.0.0.1:6379?node=10.0.0.2:6379",
            "redis-sentinel://10.0.0.1:26379?sentinelServiceName=main&sentinelPassword=swordfish",
        ] {
            let refused = read(&config(url)).map(|_| ()).expect_err(url).to_string();
            assert!(refused.starts_with("redis.url is off loopback"), "{refused}");
            assert!(!refused.contains("swordfish"), "{refused}");
            let allowed = StoreConfig {
                allow_plaintext_password: true,
                ..config(url)
            };
            assert!(read(&allowed).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_node_that_redis_names_is_held_to_the_same_rule() {
        let with_password = config("redis://:swordfish@127.0.0.1:6379");
        assert!(check_password(&with_password, &Server::new("127.0.0.1", 6380)).is_ok());
        assert!(check_password(&with_password, &Server::new("10.0.0.7", 6380)).is_err());
        let by_tls = config("rediss://:swordfish@127.0.0.1:6379");
        assert!(check_password(&by_tls, &Server::new("10.0.0.7", 6380)).is_ok());
        let without = config("redis://127.0.0.1:6379");
        assert!(check_password(&without, &Server::new("10.0.0.7", 6380)).is_ok());
    }
}
