//! `paceline.v1.StatsService`: what became of the mail, by template, lane and day.

use std::collections::BTreeMap;

use paceline_domain::delivery::EventKind;
use paceline_domain::lane::Lane;
use paceline_domain::record::State;
use paceline_kit::access::Caller;
use paceline_ledger::{Ledger, SUMS_MAX, Sum, SumFilter};
use paceline_wire::status::{InvalidFields, RpcError};
use paceline_wire::text::line_problem;
use paceline_wire::v1::stats_service_server::StatsService;
use paceline_wire::{convert, v1};
use tonic::{Request, Response, Status};

use crate::asked::{check_caller, check_tenant, of_ledger};

const DAYS_MAX: u32 = 400;
const TEMPLATE_CHARS_MAX: usize = 256;

/// The service.
pub(crate) struct StatsOf(pub(crate) Ledger);

#[tonic::async_trait]
impl StatsService for StatsOf {
    async fn sums(&self, request: Request<v1::SumsRequest>) -> Result<Response<v1::SumsResponse>, Status> {
        let filter = read(request.get_ref())?;
        check_caller(&Caller::of(request.extensions()), &filter.tenant)?;
        let sums = self.0.sums(&filter).await.map_err(|error| of_ledger(&error))?;
        if sums.len() > SUMS_MAX {
            let problem = format!("has more than {SUMS_MAX} sums: ask for fewer days, or for one template");
            return Err(InvalidFields::one("first_day", problem).into());
        }
        Ok(Response::new(v1::SumsResponse { days: days(sums) }))
    }
}

fn read(request: &v1::SumsRequest) -> Result<SumFilter, RpcError> {
    let mut wrong = InvalidFields::new();
    if !request.tenant.is_empty() {
        check_tenant(&mut wrong, &request.tenant);
    }
    if let Some(problem) = line_problem(&request.template, 0, TEMPLATE_CHARS_MAX) {
        wrong.add("template", problem);
    }
    let lane = convert::lane(request.lane);
    if let Err(problem) = &lane {
        wrong.add("lane", problem.to_string());
    }
    match request.last_day.checked_sub(request.first_day) {
        None => wrong.add("last_day", "is before first_day"),
        Some(days) if days > DAYS_MAX => wrong.add(
            "last_day",
            format!("is {days} days after first_day, at most {DAYS_MAX}"),
        ),
        Some(_) => {}
    }
    wrong.into_result()?;
    Ok(SumFilter {
        tenant: request.tenant.clone(),
        template: request.template.clone(),
        lane: lane.ok().flatten(),
        days: (request.first_day.into(), request.last_day.into()),
    })
}

type Key = (u64, String, String, Lane);

fn days(sums: Vec<Sum>) -> Vec<v1::DaySums> {
    let mut days: BTreeMap<Key, v1::DaySums> = BTreeMap::new();
    for sum in sums {
        let key = (sum.day, sum.tenant.clone(), sum.template.clone(), sum.lane);
        let day = days.entry(key).or_insert_with(|| v1::DaySums {
            tenant: sum.tenant.clone(),
            template: sum.template.clone(),
            lane: v1::Lane::from(sum.lane).into(),
            day: u32::try_from(sum.day).unwrap_or(u32::MAX),
            ..v1::DaySums::default()
        });
        put(day, sum);
    }
    days.into_values().collect()
}

fn put(day: &mut v1::DaySums, sum: Sum) {
    let count = v1::SumCount {
        events: sum.events,
        messages: sum.messages,
    };
    if sum.kind == State::Accepted.as_str() {
        return sent(day, count);
    }
    let place = match EventKind::named(&sum.kind) {
        EventKind::Sent => return sent(day, count),
        EventKind::Delivered => &mut day.delivered,
        EventKind::Opened => &mut day.opened,
        EventKind::Clicked => &mut day.clicked,
        EventKind::MachineOpened => &mut day.machine_opened,
        EventKind::MachineClicked => &mut day.machine_clicked,
        EventKind::BouncedHard => &mut day.bounced_hard,
        EventKind::BouncedSoft => &mut day.bounced_soft,
        EventKind::Complained => &mut day.complained,
        EventKind::Unsubscribed => &mut day.unsubscribed,
        EventKind::Delayed | EventKind::Rejected | EventKind::RenderingFailed | EventKind::Other => {
            day.others.insert(sum.kind, count);
            return;
        }
    };
    *place = Some(count);
}

/// Our own transitions and the provider's events tell of the same: of what is not copied, or not told, the other one knows.
fn sent(day: &mut v1::DaySums, count: v1::SumCount) {
    let known = day.sent.map_or(0, |known| known.messages);
    if day.sent.is_none() || count.messages > known {
        day.sent = Some(count);
    }
}

#[cfg(test)]
mod tests {
    use paceline_domain::lane::Lane;
    use paceline_ledger::Sum;
    use paceline_wire::v1;

    use super::days;

    fn sum(day: u64, kind: &str, events: u64, messages: u64) -> Sum {
        Sum {
            tenant: "shop".to_owned(),
            template: "welcome".to_owned(),
            lane: Lane::Bulk,
            day,
            kind: kind.to_owned(),
            events,
            messages,
        }
    }

    #[test]
    fn kinds_come_together_by_day_and_what_is_not_known_is_kept() {
        let sums = vec![
            sum(1, "accepted", 9, 9),
            sum(1, "sent", 7, 7),
            sum(1, "opened", 5, 2),
            sum(1, "machine_opened", 4, 4),
            sum(1, "of_a_newer_release", 1, 1),
            sum(1, "dead", 2, 2),
            sum(2, "sent", 3, 3),
        ];
        let days = days(sums);
        let count = |events, messages| Some(v1::SumCount { events, messages });
        assert_eq!(days.len(), 2);
        assert_eq!((days[0].day, days[0].sent), (1, count(9, 9)));
        assert_eq!(
            (days[0].opened, days[0].machine_opened),
            (count(5, 2), count(4, 4))
        );
        assert_eq!(days[0].others["of_a_newer_release"], count(1, 1).expect("some"));
        assert_eq!(days[0].others["dead"], count(2, 2).expect("some"));
        assert_eq!(
            (days[1].day, days[1].sent, days[1].opened),
            (2, count(3, 3), None)
        );
    }
}
