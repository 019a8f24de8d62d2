//! What people say with what they do to messages: who and why, held to bounds, since it is kept.

use paceline_domain::stop::Said;
use paceline_domain::time::Millis;
use paceline_wire::status::InvalidFields;
use paceline_wire::text::line_problem;

use crate::access::Caller;

/// The longest name and reason, in characters.
const WHO_MAX: usize = 64;
const WHY_MAX: usize = 500;

/// What a person says; what is wrong with it is added to `wrong`. The name of the caller's key, if it has one, is part of who it was.
#[must_use]
pub fn said(wrong: &mut InvalidFields, caller: &Caller, who: &str, why: &str, now: Millis) -> Said {
    for (field, text, max) in [("who", who, WHO_MAX), ("why", why, WHY_MAX)] {
        if let Some(problem) = line_problem(text, 1, max) {
            wrong.add(field, problem);
        }
    }
    let who = match caller.name() {
        "" => who.to_owned(),
        key => format!("{who} (key {key})"),
    };
    Said {
        who,
        why: why.to_owned(),
        at: now,
    }
}
