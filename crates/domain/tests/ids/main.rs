//! Which requests are one message: everything that means the same has one id, every change that the recipient would see
//! (or that concerns another recipient) has another.

mod change;
mod form;
mod request;

use std::collections::HashSet;

use paceline_domain::identity::{IdentityFields, keyed_id};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::change::CHANGES;
use crate::form::{Forms, Normal, write};
use crate::request::{Request, object, request};

proptest! {
    #[test]
    fn the_way_a_payload_is_written_is_no_part_of_it(request in request(), seed: u64) {
        let plain = serde_json::to_string(&request.data).expect("JSON");
        let other = write(&request.data, &mut Forms::new(seed));
        prop_assert_eq!(request.id_of(&plain), request.id_of(&other), "{} {}", plain, other);
    }

    #[test]
    fn the_normal_form_of_a_text_is_no_part_of_it(request in request()) {
        let composed = request.in_form(Normal::Composed);
        let decomposed = request.in_form(Normal::Decomposed);
        prop_assert_eq!(composed.id(), decomposed.id());
        prop_assert_eq!(composed.id(), request.id());
        let keyed = |request: &Request| keyed_id(&request.tenant, &request.user_id, &request.template);
        prop_assert_eq!(keyed(&composed), keyed(&decomposed));
    }

    #[test]
    fn volatile_fields_are_no_part_of_it(request in request(), value in object(), campaign in "[a-z]{0,8}") {
        let mut noisy = request.clone();
        let names = ["event_id", "trace_id", "request_id", "timestamp", "sent_at", "retry_count"].map(str::to_owned);
        for name in names.into_iter().chain([format!("utm_{campaign}")]) {
            noisy.set_field(&name, value.clone());
        }
        let mut quiet = request;
        quiet.data.as_object_mut().expect("an object").retain(|name, _| name != "retry_count");
        for request in [&mut noisy, &mut quiet] {
            request.identity_fields = IdentityFields::new(None, vec!["retry_count".to_owned()]);
        }
        prop_assert_eq!(noisy.id(), quiet.id());
    }

    #[test]
    fn of_an_allow_list_only_the_listed_fields_count(request in request(), value in object()) {
        let listed = vec!["order_id".to_owned(), "timestamp".to_owned()];
        let mut request = request;
        request.set_field("order_id", json!(7));
        request.identity_fields = IdentityFields::new(Some(listed), Vec::new());
        let mut other = request.clone();
        other.data = json!({"order_id": 7, "total": value});
        prop_assert_eq!(request.id(), other.id());
        for name in ["order_id", "timestamp"] {
            let mut changed = request.clone();
            changed.set_field(name, json!("another"));
            prop_assert_ne!(changed.id(), request.id(), "{}", name);
        }
    }

    #[test]
    fn the_order_and_case_of_header_names_are_no_part_of_it(request in request()) {
        let mut other = request.clone();
        other.headers.sort_by(|a, b| b.0.cmp(&a.0));
        for (name, _) in &mut other.headers {
            *name = name.to_ascii_uppercase();
        }
        prop_assert_eq!(other.id(), request.id());
    }

    /// Each change gives an id of its own: neither the old one nor that of another change.
    #[test]
    fn every_change_that_matters_is_another_message(request in request()) {
        let mut ids = HashSet::from([request.id()]);
        for (name, change) in CHANGES {
            let mut changed = request.clone();
            change(&mut changed);
            prop_assert!(ids.insert(changed.id()), "{}", name);
        }
    }

    /// Whatever a template prints, however deep: a change of any value, of its type, or of a name.
    #[test]
    fn every_change_in_the_payload_is_another_message(request in request(), place: Index) {
        let mut request = request;
        request.set_field("total", json!(12.5));
        let places = change::places(&request.data);
        let path = place.get(&places);
        let mut ids = HashSet::from([request.id()]);
        for value in change::others(request.data.pointer(path).expect("a place")) {
            let mut changed = request.clone();
            *changed.data.pointer_mut(path).expect("a place") = value;
            prop_assert!(ids.insert(changed.id()), "{}", path);
        }
        let mut without = request;
        change::remove(&mut without.data, path);
        prop_assert!(ids.insert(without.id()), "{} removed", path);
    }

    /// The first 16 bits are the user's, whatever the message; the rest is not.
    #[test]
    fn messages_of_one_user_stay_together(one in request(), other in request(), key in "\\PC{0,8}") {
        let moved = Request { tenant: one.tenant.clone(), user_id: one.user_id.clone(), ..other };
        prop_assert_eq!(moved.id().partition(), one.id().partition());
        let keyed = keyed_id(&one.tenant, &one.user_id, &key);
        prop_assert_eq!(keyed.partition(), one.id().partition());
        prop_assert_ne!(keyed, one.id());
    }

    /// No text can end one part and begin the next.
    #[test]
    fn keyed_ids_keep_their_parts_apart(text in "[a\",\\\\\\[\\]:]{2,12}", cuts in proptest::array::uniform4(any::<Index>())) {
        let split = |a: Index, b: Index| {
            let (a, b) = (a.index(text.len() + 1), b.index(text.len() + 1));
            let (a, b) = (a.min(b), a.max(b));
            (text[..a].to_owned(), text[a..b].to_owned(), text[b..].to_owned())
        };
        let (one, other) = (split(cuts[0], cuts[1]), split(cuts[2], cuts[3]));
        let same = keyed_id(&one.0, &one.1, &one.2) == keyed_id(&other.0, &other.1, &other.2);
        prop_assert_eq!(same, one == other);
    }
}

#[test]
fn whole_numbers_have_one_id_in_all_their_forms() {
    let request = Request::plain(Value::Null);
    let id = |number: &str| request.id_of(&format!("{{\"n\":{number}}}"));
    for form in ["1.0", "1e0", "10e-1", "1E+0", "0.1e1", "1.000"] {
        assert_eq!(id(form), id("1"), "{form}");
    }
    assert_eq!(id("-0.0"), id("0"));
    for other in [
        "1.0000000000000002",
        "0.9999999999999999",
        "-1",
        "10",
        "\"1\"",
        "[1]",
    ] {
        assert_ne!(id(other), id("1"), "{other}");
    }
}
