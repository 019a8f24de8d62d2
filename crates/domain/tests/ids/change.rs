//! Changes that the recipient would see, or that make it a message to someone else.

use serde_json::{Value, json};

use crate::request::Request;

type Change = fn(&mut Request);

/// Each gives another message than every other.
pub(crate) const CHANGES: &[(&str, Change)] = &[
    ("tenant", |request| request.tenant.push('x')),
    ("user id", |request| request.user_id.push('x')),
    ("user id and tenant", |request| {
        request.tenant.push('x');
        request.user_id.push('x');
    }),
    ("template", |request| request.template.push('x')),
    ("recipient", |request| request.recipient.0.insert(0, 'x')),
    ("case of the recipient's local part", |request| {
        let upper = request.recipient.0[..1].to_ascii_uppercase();
        request.recipient.0.replace_range(..1, &upper);
    }),
    ("recipient's domain", |request| request.recipient.0.push('x')),
    ("recipient's name", |request| request.recipient.1.push('x')),
    ("from", |request| toggle(&mut request.from)),
    ("from's name", |request| {
        toggle(&mut request.from);
        request.from.get_or_insert_with(mailbox).1.push('x');
    }),
    ("reply-to", |request| toggle(&mut request.reply_to)),
    ("reply-to's name", |request| {
        toggle(&mut request.reply_to);
        request.reply_to.get_or_insert_with(mailbox).1.push('x');
    }),
    ("header", |request| request.headers.push(header("a"))),
    ("header's value", |request| request.headers.push(header("b"))),
    ("two headers of one name", |request| {
        request.headers.extend([header("a"), header("b")]);
    }),
    ("two headers of one name in another order", |request| {
        request.headers.extend([header("b"), header("a")]);
    }),
    ("attachment", |request| request.attachments.push(attachment())),
    ("attachment twice", |request| {
        request.attachments.extend([attachment(), attachment()]);
    }),
    ("attachment's content", |request| {
        let mut changed = attachment();
        changed.3[31] ^= 1;
        request.attachments.push(changed);
    }),
    ("attachment's file name", |request| {
        let mut changed = attachment();
        changed.0.push('x');
        request.attachments.push(changed);
    }),
    ("attachment's content type", |request| {
        let mut changed = attachment();
        changed.1.push('x');
        request.attachments.push(changed);
    }),
    ("attachment's content id", |request| {
        let mut changed = attachment();
        changed.2.push('x');
        request.attachments.push(changed);
    }),
    ("field added", |request| request.set_field("added", Value::Null)),
    ("field added with another value", |request| {
        request.set_field("added", json!(false));
    }),
    ("field added under another name", |request| {
        request.set_field("Added", Value::Null);
    }),
    ("volatile name further down", |request| {
        request.set_field("added", json!({"timestamp": 1}));
    }),
];

fn mailbox() -> (String, String) {
    ("changed@example.com".to_owned(), "Changed".to_owned())
}

/// Another override than before.
fn toggle(mailbox_of: &mut Option<(String, String)>) {
    *mailbox_of = match mailbox_of.take() {
        Some((address, name)) => Some((format!("x{address}"), name)),
        None => Some(mailbox()),
    };
}

fn header(value: &str) -> (String, String) {
    ("y-header".to_owned(), value.to_owned())
}

fn attachment() -> (String, String, String, [u8; 32]) {
    let text = |text: &str| text.to_owned();
    (text("a.pdf"), text("application/pdf"), text("id"), [7; 32])
}

/// JSON pointers to all values within `value`, at any depth.
pub(crate) fn places(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value))
            .collect(),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .map(|(i, value)| (i.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    let mut all = Vec::new();
    for (step, value) in inner {
        all.extend(places(value).into_iter().map(|rest| format!("/{step}{rest}")));
        all.push(format!("/{step}"));
    }
    all
}

/// Values that differ from `value` and from one another.
pub(crate) fn others(value: &Value) -> Vec<Value> {
    let mut others = vec![
        Value::String(value.to_string()),
        json!([value]),
        json!({"a": value}),
    ];
    others.extend(match value {
        Value::Null => vec![json!(false), json!(0), json!(""), json!([]), json!({})],
        Value::Bool(flag) => vec![json!(!flag), Value::Null],
        Value::Number(number) => {
            let number = number.as_f64().expect("a double");
            // The next double towards zero: no larger integer than before.
            let near = if number < 0.0 {
                number.next_up()
            } else {
                number.next_down()
            };
            vec![json!(near), json!(-number / 2.0 - 1.0), Value::Null]
        }
        Value::String(text) => vec![json!(format!("{text}x")), json!(format!(" {text}")), Value::Null],
        Value::Array(values) => vec![json!([values, null]), Value::Null],
        Value::Object(_) => vec![json!({"a": null, "b": value}), Value::Null],
    });
    others
}

/// Takes the value at `path` out.
pub(crate) fn remove(value: &mut Value, path: &str) {
    let (parent, step) = path.rsplit_once('/').expect("a pointer");
    match value.pointer_mut(parent).expect("a parent") {
        Value::Object(map) => {
            map.remove(&step.replace("~1", "/").replace("~0", "~"));
        }
        Value::Array(values) => {
            values.remove(step.parse().expect("an index"));
        }
        _ => panic!("{path} has no parent"),
    }
}
