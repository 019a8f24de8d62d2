//! What Mailgun gets to see of a message.

use bytes::Bytes;
use paceline_domain::reason::Reason;
use paceline_local::Provider;
use paceline_providers::{Attachment, Mailbox, MailgunRegion, MailgunSettings, OutgoingMessage, SendOutcome};

use super::{DOMAIN, KEY, client, client_with, connect, patient, start};
use crate::{PATIENT, message};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn attached(file_name: &'static str, content_id: &'static str, content: Bytes) -> Attachment<'static> {
    Attachment {
        file_name,
        content_type: "application/pdf",
        content,
        content_id,
    }
}

/// A message that has everything.
fn whole() -> OutgoingMessage<'static> {
    let mut message = message();
    message.reply_to = Some(Mailbox {
        address: "help@x.example",
        display_name: "Hilfe für alle, täglich",
    });
    message.headers = vec![("List-Unsubscribe", "<https://x.example/u>"), ("X-Note", "Größe")];
    message.tags = vec![("campaign", "spring-26"), ("team", "a"), ("step", "3")];
    message.tracking = Some(false);
    message.traceparent = TRACEPARENT;
    message
}

fn pairs<'a, S: 'a + AsRef<str>>(pairs: impl IntoIterator<Item = (&'a S, &'a S)>) -> Vec<(&'a str, &'a str)> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.as_ref(), value.as_ref()))
        .collect()
}

#[tokio::test]
async fn a_message_arrives_whole() {
    let lookalike = start().await;
    let message = whole();
    let outcome = client(lookalike.url()).send(&message).await;
    let SendOutcome::Accepted { provider_id } = outcome else {
        panic!("{outcome:?}");
    };
    let mail = lookalike.inbox(0, 10).remove(0);
    assert_eq!(mail.provider, Provider::Mailgun);
    assert_eq!(provider_id, format!("{}@{DOMAIN}", mail.id));
    assert_eq!(mail.from, "\"Shop, the best\" <shop@x.example>");
    assert_eq!(mail.to, ["=?utf-8?b?Wm/Dqw==?= <ada@customer.example>"]);
    // Python: base64.b64encode("Hilfe für alle, täglich".encode()).
    let reply_to = "=?utf-8?b?SGlsZmUgZsO8ciBhbGxlLCB0w6RnbGljaA==?= <help@x.example>";
    assert_eq!(mail.reply_to, [reply_to]);
    assert_eq!(mail.subject, "Grüße, Zoë");
    assert_eq!(mail.traceparent.as_deref(), Some(TRACEPARENT));
    let id = message.message_id.to_string();
    let expected_variables = [
        ("campaign", "spring-26"),
        ("paceline_accepted", "1790000000123"),
        ("paceline_attempt", "3"),
        ("paceline_id", &id),
        ("paceline_template", "welcome"),
        ("paceline_tenant", "shop.example/eu"),
        ("step", "3"),
        ("team", "a"),
    ];
    assert_eq!(pairs(&mail.tags), expected_variables);
    let expected_headers = [
        ("List-Unsubscribe", "<https://x.example/u>"),
        ("X-Note", "=?utf-8?b?R3LDtsOfZQ==?="),
        ("X-Paceline-Accepted", "1790000000123"),
        ("X-Paceline-Attempt", "3"),
        ("X-Paceline-Id", &id),
    ];
    assert_eq!(pairs(&mail.headers), expected_headers);
    let expected_options = [
        ("domain", DOMAIN),
        ("o:tracking", "no"),
        ("o:tracking-opens", "no"),
        ("o:tracking-clicks", "no"),
        ("o:tag", "welcome"),
        ("o:tag", "campaign:spring-26"),
        ("o:tag", "team:a"),
    ];
    let options = mail.options.iter().map(|(name, value)| (name, value));
    assert_eq!(pairs(options), expected_options);
}

