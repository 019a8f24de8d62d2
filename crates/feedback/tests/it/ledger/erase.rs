//! Erasing a person: wherever they are known, nobody else, once, and again after a crash.

use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_domain::time::Millis;
use paceline_wire::v1;
use tonic::Code;

use super::bench::{Mail, ledger_of};
use super::{event, id, message, search, timeline};
use crate::support::Feedback;

/// 2100-01-01T00:00:00Z.
const LATER: Millis = Millis(4_102_444_800_000);

pub(crate) fn request(recipient: &str) -> v1::EraseRequest {
    v1::EraseRequest {
        tenant: "acme".to_owned(),
        recipient: recipient.to_owned(),
        who: "dana".to_owned(),
        why: "asked for by letter 12".to_owned(),
        ..v1::EraseRequest::default()
    }
}

async fn erase(feedback: &Feedback, request: v1::EraseRequest) -> v1::Erasure {
    let answer = ledger_of(feedback)
        .await
        .erase(request)
        .await
        .expect("done")
        .into_inner();
    assert_eq!(answer.next_page_token, "", "little enough for one call");
    answer.erasure.expect("a proof")
}

/// Ada's mail: 1 in doubt, 2 dead, 3 being sent, 4 ready, 5 scheduled, 6 queued. Beside it: 7 is Bob's and ready, 8 another tenant's.
async fn mail(feedback: &Feedback) -> Mail {
    let mail = Mail::of(feedback).await;
    for number in 1..=3 {
        mail.accept(number, "acme", "ada@example.com", Millis(0)).await;
    }
    mail.render().await;
    let claimed = mail.claim().await;
    assert_eq!(claimed.len(), 3);
    for claim in &claimed {
        if claim.0 == id(1) {
            let reason = Reason::Timeout;
            mail.report(claim, Outcome::Unknown { reason }).await;
        } else if claim.0 == id(2) {
            let reason = Reason::MessageRefused;
            mail.report(claim, Outcome::Refused { reason }).await;
        }
    }
    mail.accept(4, "acme", "Ada@Example.com", Millis(0)).await;
    mail.accept(7, "acme", "bob@example.com", Millis(0)).await;
    mail.render().await;
    mail.accept(5, "acme", "ada@example.com", LATER).await;
    mail.accept(6, "acme", "ADA@example.com", Millis(0)).await;
    mail.accept(8, "other", "ada@example.com", Millis(0)).await;
    mail
}

#[tokio::test]
async fn what_waits_for_a_person_ends_and_nobody_elses_does() {
    let feedback = Feedback::start("").await;
    let mail = mail(&feedback).await;
    let dry = v1::EraseRequest {
        dry_run: true,
        ..request("ada@example.com")
    };
    let dry = erase(&feedback, dry).await;
    assert_eq!((dry.cancelled, dry.discarded, dry.sending), (3, 2, 1));
    assert!(dry.finished_at.is_none() && dry.erasure_id.is_empty(), "{dry:?}");
    assert_eq!(
        mail.record(6).await,
        (State::Queued, Reason::None),
        "nothing was done"
    );

    let proof = erase(&feedback, request("aDa@EXAMPLE.com")).await;
    assert_eq!((proof.cancelled, proof.discarded, proof.sending), (3, 2, 1));
    assert_eq!(proof.rendered, 1);
    assert!(
        proof.finished_at.is_some() && proof.digest.len() == 32,
        "{proof:?}"
    );
    for (number, state, gone) in [
        (1, State::Discarded, true),
        (2, State::Discarded, true),
        (3, State::Sending, false),
        (4, State::Cancelled, true),
        (5, State::Cancelled, true),
        (6, State::Cancelled, true),
        (7, State::Queued, false),
        (8, State::Queued, false),
    ] {
        let expected = if gone { Reason::Erased } else { Reason::None };
        assert_eq!(mail.record(number).await, (state, expected), "{number}");
        assert_eq!(mail.has_request(number).await, !gone, "{number}");
    }
    assert_eq!(mail.ready().await, [id(7)], "what was rendered for her is gone");
}

