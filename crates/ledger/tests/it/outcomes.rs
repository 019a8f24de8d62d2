//! Outcomes: numbered in the order of their writing, and summed by day.

use paceline_domain::lane::Lane;
use paceline_domain::record::State;
use paceline_ledger::{Ledger, Sum, SumFilter};

use crate::databases::{NOW, both, event, message, moved};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_twice_is_one_and_counts_once() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let new = ledger
            .record_events(vec![event("a", 1, "opened"), event("b", 1, "opened")])
            .await
            .expect("written");
        assert_eq!(new, [true, true]);
        let new = ledger
            .record_events(vec![event("b", 1, "opened"), event("c", 2, "opened")])
            .await
            .expect("written");
        assert_eq!(new, [false, true]);

        let day = NOW.0 / 86_400_000;
        let filter = SumFilter {
            tenant: "shop".to_owned(),
            days: (day, day),
            ..SumFilter::default()
        };
        let sum = Sum {
            tenant: "shop".to_owned(),
            template: "welcome".to_owned(),
            lane: Lane::Bulk,
            day,
            kind: "opened".to_owned(),
            events: 3,
            messages: 2,
        };
        assert_eq!(ledger.sums(&filter).await.expect("answers"), [sum]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_from_its_number_and_sees_each_outcome_of_its_tenant() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        ledger
            .append(
                &[message(1)],
                &[moved(1, 1, State::Queued), moved(1, 2, State::Accepted)],
                &[],
            )
            .await
            .expect("written");
        let mut foreign = event("x", 9, "delivered");
        foreign.tenant = "other".to_owned();
        ledger
            .record_events(vec![foreign, event("a", 1, "delivered"), event("b", 1, "opened")])
            .await
            .expect("written");

        let all = read(ledger, 0, &[]).await;
        let kinds: Vec<_> = all.iter().map(|(_, kind)| kind.as_str()).collect();
        assert_eq!(kinds, ["accepted", "delivered", "opened"]);
        let rest = read(ledger, all[1].0, &[]).await;
        assert_eq!(rest, all[2..]);
        let chosen = read(ledger, 0, &["opened".to_owned(), "accepted".to_owned()]).await;
        assert_eq!(chosen, [all[0].clone(), all[2].clone()]);
        let between = ledger.events_between("shop", (all[0].0, all[1].0), &[], 10).await;
        let between: Vec<_> = between.expect("answers").iter().map(|event| event.seq).collect();
        assert_eq!(between, [all[1].0], "after the one and up to the other");
        assert_eq!(ledger.newest_event().await.expect("answers"), all[2].0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reader_by_number_misses_what_a_slower_writer_commits() {
    for fresh in both().await {
        let writer = |ledger: Ledger, name: &'static str| async move {
            for number in 0..40 {
                let batch = (0..5)
                    .map(|part| event(&format!("{name}-{number}-{part}"), 1, "delivered"))
                    .collect();
                ledger.record_events(batch).await.expect("written");
            }
        };
        let reader = async {
            let (mut seen, mut last) = (0, 0);
            while seen < 400 {
                for (seq, _) in read(&fresh.ledger, last, &[]).await {
                    assert!(seq > last);
                    (seen, last) = (seen + 1, seq);
                }
                tokio::task::yield_now().await;
            }
        };
        let all = async {
            tokio::join!(
                writer(fresh.ledger.clone(), "a"),
                writer(fresh.ledger.clone(), "b"),
                reader
            )
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), all)
            .await
            .expect("the reader meets all 400");
    }
}

async fn read(ledger: &Ledger, after: u64, kinds: &[String]) -> Vec<(u64, String)> {
    let events = ledger
        .events_since("shop", after, kinds, 1_000)
        .await
        .expect("answers");
    events
        .into_iter()
        .map(|event| (event.seq, event.event.kind))
        .collect()
}