#[tokio::test]
async fn tracking_is_the_template_s_choice_where_the_settings_allow_it() {
    let lookalike = start().await;
    for (allowed, wanted, said) in [
        (true, Some(true), "yes"),
        (true, Some(false), "no"),
        (true, None, "no"),
        (false, Some(true), "no"),
        (false, Some(false), "no"),
        (false, None, "no"),
    ] {
        let settings = MailgunSettings {
            tracking: allowed,
            ..patient(PATIENT)
        };
        let mut message = message();
        message.tracking = wanted;
        let mailgun = connect(settings, lookalike.url(), KEY).domain(DOMAIN, None);
        let outcome = mailgun.expect("a domain").send(&message).await;
        assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
        let mail = lookalike.inbox(0, 10).pop().expect("it arrived");
        let options = mail.options.iter();
        let tracking: Vec<_> = options
            .filter(|(name, _)| name.starts_with("o:tracking"))
            .collect();
        assert_eq!(tracking.len(), 3, "{tracking:?}");
        let wrong = tracking.iter().filter(|(_, value)| value != said).count();
        assert_eq!(wrong, 0, "{allowed} {wanted:?}: {tracking:?}");
    }
}

#[tokio::test]
async fn attachments_arrive_byte_for_byte() {
    let lookalike = start().await;
    let every_byte: Vec<u8> = (0..=u8::MAX).cycle().take(100_000).collect();
    let contents = [
        Bytes::from(every_byte),
        Bytes::from_static(
            b"\r\n--paceline-0\r\nContent-Disposition: form-data; name=\"bcc\"\r\n\r\nb@x.example\r\n",
        ),
        Bytes::new(),
    ];
    let mut message = message();
    message.attachments = vec![
        attached("Größe, \u{202f}株式会社.pdf", "", contents[0].clone()),
        attached("logo.png", "logo", contents[1].clone()),
        attached("empty", "", contents[2].clone()),
    ];
    message.attachments[1].content_type = "";
    let outcome = client(lookalike.url()).send(&message).await;
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    let mail = lookalike.inbox(0, 1).remove(0);
    for (index, content) in contents.iter().enumerate() {
        assert_eq!(
            lookalike.attachment(&mail.id, index).as_ref(),
            Some(content),
            "{index}"
        );
    }
    let parts: Vec<(&str, &str, bool)> = mail
        .attachments
        .iter()
        .map(|part| (part.file_name.as_str(), part.content_type.as_str(), part.inline))
        .collect();
    let expected = [
        ("Größe, \u{202f}株式会社.pdf", "application/pdf", false),
        // The name is what the html refers to: `cid:logo`.
        ("logo", "application/octet-stream", true),
        ("empty", "application/pdf", false),
    ];
    assert_eq!(parts, expected);
    assert_eq!(mail.to.len(), 1, "no content adds a field");
}

#[tokio::test]
async fn what_would_break_a_header_is_refused_before_it_is_sent() {
    let lookalike = start().await;
    let mailgun = client(lookalike.url());
    let injected = "x\r\nBcc: everyone@x.example";
    let mut in_subject = message();
    in_subject.subject = injected;
    let mut in_name = message();
    in_name.to.display_name = injected;
    let mut in_address = message();
    in_address.to.address = "a@x.example\r\nBcc: b@x.example";
    let mut second_recipient = message();
    second_recipient.to.address = "a@x.example,b@x.example";
    let mut in_reply_to = message();
    in_reply_to.reply_to = Some(Mailbox {
        address: "a@x.example",
        display_name: injected,
    });
    let mut in_header = message();
    in_header.headers = vec![("X-Note", injected)];
    let mut in_header_name = message();
    in_header_name.headers = vec!["X-Note\"\r\n\r\nx"]
        .into_iter()
        .map(|name| (name, "x"))
        .collect();
    let mut in_file_name = message();
    in_file_name.attachments = vec![attached("a\r\n\r\nb", "", Bytes::new())];
    let mut in_content_id = message();
    in_content_id.attachments = vec![attached("a", "a\r\nb", Bytes::new())];
    let mut in_media_type = message();
    in_media_type.attachments = vec![attached("a", "", Bytes::new())];
    in_media_type.attachments[0].content_type = "a/b\r\n\r\nx";
    let mut an_order = message();
    an_order.headers = vec![("X-Mailgun-Variables", "{\"paceline_id\": \"another\"}")];
    for message in [
        in_subject,
        in_name,
        in_address,
        second_recipient,
        in_reply_to,
        in_header,
        in_header_name,
        in_file_name,
        in_content_id,
        in_media_type,
        an_order,
    ] {
        let reason = Reason::MessageRefused;
        assert_eq!(
            mailgun.send(&message).await,
            SendOutcome::Refused { reason },
            "{message:?}"
        );
    }
    assert_eq!(lookalike.stats().requests, 0);
}

