//! Who is suppressed by what providers say, and how that comes to senders whatever becomes of Redis.

use std::time::Duration;

use axum::http::StatusCode;
use paceline_domain::address::Address;
use paceline_domain::keyed::{AddressHash, address_hash};
use paceline_domain::suppression::SuppressionReason;
use paceline_kit::clock::{Clock, SystemClock};
use paceline_ledger::{
    Ledger, NewSuppression, SuppressionDeed, SuppressionFilter, SuppressionKey, SuppressionRemoval,
};
use paceline_testkit::eventually;
use serde_json::{Value, json};

use crate::support::ADDRESS_KEY;
use crate::webhooks::bench::Bench;
use crate::webhooks::{ses, tags};

const SOON: Duration = Duration::from_secs(60);
const JANE: &str = "Jane.Roe@example.com";

fn jane() -> AddressHash {
    address_hash(ADDRESS_KEY.as_bytes(), &Address::parse(JANE).expect("an address"))
}

fn bounce(kind: &str, tags: Value) -> String {
    let content = json!({
        "bounceType": kind, "bounceSubType": "General", "feedbackId": "f-1", "timestamp": "2026-01-02T03:04:06.000Z",
        "bouncedRecipients": [{"emailAddress": JANE, "status": "5.1.1"}],
    });
    ses("Bounce", "bounce", content, tags)
}

fn complaint(kind: &str, tags: Value) -> String {
    let content = json!({
        "complaintFeedbackType": kind, "feedbackId": "f-2", "timestamp": "2026-01-02T03:04:06.000Z",
        "complainedRecipients": [{"emailAddress": JANE}],
    });
    ses("Complaint", "complaint", content, tags)
}

async fn tell(bench: &Bench, id: &str, event: &str) -> StatusCode {
    bench
        .sns(&bench.topic.notification(id, event, &bench.certificate_url()))
        .await
}

/// What senders see once they do.
async fn sees(bench: &Bench, reason: Option<SuppressionReason>) {
    eventually("senders see it", SOON, || async {
        match bench.suppressed("acme", jane()).await {
            found if found == reason => Ok(()),
            found => Err(found),
        }
    })
    .await;
}

/// Every bucket is known to have all that the ledger has.
async fn is_whole(bench: &Bench) {
    eventually("all buckets are complete", SOON, || async {
        bench.incomplete().await.map_or(Ok(()), Err)
    })
    .await;
}

fn deed() -> SuppressionDeed {
    SuppressionDeed {
        source: "api".to_owned(),
        who: "ann".to_owned(),
        why: "the mailbox is back".to_owned(),
        now: SystemClock.wall(),
        act: None,
    }
}

/// As another process would that dies before it comes to Redis.
async fn remove_in_ledger(ledger: &Ledger) {
    let removal = SuppressionRemoval {
        tenant: "acme".to_owned(),
        address: jane(),
        category: None,
        reason: None,
    };
    let changed = ledger.unsuppress(&[removal], &deed()).await.expect("written");
    assert_eq!(changed.removed.len(), 1);
}

async fn suppress_in_ledger(ledger: &Ledger, reason: SuppressionReason) {
    let item = NewSuppression {
        key: SuppressionKey {
            tenant: "acme".to_owned(),
            category: String::new(),
            address: jane(),
        },
        reason,
        at: SystemClock.wall(),
        sealed: Vec::new(),
    };
    ledger.suppress(&[item], &deed()).await.expect("written");
}

#[tokio::test]
async fn bounces_and_complaints_suppress_before_they_are_answered() {
    use SuppressionReason::{Complaint, HardBounce};
    let bench = Bench::start().await;
    let (id, record) = bench.in_doubt(1).await;
    let tags = tags(&record, id);
    for (name, event, expected) in [
        ("1", bounce("Transient", tags.clone()), None),
        ("2", complaint("not-spam", tags.clone()), None),
        ("3", complaint("abuse", tags.clone()), Some(Complaint)),
        ("4", bounce("Permanent", tags.clone()), Some(HardBounce)),
        // The weaker reason comes late, and again.
        ("5", complaint("abuse", tags.clone()), Some(HardBounce)),
    ] {
        assert_eq!(tell(&bench, name, &event).await, StatusCode::OK);
        assert_eq!(
            bench.suppressed("acme", jane()).await,
            expected,
            "event number {name}"
        );
    }
    assert_eq!(bench.suppressed("other", jane()).await, None);

    let filter = SuppressionFilter {
        tenant: "acme".to_owned(),
        ..SuppressionFilter::default()
    };
    let rows = bench
        .feedback
        .ledger()
        .await
        .suppressions(&filter, None, 10)
        .await;
    let rows = rows.expect("the ledger is there");
    let reasons: Vec<_> = rows.iter().map(|row| (row.reason, row.source.as_str())).collect();
    assert_eq!(reasons, [(HardBounce, "event"), (Complaint, "event")]);
    assert!(rows.iter().all(|row| !row.sealed.is_empty()));
}

