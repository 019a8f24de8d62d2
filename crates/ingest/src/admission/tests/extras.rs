//! Headers and tags.

use super::*;

#[test]
fn the_link_to_unsubscribe_is_nobody_elses() {
    let a = admission();
    let written = |name: &str| vec![header(name, "<https://elsewhere.example/>")];
    for name in ["List-Unsubscribe", "list-unsubscribe-post"] {
        refuses(&a, "headers[0].name", |r| {
            r.lane = v1::Lane::Bulk.into();
            r.headers = written(name);
        });
        refuses(&a, "headers[0].name", |r| {
            r.template = "digest".to_owned();
            r.headers = written(name);
        });
        admit(&a, |r| r.headers = written(name)).expect("mail without a link may have one of its own");
    }
    // SES takes 15 headers: three are ours, and two more of the link.
    let ten = || (0..10).map(|n| header(&format!("X-{n}"), "x")).collect();
    admit(&a, |r| {
        r.template = "digest".to_owned();
        r.headers = ten();
    })
    .expect("there is room for ten");
    refuses(&a, "headers", |r| {
        r.template = "heavy".to_owned();
        r.lane = v1::Lane::Bulk.into();
        r.headers = vec![header("X-1", "x")];
    });
}

#[test]
fn without_links_no_mail_is_taken_that_must_have_one() {
    let a = Admission {
        makes_links: false,
        ..admission()
    };
    refuses(&a, "lane", |r| r.lane = v1::Lane::Bulk.into());
    refuses(&a, "template", |r| r.template = "digest".to_owned());
    refuses(&a, "template", |r| {
        r.template = "digest".to_owned();
        r.lane = v1::Lane::Bulk.into();
    });
    admit(&a, |r| {
        r.headers = vec![header("List-Unsubscribe", "<mailto:no@example.com>")];
    })
    .expect("mail without a link may have one of its own");
}

#[test]
fn headers_and_tags() {
    let a = admission();
    let name = "headers[0].name";
    for reserved in [
        "From",
        "bcc",
        "SUBJECT",
        "Message-ID",
        "X-SES-Tenant",
        "X-Mailgun-Tag",
        "x-paceline-id",
        "Content-Type",
    ] {
        refuses(&a, name, |r| r.headers = vec![header(reserved, "x")]);
    }
    for bad in [
        "",
        "X s3cret",
        "X:s3cret",
        "X-s3cret\r\nBcc",
        "Größe-s3cret",
        &"x".repeat(127),
    ] {
        refuses(&a, name, |r| r.headers = vec![header(bad, "x")]);
    }
    let value = "headers[0].value";
    for bad in [
        "",
        "s3cret\r\nBcc: x@y.example",
        "s3cret\0",
        &"x".repeat(996),
        &"ü".repeat(500),
    ] {
        refuses(&a, value, |r| r.headers = vec![header("X-Order", bad)]);
    }
    refuses(&a, value, |r| {
        r.headers = vec![header(&"x".repeat(100), &"y".repeat(900))]
    });
    refuses(&a, "headers[1].name", |r| {
        r.headers = vec![header("X-A", "1"), header("x-a", "2")]
    });
    refuses(&a, "headers", |r| {
        r.headers = (0..11).map(|n| header(&format!("X-{n}"), "x")).collect()
    });
    refuses(&a, "headers", |r| {
        r.template = "heavy".to_owned();
        r.headers = (0..3).map(|n| header(&format!("X-{n}"), "x")).collect();
    });
    admit(&a, |r| {
        r.template = "heavy".to_owned();
        r.headers = (0..10).map(|n| header(&format!("x-own-{n}"), "x")).collect();
    })
    .expect("they take the place of the template's");

    for bad in ["", "s3cret tag", "s3cret.tag", "s3crét", &"x".repeat(257)] {
        refuses(&a, "tags[0].name", |r| r.tags = vec![tag(bad, "x")]);
        refuses(&a, "tags[0].value", |r| r.tags = vec![tag("x", bad)]);
    }
    refuses(&a, "tags[0].name", |r| r.tags = vec![tag("Paceline_id", "x")]);
    refuses(&a, "tags[1].name", |r| {
        r.tags = vec![tag("a", "x"), tag("a", "y")]
    });
    refuses(&a, "tags", |r| {
        r.tags = (0..7).map(|n| tag(&n.to_string(), "x")).collect()
    });
}
