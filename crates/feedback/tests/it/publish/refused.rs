//! Who may not publish, and what nobody may: nothing of it is kept.

use std::time::Duration;

use bytes::Bytes;
use paceline_testkit::ApiKeys;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use tonic::Code;

use super::{Files, bundle, client, listed, publish, publish_as};
use crate::support::Feedback;

#[tokio::test]
async fn a_key_needs_the_scope_for_all_tenants_and_is_named() {
    let keys = ApiKeys::of(&[
        ("ci", "*", &["publish", "templates"]),
        ("shop", "shop", &["publish"]),
        ("ops", "*", &["operate", "templates"]),
        ("look", "shop", &["templates"]),
    ]);
    let feedback = Feedback::start(&keys.setting()).await;
    for (key, expected) in [
        ("", reason::KEY_MISSING),
        ("shop-key", reason::TENANT_REFUSED),
        ("ops-key", reason::SCOPE_MISSING),
    ] {
        let refused = publish_as(&feedback.process, key, bundle("a", 1, "", "one")).await;
        let refused = RpcError::from(&refused.expect_err(key));
        assert_eq!(refused.reason, expected, "{key}");
    }
    let files = bundle("a", 1, "", "one");
    publish_as(&feedback.process, "ci-key", files)
        .await
        .expect("published");
    let mut ops = client(&feedback.process, "ops-key");
    let rows = ops.list_published(v1::ListPublishedRequest::default()).await;
    let rows = rows.expect("it may list").into_inner().templates;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].who, "ann (key ci)");
    let mut look = client(&feedback.process, "look-key");
    let rows = look.list_published(v1::ListPublishedRequest::default()).await;
    let rows = rows.expect("it may list").into_inner().templates;
    assert_eq!(
        (
            rows[0].template.as_str(),
            rows[0].who.as_str(),
            rows[0].why.as_str()
        ),
        ("a", "", "")
    );
}

fn with(path: &str, content: impl Into<Bytes>) -> Files {
    let mut files = bundle("a", 1, "", "one");
    files.insert(path.to_owned(), content.into());
    files
}

/// What is refused, by which file and with which problem.
fn hostile() -> Vec<(Files, &'static str, &'static str)> {
    let mut many = bundle("a", 1, "", "one");
    many.extend((0..200).map(|number| (format!("examples/{number}.json"), Bytes::from_static(b"{}"))));
    let heavy = (0..11).map(|number| {
        (
            format!("partials/p{number}.hbs"),
            Bytes::from(vec![b'x'; 50 * 1024]),
        )
    });
    let mut too_heavy = bundle("a", 1, "", "one");
    too_heavy.extend(heavy);
    let deep = format!("{}x{}", "{{#if a}}".repeat(999), "{{/if}}".repeat(999));
    let nested = format!(
        "{{{{#if {}a{}}}}}x{{{{/if}}}}",
        "(not ".repeat(3_900),
        ")".repeat(3_900)
    );
    vec![
        (many, "files", "206 files; at most 64"),
        (
            with("body.html.hbs", vec![b'x'; 60 * 1024]),
            "files",
            "61440 bytes; at most 51200",
        ),
        (too_heavy, "files", "at most 524288 are allowed together"),
        (with("../x", "x"), "files", "leads out of the folder"),
        (
            with("body.html.hbs", &b"<p>\xff\xfe</p>"[..]),
            "files.body.html.hbs",
            "UTF-8",
        ),
        (
            with("template.toml", "name = 7"),
            "files.template.toml",
            "[manifest]",
        ),
        (with("more.exe", "x"), "files.more.exe", "[unknown-file]"),
        (
            with("body.html.hbs", "<p>{{nam}}</p>"),
            "files.body.html.hbs",
            "line 1: ",
        ),
        (
            with("body.html.hbs", deep),
            "files.body.html.hbs",
            "within each other",
        ),
        (with("body.html.hbs", nested), "files.body.html.hbs", "[syntax]"),
        (
            with("body.html.hbs", "{{> a}}")
                .into_iter()
                .chain([("partials/a.hbs".to_owned(), Bytes::from_static(b"{{> a}}"))])
                .collect(),
            "files.",
            "itself",
        ),
        (
            bundle("a", 1, "fallback = \"b\"\n", "one"),
            "files.template.toml",
            "`b` is not there",
        ),
        (Files::new(), "files.template.toml", "[missing-file]"),
    ]
}

#[tokio::test]
async fn what_is_no_bundle_is_refused_by_file_and_problem_and_the_service_goes_on() {
    let feedback = Feedback::start("").await;
    for (files, field, problem) in hostile() {
        let call = publish(&feedback.process, files);
        let answer = tokio::time::timeout(Duration::from_secs(60), call).await;
        let refused = answer.expect("it answers").expect_err(problem);
        let refused = RpcError::from(&refused);
        assert_eq!(refused.code, Code::InvalidArgument, "{refused}");
        let is_it = refused
            .violations
            .iter()
            .any(|violation| violation.field.starts_with(field) && violation.problem.contains(problem));
        assert!(is_it, "{field}: {problem}: {refused:?}");
    }
    let rows = listed(&feedback.process, v1::ListPublishedRequest::default()).await;
    assert_eq!(rows.templates, []);
    publish(&feedback.process, bundle("a", 1, "", "one"))
        .await
        .expect("published");
}

#[tokio::test]
async fn what_is_said_has_bounds() {
    let feedback = Feedback::start("").await;
    let refused = async |change: &dyn Fn(&mut v1::PublishRequest)| {
        let mut request = v1::PublishRequest {
            files: bundle("a", 1, "", "one"),
            who: "ann".to_owned(),
            why: "a test".to_owned(),
            ..v1::PublishRequest::default()
        };
        change(&mut request);
        let answer = client(&feedback.process, "").publish(request).await;
        assert_eq!(answer.expect_err("refused").code(), Code::InvalidArgument);
    };
    refused(&|request| request.why.clear()).await;
    refused(&|request| request.why = "x".repeat(501)).await;
    refused(&|request| request.who = "a\nb".to_owned()).await;
    for wrong in [
        v1::ListPublishedRequest {
            page_size: 1_001,
            ..v1::ListPublishedRequest::default()
        },
        v1::ListPublishedRequest {
            page_token: "a".to_owned(),
            ..v1::ListPublishedRequest::default()
        },
        v1::ListPublishedRequest {
            template: "A b".to_owned(),
            ..v1::ListPublishedRequest::default()
        },
    ] {
        let answer = client(&feedback.process, "").list_published(wrong).await;
        assert_eq!(answer.expect_err("refused").code(), Code::InvalidArgument);
    }
}
