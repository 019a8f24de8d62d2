//! A failover of Redis to a replica that never had the newest suppressions: they are there again before anybody has to ask.

use std::time::Duration;

use paceline_domain::keyed::AddressHash;
use paceline_domain::suppression::SuppressionReason;
use paceline_domain::time::Millis;
use paceline_kit::clock::{Clock as _, SystemClock};
use paceline_ledger::{Ledger, NewSuppression, SuppressionDeed, SuppressionKey};
use paceline_testkit::resp::Reply;
use paceline_testkit::{Sentinels, TestRedis, eventually};

use crate::support::{ledger, start_at};

/// A second until the primary counts as dead, the election, the reconnection, and a look of every second.
const FAILOVER_MAX: Duration = Duration::from_secs(60);
const TENANT: &str = "acme";
const OLD: AddressHash = AddressHash([1; 16]);
const NEW: AddressHash = AddressHash([2; 16]);

async fn suppress(ledger: &Ledger, address: AddressHash, now: Millis) {
    let item = NewSuppression {
        key: SuppressionKey {
            tenant: TENANT.to_owned(),
            category: String::new(),
            address,
        },
        reason: SuppressionReason::HardBounce,
        at: now,
        sealed: Vec::new(),
    };
    let deed = SuppressionDeed {
        source: "api".to_owned(),
        who: "ann".to_owned(),
        why: "a test".to_owned(),
        now,
        act: None,
    };
    ledger.suppress(&[item], &deed).await.expect("written");
}

async fn has(redis: &TestRedis, address: AddressHash) -> bool {
    let bucket = format!("{{pl1:sup:{}}}", address.0[0]);
    let field = [&address.0[..], TENANT.as_bytes()].concat();
    let reply = redis.command(&[b"HEXISTS", bucket.as_bytes(), &field]).await;
    reply == Reply::Integer(1)
}

async fn gets(redis: &TestRedis, address: AddressHash) {
    eventually("it is brought there", FAILOVER_MAX, || async {
        has(redis, address).await.then_some(()).ok_or("not yet")
    })
    .await;
}

#[tokio::test]
async fn what_a_failover_lost_is_brought_again() {
    let mut primary = TestRedis::on_loopback(&[]).await;
    let replica = TestRedis::on_loopback(&[]).await;
    replica.replicate(&primary).await;
    let sentinels = Sentinels::start(&primary, &replica).await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", dir.path().join("ledger.db").display());
    let _feedback = start_at(&sentinels.url(), &url, "", "log = \"ring\"")
        .await
        .expect("a feedback service");
    let ledger = ledger(&url).await;
    let now = SystemClock.wall();
    suppress(&ledger, OLD, now).await;
    gets(&replica, OLD).await;

    // Nothing that is written from here on is on its way to the replica.
    replica.freeze();
    primary.command(&["CLIENT", "KILL", "TYPE", "replica"]).await;
    suppress(&ledger, NEW, now).await;
    gets(&primary, NEW).await;
    primary.crash().await;
    replica.thaw();
    assert!(has(&replica, OLD).await && !has(&replica, NEW).await, "it lags");

    gets(&replica, NEW).await;
    assert_eq!(sentinels.primary().await, replica.port());
}
