//! One Redis with one shard, for each test its own.

use paceline_testkit::{Proxy, TestRedis};

pub(crate) type Servers = TestRedis;
pub(crate) const SHARDS: u16 = 1;
/// The shard of the tests' messages, and the hash tag of its keys.
pub(crate) const SHARD: u16 = 0;
pub(crate) const TAG: &str = "{pl1:0}";

/// A proxy before the node that holds [`SHARD`], and the URL for a store that goes through it.
pub(crate) async fn through_a_proxy(redis: &Servers) -> (Proxy, String) {
    let proxy = Proxy::start(redis.server().address().clone()).await;
    let url = proxy.url();
    (proxy, url)
}
