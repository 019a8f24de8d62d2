//! Which command does what.

use crate::args::{Arguments, Command};
use crate::{
    audit, cancel, dead, doubt, erase, ledger, queue, search, send, stats, status, stop, suppression,
    templates, throttle, up, warmup,
};

/// Does what was asked for.
///
/// # Errors
/// What the command says.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Up(options) => up::run(options).await,
        Command::Send(options) => send::run(&arguments.target, *options).await,
        Command::Status(options) => status::run(&arguments.target, &options).await,
        Command::Search(options) => search::run(&arguments.target, *options).await,
        Command::Stats(options) => stats::run(&arguments.target, options).await,
        Command::Erase(options) => erase::run(&arguments.target, *options).await,
        Command::Ledger(command) => ledger::run(&arguments.target, command).await,
        Command::Cancel(options) => cancel::run(&arguments.target, &options).await,
        Command::Dead(command) => dead::run(&arguments.target, *command).await,
        Command::Doubt(options) => doubt::run(&arguments.target, *options).await,
        Command::Stop(options) => stop::run(&arguments.target, *options).await,
        Command::Suppression(options) => suppression::run(&arguments.target, *options).await,
        Command::Templates(options) => templates::run(&arguments.target, *options).await,
        Command::Audit(command) => audit::run(&arguments.target, *command).await,
        Command::Queue => queue::run(&arguments.target).await,
        Command::Throttle(options) => throttle::run(&arguments.target, &options).await,
        Command::Warmup(options) => warmup::run(&arguments.target, &options).await,
    }
}
