//! How the SDKs speak HTTP.

use aws_sdk_sesv2::config::SharedHttpClient;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// The SDKs' default client, but with a bound on idle connections, and no proxy on the way to this machine itself.
pub(crate) fn http_client(idle_connections_max: usize, local: bool) -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_with_connector_fn(move |connector, components| {
        let mut builder = aws_smithy_http_client::Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .pool_max_idle_per_host(idle_connections_max);
        builder.set_connector_settings(connector.cloned());
        builder.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        let proxy = if local {
            ProxyConfig::disabled()
        } else {
            ProxyConfig::from_env()
        };
        builder.set_proxy_config(Some(proxy));
        builder.build()
    })
}
