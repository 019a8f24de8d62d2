//! Attachments, by content and by url.

use super::*;

/// Python: hashlib.sha256(b"x" * 4).hexdigest()
const OF_FOUR: &str = "2481a63c85a62cf889d2b149f1a52e985a9341750173fe01eff50cc27b5941b5";

/// An attachment at `url`, of which four times `x` is expected.
fn remote(url: &str) -> v1::Attachment {
    v1::Attachment {
        url: url.to_owned(),
        sha256: hex(OF_FOUR),
        ..attachment("a.pdf", "application/pdf", 0)
    }
}

fn hex(text: &str) -> bytes::Bytes {
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("hexadecimal")
    };
    text.as_bytes().chunks(2).map(byte).collect()
}

#[test]
fn attachments() {
    let a = admission();
    for bad in [
        "",
        "s3cret/passwd",
        "s3cret\\x",
        "..",
        "s3cret\r\n",
        &"x".repeat(201),
    ] {
        refuses(&a, "attachments[0].file_name", |r| {
            r.attachments = vec![attachment(bad, "text/plain", 1)]
        });
    }
    for bad in [
        "",
        "s3cret",
        "text/",
        "/plain",
        "text/plain; s3cret=x",
        "text/pl ain",
        "text/plain\r\n",
        &format!("text/{}", "x".repeat(74)),
    ] {
        refuses(&a, "attachments[0].content_type", |r| {
            r.attachments = vec![attachment("a", bad, 1)]
        });
    }
    refuses(&a, "attachments[0].content", |r| {
        r.attachments = vec![attachment("a", "text/plain", 0)]
    });
    for bad in ["<s3cret>", "s3cret x", "s3cret..x", &"x".repeat(79)] {
        refuses(&a, "attachments[0].content_id", |r| {
            let inline = attachment("a", "image/png", 1);
            r.attachments = vec![v1::Attachment {
                content_id: bad.to_owned(),
                ..inline
            }];
        });
    }
    refuses(&a, "attachments", |r| {
        r.attachments = vec![attachment("a", "text/plain", 1); 11]
    });
    refuses(&a, "attachments", |r| {
        r.attachments = vec![attachment("a", "text/plain", 4 << 20); 2]
    });
}

#[test]
fn endings_that_ses_refuses_are_refused() {
    let a = admission();
    for bad in [
        "s3cret.exe",
        "s3cret.pdf.JS",
        "s3cret.xnk",
        ".bat",
        "s3cret.cmd. .",
    ] {
        refuses(&a, "attachments[0].file_name", |r| {
            r.attachments = vec![attachment(bad, "text/plain", 1)];
        });
    }
    for good in ["exe", "a.exe.zip", "a.json", "js.pdf", "a.", "..a"] {
        admit(&a, |r| r.attachments = vec![attachment(good, "text/plain", 1)]).expect(good);
    }
}

#[test]
fn a_file_is_the_same_by_content_and_by_url() {
    let a = admission();
    let id = |part: v1::Attachment| {
        let admitted = admit(&a, |r| r.attachments = vec![part]).expect("good");
        admitted.asked.id
    };
    let by_content = id(attachment("a.pdf", "application/pdf", 4));
    assert_eq!(id(remote("https://files.example/mail/one")), by_content);
    assert_eq!(
        id(remote("https://files.example/mail/two?X-Amz-Signature=1")),
        by_content
    );
    let mut other = remote("https://files.example/mail/one");
    other.sha256 = vec![7; 32].into();
    assert_ne!(id(other), by_content);
}

#[test]
fn what_is_stored_of_a_url_has_no_bundle_for_who_does_not_know_urls() {
    let part = remote("https://files.example/mail/one");
    let admitted = admit(&admission(), |r| r.attachments = vec![part.clone()]).expect("good");
    let request = admitted.message.request;
    let old = v1::StoredRequest::decode(request.clone()).expect("our own");
    assert!(old.bundle_hash.is_empty());
    let read = paceline_wire::requests::read(request).expect("our own");
    assert_eq!((read.bundle_hash.len(), read.attachments), (32, vec![part]));
}

#[test]
fn a_url_is_held_to_the_prefixes_and_has_a_digest() {
    let a = admission();
    for bad in [
        "http://files.example/mail/s3cret",
        "https://s3cret.example/mail/a",
        "https://files.example/s3cret",
        "https://s3cret@files.example/mail/a",
        "https://files.example/mail/../s3cret",
        "https://files.example/mail/%2e%2e/s3cret",
        "https://files.example/mail/a#s3cret",
        &format!("https://files.example/mail/{}", "s3cret".repeat(1_000)),
    ] {
        refuses(&a, "attachments[0].url", |r| r.attachments = vec![remote(bad)]);
    }
    let good = "https://files.example/mail/s3cret";
    for bytes in [0, 31, 33] {
        refuses(&a, "attachments[0].sha256", |r| {
            let sha256 = vec![b'x'; bytes].into();
            r.attachments = vec![v1::Attachment {
                sha256,
                ..remote(good)
            }];
        });
    }
    // Python: hashlib.sha256(b"").hexdigest()
    let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    refuses(&a, "attachments[0].sha256", |r| {
        let sha256 = hex(of_nothing);
        r.attachments = vec![v1::Attachment {
            sha256,
            ..remote(good)
        }];
    });
    refuses(&a, "attachments[0].content", |r| {
        let content = bytes::Bytes::from_static(b"s3cret");
        r.attachments = vec![v1::Attachment {
            content,
            ..remote(good)
        }];
    });
    refuses(&a, "attachments[0].sha256", |r| {
        let sha256 = hex(OF_FOUR);
        r.attachments = vec![v1::Attachment {
            sha256,
            ..attachment("a", "text/plain", 1)
        }];
    });
    let none = Admission {
        url_prefixes: UrlPrefixes::default(),
        ..admission()
    };
    refuses(&none, "attachments[0].url", |r| {
        r.attachments = vec![remote(good)]
    });
    let wrong = admit(&none, |r| r.attachments = vec![remote(good)]).expect_err("none are taken");
    assert_eq!(
        wrong.to_string(),
        "attachments[0].url: is not taken here: attachments.url_prefixes is not set"
    );
}
