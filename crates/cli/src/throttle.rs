//! `paceline throttle`: how the rates stand, and what people set.

use anyhow::ensure;
use paceline_wire::v1::set_override_request::{Action, Cap, Pause, Resume, Route};

use crate::args::{ShowOptions, Target, ThrottleCommand, ThrottleOptions, Way};
use crate::coordinator::Coordinator;

mod by_hand;
mod json;
mod plot;
mod replay;
mod show;
mod table;

pub(crate) async fn run(target: &Target, options: &ThrottleOptions) -> anyhow::Result<()> {
    let asked = &options.asked;
    let Some(command) = &options.command else {
        return show::run(target, asked, &options.show).await;
    };
    ensure!(
        options.show == ShowOptions::default(),
        "a key before a subcommand, and --senders, --json, --watch and --plot, are for showing alone"
    );
    let coordinator = || Coordinator::connect(target, asked);
    match command {
        ThrottleCommand::Pause { by_hand } => {
            by_hand::set(coordinator()?, by_hand, Action::Pause(Pause {})).await
        }
        ThrottleCommand::Resume { by_hand } => {
            by_hand::set(coordinator()?, by_hand, Action::Resume(Resume {})).await
        }
        ThrottleCommand::Cap { by_hand, rate } => {
            by_hand::set(coordinator()?, by_hand, Action::Cap(Cap { rate: *rate })).await
        }
        ThrottleCommand::Route { by_hand, way } => {
            let way = match way {
                Way::Primary => "primary",
                Way::Backup => "backup",
            };
            let route = Route { way: way.to_owned() };
            by_hand::set(coordinator()?, by_hand, Action::Route(route)).await
        }
        ThrottleCommand::Clear { key, kind } => by_hand::clear(coordinator()?, key, *kind).await,
        ThrottleCommand::Replay(options) => replay::run(target, asked, options.key.as_ref()).await,
    }
}
