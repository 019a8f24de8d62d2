//! `paceline throttle replay [KEY]`: what was decided of each key, when and why, and whether it leads to the state that is kept.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use paceline_domain::controller::Decision;
use paceline_domain::controller::journal::{Entry, FORMAT, Replay, Replayed};
use paceline_wire::v1::journal_response::Body;
use paceline_wire::v1::{DescribeRequest, JournalRequest, JournalResponse, ThrottleKey};

use crate::args::{Asked, Target};
use crate::client;
use crate::coordinator::{Client, Coordinator};
use crate::key;

/// Replays one key's journal, or all.
///
/// # Errors
/// If nobody answers, or a replay leads to another state than the one that is kept.
pub(super) async fn run(target: &Target, asked: &Asked, key: Option<&ThrottleKey>) -> anyhow::Result<()> {
    let mut coordinator = Coordinator::connect(target, asked)?;
    let described = coordinator.describe(&DescribeRequest::default()).await?;
    let keys = match key {
        Some(key) => vec![key.clone()],
        None => described.keys.into_iter().filter_map(|key| key.key).collect(),
    };
    let mut client = coordinator.client();
    let mut differing = 0;
    for key in keys {
        differing += usize::from(!replay(&mut client, key).await?);
    }
    if differing > 0 {
        bail!("{differing} replays do not lead to the state that is kept");
    }
    Ok(())
}

/// True if each state in the journal is the one that the entries before it lead to.
async fn replay(client: &mut Client, key: ThrottleKey) -> anyhow::Result<bool> {
    let name = key::name(&key);
    let request = JournalRequest { key: Some(key) };
    let journal = client.journal(client::within(request)).await;
    let mut journal = journal.map_err(|status| client::explain(&status))?.into_inner();
    let mut printer = Printer::new(name);
    while let Some(part) = journal
        .message()
        .await
        .map_err(|status| client::explain(&status))?
    {
        for entry in entries(&part)? {
            printer.take(part.epoch, &entry)?;
        }
    }
    printer.conclude()
}

fn entries(part: &JournalResponse) -> anyhow::Result<Vec<Entry>> {
    let JournalResponse {
        rev, format, body, ..
    } = part;
    if *format > FORMAT {
        bail!("rev {rev} has format {format}, this program reads up to {FORMAT}");
    }
    let read = match body {
        Some(Body::Events(text)) => serde_json::from_str(text),
        Some(Body::Opened(text)) => serde_json::from_str(text).map(|entry| vec![entry]),
        None => Ok(Vec::new()),
    };
    read.with_context(|| format!("rev {rev} can't be read"))
}

/// Replays and prints.
struct Printer {
    name: String,
    replay: Replay,
    entries: usize,
    states: usize,
    differing: usize,
    /// Entries since the last state that is the replayed one; `None` before there was one.
    since: Option<usize>,
}

impl Printer {
    fn new(name: String) -> Self {
        Self {
            name,
            replay: Replay::default(),
            entries: 0,
            states: 0,
            differing: 0,
            since: None,
        }
    }

    fn take(&mut self, epoch: u64, entry: &Entry) -> anyhow::Result<()> {
        self.entries += 1;
        let at = match entry {
            Entry::Opened(state) => state.now(),
            Entry::Happened { at, .. } => *at,
        };
        let replayed = self.replay.take(entry)?;
        self.states += usize::from(!matches!(replayed, Replayed::Decided(_)));
        self.since = match replayed {
            Replayed::Same | Replayed::TakenOver => Some(0),
            Replayed::Begun | Replayed::Differs | Replayed::Decided(_) => {
                self.since.map(|entries| entries + 1)
            }
        };
        let what = match replayed {
            Replayed::Same => return Ok(()),
            Replayed::Begun => format!("the journal begins, in epoch {epoch}"),
            Replayed::TakenOver => format!("a leader takes over, in epoch {epoch}"),
            Replayed::Differs => {
                self.differing += 1;
                format!("ANOTHER STATE than the replayed one stands here, in epoch {epoch}")
            }
            Replayed::Decided(decisions) => {
                for decision in decisions
                    .iter()
                    .filter(|it| !matches!(it, Decision::Granted { .. }))
                {
                    self.print(at, &format!("{:<18} {decision:?}", decision.reason()));
                }
                return Ok(());
            }
        };
        self.print(at, &what);
        Ok(())
    }

    fn print(&self, at: Duration, what: &str) {
        let at = humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + at);
        println!("{at} {} {what}", self.name);
    }

    fn conclude(self) -> anyhow::Result<bool> {
        let Self {
            name,
            entries,
            states,
            differing,
            since,
            ..
        } = self;
        if entries == 0 {
            bail!("{name} has no journal");
        }
        let verdict = match (differing, since) {
            (0, Some(0)) => "ends in the very state that is kept".to_owned(),
            (0, Some(n)) => format!("ends {n} entries after the very state that is kept"),
            (0, None) => "ends with no state to compare with".to_owned(),
            (n, _) => format!("{n} states differ from the replayed ones"),
        };
        println!("{name}: {entries} entries, {states} states: {verdict}");
        Ok(differing == 0 && since.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_domain::aimd::{Limits, Mode};
    use paceline_domain::controller::bounces::Resume;
    use paceline_domain::controller::journal::Entry;
    use paceline_domain::controller::quota::DailySend;
    use paceline_domain::controller::{Controller, Event, Settings, Tick};

    use super::Printer;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(1_764_000_000 + secs)
    }

    fn begun() -> Controller {
        let limits = Limits {
            mode: Mode::Adaptive,
            start: 100.0,
            floor: 10.0,
            ceiling: 200.0,
            max_send_rate: None,
            cut_on_errors: true,
            feedback: Duration::from_secs(1),
        };
        let settings = Settings {
            limits,
            daily: DailySend::Unlimited,
            resume: Resume::ByHand,
            breaker: false,
            route_back_after: Duration::from_secs(60),
        };
        Controller::new(settings, None, at(0))
    }

    fn concludes(entries: &[Entry]) -> anyhow::Result<bool> {
        let mut printer = Printer::new("ses/main".to_owned());
        for entry in entries {
            printer.take(1, entry)?;
        }
        printer.conclude()
    }

    #[test]
    fn a_replay_must_lead_to_the_states_that_are_kept() {
        let event = Event::Tick(Tick {
            measured: 3.0,
            taken: None,
            random: 0.5,
            ..Tick::default()
        });
        let mut state = begun();
        state.step(&event, at(1));
        let opened = |state: &Controller| Entry::Opened(Box::new(state.clone()));
        let happened = Entry::Happened { at: at(1), event };
        let (first, last) = (opened(&begun()), opened(&state));
        let good = [first.clone(), happened.clone(), last.clone()];
        assert!(concludes(&good).expect("a journal"));
        assert!(!concludes(&good[..2]).expect("a journal"), "no state is kept");
        let read_again = [&good[..], std::slice::from_ref(&happened)].concat();
        assert!(
            concludes(&read_again).expect("a journal"),
            "no new state was written"
        );
        let forged = [first.clone(), last];
        assert!(!concludes(&forged).expect("a journal"), "something is left out");
        let settings = *state.settings();
        let taken_over = opened(&state.reopened(settings, at(9)));
        assert!(concludes(&[first, happened.clone(), taken_over]).expect("a journal"));
        assert!(concludes(&[happened]).is_err(), "no beginning");
        assert!(concludes(&[]).is_err());
    }
}
