//! What Redis has forgotten is marked, told, and forgiven when it moves again.

use paceline_domain::record::State;
use paceline_ledger::OpenMessage;

use crate::databases::{NOW, both, id, message, moved};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_listed_in_pages_and_marked_where_it_still_stands() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let moves = [
            moved(1, 1, State::Queued),
            moved(2, 2, State::Sending),
            moved(3, 3, State::Accepted),
            moved(4, 1, State::Dead),
        ];
        let messages = [message(1), message(2), message(3), message(4)];
        ledger.append(&messages, &moves, &[]).await.expect("written");
        let first = ledger.open_messages(None, 1).await.expect("answers");
        let second = ledger
            .open_messages(first.last().copied(), 1)
            .await
            .expect("answers");
        let open = |number, revision| OpenMessage {
            id: id(number),
            accepted_at: NOW,
            revision,
        };
        assert_eq!([&first[..], &second[..]].concat(), [open(1, 1), open(2, 2)]);
        assert_eq!(
            ledger
                .open_messages(second.last().copied(), 9)
                .await
                .expect("answers"),
            []
        );

        // The second one has moved since it was seen.
        ledger
            .append(&[], &[moved(2, 3, State::InDoubt)], &[])
            .await
            .expect("written");
        let seen = [open(1, 1), open(2, 2)];
        assert_eq!(ledger.mark_lost(&seen, NOW).await.expect("written"), 1);
        assert_eq!(ledger.mark_lost(&seen, NOW).await.expect("written"), 0, "once");
        let events = ledger.events_since("shop", 0, &["lost".to_owned()], 9).await;
        let events = events.expect("answers");
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].event.message_id, id(1));
        assert_eq!(
            ledger.open_messages(None, 9).await.expect("answers"),
            [open(2, 3)]
        );

        ledger
            .append(&[], &[moved(1, 2, State::Sending)], &[])
            .await
            .expect("written");
        assert_eq!(
            ledger.open_messages(None, 9).await.expect("answers"),
            [open(1, 2), open(2, 3)],
            "it is there after all"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_that_was_looked_at_is_remembered() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        assert_eq!(ledger.redis_run(3).await.expect("answers"), None);
        for run in ["a", "b"] {
            ledger.set_redis_run(3, run).await.expect("written");
            assert_eq!(ledger.redis_run(3).await.expect("answers").as_deref(), Some(run));
        }
        assert_eq!(ledger.redis_run(4).await.expect("answers"), None);
    }
}
