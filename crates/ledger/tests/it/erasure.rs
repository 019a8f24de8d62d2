//! What is known of an address goes; what became of the messages stays, and the proof with it.

use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::record::State;
use paceline_domain::time::Millis;
use paceline_ledger::{Erased, Erasure, Filter, Ledger, LoggedMessage, MessageRow};

use crate::databases::{NOW, both, event, id, message, moved};

/// Messages 1, 2 and 4 are of this address, 3 is another's.
const JANE: [u8; 16] = [1; 16];

fn of_jane(number: u8) -> LoggedMessage {
    LoggedMessage {
        recipient: JANE.to_vec(),
        digests: vec![5; 16],
        ..message(number)
    }
}

pub(crate) fn erasure(name: &str, tenant: &str, at: Millis) -> Erasure {
    Erasure {
        id: name.to_owned(),
        tenant: tenant.to_owned(),
        address: JANE.to_vec(),
        at,
        who: "dana".to_owned(),
        why: "she asked for it".to_owned(),
    }
}

async fn row(ledger: &Ledger, number: u8) -> MessageRow {
    let timeline = ledger.timeline("shop", id(number)).await.expect("answers");
    timeline.expect("is there").row
}

async fn found(ledger: &Ledger) -> Vec<MessageId> {
    let filter = Filter {
        tenant: "shop".to_owned(),
        recipient: JANE.to_vec(),
        ..Filter::default()
    };
    let rows = ledger.search(&filter, None, 10).await.expect("answers");
    rows.into_iter().map(|row| row.message.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_is_not_found_and_what_became_of_the_mail_stays() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let mut told = event("ses:1", 1, "delivered");
        told.detail = "{\"provider_id\":\"0100\"}".to_owned();
        ledger
            .append(
                &[of_jane(1), of_jane(2), message(3)],
                &[moved(1, 1, State::Queued), moved(1, 2, State::Accepted)],
                &[],
            )
            .await
            .expect("written");
        ledger.record_events(vec![told]).await.expect("written");
        assert_eq!(ledger.count_of_address("shop", &JANE).await.expect("answers"), 2);

        let wished = erasure("e1", "shop", NOW);
        ledger.begin_erasure(&wished).await.expect("begun");
        for left in [1, 1, 0] {
            assert_eq!(ledger.erase(&wished, 1).await.expect("done"), left);
        }
        assert_eq!(found(ledger).await, []);
        let erased = row(ledger, 1).await;
        let message = &erased.message;
        assert!(message.recipient.is_empty() && message.user_hash.is_empty() && message.digests.is_empty());
        assert_eq!((message.tags.as_str(), erased.erased_at), ("[]", NOW));
        assert_eq!(erased.state, Some(State::Accepted), "what became of it stays");
        assert_eq!(row(ledger, 3).await.message, crate::databases::message(3));

        let timeline = ledger
            .timeline("shop", id(1))
            .await
            .expect("answers")
            .expect("is there");
        let details: Vec<_> = timeline
            .events
            .iter()
            .map(|event| event.event.detail.as_str())
            .collect();
        assert_eq!(
            details,
            ["{\"reason\":\"\"}", "{}"],
            "our own outcome, and the provider's"
        );
        let acts: Vec<_> = timeline
            .acts
            .iter()
            .map(|act| (act.act.as_str(), act.who.as_str()))
            .collect();
        assert_eq!(acts, [("erase", "dana")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_tells_what_was_taken_part_by_part() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let messages = [of_jane(1), of_jane(2)];
        ledger.append(&messages, &[], &[]).await.expect("written");
        let wished = erasure("e1", "shop", NOW);
        ledger.begin_erasure(&wished).await.expect("begun");
        let elsewhere = Erased {
            cancelled: 1,
            ..Erased::default()
        };
        let taken = [(id(9), NOW)];
        let noted = ledger.note_erased(&wished, &elsewhere, ("redis", &taken));
        noted.await.expect("noted");
        assert_eq!(ledger.erase(&wished, 10).await.expect("done"), 2);
        let finished = NOW + Duration::from_secs(1);
        ledger.finish_erasure("e1", finished).await.expect("noted");
        ledger.finish_erasure("e1", NOW).await.expect("noted before");

        let known = ledger.erasure("shop", "e1").await.expect("answers");
        let (of, proof) = known.expect("is there");
        assert_eq!(of, wished);
        let first = Erased::digest_of(&[], ("redis", &taken));
        let digest = Erased::digest_of(&first, ("ledger", &[(id(2), NOW), (id(1), NOW)]));
        let expected = Erased {
            cancelled: 1,
            messages: 2,
            digest,
            finished_at: finished,
            ..Erased::default()
        };
        assert_eq!(proof, expected);
        assert_eq!(ledger.erasure("other", "e1").await.expect("answers"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_messages_are_not_touched() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        ledger.append(&[of_jane(1)], &[], &[]).await.expect("written");
        let other = erasure("e1", "other", NOW);
        ledger.begin_erasure(&other).await.expect("begun");
        assert_eq!(ledger.erase(&other, 10).await.expect("answers"), 0);
        ledger
            .append(&[of_jane(1), of_jane(2)], &[], &[])
            .await
            .expect("written");
        assert_eq!(found(ledger).await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_late_comes_without_the_person_and_what_is_accepted_later_with_them() {
    for fresh in both().await {
        let ledger = &fresh.ledger;
        let known = [of_jane(1)];
        ledger.append(&known, &[], &[]).await.expect("written");
        // Of the second only a move was copied so far.
        ledger
            .append(&[], &[moved(2, 1, State::Queued)], &[])
            .await
            .expect("written");
        let wished = erasure("e1", "shop", NOW);
        ledger.begin_erasure(&wished).await.expect("begun");
        assert_eq!(ledger.erase(&wished, 10).await.expect("done"), 1);

        let mut later = of_jane(4);
        later.accepted_at = NOW + Duration::from_millis(1);
        let late = [of_jane(1), of_jane(2), message(3), later];
        ledger.append(&late, &[], &[]).await.expect("written");
        assert_eq!(found(ledger).await, [id(4)]);
        for number in [1, 2] {
            let row = row(ledger, number).await;
            assert!(
                row.message.recipient.is_empty() && row.message.tags == "[]",
                "{row:?}"
            );
            assert_eq!(row.erased_at, NOW);
        }

        // Once what was logged before has long been copied, the hash goes, too.
        assert_eq!(
            ledger.forget_erased_addresses(NOW).await.expect("done"),
            0,
            "not before"
        );
        let week = Duration::from_secs(7 * 86_400);
        assert_eq!(ledger.forget_erased_addresses(NOW + week).await.expect("done"), 1);
        let (of, _) = ledger
            .erasure("shop", "e1")
            .await
            .expect("answers")
            .expect("is there");
        assert_eq!((of.address, of.why.as_str()), (Vec::new(), "she asked for it"));
    }
}
