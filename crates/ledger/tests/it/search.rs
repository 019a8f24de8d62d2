//! Messages are found by whom and what they were, and forgotten on demand.

use std::time::Duration;

use paceline_domain::record::State;
use paceline_ledger::{Filter, MessageRow, Page};

use crate::databases::{NOW, both, id, message, moved};

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_by_each_thing_and_by_pages() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let mut messages: Vec<_> = (1..=5).map(message).collect();
        messages[4].template = "receipt".to_owned();
        messages[3].accepted_at = NOW + Duration::from_secs(1);
        ledger
            .append(
                &messages,
                &[moved(1, 1, State::Queued), moved(1, 2, State::Dead)],
                &[],
            )
            .await
            .expect("written");
        let shop = Filter {
            tenant: "shop".to_owned(),
            ..Filter::default()
        };
        let numbers = |filter: Filter| async move {
            let rows = ledger.search(&filter, None, 100).await.expect("answers");
            rows.iter().map(|row| row.message.id.0[0]).collect::<Vec<_>>()
        };
        assert_eq!(numbers(shop.clone()).await, [4, 5, 3, 2, 1], "the newest first");
        assert_eq!(
            numbers(Filter {
                template: "receipt".to_owned(),
                ..shop.clone()
            })
            .await,
            [5]
        );
        assert_eq!(
            numbers(Filter {
                recipient: vec![2; 16],
                ..shop.clone()
            })
            .await,
            [2]
        );
        assert_eq!(
            numbers(Filter {
                user_hash: vec![3, 1],
                ..shop.clone()
            })
            .await,
            [3]
        );
        assert_eq!(
            numbers(Filter {
                state: Some(State::Dead),
                ..shop.clone()
            })
            .await,
            [1]
        );
        assert_eq!(
            numbers(Filter {
                from: NOW + Duration::from_secs(1),
                ..shop.clone()
            })
            .await,
            [4]
        );
        assert_eq!(
            numbers(Filter {
                until: NOW,
                ..shop.clone()
            })
            .await,
            [0_u8; 0]
        );
        assert_eq!(
            numbers(Filter {
                tenant: "other".to_owned(),
                ..shop.clone()
            })
            .await,
            [0_u8; 0]
        );

        let mut page: Option<Page> = None;
        let mut found: Vec<MessageRow> = Vec::new();
        loop {
            let rows = ledger.search(&shop, page, 2).await.expect("answers");
            let Some(last) = rows.last() else { break };
            page = Some(Page {
                accepted_at: last.message.accepted_at,
                id: last.message.id,
            });
            found.extend(rows);
        }
        assert_eq!(
            found.iter().map(|row| row.message.id.0[0]).collect::<Vec<_>>(),
            [4, 5, 3, 2, 1]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_is_not_found_and_does_not_come_back_with_the_log() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        ledger
            .append(&[message(1), message(2)], &[], &[])
            .await
            .expect("written");
        assert_eq!(
            ledger.erase("other", &[1; 16], NOW, 100).await.expect("answers"),
            []
        );
        assert_eq!(
            ledger.erase("shop", &[1; 16], NOW, 100).await.expect("answers"),
            [(id(1), NOW)]
        );
        assert_eq!(
            ledger.erase("shop", &[1; 16], NOW, 100).await.expect("answers"),
            [],
            "nothing is left"
        );
        ledger
            .append(&[message(1)], &[moved(1, 1, State::Queued)], &[])
            .await
            .expect("written");
        let filter = Filter {
            tenant: "shop".to_owned(),
            recipient: vec![1; 16],
            ..Filter::default()
        };
        assert_eq!(ledger.search(&filter, None, 10).await.expect("answers"), []);
        let row = ledger
            .timeline("shop", id(1))
            .await
            .expect("answers")
            .expect("is there")
            .row;
        assert!(row.message.recipient.is_empty() && row.message.user_hash.is_empty());
        assert_eq!(row.state, Some(State::Queued), "what became of it stays");
    }
}
