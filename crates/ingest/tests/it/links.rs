//! Mail that people must be able to unsubscribe from is not taken where no links are made: not by a call, and not by a template.

use paceline_kit::SettingsError;
use paceline_wire::status::RpcError;
use paceline_wire::v1;
use tonic::Code;

use crate::running::{LINKS, Running, order};

fn bulk() -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        lane: v1::Lane::Bulk.into(),
        ..order(1)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_for_bulk_mail_is_refused_by_its_field_and_nothing_is_accepted() {
    let service = Running::start().await;
    let status = service.enqueue(bulk()).await.expect_err("no link is made");
    assert_eq!(status.code(), Code::InvalidArgument);
    let error = RpcError::from(&status);
    let fields: Vec<_> = error
        .violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    assert_eq!(fields, ["lane"], "{status:?}");
    assert_eq!(service.records().await, 0);
    service.enqueue(order(1)).await.expect("it needs no link");

    let service = Running::with(LINKS).await;
    service.enqueue(bulk()).await.expect("it gets a link");
    assert_eq!(service.records().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_whose_mail_must_have_a_link_is_not_started_with() {
    for manifest in ["lane = \"bulk\"", "lane = \"transactional\"\ncategory = \"news\""] {
        let started = Running::with_template(manifest, "").await;
        let error = started.err().unwrap_or_else(|| panic!("{manifest}: it started"));
        assert!(error.is::<SettingsError>(), "{error:?}");
        let text = error.to_string();
        assert!(
            text.starts_with("unsubscribe.base_url") && text.ends_with("templates offers"),
            "{text}"
        );
        let started = Running::with_template(manifest, LINKS).await;
        started.unwrap_or_else(|error| panic!("{manifest}: {error:#}"));
    }
}
