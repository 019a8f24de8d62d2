//! What a template keeps is there until its time is over, or its person asks.

use std::time::Duration;

use paceline_domain::record::State;
use paceline_ledger::Kept;

use crate::databases::{NOW, both, id, message, moved};
use crate::erasure::erasure;

const DAY: Duration = Duration::from_secs(86_400);

fn kept(number: u8, generation: u32, content: &str) -> Kept {
    Kept {
        id: id(number),
        accepted_at: NOW,
        generation,
        until: NOW + 30 * DAY,
        content: content.as_bytes().to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_shown_to_its_tenant_until_its_time_is_over() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let first = [moved(1, 1, State::Queued)];
        ledger.append(&[message(1)], &first, &[]).await.expect("written");
        let all = [kept(1, 0, "{}"), kept(1, 1, "parts")];
        ledger.keep(&all).await.expect("written");
        ledger.keep(&[kept(1, 1, "other")]).await.expect("written");
        assert_eq!(
            ledger.kept("shop", id(1)).await.expect("answers"),
            all,
            "what came first stays"
        );
        assert_eq!(ledger.kept("other", id(1)).await.expect("answers"), []);
        assert_eq!(ledger.kept("shop", id(2)).await.expect("answers"), []);

        let before = NOW + 29 * DAY;
        assert_eq!(ledger.drop_kept(before).await.expect("answers"), 0);
        assert_eq!(ledger.drop_kept(NOW + 30 * DAY).await.expect("answers"), 2);
        assert_eq!(ledger.kept("shop", id(1)).await.expect("answers"), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_of_a_template_come_with_what_was_rendered_last() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let messages = [message(1), message(2), message(3)];
        ledger.append(&messages, &[], &[]).await.expect("written");
        let later = |mut kept: Kept, seconds| {
            kept.accepted_at = NOW + Duration::from_secs(seconds);
            kept
        };
        let template = messages[0].template.clone();
        let all = [
            kept(1, 0, "{}"),
            kept(1, 1, "first"),
            kept(1, 2, "last"),
            kept(2, 0, "{}"),
        ];
        ledger.keep(&all).await.expect("written");
        // Of an acceptance that the ledger does not know, and of a message without a payload.
        ledger
            .keep(&[later(kept(2, 0, "{}"), 5), kept(3, 1, "parts")])
            .await
            .expect("written");
        let newest = |count| ledger.newest_kept("shop", &template, count);
        let expected = [all[0].clone(), all[2].clone(), all[3].clone()];
        assert_eq!(newest(10).await.expect("answers"), expected);
        assert_eq!(newest(1).await.expect("answers"), expected[..2]);
        assert_eq!(
            ledger.newest_kept("other", &template, 10).await.expect("answers"),
            []
        );
        assert_eq!(
            ledger.newest_kept("shop", "nothing", 10).await.expect("answers"),
            []
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_person_it_is_erased_and_comes_back_by_no_repetition() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        ledger
            .append(&[message(1), message(2)], &[], &[])
            .await
            .expect("written");
        let all = [kept(1, 0, "{}"), kept(2, 0, "{}")];
        ledger.keep(&all).await.expect("written");
        let wished = erasure("e1", "shop", NOW);
        ledger.begin_erasure(&wished).await.expect("begun");
        assert_eq!(ledger.erase(&wished, 10).await.expect("written"), 1);
        ledger.keep(&all).await.expect("written");
        assert_eq!(ledger.kept("shop", id(1)).await.expect("answers"), []);
        assert_eq!(ledger.kept("shop", id(2)).await.expect("answers"), all[1..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_its_acceptance_goes_with_an_acceptance_of_somebody_erased() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let wished = erasure("e1", "shop", NOW);
        ledger.begin_erasure(&wished).await.expect("begun");
        let all = [kept(1, 1, "parts"), kept(2, 1, "parts")];
        ledger.keep(&all).await.expect("written");
        ledger
            .append(&[message(1), message(2)], &[], &[])
            .await
            .expect("written");
        assert_eq!(ledger.kept("shop", id(1)).await.expect("answers"), []);
        assert_eq!(ledger.kept("shop", id(2)).await.expect("answers"), all[1..]);
    }
}
