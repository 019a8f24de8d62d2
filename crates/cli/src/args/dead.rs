//! The arguments of `paceline dead` and `paceline doubt`.

use std::time::SystemTime;

use clap::{Args, Subcommand, ValueEnum};

use super::parse_time;

#[derive(Subcommand)]
pub(crate) enum DeadCommand {
    /// Lists dead letters, shard by shard, the longest dead first.
    List {
        #[command(flatten)]
        filter: FilterOptions,
    },
    /// Shows one with what was to be sent, its recipient and data.
    Show {
        /// The message's id: 26 characters.
        id: String,
    },
    /// Sends one again, or all that fit.
    Redrive {
        #[command(flatten)]
        act: ActOptions,
        /// By which version of its template: the one that was pinned at the acceptance, or the newest that ingest has.
        #[arg(long, value_enum, default_value_t = TemplateVersion::Pinned)]
        template_version: TemplateVersion,
    },
    /// Gives one up, or all that fit: what was to be sent is deleted.
    Discard {
        #[command(flatten)]
        act: ActOptions,
    },
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DoubtOptions {
    #[command(flatten)]
    pub(crate) filter: FilterOptions,
    #[command(subcommand)]
    pub(crate) command: Option<DoubtCommand>,
}

#[derive(Subcommand)]
pub(crate) enum DoubtCommand {
    /// Says of one, or of all that fit, that it was sent or was not.
    Settle {
        #[command(flatten)]
        act: ActOptions,
        /// The provider took it: it is accepted.
        #[arg(long, required_unless_present = "not_sent", conflicts_with = "not_sent")]
        sent: bool,
        /// The provider did not take it: it is tried again at once.
        #[arg(long)]
        not_sent: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TemplateVersion {
    Pinned,
    Latest,
}

/// Which messages: all that is given must fit, the --tenant too, where it is given.
#[derive(Args, Clone, Default)]
pub(crate) struct FilterOptions {
    /// Of this template.
    #[arg(long, value_name = "NAME")]
    pub(crate) template: Option<String>,
    /// For this reason, such as message_refused or timeout.
    #[arg(long, value_name = "CODE")]
    pub(crate) reason: Option<String>,
    /// Dead from this time on (RFC 3339); of doubts, whose window ends then or later.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    pub(crate) since: Option<SystemTime>,
    /// Before this time (RFC 3339).
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    pub(crate) until: Option<SystemTime>,
}

/// Which messages, who says so and why.
#[derive(Args)]
pub(crate) struct ActOptions {
    /// The message's id: 26 characters. Without it: all that fit.
    #[arg(required_unless_present_any = ["template", "reason", "since", "until", "all"])]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) filter: FilterOptions,
    /// All of them.
    #[arg(long, conflicts_with = "id")]
    pub(crate) all: bool,
    /// Changes nothing, and counts.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The reason, for others to read.
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
}