#[tokio::test]
async fn the_ledger_forgets_the_person_and_keeps_what_became_of_the_mail() {
    let feedback = Feedback::start("").await;
    let ledger = feedback.ledger().await;
    let sent = message(20, "ada@example.com", "7");
    let others = message(21, "bob@example.com", "8");
    let written = [sent.clone(), others];
    ledger.append(&written, &[], &[]).await.expect("written");
    let mut told = event(&sent, "ses:1", "delivered", 5);
    told.detail = "{\"provider_id\":\"0100\"}".to_owned();
    ledger.record_events(vec![told]).await.expect("written");

    let proof = erase(&feedback, request("ada@example.com")).await;
    assert_eq!((proof.messages, proof.events, proof.digest.len()), (1, 1, 32));
    let said = (proof.who.as_str(), proof.why.as_str());
    assert_eq!(said, ("dana", "asked for by letter 12"));
    let mut client = ledger_of(&feedback).await;
    for (address, count) in [("ada@example.com", 0), ("bob@example.com", 1)] {
        let by_address = v1::SearchRequest {
            recipient: address.to_owned(),
            ..search()
        };
        let found = client.search(by_address).await.expect("answers").into_inner();
        assert_eq!(found.messages.len(), count, "{address}");
    }
    let history = client.timeline(timeline("acme", id(20))).await.expect("stays");
    let history = history.into_inner();
    assert!(history.message.expect("a row").erased_at.is_some());
    assert_eq!(history.events[0].detail, "{}");
    let acts = history.acts.iter();
    let acts: Vec<_> = acts.map(|act| (act.act.as_str(), act.why.as_str())).collect();
    assert_eq!(acts, [("erase", "asked for by letter 12")]);
}

#[tokio::test]
async fn an_erasure_that_was_cut_is_finished_by_the_next_one_and_then_there_is_nothing_left() {
    let feedback = Feedback::start("").await;
    let mail = mail(&feedback).await;
    // What a crash leaves: some of it is done, and nothing was said of it.
    let done = mail.0.erase_all(0, &[id(4), id(6)], bytes::Bytes::new()).await;
    done.expect("redis is there");
    let proof = erase(&feedback, request("ada@example.com")).await;
    assert_eq!((proof.cancelled, proof.discarded, proof.sending), (1, 2, 1));
    assert_eq!(mail.record(5).await, (State::Cancelled, Reason::Erased));

    // What was being sent comes back, and is met the next time.
    let record = mail
        .0
        .get(id(3))
        .await
        .expect("redis is there")
        .expect("it is there");
    let reason = Reason::MessageRefused;
    mail.report(&(id(3), record), Outcome::Refused { reason }).await;
    let proof = erase(&feedback, request("ada@example.com")).await;
    assert_eq!((proof.cancelled, proof.discarded, proof.sending), (0, 1, 0));
    assert!(!mail.has_request(3).await);
    let proof = erase(&feedback, request("ada@example.com")).await;
    assert_eq!(
        (proof.cancelled, proof.discarded, proof.sending, proof.rendered),
        (0, 0, 0, 0)
    );
    assert_eq!(proof.digest.len(), 0, "nothing was taken");
}

#[tokio::test]
async fn what_is_no_erasure_is_refused_by_the_field() {
    let feedback = Feedback::start("").await;
    let mut client = ledger_of(&feedback).await;
    let good = request("ada@example.com");
    for (field, request) in [
        (
            "tenant",
            v1::EraseRequest {
                tenant: String::new(),
                ..good.clone()
            },
        ),
        (
            "recipient",
            v1::EraseRequest {
                recipient: "ada".to_owned(),
                ..good.clone()
            },
        ),
        (
            "who",
            v1::EraseRequest {
                who: String::new(),
                ..good.clone()
            },
        ),
        (
            "why",
            v1::EraseRequest {
                why: "x".repeat(501),
                ..good.clone()
            },
        ),
        (
            "page_token",
            v1::EraseRequest {
                page_token: "e1.0.0".to_owned(),
                ..good.clone()
            },
        ),
        (
            "page_token",
            v1::EraseRequest {
                page_token: "dry.0.0".to_owned(),
                ..good.clone()
            },
        ),
        (
            "page_token",
            v1::EraseRequest {
                page_token: "dry.9.0".to_owned(),
                dry_run: true,
                ..good
            },
        ),
    ] {
        let refused = client.erase(request).await.expect_err(field);
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused}");
        assert!(refused.message().contains(field), "{field}: {refused}");
    }
}
