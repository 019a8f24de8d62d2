//! The inbox page, with hostile mail.

use serde_json::{Value, json};

use super::{email, get, send, start};

const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>";

/// A mail that is hostile wherever SES's checks allow it.
fn hostile() -> Value {
    let mut mail = email("ada@x.example");
    let simple = &mut mail["Content"]["Simple"];
    simple["Subject"]["Data"] = json!(HOSTILE);
    simple["Body"]["Text"]["Data"] = json!(HOSTILE);
    simple["Body"]["Html"]["Data"] = json!(format!("{HOSTILE}<p>mail</p>\"></iframe>"));
    simple["Headers"] = json!([{"Name": "X-<b>", "Value": HOSTILE}]);
    simple["Attachments"] = json!([
        {"FileName": HOSTILE.replace('/', ""), "ContentType": HOSTILE, "RawContent": "PHNjcmlwdD4="},
    ]);
    mail["FromEmailAddress"] = json!("\"<script>alert(1)<script>\" <shop@x.example>");
    mail
}

#[tokio::test]
async fn no_page_lets_a_mail_out_of_its_box() {
    let lookalike = start().await;
    let answer = send(&lookalike, &hostile()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let id = answer.json()["MessageId"]
        .as_str()
        .map(str::to_owned)
        .expect("an id");
    let mut pages = vec!["/".to_owned(), "/list".to_owned(), format!("/mail/{id}")];
    for tab in ["html", "text", "headers", "source", "attachments"] {
        pages.push(format!("/mail/{id}?tab={tab}"));
    }
    for path in pages {
        let page = get(&lookalike, &path).await;
        assert_eq!(page.status, 200, "{path}");
        let ours = "<script src=\"/assets/list.js\" defer></script>";
        let body = page.body.replacen(ours, "", 1);
        for open in ["<script", "<img src=x", "</iframe>\"", "<b>:"] {
            assert!(!body.contains(open), "{path} lets {open} through");
        }
        assert!(body.matches("</iframe>").count() <= 1, "{path}");
    }
    let search = get(&lookalike, "/?q=%22%3E%3Cscript%3E").await;
    assert!(search.body.contains("value=\"&quot;&gt;&lt;script&gt;\""));
}

#[tokio::test]
async fn a_mails_html_is_sandboxed_and_loads_nothing() {
    let lookalike = start().await;
    let id = send(&lookalike, &hostile()).await.json()["MessageId"].clone();
    let page = get(&lookalike, &format!("/mail/{}", id.as_str().expect("an id"))).await;
    let frame = page
        .body
        .split("<iframe ")
        .nth(1)
        .expect("a frame")
        .split('>')
        .next()
        .expect("its attributes");
    assert!(frame.contains(" sandbox "), "no permissions: {frame}");
    assert!(
        frame.contains("srcdoc=\"") && frame.contains("&lt;p&gt;mail&lt;/p&gt;"),
        "{frame}"
    );
    assert!(
        frame.contains("default-src &#39;none&#39;"),
        "a policy of its own: {frame}"
    );
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("script-src"),
        "{policy}"
    );
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let list = get(&lookalike, "/").await;
    let policy = list.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    for page in [&page, &list] {
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert!(
            !page.body.contains("http://") && !page.body.contains("https://"),
            "all is local"
        );
    }
}

#[tokio::test]
async fn attachments_and_source_are_downloads() {
    let lookalike = start().await;
    let id = send(&lookalike, &hostile()).await.json()["MessageId"].clone();
    let id = id.as_str().expect("an id");
    let attachment = get(&lookalike, &format!("/mail/{id}/attachments/0")).await;
    assert_eq!(attachment.header("content-type"), "application/octet-stream");
    let disposition = attachment.header("content-disposition");
    assert!(
        disposition.starts_with("attachment; filename=\"") && !disposition.contains('<'),
        "{disposition}"
    );
    assert_eq!(attachment.body, "<script>");
    let source = get(&lookalike, &format!("/mail/{id}/source.eml")).await;
    assert_eq!(source.header("content-type"), "message/rfc822");
    assert!(source.header("content-disposition").contains("look-alike-"));
    for line in [
        "From: ",
        "To: ada@x.example\r\n",
        "Reply-To: help@x.example\r\n",
        "Date: ",
        "MIME-Version: 1.0",
    ] {
        assert!(source.body.contains(line), "{line} in {}", source.body);
    }
    assert_eq!(
        get(&lookalike, &format!("/mail/{id}/attachments/1")).await.status,
        404
    );
    assert_eq!(get(&lookalike, "/mail/none").await.status, 404);
}

#[tokio::test]
async fn the_search_finds_by_every_word() {
    let lookalike = start().await;
    for name in ["ada", "grace"] {
        send(&lookalike, &email(&format!("{name}@x.example"))).await;
    }
    let found = async |query: &str| {
        let list = get(&lookalike, &format!("/list?q={query}")).await.body;
        list.matches("<li>").count()
    };
    assert_eq!(found("").await, 2);
    assert_eq!(found("ADA").await, 1);
    assert_eq!(found("zo%C3%AB+grace").await, 1, "subject and recipient");
    assert_eq!(found("welcome+nobody").await, 0);
}
