//! What SES gets to see of a message.

use bytes::Bytes;
use paceline_domain::reason::Reason;
use paceline_providers::{Attachment, Mailbox, OutgoingMessage, SendOutcome, WriteGate};

use super::{client, message, start};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A message that has everything.
fn whole() -> OutgoingMessage<'static> {
    let mut message = message();
    message.reply_to = Some(Mailbox {
        address: "help@x.example",
        display_name: "Help",
    });
    message.headers = vec![("List-Unsubscribe", "<https://x.example/u>"), ("X-Note", "Größe")];
    message.tags = vec![("campaign", "spring-26")];
    message.tenant_name = Some("shop");
    message.traceparent = TRACEPARENT;
    message.attachments = vec![
        Attachment {
            file_name: "receipt.pdf",
            content_type: "application/pdf",
            content: Bytes::from_static(b"%PDF"),
            content_id: "",
        },
        Attachment {
            file_name: "logo.png",
            content_type: "image/png",
            content: Bytes::from_static(b"\x89PNG"),
            content_id: "logo",
        },
    ];
    message
}

#[tokio::test]
async fn a_message_arrives_whole() {
    let lookalike = start().await;
    let message = whole();
    let outcome = client(lookalike.url()).await.send(&message).await;
    let SendOutcome::Accepted { provider_id } = outcome else {
        panic!("{outcome:?}");
    };
    let mail = lookalike.inbox(0, 10).remove(0);
    assert_eq!(mail.id, provider_id);
    assert_eq!(mail.from, "\"Shop, the best\" <shop@x.example>");
    assert_eq!(mail.to, ["=?utf-8?b?Wm/Dqw==?= <ada@customer.example>"]);
    assert_eq!(mail.subject, "Grüße, Zoë");
    assert_eq!(mail.configuration_set.as_deref(), Some("events"));
    assert_eq!(mail.tenant_name.as_deref(), Some("shop"));
    assert_eq!(mail.traceparent.as_deref(), Some(TRACEPARENT));
    let id = message.message_id.to_string();
    let expected_tags = [
        ("campaign", "spring-26"),
        ("paceline_accepted", "1790000000123"),
        ("paceline_attempt", "3"),
        ("paceline_id", &id),
        ("paceline_template", "welcome"),
        ("paceline_tenant", "shop_example_eu"),
    ];
    let tags: Vec<(&str, &str)> = mail
        .tags
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(tags, expected_tags);
    let expected_headers = [
        ("List-Unsubscribe", "<https://x.example/u>"),
        ("X-Note", "=?utf-8?b?R3LDtsOfZQ==?="),
        ("X-Paceline-Accepted", "1790000000123"),
        ("X-Paceline-Attempt", "3"),
        ("X-Paceline-Id", &id),
    ];
    let headers: Vec<(&str, &str)> = mail
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(headers, expected_headers);
    assert_eq!(mail.attachments.len(), 2);
    assert_eq!(
        (
            mail.attachments[0].file_name.as_str(),
            mail.attachments[0].inline,
            mail.attachments[0].bytes
        ),
        ("receipt.pdf", false, 4)
    );
    assert!(mail.attachments[1].inline);
}

#[tokio::test]
async fn tracking_is_said_both_ways_or_left_to_the_configuration_set() {
    let lookalike = start().await;
    let ses = client(lookalike.url()).await;
    for (wanted, said) in [
        (Some(true), Some("ENABLED")),
        (Some(false), Some("DISABLED")),
        (None, None),
    ] {
        let mut message = message();
        message.tracking = wanted;
        let outcome = ses.send(&message).await;
        assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
        let mail = lookalike.inbox(0, 10).pop().expect("it arrived");
        let options: Vec<_> = mail
            .options
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let expected = said.map_or(Vec::new(), |said| {
            vec![("open_tracking", said), ("click_tracking", said)]
        });
        assert_eq!(options, expected);
    }
}

#[tokio::test]
async fn what_would_break_a_header_is_refused_before_it_is_sent() {
    let lookalike = start().await;
    let ses = client(lookalike.url()).await;
    let injected = "x\r\nBcc: everyone@x.example";
    let mut in_subject = message();
    in_subject.subject = injected;
    let mut in_name = message();
    in_name.to.display_name = injected;
    let mut in_address = message();
    in_address.to.address = "a@x.example\r\nBcc: b@x.example";
    let mut in_header = message();
    in_header.headers = vec![("X-Note", injected)];
    let mut too_many = message();
    too_many.headers = vec![("X-Note", "x"); 13];
    for message in [in_subject, in_name, in_address, in_header, too_many] {
        let reason = Reason::MessageRefused;
        assert_eq!(ses.send(&message).await, SendOutcome::Refused { reason });
    }
    assert_eq!(lookalike.stats().requests, 0);
}

#[tokio::test]
async fn a_broken_traceparent_costs_nothing() {
    let lookalike = start().await;
    let mut message = message();
    message.traceparent = "a\r\nb";
    let outcome = client(lookalike.url()).await.send(&message).await;
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    assert_eq!(lookalike.inbox(0, 1)[0].traceparent, None);
}

#[tokio::test]
async fn nothing_is_written_once_the_gate_is_closed() {
    let lookalike = start().await;
    let mut message = message();
    message.gate = WriteGate::new(|| false);
    let outcome = client(lookalike.url()).await.send(&message).await;
    let reason = Reason::NotWritten;
    assert_eq!(outcome, SendOutcome::Transient { reason });
    assert_eq!(lookalike.stats().requests, 0);
}