#[tokio::test]
async fn no_address_is_written_in_clear() {
    let bench = Bench::start().await;
    let (id, record) = bench.in_doubt(1).await;
    assert_eq!(
        tell(&bench, "1", &bounce("Permanent", tags(&record, id))).await,
        StatusCode::OK
    );
    let mut read = 0;
    for entry in std::fs::read_dir(bench.feedback.directory()).expect("readable") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("readable");
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        assert!(!text.contains("jane.roe"), "the database has the address");
        read += usize::from(text.contains("suppressions"));
    }
    assert!(read > 0, "the database was looked at");
    assert!(
        !bench.feedback.process.has_logged("Jane.Roe"),
        "the log has the address"
    );
}

#[tokio::test]
async fn an_event_older_than_a_removal_by_hand_does_not_undo_it() {
    let bench = Bench::start().await;
    let (id, record) = bench.in_doubt(1).await;
    let event = bounce("Permanent", tags(&record, id));
    assert_eq!(tell(&bench, "1", &event).await, StatusCode::OK);
    remove_in_ledger(&bench.feedback.ledger().await).await;
    sees(&bench, None).await;
    for again in ["1", "2"] {
        assert_eq!(tell(&bench, again, &event).await, StatusCode::OK);
        assert_eq!(bench.suppressed("acme", jane()).await, None);
    }
    // A bounce of a later day.
    let mut later = bench.mailgun(&record, id, "m-1", &"t".repeat(50));
    let data = &mut later["event-data"];
    data["event"] = "failed".into();
    data["severity"] = "permanent".into();
    data["reason"] = "bounce".into();
    data["recipient"] = JANE.into();
    data["timestamp"] = json!((SystemClock.wall().0 + 60_000) as f64 / 1_000.0);
    assert_eq!(bench.post("/mailgun", &later).await, StatusCode::OK);
    assert_eq!(
        bench.suppressed("acme", jane()).await,
        Some(SuppressionReason::HardBounce)
    );
}

#[tokio::test]
async fn what_the_ledger_has_comes_to_redis_whoever_failed_to_bring_it() {
    use SuppressionReason::{HardBounce, Manual};
    let bench = Bench::start().await;
    let ledger = bench.feedback.ledger().await;
    suppress_in_ledger(&ledger, Manual).await;
    sees(&bench, Some(Manual)).await;
    is_whole(&bench).await;

    // As of a Redis that came back empty.
    bench.feedback.redis.command(&["FLUSHALL"]).await;
    assert_eq!(bench.suppressed("acme", jane()).await, None);
    sees(&bench, Some(Manual)).await;
    is_whole(&bench).await;

    // As of a replica without the newest writes: its buckets name the run of before.
    let before = bench.fall_back("acme", jane()).await;
    suppress_in_ledger(&ledger, HardBounce).await;
    assert_eq!(before, Some(Manual));
    sees(&bench, Some(HardBounce)).await;
    is_whole(&bench).await;
}

#[tokio::test]
async fn what_can_t_be_kept_is_answered_so_and_done_when_it_comes_again() {
    let bench = Bench::start().await;
    let (id, record) = bench.in_doubt(1).await;
    let event = bounce("Permanent", tags(&record, id));
    bench.feedback.redis.freeze();
    assert_eq!(tell(&bench, "1", &event).await, StatusCode::SERVICE_UNAVAILABLE);
    bench.feedback.redis.thaw();
    eventually("the event is taken", SOON, || async {
        match tell(&bench, "1", &event).await {
            StatusCode::OK => Ok(()),
            status => Err(status),
        }
    })
    .await;
    assert_eq!(
        bench.suppressed("acme", jane()).await,
        Some(SuppressionReason::HardBounce)
    );
}
