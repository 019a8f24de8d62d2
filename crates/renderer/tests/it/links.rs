//! Links to unsubscribe: in the headers and the body of mail that has a category, signed for its recipient, and of nobody else's
//! making.

use paceline_domain::address::Address;
use paceline_domain::keyed::address_hash;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_domain::unsubscribe::{SigningKey, UnsubscribeKeys};
use paceline_kit::SettingsError;
use paceline_templates::{Files, Template};
use paceline_wire::v1::{Header, Lane, RenderedMessage, StoredRequest};

use crate::support::{ADDRESS_KEY, Bench, message, message_of, rendered};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The second key is the one of older mail.
fn settings() -> String {
    format!(
        "[unsubscribe]\nbase_url = \"https://mail.example.com/\"\n\
         keys = [{{ id = \"new\", secret = \"{SECRET}\" }}, {{ id = \"old\", secret = \"{ADDRESS_KEY}\" }}]\n"
    )
}

fn files(manifest: &str) -> Files {
    [
        (
            "template.toml",
            format!("name = \"news\"\nversion = 1\n{manifest}\nfrom = {{ address = \"a@example.com\" }}\n"),
        ),
        ("subject.hbs", "News".to_owned()),
        (
            "body.html.hbs",
            "<a href=\"{{paceline.unsubscribe_url}}\">no more</a>".to_owned(),
        ),
        ("body.txt.hbs", "No more: {{paceline.unsubscribe_url}}".to_owned()),
        ("schema.json", "{}".to_owned()),
        ("examples/first.json", "{}".to_owned()),
    ]
    .map(|(path, text)| (path.to_owned(), text.into_bytes()))
    .into()
}

fn template(manifest: &str) -> Template {
    Template::from_files(&files(manifest)).expect("a good bundle")
}

fn header(name: &str, value: &str) -> Header {
    Header {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// The link of a rendered message: it stands in header, html and text, once in each.
fn link(parts: &RenderedMessage) -> String {
    let named = |name: &str| -> Vec<&str> {
        let of_name = parts
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        of_name.map(|header| header.value.as_str()).collect()
    };
    assert_eq!(named("list-unsubscribe-post"), ["List-Unsubscribe=One-Click"]);
    let [value] = named("list-unsubscribe")[..] else {
        panic!("one header expected, not {:?}", parts.headers);
    };
    let url = value.strip_prefix('<').and_then(|value| value.strip_suffix('>'));
    let url = url.expect("a URL in angle brackets");
    assert_eq!(parts.html, format!("<a href=\"{url}\">no more</a>"));
    assert_eq!(parts.text, format!("No more: {url}"));
    url.to_owned()
}

async fn render(
    bench: &Bench,
    number: u16,
    template: &Template,
    change: impl FnOnce(&mut StoredRequest),
) -> RenderedMessage {
    bench.put(template).await;
    bench.accept(message_of(number, template, change)).await;
    rendered(&bench.ready(1).await[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_mail_has_a_signed_link_in_headers_and_bodies() {
    let bench = Bench::start().await;
    let news = template("lane = \"bulk\"\ncategory = \"product-news\"");
    bench.publish("news", files("lane = \"bulk\"\ncategory = \"product-news\""));
    let renderer = bench.renderer(&settings());
    bench.put(&news).await;
    let sent = message_of(1, &news, |request| request.headers = vec![header("X-Own", "x")]);
    let record = bench.accept(sent.clone()).await;
    let parts = rendered(&bench.ready(1).await[0]);
    let url = link(&parts);
    assert_eq!(parts.headers[0], header("X-Own", "x"));
    let token = url
        .strip_prefix("https://mail.example.com/unsubscribe/")
        .expect("the base URL");
    let key = SigningKey {
        id: "new".to_owned(),
        secret: SECRET.into(),
    };
    let keys = UnsubscribeKeys::new(vec![key]).expect("a good key");
    let link = keys.verify(token).expect("the first key signed it");
    assert_eq!(
        (link.tenant.as_str(), link.category.as_str()),
        ("acme", "product-news")
    );
    assert_eq!((link.message_id, link.accepted_at), (sent.id, record.accepted_at));
    let address = Address::parse("user1@example.com").expect("an address");
    assert_eq!(link.address, address_hash(ADDRESS_KEY.as_bytes(), &address));
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_in_the_place_of_the_link_is_not_sent() {
    let bench = Bench::start().await;
    let renderer = bench.renderer(&settings());
    // A bundle of before, which a message pinned, and a request of before.
    let old = "lane = \"bulk\"\nheaders = { List-Unsubscribe = \"<mailto:a@example.com>\" }";
    let parts = render(&bench, 1, &template(old), |request| {
        request.headers = vec![
            header("list-unsubscribe", "<https://elsewhere.example>"),
            header("List-Unsubscribe-Post", "x"),
        ];
    })
    .await;
    assert!(link(&parts).starts_with("https://mail.example.com/unsubscribe/"));
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactional_mail_has_a_link_only_with_a_category_or_in_the_bulk_lane() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let renderer = bench.renderer(&settings());
    bench.accept(message(1, "{\"name\": \"Ada\"}")).await;
    let parts = rendered(&bench.ready(1).await[0]);
    assert_eq!(parts.headers, []);
    let digest = template("lane = \"transactional\"\ncategory = \"digest\"");
    link(&render(&bench, 2, &digest, |_| {}).await);
    let plain = template("lane = \"transactional\"");
    link(&render(&bench, 3, &plain, |request| request.lane = Lane::Bulk.into()).await);
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_whose_mail_must_have_a_link_is_not_started_with() {
    for manifest in [
        "lane = \"bulk\"",
        "lane = \"transactional\"\ncategory = \"digest\"",
    ] {
        let bench = Bench::start().await;
        bench.publish("news", files(manifest));
        let error = bench.renderer("").refused().await;
        assert!(error.is::<SettingsError>(), "{error:?}");
        let text = error.to_string();
        assert!(
            text.starts_with("unsubscribe.base_url") && text.ends_with("templates news"),
            "{text}"
        );
        let renderer = bench.renderer(&settings());
        let bundle = template(manifest);
        link(&render(&bench, 1, &bundle, |_| {}).await);
        renderer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_must_have_a_link_waits_for_a_renderer_that_makes_one() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    // Accepted by an ingest whose renderers make links.
    let renderer = bench.renderer("");
    let sent = message_of(1, &crate::support::template(), |request| {
        request.lane = Lane::Bulk.into();
        request.data = bytes::Bytes::from_static(b"{\"name\": \"Ada\"}");
    });
    bench.accept(sent.clone()).await;
    let waiting = bench.becomes(sent.id, State::Deferred).await;
    assert_eq!((waiting.reason, waiting.tries), (Reason::UnsubscribeUnset, 0));
    renderer.stop().await;
    let renderer = bench.renderer(&settings());
    let parts = rendered(&bench.ready(1).await[0]);
    assert!(
        parts
            .headers
            .iter()
            .any(|header| header.name == "List-Unsubscribe")
    );
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_for_which_nobody_makes_a_link_is_dead_with_the_reason() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let renderer = bench.renderer("templates.missing_max = \"1s\"\n");
    let sent = message_of(1, &crate::support::template(), |request| {
        request.lane = Lane::Bulk.into()
    });
    bench.accept(sent.clone()).await;
    let dead = bench.becomes(sent.id, State::Dead).await;
    assert_eq!(dead.reason, Reason::UnsubscribeUnset);
    renderer.stop().await;
}
