//! The journal of a rate: every kind of entry and of event, as the coordinator writes it into `{pl1:thr:...}`.

use std::time::Duration;

use paceline_domain::aimd::{Limits, Mode};
use paceline_domain::controller::bounces::Resume;
use paceline_domain::controller::breaker::Standing;
use paceline_domain::controller::journal::{Entry, FORMAT};
use paceline_domain::controller::overrides::{Action, Kind, Override};
use paceline_domain::controller::quota::DailySend;
use paceline_domain::controller::route::{Sight, Way};
use paceline_domain::controller::warm_up::Overflow;
use paceline_domain::controller::{Account, Asked, Controller, Counts, Event, Settings, Tick};
use paceline_domain::lease::HolderId;
use paceline_domain::lease::budget::Said;

use super::fixtures::Sample;

pub(crate) const NAME: &str = "journal.jsonl";
const AT: Duration = Duration::from_secs(1_800_000_000);
const HOLDER: HolderId = HolderId([7; 16]);

/// One line for each entry.
///
/// # Errors
/// If one can't be written.
pub(crate) fn sample() -> anyhow::Result<Sample> {
    let mut text = format!("{FORMAT}\n");
    for entry in entries() {
        text += &serde_json::to_string(&entry)?;
        text.push('\n');
    }
    Ok(Sample::new(NAME, text))
}

/// The entries of a fixture.
///
/// # Errors
/// If one can't be read any more.
pub(crate) fn read(bytes: &[u8]) -> anyhow::Result<Vec<Entry>> {
    let text = std::str::from_utf8(bytes)?;
    text.lines()
        .skip(1)
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

fn settings() -> Settings {
    Settings {
        limits: Limits {
            mode: Mode::Adaptive,
            start: 100.0,
            floor: 10.0,
            ceiling: 500.0,
            max_send_rate: Some(200.0),
            cut_on_errors: true,
            feedback: Duration::from_secs(1),
        },
        daily: DailySend::Limited(50_000),
        resume: Resume::CleanHour,
        breaker: true,
        route_back_after: Duration::from_secs(60),
    }
}

fn entries() -> Vec<Entry> {
    let mut entries = vec![Entry::Opened(Box::new(Controller::new(settings(), None, AT)))];
    entries.extend(
        events()
            .into_iter()
            .zip(1..)
            .map(|(event, second)| Entry::Happened {
                at: AT + Duration::from_secs(second),
                event,
            }),
    );
    entries
}

fn by_hand(action: Action) -> Event {
    Event::Set(Override {
        action,
        who: "ops".to_owned(),
        why: "a test".to_owned(),
        until: AT + Duration::from_secs(3_600),
    })
}

/// Each kind once: whoever adds one is led here by the match below.
fn events() -> Vec<Event> {
    let counts = || Counts {
        sent: 40,
        accepted: 38,
        failed: 1,
        throttled: vec![(1, 1)],
    };
    let said = Said {
        sequence: 3,
        granted_total: 100,
        spent_total: 40,
    };
    let asked = Asked {
        holder: HOLDER,
        counts: counts(),
        said,
        has_version: 1,
        wants: true,
        idle: false,
        refused: Some(5),
        warm_up: None,
    };
    let account = Account {
        max_send_rate: Some(200.0),
        daily: DailySend::Limited(50_000),
        sent_last_24_hours: 1_000,
        enabled: true,
    };
    let tick = Event::Tick(Tick {
        measured: 40.0,
        taken: Some(39.0),
        random: 0.25,
        latency: Some(Duration::from_millis(250)),
        route: Some(Sight {
            backup: Some(Standing::Closed),
            forced: Some(Way::Backup),
            told: Some(Way::Primary),
        }),
    });
    let events = vec![
        Event::Asked(asked),
        Event::Leased {
            holder: HOLDER,
            rate: 80.5,
        },
        Event::Left {
            holder: HOLDER,
            counts: counts(),
            said,
        },
        Event::Bounced(1),
        Event::Account(account),
        Event::Siblings {
            spent: 7,
            outstanding: 3,
        },
        by_hand(Action::Pause),
        by_hand(Action::Resume),
        by_hand(Action::Cap { rate: 12.5 }),
        by_hand(Action::Route(Way::Backup)),
        Event::Cleared(Kind::Cap),
        Event::WarmUp(Overflow::To("other".to_owned())),
        Event::Warm,
        Event::Settings(settings()),
        tick,
    ];
    assert!((0..KINDS).all(|kind| events.iter().any(|event| kind_of(event) == kind)));
    events
}

const KINDS: u8 = 11;

const fn kind_of(event: &Event) -> u8 {
    match event {
        Event::Asked(_) => 0,
        Event::Leased { .. } => 1,
        Event::Left { .. } => 2,
        Event::Bounced(_) => 3,
        Event::Account(_) => 4,
        Event::Siblings { .. } => 5,
        Event::Set(_) => 6,
        Event::Cleared(_) => 7,
        Event::WarmUp(_) => 8,
        Event::Warm | Event::Settings(_) => 9,
        Event::Tick(_) => 10,
    }
}
