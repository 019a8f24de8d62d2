//! The command line. Each group of commands has a file of its own.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

mod audit;
mod dead;
mod ledger;
mod send;
mod stop;
mod suppression;
mod templates;
mod throttle;
mod up;
mod warmup;

pub(crate) use audit::{AuditCommand, IdsOptions};
pub(crate) use dead::{ActOptions, DeadCommand, DoubtCommand, DoubtOptions, FilterOptions, TemplateVersion};
pub(crate) use ledger::{EraseOptions, LedgerCommand, SearchOptions, StatsOptions, StatusOptions};
pub(crate) use send::{AttachOptions, FileOptions, Format, SendOptions};
pub(crate) use stop::{SetOptions, StopCommand, StopOptions};
pub(crate) use suppression::{
    AddOptions, CheckOptions, ExportOptions, ImportOptions, ListOptions, RemoveOptions, SuppressionCommand,
    SuppressionOptions,
};
pub(crate) use templates::{
    AskedRenderer, CheckBundlesOptions, NewOptions, PreviewOptions, PublishOptions, PublishedOptions,
    ReplayOptions, ReportFormat, TemplatesCommand, TemplatesOptions,
};
pub(crate) use throttle::{ByHand, Kind, ShowOptions, ThrottleCommand, ThrottleOptions, Way};
pub(crate) use up::UpOptions;
pub(crate) use warmup::{WarmupCommand, WarmupOptions};

/// Owns your email delivery: pacing, delivery state and exactly-once accounting in front of Amazon SES.
#[derive(Parser)]
#[command(name = "paceline", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which system to ask.
#[derive(Args)]
pub(crate) struct Target {
    /// Where ingest listens.
    #[arg(
        long,
        global = true,
        env = "PACELINE_INGEST",
        default_value = "http://127.0.0.1:7070",
        value_name = "URL"
    )]
    pub(crate) ingest: String,
    /// On whose behalf.
    #[arg(long, global = true, env = "PACELINE_TENANT", default_value = "demo")]
    pub(crate) tenant: String,
    /// The CAs that ingest's certificate is checked against, PEM; the system's by default.
    #[arg(long, global = true, env = "PACELINE_TLS_CA", value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// A certificate to show, PEM, where ingest asks for one.
    #[arg(long, global = true, env = "PACELINE_TLS_CERTIFICATE", value_name = "FILE")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, global = true, env = "PACELINE_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The name that ingest's certificate must have; the host of the URL by default.
    #[arg(long, global = true, env = "PACELINE_TLS_DOMAIN", value_name = "NAME")]
    pub(crate) tls_domain: Option<String>,
    /// A file with the API key; without it the key is what PACELINE_KEY holds. There is no option for the key itself: other users
    /// of a machine see a process's arguments.
    #[arg(long, global = true, env = "PACELINE_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// True if the tenant is not the default one.
    #[arg(skip)]
    tenant_is_named: bool,
}

impl Target {
    /// The tenant, if it was named by an option or the environment; else empty, for commands that may be of all tenants.
    pub(crate) fn named_tenant(&self) -> &str {
        if self.tenant_is_named { &self.tenant } else { "" }
    }
}

impl Arguments {
    /// Reads the process's arguments, or ends it with help or an error.
    pub(crate) fn read() -> Self {
        Self::of(&Self::command().get_matches())
    }

    fn of(matches: &ArgMatches) -> Self {
        let mut arguments = Self::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
        let source = matches.value_source("tenant");
        arguments.target.tenant_is_named = source.is_some_and(|source| source != ValueSource::DefaultValue);
        arguments
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Starts everything on this machine: Redis, all services, and a look-alike of SES with an inbox page.
    Up(UpOptions),
    /// Hands one message over, or with --file one for each row of a file.
    Send(Box<SendOptions>),
    /// Says where a message is, how it came there and how long each step took.
    Status(StatusOptions),
    /// Finds messages by whose they are, template, state and time.
    Search(Box<SearchOptions>),
    /// Sums up what became of the mail, by template, lane and day.
    Stats(StatsOptions),
    /// Erases what is known of an address, with a proof of what was erased.
    Erase(Box<EraseOptions>),
    /// Keeps the ledger.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Calls a message back, if no sender has claimed it yet.
    Cancel(MessageOptions),
    /// Holds back, or ends, what is on its way: by template, tenant, tag or lane, within 2 s.
    Stop(Box<StopOptions>),
    /// Lists dead letters, shows them, sends them again or gives them up.
    #[command(subcommand)]
    Dead(Box<DeadCommand>),
    /// Lists messages whose outcome is unknown and what is awaited, and settles them.
    Doubt(Box<DoubtOptions>),
    /// Shows who is not written to any more, and changes it.
    Suppression(Box<SuppressionOptions>),
    /// Checks bundles, begins them, shows how they look and how they fare.
    Templates(Box<TemplatesOptions>),
    /// Looks for mistakes that no single message shows.
    #[command(subcommand)]
    Audit(Box<AuditCommand>),
    /// Shows how much waits: per stage, lane, identity and tenant.
    Queue,
    /// Shows how the rates stand and how they came to it, and sets them by hand.
    Throttle(Box<ThrottleOptions>),
    /// Warms a new identity up: 100 recipients on its first day, twice as many each further day.
    Warmup(WarmupOptions),
}

/// Which coordinator to ask.
#[derive(Args)]
pub(crate) struct Asked {
    /// Where a throttle coordinator listens; any of them, it names the one that leads.
    #[arg(
        long,
        global = true,
        env = "PACELINE_COORDINATOR",
        default_value = "http://127.0.0.1:7071",
        value_name = "URL"
    )]
    pub(crate) coordinator: String,
}

/// Which feedback service to ask.
#[derive(Args)]
pub(crate) struct AskedFeedback {
    /// Where feedback listens.
    #[arg(
        long,
        global = true,
        env = "PACELINE_FEEDBACK",
        default_value = "http://127.0.0.1:7074",
        value_name = "URL"
    )]
    pub(crate) feedback: String,
}

#[derive(Args)]
pub(crate) struct MessageOptions {
    /// The message's id: 26 characters.
    pub(crate) id: String,
}

fn parse_time(text: &str) -> Result<SystemTime, humantime::TimestampError> {
    humantime::parse_rfc3339(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn a_tenant_is_named_by_an_option_wherever_it_stands() {
        let named = |line: &str| {
            let matches = Arguments::command().get_matches_from(line.split(' '));
            Arguments::of(&matches).target.named_tenant().to_owned()
        };
        assert_eq!(named("paceline stop --lane bulk --why test"), "");
        assert_eq!(
            named("paceline stop --lane bulk --why test --tenant demo"),
            "demo"
        );
        assert_eq!(named("paceline --tenant shop stop list"), "shop");
    }
}
