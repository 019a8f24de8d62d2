//! What the logs say is written once, whatever comes again.

use paceline_domain::record::State;
use paceline_ledger::{Act, Appended, Filter, Ledger, LedgerError};

use crate::databases::{NOW, both, id, message, moved, postgres, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_log_that_comes_again_changes_nothing() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let moves = [
            moved(1, 1, State::Queued),
            moved(1, 2, State::Sending),
            moved(1, 3, State::Accepted),
            moved(2, 1, State::Queued),
        ];
        let act = Act {
            id: "s0:1-1".to_owned(),
            at: NOW,
            act: "redrive".to_owned(),
            who: "ada".to_owned(),
            why: "fixed the template".to_owned(),
            tenant: "shop".to_owned(),
            messages: vec![id(1)],
        };
        let messages = [message(1), message(2)];
        let first = ledger
            .append(&messages, &moves, std::slice::from_ref(&act))
            .await
            .expect("written");
        assert_eq!(
            first,
            Appended {
                moves: 4,
                conflicts: 0
            }
        );
        let again = ledger
            .append(&messages, &moves, std::slice::from_ref(&act))
            .await
            .expect("written");
        assert_eq!(again, Appended::default());

        let timeline = ledger
            .timeline("shop", id(1))
            .await
            .expect("answers")
            .expect("is there");
        assert_eq!(timeline.row.message, message(1));
        assert_eq!(
            (timeline.row.state, timeline.row.revision),
            (Some(State::Accepted), 3)
        );
        assert_eq!(timeline.moves, &moves[..3]);
        assert_eq!(timeline.acts, [act]);
        let kinds: Vec<_> = timeline
            .events
            .iter()
            .map(|event| event.event.kind.as_str())
            .collect();
        assert_eq!(kinds, ["accepted"], "once, however often it was written");
        assert_eq!(
            ledger.timeline("other", id(1)).await.expect("answers"),
            None,
            "another tenant's is not there"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_revision_is_where_a_message_stands_in_whatever_order_they_come() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        ledger
            .append(&[], &[moved(1, 3, State::Accepted)], &[])
            .await
            .expect("written");
        ledger
            .append(
                &[message(1)],
                &[moved(1, 1, State::Queued), moved(1, 2, State::Sending)],
                &[],
            )
            .await
            .expect("written");
        let timeline = ledger
            .timeline("shop", id(1))
            .await
            .expect("answers")
            .expect("is there");
        assert_eq!(timeline.row.state, Some(State::Accepted));
        let revisions: Vec<_> = timeline.moves.iter().map(|m| m.revision).collect();
        assert_eq!(revisions, [1, 2, 3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_with_two_contents_is_a_conflict_and_both_are_kept() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        ledger
            .append(&[message(1)], &[moved(1, 1, State::Queued)], &[])
            .await
            .expect("written");
        let other = [moved(1, 1, State::Cancelled), moved(1, 2, State::Queued)];
        let appended = ledger.append(&[], &other, &[]).await.expect("written");
        assert_eq!(
            appended,
            Appended {
                moves: 1,
                conflicts: 1
            }
        );
        let again = ledger.append(&[], &other, &[]).await.expect("written");
        assert_eq!(again, Appended::default(), "a conflict is counted once");
        let timeline = ledger
            .timeline("shop", id(1))
            .await
            .expect("answers")
            .expect("is there");
        assert_eq!(timeline.moves[0].state, State::Queued, "the first one stays");
        assert_eq!(
            timeline.conflicts,
            other[..1],
            "the second one is shown beside it"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moved_before_its_acceptance_came_is_an_event_then_and_once() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let moves = [moved(1, 2, State::Sending), moved(1, 3, State::Accepted)];
        ledger.append(&[], &moves, &[]).await.expect("written");
        let events = async || ledger.events_since("shop", 0, &[], 10).await.expect("answers");
        assert_eq!(events().await, [], "nobody knows whose it is");
        assert_eq!(ledger.events_since("", 0, &[], 10).await.expect("answers"), []);
        let before = ledger.newest_event().await.expect("answers");
        let first = [moved(1, 1, State::Queued)];
        ledger.append(&[message(1)], &first, &[]).await.expect("written");
        let seen = events().await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].event.kind, "accepted");
        assert!(
            seen[0].seq > before,
            "a reader who has come so far does not miss it"
        );
        ledger.append(&[message(1)], &first, &[]).await.expect("written");
        assert_eq!(events().await, seen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_database_can_not_hold_is_told_from_what_it_does_not_take_now() {
    let fresh = postgres().await;
    let mut broken = message(1);
    broken.template = "a\0b".to_owned();
    let refused = fresh.ledger.append(&[broken], &[], &[]).await.expect_err("a NUL");
    assert_eq!(refused.class(), paceline_ledger::ErrorClass::Unfit, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_one_time_lose_nothing_and_do_not_stop_each_other() {
    for fresh in both().await {
        let writer = |ledger: Ledger, first: u8| async move {
            for number in first..first + 10 {
                // The same messages in both orders: what would deadlock without the counter.
                let (a, b) = (number % 10, 9 - number % 10);
                let messages = [message(a), message(b)];
                let moves = [
                    moved(a, u32::from(first) + 1, State::Sending),
                    moved(b, u32::from(first) + 2, State::Accepted),
                ];
                ledger.append(&messages, &moves, &[]).await.expect("written");
            }
        };
        tokio::join!(
            writer(fresh.ledger.clone(), 0),
            writer(fresh.ledger.clone(), 10),
            writer(fresh.ledger.clone(), 20)
        );
        let filter = Filter {
            tenant: "shop".to_owned(),
            ..Filter::default()
        };
        let rows = fresh.ledger.search(&filter, None, 100).await.expect("answers");
        assert_eq!(rows.len(), 10);
        assert!(
            rows.iter()
                .all(|row| row.revision == 22 && row.state == Some(State::Accepted))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_an_error_and_then_all_goes_on() {
    let mut fresh = postgres().await;
    let server = fresh.postgres.as_mut().expect("on PostgreSQL");
    server.kill().await;
    let refused = fresh
        .ledger
        .append(&[message(1)], &[], &[])
        .await
        .expect_err("nobody answers");
    assert_eq!(
        refused.class(),
        paceline_ledger::ErrorClass::Transient,
        "{refused:?}"
    );
    server.resume().await;
    paceline_testkit::eventually(
        "the ledger is back",
        std::time::Duration::from_secs(20),
        || async {
            fresh
                .ledger
                .append(&[message(1)], &[], &[])
                .await
                .map_err(|error| format!("{error:?}"))
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_open_a_new_database_at_one_time_both_can() {
    for round in 0..10 {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", dir.path().join("ledger.db").display());
        let open = |url: String| tokio::spawn(async move { Ledger::connect(&settings(url)).await });
        for opened in [open(url.clone()), open(url.clone()), open(url)] {
            let ledger = opened
                .await
                .expect("no panic")
                .map_err(|error| format!("{error:?}"));
            let ledger = ledger.unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert_eq!(ledger.newest_event().await.expect("answers"), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_urls_are_opened() {
    let refused = Ledger::connect(&settings("mysql://localhost/ledger".to_owned())).await;
    assert!(matches!(refused, Err(LedgerError::Url)));
}
