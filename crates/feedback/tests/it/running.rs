//! Its start and its end.

use std::time::Duration;

use crate::support::Feedback;

#[tokio::test]
async fn it_starts_on_an_empty_ledger_and_drains() {
    let mut feedback = Feedback::start("").await;
    feedback.ledger().await.ping().await.expect("the schema is there");
    feedback.process.term().expect("it runs");
    let status = feedback.process.wait(Duration::from_secs(20)).await;
    assert!(status.expect("it ends").success());
    drop(feedback.redis);
}
