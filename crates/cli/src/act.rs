//! What `paceline dead` and `paceline doubt` share: which messages, who says so, and acts that take more than one call.

use paceline_wire::v1::{MessageAct, MessageActDone, MessageFilter};

use crate::args::{ActOptions, FilterOptions, Target};
use crate::client;

pub(crate) fn filter(target: &Target, options: FilterOptions) -> MessageFilter {
    MessageFilter {
        tenant: target.named_tenant().to_owned(),
        template: options.template.unwrap_or_default(),
        reason: options.reason.unwrap_or_default(),
        since: options.since.map(client::to_timestamp),
        until: options.until.map(client::to_timestamp),
    }
}

/// Does it call by call to its end, and says what came of it: `what` the messages are, and what was `done` to them.
pub(crate) async fn perform(
    target: &Target,
    options: ActOptions,
    (what, done): (&str, &str),
    mut call: impl AsyncFnMut(MessageAct) -> anyhow::Result<MessageActDone>,
) -> anyhow::Result<()> {
    let mut act = MessageAct {
        filter: Some(filter(target, options.filter)),
        message_id: options.id.unwrap_or_default(),
        who: options.who,
        why: options.why.unwrap_or_default(),
        dry_run: options.dry_run,
        page_token: String::new(),
    };
    let mut sum = MessageActDone::default();
    loop {
        let part = call(act.clone()).await?;
        sum.matched += part.matched;
        sum.changed += part.changed;
        sum.maybe_sent += part.maybe_sent;
        if part.next_page_token.is_empty() {
            break;
        }
        act.page_token = part.next_page_token;
    }
    let maybe_sent = match sum.maybe_sent {
        0 => String::new(),
        count => format!(", {count} of them may have been sent before"),
    };
    if act.dry_run {
        println!("{} {what} would be {done}{maybe_sent}", sum.matched);
    } else {
        println!("{} of {} {what} {done}{maybe_sent}", sum.changed, sum.matched);
    }
    Ok(())
}
