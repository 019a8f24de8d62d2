//! Each version of a template is published once, whoever tries, and stays as it is.

use paceline_domain::time::Millis;
use paceline_ledger::{Ledger, NewVersion, NewestVersion, PublishBounds, PublishedVersion, Publishing};

use crate::databases::{NOW, both};

const BOUNDS: PublishBounds = PublishBounds {
    templates_max: 2,
    versions_max: 4,
    newest: 2,
};

fn version(name: &str, version: u32, content: u8) -> NewVersion {
    NewVersion {
        told: PublishedVersion {
            name: name.to_owned(),
            version,
            hash: vec![content; 32],
            at: NOW,
            who: "ann".to_owned(),
            why: "a test".to_owned(),
        },
        authored: vec![content + 100; 32],
        bundle: vec![content; 1_000],
    }
}

async fn publish(ledger: &Ledger, version: &NewVersion) -> Publishing {
    ledger.publish(version, BOUNDS).await.expect("answers")
}

fn numbers(versions: &[PublishedVersion]) -> Vec<(&str, u32)> {
    let numbers = versions.iter().map(|row| (row.name.as_str(), row.version));
    numbers.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_there_once_and_a_repeated_call_is_known_by_what_was_written() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let first = version("a", 1, 1);
        assert_eq!(publish(ledger, &first).await, Publishing::Done);
        // Another release made another bundle of the same files, later.
        let mut again = version("a", 1, 1);
        again.told.hash = vec![9; 32];
        again.told.at = Millis(NOW.0 + 1);
        again.bundle = vec![9; 9];
        assert_eq!(
            publish(ledger, &again).await,
            Publishing::Already(first.told.clone())
        );
        assert_eq!(
            publish(ledger, &version("a", 1, 2)).await,
            Publishing::VersionTaken
        );
        assert_eq!(
            ledger.published("", None, 10).await.expect("answers"),
            [first.told]
        );
        let bundle = ledger.published_bundle("a", Some(1)).await.expect("answers");
        assert_eq!(bundle, Some(first.bundle));
        assert_eq!(
            ledger.published_bundle("a", Some(2)).await.expect("answers"),
            None
        );
        assert_eq!(ledger.published_bundle("b", None).await.expect("answers"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_race_for_a_version_one_wins_and_it_is_what_stays() {
    for fresh in both().await {
        let racers = (1..=8).map(|content| {
            let ledger = fresh.ledger.clone();
            tokio::spawn(async move { (content, publish(&ledger, &version("a", 1, content)).await) })
        });
        let outcomes = futures_util::future::try_join_all(racers)
            .await
            .expect("no panic");
        let won: Vec<u8> = outcomes
            .iter()
            .filter(|(_, outcome)| *outcome == Publishing::Done)
            .map(|(content, _)| *content)
            .collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        let lost = outcomes
            .iter()
            .filter(|(_, outcome)| *outcome == Publishing::VersionTaken);
        assert_eq!(lost.count(), 7, "{outcomes:?}");
        let bundle = fresh.ledger.published_bundle("a", None).await.expect("answers");
        assert_eq!(bundle, Some(vec![won[0]; 1_000]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_hold_and_what_is_there_already_is_so_beyond_them() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        for (name, number, expected) in [
            ("a", 3, Publishing::Done),
            ("a", 5, Publishing::Done),
            ("a", 2, Publishing::Outdated),
            ("a", 4, Publishing::Done),
            ("a", 3, Publishing::Already(version("a", 3, 1).told)),
            ("b", 1, Publishing::Done),
            ("c", 1, Publishing::TemplatesFull),
            ("a", 6, Publishing::Done),
            ("a", 7, Publishing::VersionsFull),
        ] {
            let version = version(name, number, 1);
            let may = ledger.may_publish(&version, BOUNDS).await.expect("answers");
            assert_eq!(may, expected, "{name} {number}");
            assert_eq!(publish(ledger, &version).await, expected, "{name} {number}");
        }
        let newest = ledger.newest_published(2, 100).await.expect("answers");
        let expected = [("a", 6), ("a", 5), ("b", 1)].map(|(name, number)| NewestVersion {
            name: name.to_owned(),
            version: number,
            hash: vec![1; 32],
            authored: vec![101; 32],
        });
        assert_eq!(newest, expected);
        let few = ledger.newest_published(2, 2).await.expect("answers");
        assert_eq!(few, expected[..2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_where_its_page_ended() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        for (name, number) in [("b", 1), ("a", 1), ("a", 2), ("a", 10)] {
            assert_eq!(publish(ledger, &version(name, number, 1)).await, Publishing::Done);
        }
        let first = ledger.published("", None, 2).await.expect("answers");
        assert_eq!(numbers(&first), [("a", 10), ("a", 2)]);
        let rest = ledger.published("", Some(("a", 2)), 10).await.expect("answers");
        assert_eq!(numbers(&rest), [("a", 1), ("b", 1)]);
        let one = ledger.published("b", None, 10).await.expect("answers");
        assert_eq!(numbers(&one), [("b", 1)]);
    }
}
