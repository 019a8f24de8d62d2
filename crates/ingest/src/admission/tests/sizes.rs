//! An error says how large the value is and how large it may be, so that nobody has to guess; never what it is.

use super::*;

/// The change must be refused with exactly this sentence.
#[track_caller]
fn says(sentence: &str, change: impl FnOnce(&mut v1::EnqueueRequest)) {
    let wrong = admit(&admission(), change).expect_err(sentence);
    assert_eq!(wrong.to_string(), sentence);
}

#[test]
fn of_texts() {
    says("tenant: is 65 characters long, at least 1 and at most 64", |r| {
        r.tenant = "x".repeat(65);
    });
    says("tenant: has a character that is none of [a-z0-9_-]", |r| {
        r.tenant = "Shop".to_owned();
    });
    says("user_id: is empty, at least 1 and at most 128", |r| {
        r.user_id = String::new()
    });
    says(
        "user_id: is 129 characters long, at least 1 and at most 128",
        |r| {
            r.user_id = "\u{e4}".repeat(129);
        },
    );
    says("user_id: has a control character or a line separator", |r| {
        r.user_id = "4\n2".to_owned();
    });
    says(
        "idempotency_key: is 257 characters long, at least 0 and at most 256",
        |r| {
            r.idempotency_key = "x".repeat(257);
        },
    );
    says(
        "recipient.address: the address is 300 bytes long, at most 254",
        |r| {
            // 64 + @ + 235: each part alone fits.
            let domain = format!("{}abc", "label-of-eight-and-twenty-1.".repeat(8)) + ".example";
            r.recipient = Some(mailbox(&format!("{}@{domain}", "l".repeat(64)), ""));
        },
    );
    says(
        "recipient.address: the local part is 65 bytes long, at most 64",
        |r| {
            r.recipient = Some(mailbox(&format!("{}@example.com", "l".repeat(65)), ""));
        },
    );
    says(
        "reply_to.display_name: the display name is 201 characters long, at most 200",
        |r| {
            r.reply_to = Some(mailbox("ada@example.org", &"x".repeat(201)));
        },
    );
}

#[test]
fn of_headers_tags_and_attachments() {
    says("headers: are 11; at most 10 are taken", |r| {
        r.headers = (0..11).map(|n| header(&format!("X-{n}"), "x")).collect();
    });
    says(
        "headers[0].name: is 127 bytes long, at least 1 and at most 126",
        |r| {
            r.headers = vec![header(&"x".repeat(127), "x")];
        },
    );
    says(
        "headers[0].value: is 996 bytes (encoded) long, at least 1 and at most 995",
        |r| {
            r.headers = vec![header("X-Order", &"x".repeat(996))];
        },
    );
    says(
        "headers[0].value: is 1000 bytes long together with its name, at most 996",
        |r| {
            r.headers = vec![header(&"x".repeat(100), &"y".repeat(900))];
        },
    );
    says(
        "tags[0].value: is 257 characters long, at least 1 and at most 256",
        |r| {
            r.tags = vec![tag("wave", &"x".repeat(257))];
        },
    );
    says(
        "attachments[0].file_name: is 201 characters long, at least 1 and at most 200",
        |r| {
            r.attachments = vec![attachment(&"x".repeat(201), "text/plain", 1)];
        },
    );
    says(
        "attachments: are 8388608 bytes together; at most 7340032 are taken",
        |r| {
            r.attachments = vec![attachment("a", "text/plain", 4 << 20); 2];
        },
    );
}

#[test]
fn of_data_and_times() {
    let bytes = DATA_BYTES_MAX + 1;
    says(
        &format!("data: {bytes} bytes; at most {DATA_BYTES_MAX} are allowed"),
        |r| {
            r.data = vec![b' '; bytes].into();
        },
    );
    says("data: an array where an object is expected", |r| {
        r.data = data("[1]")
    });
    says("send_at: is 367 days ahead, at most 366", |r| {
        r.send_at = Some(timestamp(NOW + 366 * DAY + Duration::from_secs(1)));
    });
}
