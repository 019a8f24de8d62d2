//! Messages are found by whom and what they were, and forgotten on demand.

use std::time::Duration;

use paceline_domain::record::State;
use paceline_ledger::{Filter, Ledger, MessageRow, Page};

use crate::databases::{NOW, both, message, moved};

/// Five messages of a shop, of which the fourth is the newest.
async fn fill(ledger: &Ledger) {
    let mut messages: Vec<_> = (1..=5).map(message).collect();
    messages[4].template = "receipt".to_owned();
    messages[3].accepted_at = NOW + Duration::from_secs(1);
    let moves = [moved(1, 1, State::Queued), moved(1, 2, State::Dead)];
    ledger.append(&messages, &moves, &[]).await.expect("written");
}

fn shop() -> Filter {
    Filter {
        tenant: "shop".to_owned(),
        ..Filter::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_by_each_thing() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        fill(ledger).await;
        let check = |change: fn(&mut Filter), expect: &'static [u8]| async move {
            let mut filter = shop();
            change(&mut filter);
            let rows = ledger.search(&filter, None, 100).await.expect("answers");
            let found: Vec<u8> = rows.iter().map(|row| row.message.id.0[0]).collect();
            assert_eq!(found, expect, "{filter:?}");
        };
        // The newest first.
        check(|_| {}, &[4, 5, 3, 2, 1]).await;
        check(|it| it.template = "receipt".to_owned(), &[5]).await;
        check(|it| it.recipient = vec![2; 16], &[2]).await;
        check(|it| it.user_hash = vec![3, 1], &[3]).await;
        check(|it| it.state = Some(State::Dead), &[1]).await;
        check(|it| it.from = NOW + Duration::from_secs(1), &[4]).await;
        check(|it| it.until = NOW, &[]).await;
        check(|it| it.tenant = "other".to_owned(), &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_by_pages() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        fill(ledger).await;
        let mut page: Option<Page> = None;
        let mut found: Vec<MessageRow> = Vec::new();
        loop {
            let rows = ledger.search(&shop(), page, 2).await.expect("answers");
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
