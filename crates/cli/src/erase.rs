//! `paceline erase`: what is known of an address goes, call by call, and the proof stays.

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use paceline_wire::v1::{EraseRequest, Erasure};
use serde_json::json;

use crate::args::{EraseOptions, Target};
use crate::{client, ledger};

pub(crate) async fn run(target: &Target, options: EraseOptions) -> anyhow::Result<()> {
    let mut client = ledger::connect(target, &options.asked)?;
    let mut request = EraseRequest {
        tenant: target.tenant.clone(),
        recipient: options.address,
        who: options.who,
        why: options.why.unwrap_or_default(),
        dry_run: options.dry_run,
        page_token: String::new(),
    };
    let mut counted = Erasure::default();
    loop {
        let answer = client.erase(client::within(request.clone())).await;
        let answer = answer.map_err(|status| client::explain(&status));
        let answer = answer.context("not all of it is done: the same command again does the rest")?;
        let answer = answer.into_inner();
        let erasure = answer.erasure.unwrap_or_default();
        counted = if options.dry_run {
            sum(&counted, &erasure)
        } else {
            erasure
        };
        request.page_token = answer.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    if options.json {
        println!("{}", to_json(&counted));
    } else {
        print!("{}", told(&counted, options.dry_run));
    }
    Ok(())
}

/// Each call of a dry run counts for itself.
fn sum(before: &Erasure, part: &Erasure) -> Erasure {
    Erasure {
        cancelled: before.cancelled + part.cancelled,
        discarded: before.discarded + part.discarded,
        sending: before.sending + part.sending,
        messages: before.messages + part.messages,
        ..part.clone()
    }
}

fn told(erasure: &Erasure, dry_run: bool) -> String {
    let mut text = if dry_run {
        "nothing was erased; this would be:\n".to_owned()
    } else {
        format!(
            "erasure {}, begun {}, finished {}\n",
            erasure.erasure_id,
            client::show_time(erasure.at),
            client::show_time(erasure.finished_at)
        )
    };
    let mut rows = vec![
        (erasure.cancelled, "messages that waited to be sent, cancelled"),
        (erasure.discarded, "dead letters and doubts, discarded"),
    ];
    if !dry_run {
        rows.push((erasure.rendered, "rendered copies"));
    }
    rows.push((erasure.messages, "messages in the ledger, whose they were"));
    if !dry_run {
        rows.push((erasure.events, "events in the ledger, what providers told"));
    }
    for (count, what) in rows {
        text.push_str(&format!("{count:>8}  {what}\n"));
    }
    if !dry_run {
        text.push_str(&format!("digest {}\n", HEXLOWER.encode(&erasure.digest)));
    }
    if erasure.sending > 0 {
        text.push_str(&format!(
            "{} are being sent right now and are not erased: do it again in two minutes\n",
            erasure.sending
        ));
    }
    text
}

fn to_json(erasure: &Erasure) -> serde_json::Value {
    let time = |at: Option<prost_types::Timestamp>| at.map(|at| client::show_time(Some(at)));
    json!({
        "erasure_id": erasure.erasure_id,
        "at": time(erasure.at),
        "who": erasure.who,
        "why": erasure.why,
        "finished_at": time(erasure.finished_at),
        "cancelled": erasure.cancelled,
        "discarded": erasure.discarded,
        "rendered": erasure.rendered,
        "sending": erasure.sending,
        "messages": erasure.messages,
        "events": erasure.events,
        "digest": HEXLOWER.encode(&erasure.digest),
    })
}

#[cfg(test)]
mod tests {
    use paceline_wire::v1::Erasure;

    use super::{sum, told};

    #[test]
    fn what_is_being_sent_is_said_and_a_dry_run_says_that_it_is_one() {
        let erasure = Erasure {
            erasure_id: "e1".to_owned(),
            cancelled: 2,
            sending: 1,
            digest: vec![0xab; 2].into(),
            ..Erasure::default()
        };
        let text = told(&erasure, false);
        assert!(
            text.contains("erasure e1") && text.contains("digest abab"),
            "{text}"
        );
        assert!(text.contains("1 are being sent right now"), "{text}");
        let both = sum(&erasure, &erasure);
        let text = told(&both, true);
        assert!(
            text.starts_with("nothing was erased") && text.contains("       4  messages"),
            "{text}"
        );
    }
}
