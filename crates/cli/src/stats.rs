//! `paceline stats`: what became of the mail, by template, lane and day.

mod draw;

use std::time::{Duration, SystemTime};

use paceline_wire::v1::{DaySums, Lane, SumCount, SumsRequest};
use serde_json::{Map, Value, json};

use crate::args::{StatsOptions, Target};
use crate::{client, ledger, status};

const DAY: Duration = Duration::from_secs(86_400);

pub(crate) async fn run(target: &Target, options: StatsOptions) -> anyhow::Result<()> {
    let last = today()?;
    let request = SumsRequest {
        tenant: target.named_tenant().to_owned(),
        template: options.template,
        lane: options.lane.map(Lane::from).unwrap_or_default().into(),
        first_day: last.saturating_sub(options.days - 1),
        last_day: last,
    };
    let first = request.first_day;
    let answer = ledger::stats(target, &options.asked)?
        .sums(client::within(request))
        .await;
    let answer = answer.map_err(|status| client::explain(&status))?.into_inner();
    if options.json {
        println!("{}", answer.days.iter().map(to_json).collect::<Value>());
    } else if options.plot {
        print!("{}", draw::picture(&answer.days, (first, last)));
    } else {
        print!("{}", draw::table(&answer.days));
    }
    Ok(())
}

fn today() -> anyhow::Result<u32> {
    #[expect(clippy::disallowed_methods, reason = "which day it is, for a person")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(u32::try_from(now.as_secs() / DAY.as_secs())?)
}

/// `2026-11-25`.
fn date(day: u32) -> String {
    let at = SystemTime::UNIX_EPOCH + DAY * day;
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

fn to_json(day: &DaySums) -> Value {
    let count = |count: Option<SumCount>| {
        let count = count.unwrap_or_default();
        json!({"events": count.events, "messages": count.messages})
    };
    let others: Map<String, Value> = day
        .others
        .iter()
        .map(|(kind, it)| (kind.clone(), count(Some(*it))))
        .collect();
    json!({
        "day": date(day.day),
        "tenant": day.tenant,
        "template": day.template,
        "lane": status::lane(day.lane),
        "sent": count(day.sent),
        "delivered": count(day.delivered),
        "opened": count(day.opened),
        "clicked": count(day.clicked),
        "machine_opened": count(day.machine_opened),
        "machine_clicked": count(day.machine_clicked),
        "bounced_hard": count(day.bounced_hard),
        "bounced_soft": count(day.bounced_soft),
        "complained": count(day.complained),
        "unsubscribed": count(day.unsubscribed),
        "others": others,
    })
}
