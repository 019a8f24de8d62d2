//! The arguments of the commands that ask the ledger: `paceline status`, `search`, `stats`, `erase`, `ledger`.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use paceline_domain::lane::Lane;
use paceline_domain::record::State;

use super::{AskedFeedback, parse_time};

#[derive(Args)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    pub(crate) asked: AskedFeedback,
    /// The message's id: 26 characters.
    pub(crate) id: String,
    /// As JSON, in one line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which messages: all that is given must fit.
#[derive(Args)]
pub(crate) struct SearchOptions {
    #[command(flatten)]
    pub(crate) asked: AskedFeedback,
    /// To this address, in whatever case its local part is written.
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pub(crate) recipient: String,
    /// To this user, by the caller's own id.
    #[arg(long, value_name = "ID", default_value = "")]
    pub(crate) user: String,
    /// Of this template.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) template: String,
    /// In this state, such as dead or in_doubt.
    #[arg(long, value_parser = parse_state)]
    pub(crate) state: Option<State>,
    /// Accepted from this time on (RFC 3339).
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    pub(crate) since: Option<SystemTime>,
    /// Accepted before this time (RFC 3339).
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    pub(crate) until: Option<SystemTime>,
    /// At most so many, the newest first.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: u32,
    /// As JSON, one message a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct StatsOptions {
    #[command(flatten)]
    pub(crate) asked: AskedFeedback,
    /// Of this template.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) template: String,
    /// Of this lane: transactional or bulk.
    #[arg(long)]
    pub(crate) lane: Option<Lane>,
    /// Today and the days before it (UTC), so many in all.
    #[arg(long, value_name = "COUNT", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=400))]
    pub(crate) days: u32,
    /// As JSON, in one line.
    #[arg(long, conflicts_with = "plot")]
    pub(crate) json: bool,
    /// The days as a picture instead of the table.
    #[arg(long)]
    pub(crate) plot: bool,
}

#[derive(Args)]
pub(crate) struct EraseOptions {
    #[command(flatten)]
    pub(crate) asked: AskedFeedback,
    /// The address, in whatever case its local part is written.
    pub(crate) address: String,
    /// Changes nothing, and counts.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The reason, which is kept: it should not name the person.
    #[arg(
        long,
        value_name = "TEXT",
        required_unless_present = "dry_run",
        default_value_if("dry_run", "true", "dry run")
    )]
    pub(crate) why: Option<String>,
    /// Who does it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    pub(crate) who: String,
    /// The proof as JSON, in one line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum LedgerCommand {
    /// Drops what was accepted long ago, in PostgreSQL by whole months, as feedback's own loop does.
    Retention {
        #[command(flatten)]
        asked: AskedFeedback,
        /// What was accepted within so many days stays; at least 60.
        #[arg(long, value_name = "DAYS")]
        keep: u32,
        /// Drops nothing, and tells what would go.
        #[arg(long)]
        dry_run: bool,
    },
}

fn parse_state(text: &str) -> Result<State, String> {
    let named = |state: &State| state.as_str() == text;
    State::ALL.into_iter().find(named).ok_or_else(|| {
        let names = State::ALL.map(State::as_str).join(", ");
        format!("no state; one of {names}")
    })
}