#[tokio::test]
async fn a_quote_in_a_name_does_not_end_it() {
    let lookalike = start().await;
    let mut message = message();
    message.attachments = vec![attached("a\"; name=\"bcc.pdf", "", Bytes::from_static(b"x"))];
    let outcome = client(lookalike.url()).send(&message).await;
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    let mail = lookalike.inbox(0, 1).remove(0);
    assert_eq!(
        mail.attachments[0].file_name, "a%22; name=%22bcc.pdf",
        "as browsers escape it"
    );
}

#[tokio::test]
async fn what_mailgun_would_not_take_is_refused_before_it_is_sent() {
    let lookalike = start().await;
    let mailgun = client(lookalike.url());
    let long = "x".repeat(900);
    let mut fits = message();
    fits.headers = vec![("X-Note", &long); 17];
    let outcome = mailgun.send(&fits).await;
    assert!(
        matches!(outcome, SendOutcome::Accepted { .. }),
        "under 16 kB: {outcome:?}"
    );
    let mut options = message();
    options.headers = vec![("X-Note", &long); 18];
    let mut large = message();
    large.attachments = vec![attached("large", "", Bytes::from(vec![b'x'; 25_000_000]))];
    for message in [options, large] {
        let reason = Reason::MessageTooLarge;
        assert_eq!(mailgun.send(&message).await, SendOutcome::Refused { reason });
    }
    assert_eq!(lookalike.stats().requests, 1);
}

#[tokio::test]
async fn tags_keep_to_mailguns_limits() {
    let lookalike = start().await;
    let long = "x".repeat(256);
    let mut message = message();
    message.template = "größe\n";
    message.tags = vec![("long", &long), ("b", "c"), ("d", "e")];
    let outcome = client(lookalike.url()).send(&message).await;
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    let mail = lookalike.inbox(0, 1).remove(0);
    let tags: Vec<&str> = mail
        .options
        .iter()
        .filter(|(name, _)| name == "o:tag")
        .map(|(_, value)| value.as_str())
        .collect();
    let cut = format!("long:{}", "x".repeat(123));
    assert_eq!(tags, ["gr__e_", cut.as_str(), "b:c"]);
    assert_eq!(mail.tags["long"], long, "the variable is whole");
}

#[tokio::test]
async fn a_broken_traceparent_costs_nothing() {
    let lookalike = start().await;
    let mut message = message();
    message.traceparent = "a\r\nb";
    let outcome = client(lookalike.url()).send(&message).await;
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    assert_eq!(lookalike.inbox(0, 1)[0].traceparent, None);
}

#[test]
fn a_domain_never_leads_elsewhere() {
    let mailgun = client_with("http://127.0.0.1:9".to_owned(), KEY);
    let long = format!("{}.example", "x".repeat(250));
    for bad in [
        "",
        ".",
        "a..b",
        "a/b",
        "a%2fb",
        "a?b",
        "a b",
        "a@b",
        "größe.example",
        &long,
    ] {
        assert!(mailgun.domain(bad, None).is_err(), "{bad}");
    }
    let region = Some(MailgunRegion::Eu);
    assert!(mailgun.domain("mg.x-y.example", region).is_ok());
}
