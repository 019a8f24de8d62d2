//! The arguments of `paceline audit`.

use std::time::SystemTime;

use clap::{Args, Subcommand};

use super::{AskedFeedback, parse_time};

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Shows which fields make the ids of each template's messages, and pairs of messages that differ so little that a volatile field
    /// may have been forgotten.
    Ids(IdsOptions),
}

#[derive(Args)]
pub(crate) struct IdsOptions {
    /// Of this template; of all by default.
    #[arg(long, value_name = "NAME")]
    pub(crate) template: Option<String>,
    /// Only what the templates say: no ledger is asked.
    #[arg(long)]
    pub(crate) fields_only: bool,
    /// Pairs accepted from this time on (RFC 3339); 24 hours before the end by default.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    pub(crate) since: Option<SystemTime>,
    /// Before this time (RFC 3339); now by default.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    pub(crate) until: Option<SystemTime>,
    /// Messages that are compared, the newest first; at most 100000.
    #[arg(long, default_value_t = 20_000, value_name = "COUNT")]
    pub(crate) messages_max: u32,
    #[command(flatten)]
    pub(crate) asked: AskedFeedback,
}
