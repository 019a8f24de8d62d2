//! Suppressions and removals: what stands of them, and how readers follow.

use std::time::Duration;

use paceline_domain::keyed::AddressHash;
use paceline_domain::suppression::SuppressionReason::{self, Complaint, HardBounce, Unsubscribe};
use paceline_domain::time::Millis;
use paceline_ledger::{
    Act, Ledger, NewSuppression, StandingSuppression, Suppressing, SuppressionDeed, SuppressionFilter,
    SuppressionKey, SuppressionPage, SuppressionRemoval, SuppressionsChanged,
};

use crate::databases::{NOW, both};

fn key(number: u8, category: &str) -> SuppressionKey {
    SuppressionKey {
        tenant: "shop".to_owned(),
        category: category.to_owned(),
        address: AddressHash([number; 16]),
    }
}

fn new(number: u8, category: &str, reason: SuppressionReason, at: Millis) -> NewSuppression {
    NewSuppression {
        key: key(number, category),
        reason,
        at,
        sealed: Vec::new(),
    }
}

fn deed(now: Millis) -> SuppressionDeed {
    SuppressionDeed {
        source: "api".to_owned(),
        who: "ann".to_owned(),
        why: "she asked".to_owned(),
        now,
        act: None,
    }
}

fn removal(number: u8, category: Option<&str>, reason: Option<SuppressionReason>) -> SuppressionRemoval {
    SuppressionRemoval {
        tenant: "shop".to_owned(),
        address: AddressHash([number; 16]),
        category: category.map(str::to_owned),
        reason,
    }
}

fn after(seconds: u64) -> Millis {
    NOW + Duration::from_secs(seconds)
}

async fn suppress(ledger: &Ledger, items: &[NewSuppression], now: Millis) -> SuppressionsChanged {
    ledger.suppress(items, &deed(now)).await.expect("written")
}

fn reason_of(changed: &SuppressionsChanged) -> Option<SuppressionReason> {
    assert_eq!(changed.standing.len(), 1, "{changed:?}");
    changed.standing[0].reason
}

#[tokio::test(flavor = "multi_thread")]
async fn the_strongest_reason_stands_and_the_others_are_not_forgotten() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let items = [new(1, "", Unsubscribe, NOW), new(1, "", HardBounce, after(1))];
        let changed = suppress(ledger, &items, NOW).await;
        assert_eq!(changed.outcomes, [Suppressing::Added, Suppressing::Added]);
        assert_eq!(reason_of(&changed), Some(HardBounce));
        let first = changed.standing[0].revision;

        // The same again: nothing changes, and what is true is told once more.
        let again = suppress(ledger, &items, NOW).await;
        assert_eq!(again.outcomes, [Suppressing::Already, Suppressing::Already]);
        assert_eq!(again.standing, changed.standing);

        let removed = ledger
            .unsuppress(&[removal(1, Some(""), Some(HardBounce))], &deed(after(2)))
            .await
            .expect("written");
        assert_eq!(removed.removed.len(), 1);
        assert_eq!(reason_of(&removed), Some(Unsubscribe));
        assert!(removed.standing[0].revision > first);
        assert_eq!(removed.standing[0].at, NOW);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_a_removal_stays_removed() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        suppress(ledger, &[new(1, "", HardBounce, NOW)], NOW).await;
        let removed = ledger
            .unsuppress(&[removal(1, Some(""), None)], &deed(after(10)))
            .await
            .expect("written");
        assert_eq!(reason_of(&removed), None);
        let row = &removed.removed[0];
        let how = row.removed.as_ref().expect("removed");
        assert_eq!(
            (how.at, how.by.as_str(), how.why.as_str()),
            (after(10), "ann", "she asked")
        );

        let late = suppress(ledger, &[new(1, "", HardBounce, after(10))], after(20)).await;
        assert_eq!(late.outcomes, [Suppressing::RemovedSince]);
        assert_eq!(late.standing, removed.standing);
        let newer = suppress(ledger, &[new(1, "", HardBounce, after(11))], after(20)).await;
        assert_eq!(newer.outcomes, [Suppressing::Added]);
        assert_eq!(reason_of(&newer), Some(HardBounce));
        assert_eq!(newer.standing[0].at, after(11));
        assert!(newer.standing[0].revision > removed.standing[0].revision);

        // Nothing is there to remove, and nothing is made of it.
        let none = ledger
            .unsuppress(&[removal(9, Some(""), None)], &deed(after(30)))
            .await
            .expect("written");
        assert_eq!((none.removed.len(), none.standing.len()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_may_name_an_address_twice_and_remove_all_its_categories() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let items = [
            new(1, "news", Unsubscribe, NOW),
            new(1, "news", Unsubscribe, after(5)),
            new(1, "offers", Unsubscribe, NOW),
            new(1, "", Complaint, NOW),
            new(2, "", Complaint, NOW),
        ];
        let changed = suppress(ledger, &items, NOW).await;
        use Suppressing::{Added, Already};
        assert_eq!(changed.outcomes, [Added, Already, Added, Added, Added]);
        assert_eq!(changed.standing.len(), 4);
        let news = changed
            .standing
            .iter()
            .find(|standing| standing.key.category == "news");
        assert_eq!(news.expect("there").at, after(5));

        let removed = ledger
            .unsuppress(&[removal(1, None, None)], &deed(after(9)))
            .await
            .expect("written");
        assert_eq!(removed.removed.len(), 3);
        assert_eq!(removed.standing.len(), 3);
        assert!(removed.standing.iter().all(|standing| standing.reason.is_none()));
        let filter = SuppressionFilter {
            tenant: "shop".to_owned(),
            ..SuppressionFilter::default()
        };
        let left = ledger.suppressions(&filter, None, 10).await.expect("answers");
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].key, key(2, ""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_address_is_kept_and_filled_in_later() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        suppress(ledger, &[new(1, "", Unsubscribe, NOW)], NOW).await;
        let sealed = |bytes: &[u8]| NewSuppression {
            sealed: bytes.to_vec(),
            ..new(1, "", Unsubscribe, after(5))
        };
        let changed = suppress(ledger, &[sealed(b"sealed")], after(5)).await;
        assert_eq!(changed.outcomes, [Suppressing::Already]);
        suppress(
            ledger,
            &[new(1, "", Unsubscribe, after(6)), sealed(b"")],
            after(6),
        )
        .await;
        let filter = SuppressionFilter {
            tenant: "shop".to_owned(),
            ..SuppressionFilter::default()
        };
        let rows = ledger.suppressions(&filter, None, 10).await.expect("answers");
        assert_eq!(rows[0].sealed, b"sealed");
        // Who was suppressed when stays as it was.
        assert_eq!(rows[0].at, NOW);
    }
}

