//! Months that are over go, and nothing younger.

use std::time::Duration;

use paceline_domain::record::State;
use paceline_domain::time::Millis;
use paceline_ledger::{Filter, Retained};

use crate::databases::{NOW, both, event, message, moved, postgres};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_the_retention_goes_and_the_rest_stays() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        // October's months are made on its first day, as a running service does.
        let october = Millis(NOW.0 - 55 * 86_400_000);
        ledger.prepare_months(october).await.expect("made");
        ledger.prepare_months(october).await.expect("made, and again");
        let (mut old, mut older) = (message(1), message(2));
        old.accepted_at = october + DAY;
        older.accepted_at = NOW - DAY * 400;
        let mut old_move = moved(1, 1, State::Accepted);
        old_move.accepted_at = old.accepted_at;
        ledger
            .append(
                &[old, older, message(3)],
                &[old_move, moved(3, 1, State::Accepted)],
                &[],
            )
            .await
            .expect("written");
        ledger
            .record_events(vec![event("a", 3, "delivered")])
            .await
            .expect("written");

        let announced = ledger.would_retain(NOW - DAY * 20).await.expect("answers");
        let retained = ledger.retain(NOW - DAY * 20).await.expect("done");
        assert_eq!(announced, retained, "what is said to go is what goes");
        if fresh.postgres.is_some() {
            assert_eq!(
                retained,
                Retained {
                    partitions: ["events", "messages", "transitions"]
                        .map(|table| format!("{table}_y2026m10"))
                        .to_vec(),
                    rows: 1
                },
                "October of three tables; what is older has no month"
            );
        } else {
            assert_eq!(
                retained,
                Retained {
                    partitions: Vec::new(),
                    rows: 4
                },
                "two messages, a transition and its event"
            );
        }
        let filter = Filter {
            tenant: "shop".to_owned(),
            ..Filter::default()
        };
        let left = ledger.search(&filter, None, 10).await.expect("answers");
        assert_eq!(
            left.iter().map(|row| row.message.id.0[0]).collect::<Vec<_>>(),
            [3]
        );
        let events = ledger.events_since("shop", 0, &[], 10).await.expect("answers");
        assert_eq!(events.len(), 2, "of the message that is left");
        assert_eq!(
            ledger.retain(NOW - DAY * 20).await.expect("done"),
            Retained::default()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_statement_deletes_goes_too() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let mut moves = Vec::new();
        for revision in 1..=2_300 {
            let mut old = moved(1, revision, State::Queued);
            old.accepted_at = NOW - DAY * 400;
            moves.push(old);
        }
        ledger.append(&[], &moves, &[]).await.expect("written");
        let retained = ledger.retain(NOW - DAY * 20).await.expect("done");
        assert_eq!(retained.rows, 2_301, "the message and its transitions");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_that_can_t_be_made_any_more_keeps_no_other_from_being_made() {
    let fresh = postgres().await;
    let ledger = &fresh.ledger;
    let early = vec![event("early", 1, "delivered")];
    ledger.record_events(early).await.expect("written");
    ledger
        .prepare_months(NOW)
        .await
        .expect_err("this month's rows are elsewhere");
    let mut later = message(2);
    later.accepted_at = NOW + DAY * 20;
    ledger.append(&[later], &[], &[]).await.expect("written");
    let retained = ledger.retain(NOW + DAY * 60).await.expect("done");
    assert_eq!(retained.partitions.len(), 3, "December's");
    assert_eq!(retained.rows, 1, "the early event");
}
