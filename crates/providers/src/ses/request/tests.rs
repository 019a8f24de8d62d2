//! The request that goes out is the one that the SDK would make of the whole message.

use std::sync::{Arc, Mutex};

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_sesv2::config::retry::RetryConfig;
use aws_sdk_sesv2::config::{
    BehaviorVersion, Config, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
};
use aws_sdk_sesv2::error::BoxError;
use aws_sdk_sesv2::operation::send_email::builders::SendEmailFluentBuilder;
use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;
use serde_json::Value;

use super::{Request, build, form};
use crate::message::{Attachment, Mailbox, OutgoingMessage, WriteGate};
use crate::ses::texts::Texts;

/// Keeps what would be written, and lets nothing out.
#[derive(Clone, Debug, Default)]
struct Capture(Arc<Mutex<Option<(Value, usize, String)>>>);

impl Intercept for Capture {
    fn name(&self) -> &'static str {
        "Capture"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let body = request.body().bytes().expect("no stream");
        let length = request.headers().get("content-length").expect("its length");
        let json = serde_json::from_slice(body).expect("JSON");
        *self.0.lock().expect("no panic") = Some((json, body.len(), length.to_owned()));
        Err("nothing is sent".into())
    }
}

fn client() -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-west-1"))
        .credentials_provider(Credentials::new(
            "look-alike",
            "look-alike",
            None,
            None,
            "look_alike",
        ))
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// What would be written of a request, its length checked.
async fn written(request: SendEmailFluentBuilder, texts: Option<Texts>) -> Value {
    let capture = Capture::default();
    let request = request.customize();
    let request = match texts {
        Some(texts) => request.interceptor(texts),
        None => request,
    };
    let sent = request.interceptor(capture.clone()).send().await;
    assert!(sent.is_err());
    let (json, bytes, length) = capture.0.lock().expect("no panic").take().expect("captured");
    assert_eq!(length, bytes.to_string());
    json
}

fn message(html: &'static str, text: &'static str) -> OutgoingMessage<'static> {
    let mailbox = Mailbox {
        address: "ada@x.example",
        display_name: "Ada \"\\ Ë",
    };
    OutgoingMessage {
        message_id: MessageId([7; 16]),
        accepted_at: Millis(1_790_000_000_123),
        attempt: 3,
        tenant: "shop.example/eu",
        template: "welcome",
        from: mailbox,
        reply_to: Some(mailbox),
        to: mailbox,
        // What stands before a body in the SDK's form.
        subject: "\"Text\":{\"Data\":\"\",\"Html\":{\"Data\":\"\"",
        html,
        text,
        headers: vec![("X-Note", "\"Html\":{\"Data\":\"\"")],
        tags: vec![("campaign", "spring-26")],
        attachments: vec![Attachment {
            file_name: "\"Html\":{\"Data\":\"\".png",
            content_type: "image/png",
            content: Bytes::from_static(b"\x89PNG"),
            content_id: "logo",
        }],
        tracking: Some(false),
        configuration_set: "events",
        tenant_name: Some("shop"),
        via: "",
        traceparent: "",
        gate: WriteGate::default(),
    }
}

#[tokio::test]
async fn a_filled_request_is_the_sdk_s_own() {
    let all: String = (0..=0x2100)
        .filter_map(char::from_u32)
        .chain(['\u{1f600}'])
        .collect();
    let all: &'static str = all.leak();
    for (html, text) in [
        (
            "<p class=\"a\">\\ \"Html\":{\"Data\":\"\"</p>\n",
            "\"Html\":{\"Data\":\"\"",
        ),
        (all, all),
        (all, ""),
        ("", all),
        ("", ""),
    ] {
        let message = message(html, text);
        let own = form(client().send_email(), &message, |body| body).expect("complete");
        let Request { form, texts } = build(client().send_email(), &message).expect("complete");
        assert_eq!(written(form, Some(texts)).await, written(own, None).await);
    }
}

#[tokio::test]
async fn a_form_that_is_not_known_is_not_sent() {
    let Request { texts, .. } = build(client().send_email(), &message("<p>", "t")).expect("complete");
    let capture = Capture::default();
    let request = client().send_email().customize().interceptor(texts);
    let sent = request.interceptor(capture.clone()).send().await;
    assert!(sent.is_err());
    assert!(capture.0.lock().expect("no panic").is_none());
}