/// The keys of all that `filter` lets through, seven at a time.
async fn page_through(ledger: &Ledger, filter: &SuppressionFilter) -> Vec<SuppressionKey> {
    let (mut page, mut seen) = (None, Vec::new());
    loop {
        let rows = ledger
            .suppressions(filter, page.as_ref(), 7)
            .await
            .expect("answers");
        let Some(last) = rows.last() else { return seen };
        page = Some(SuppressionPage {
            category: last.key.category.clone(),
            address: last.key.address,
            reason: last.reason,
        });
        seen.extend(rows.into_iter().map(|row| row.key));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_through_everything_once_and_filters_hold() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let mut items: Vec<NewSuppression> = (0..30)
            .flat_map(|number| {
                [
                    new(number, "", HardBounce, NOW),
                    new(number, "news", Unsubscribe, NOW),
                ]
            })
            .collect();
        items.push(NewSuppression {
            key: SuppressionKey {
                tenant: "other".to_owned(),
                ..key(1, "")
            },
            ..new(1, "", HardBounce, NOW)
        });
        suppress(ledger, &items, NOW).await;
        let all = SuppressionFilter {
            tenant: "shop".to_owned(),
            ..SuppressionFilter::default()
        };
        let mut expected: Vec<SuppressionKey> = items[..60].iter().map(|item| item.key.clone()).collect();
        expected.sort_by_key(|key| (key.category.clone(), key.address));
        assert_eq!(page_through(ledger, &all).await, expected);
        for (filter, count) in [
            (
                SuppressionFilter {
                    category: Some("news".to_owned()),
                    ..all.clone()
                },
                30,
            ),
            (
                SuppressionFilter {
                    reason: Some(HardBounce),
                    ..all.clone()
                },
                30,
            ),
            (
                SuppressionFilter {
                    address: Some(AddressHash([3; 16])),
                    ..all.clone()
                },
                2,
            ),
            (
                SuppressionFilter {
                    tenant: "other".to_owned(),
                    ..all.clone()
                },
                1,
            ),
        ] {
            assert_eq!(page_through(ledger, &filter).await.len(), count, "{filter:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_by_revision_meets_every_change_and_its_newest_state() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let items: Vec<NewSuppression> = (0..20).map(|number| new(number, "", HardBounce, NOW)).collect();
        suppress(ledger, &items, NOW).await;
        ledger
            .unsuppress(&[removal(3, Some(""), None)], &deed(after(3_600)))
            .await
            .expect("written");
        let read = async |mut from: u64| {
            let mut seen: Vec<StandingSuppression> = Vec::new();
            loop {
                let (standing, next) = ledger.suppressions_changed(from, 6).await.expect("answers");
                if next == from {
                    return (seen, from);
                }
                seen.extend(standing);
                from = next;
            }
        };
        let (seen, last) = read(0).await;
        assert_eq!(seen.len(), 20);
        let gone = seen.iter().find(|standing| standing.key == key(3, ""));
        assert_eq!(gone.expect("met").reason, None);
        assert_eq!(read(last).await.0, []);

        let before = ledger
            .suppressions_before(after(3_600))
            .await
            .expect("answers")
            .expect("one changed");
        let (recent, _) = read(before).await;
        assert_eq!(recent.len(), 1);
        assert_eq!(recent[0].key, key(3, ""));
        assert_eq!(
            ledger.suppressions_before(after(9_000)).await.expect("answers"),
            None
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_is_written_with_what_came_of_it() {
    for fresh in both().await {
        let act = Act {
            id: "suppression:1".to_owned(),
            at: NOW,
            act: "suppress".to_owned(),
            who: "ann".to_owned(),
            why: "she asked".to_owned(),
            tenant: "shop".to_owned(),
            messages: Vec::new(),
        };
        let deed = SuppressionDeed {
            act: Some(act.clone()),
            ..deed(NOW)
        };
        let items = [new(1, "", HardBounce, NOW)];
        fresh.ledger.suppress(&items, &deed).await.expect("written");
        let found = fresh.ledger.acts("shop", 10).await.expect("answers");
        assert_eq!(found, [act]);
    }
}
