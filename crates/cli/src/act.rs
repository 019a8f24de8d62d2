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
    let ended = loop {
        let part = match call(act.clone()).await {
            Ok(part) => part,
            Err(error) => break Err(error),
        };
        sum.matched += part.matched;
        sum.changed += part.changed;
        sum.maybe_sent += part.maybe_sent;
        if part.next_page_token.is_empty() {
            break Ok(());
        }
        act.page_token = part.next_page_token;
    };
    let maybe_sent = match sum.maybe_sent {
        0 => String::new(),
        count => format!(", {count} of them may have been sent before"),
    };
    if act.dry_run {
        println!("{} {what} would be {done}{maybe_sent}", sum.matched);
    } else {
        println!("{} of {} {what} {done}{maybe_sent}", sum.changed, sum.matched);
    }
    // What was done before a call failed is told all the same.
    ended?;
    anyhow::ensure!(
        act.message_id.is_empty() || sum.matched > 0,
        "{} is none of the {what}",
        act.message_id
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use paceline_wire::v1::MessageActDone;

    use super::perform;
    use crate::args::{Arguments, Command, DeadCommand};

    /// Whether `paceline dead discard` ends well, where its calls answer like this.
    async fn discards(line: &[&str], answers: Vec<anyhow::Result<MessageActDone>>) -> anyhow::Result<()> {
        let words = ["paceline", "dead", "discard", "--why", "test"];
        let Arguments { target, command, .. } = Arguments::parse_from(words.iter().chain(line));
        let Command::Dead(command) = command else {
            panic!("another command was read")
        };
        let DeadCommand::Discard { act } = *command else {
            panic!("another command was read")
        };
        let mut answers = answers.into_iter();
        perform(&target, act, ("dead letters", "discarded"), async |_| {
            answers.next().expect("as many calls as answers")
        })
        .await
    }

    fn done(matched: u64, next: &str) -> MessageActDone {
        MessageActDone {
            matched,
            changed: matched,
            next_page_token: next.to_owned(),
            ..MessageActDone::default()
        }
    }

    #[tokio::test]
    async fn an_id_that_is_not_there_is_a_failure_and_a_filter_that_fits_nothing_is_none() {
        let id = "00000000000000000000000000";
        assert!(discards(&[id], vec![Ok(done(1, ""))]).await.is_ok());
        let none = discards(&[id], vec![Ok(done(0, ""))]).await;
        let none = none.expect_err("a mistyped id").to_string();
        assert_eq!(none, format!("{id} is none of the dead letters"));
        assert!(discards(&["--all"], vec![Ok(done(0, ""))]).await.is_ok());
    }

    #[tokio::test]
    async fn a_call_that_fails_after_others_is_a_failure() {
        let answers = vec![Ok(done(3, "0.1.0")), Err(anyhow::anyhow!("unavailable"))];
        assert!(discards(&["--all"], answers).await.is_err());
    }
}
