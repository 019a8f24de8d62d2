//! API keys before a listener's services. What each scope opens is tested beside the rules.

use paceline_kit::access::AccessSettings;
use paceline_kit::client::Connection;
use paceline_kit::tls::ServerTlsSettings;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::messages_service_client::MessagesServiceClient;
use paceline_wire::v1::templates_service_client::TemplatesServiceClient;
use tempfile::NamedTempFile;
use tonic::{Code, Request};

use crate::listener::{Listener, check, with_key};

// printf swordfish | sha256sum
const KEYS: &str = "[[key]]\nname = \"shop\"\nsha256 = \"b9f195c5cc7ef6afadbfbc42892ad47d3b24c6bc94bb510c4564a90a14e8b799\"\n\
                    tenant = \"shop\"\nscopes = [\"templates\", \"read\"]\n";

async fn guarded() -> (Listener, NamedTempFile) {
    let file = NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), KEYS).expect("writable");
    let access = AccessSettings {
        keys: file.path().to_owned(),
    };
    (
        Listener::start(&ServerTlsSettings::default(), &access).await,
        file,
    )
}

async fn list(connection: Connection) -> RpcError {
    let mut templates = TemplatesServiceClient::new(connection);
    let answer = templates.list(v1::ListTemplatesRequest {}).await;
    RpcError::from(&answer.expect_err("the listener has no such service"))
}

#[tokio::test]
async fn a_call_needs_a_known_key_of_its_scope() {
    let (listener, _file) = guarded().await;
    let refused = list(listener.connect(&with_key(""))).await;
    assert_eq!(
        (refused.code, refused.reason.as_ref()),
        (Code::Unauthenticated, reason::KEY_MISSING)
    );
    let refused = list(listener.connect(&with_key("Swordfish"))).await;
    assert_eq!(
        (refused.code, refused.reason.as_ref()),
        (Code::Unauthenticated, reason::KEY_UNKNOWN)
    );
    // Let in, and then there is no such service here.
    let passed = list(listener.connect(&with_key("swordfish"))).await;
    assert_eq!((passed.code, passed.reason.as_ref()), (Code::Unimplemented, ""));

    let mut messages = MessagesServiceClient::new(listener.connect(&with_key("swordfish")));
    let cancel = messages.cancel(v1::CancelRequest::default()).await;
    let refused = RpcError::from(&cancel.expect_err("no scope"));
    assert_eq!(
        (refused.code, refused.reason.as_ref()),
        (Code::PermissionDenied, reason::SCOPE_MISSING)
    );
    assert!(refused.message.contains("operate"), "{refused}");
    let queue = messages.queue(v1::QueueRequest {}).await;
    let refused = RpcError::from(&queue.expect_err("one tenant's"));
    assert_eq!(
        (refused.code, refused.reason.as_ref()),
        (Code::PermissionDenied, reason::TENANT_REFUSED)
    );

    let scraped = listener.telemetry.scrape();
    for reason in ["key_missing", "key_unknown", "scope_missing", "tenant_refused"] {
        let counted = scraped
            .lines()
            .find(|line| line.starts_with("access_refused_total") && line.contains(reason));
        assert!(
            counted.is_some_and(|line| line.ends_with(" 1")),
            "{reason}: {scraped}"
        );
    }
}

#[tokio::test]
async fn health_is_open_to_probes_without_a_key() {
    let (listener, _file) = guarded().await;
    check(listener.connect(&with_key(""))).await.expect("open");
}

#[tokio::test]
async fn only_one_header_with_the_bearer_scheme_counts() {
    let (listener, _file) = guarded().await;
    let open = listener.connect(&with_key(""));
    for (headers, code) in [
        (&["bearer swordfish"][..], Code::Unimplemented),
        (&["BEARER swordfish"], Code::Unimplemented),
        (&["Basic swordfish"], Code::Unauthenticated),
        (&["swordfish"], Code::Unauthenticated),
        (&["Bearer "], Code::Unauthenticated),
        (&["Bearer"], Code::Unauthenticated),
        (&["Bearer  swordfish"], Code::Unauthenticated),
        (&["Bearer swordfish", "Bearer swordfish"], Code::Unauthenticated),
        (&["Bearer nothing", "Bearer swordfish"], Code::Unauthenticated),
    ] {
        let mut request = Request::new(v1::ListTemplatesRequest {});
        for header in headers {
            let value = header.parse().expect("ASCII");
            request.metadata_mut().append("authorization", value);
        }
        let answer = TemplatesServiceClient::new(open.clone()).list(request).await;
        assert_eq!(answer.expect_err("no service").code(), code, "{headers:?}");
    }
}
