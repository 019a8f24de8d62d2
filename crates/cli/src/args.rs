//! The command line. Each group of commands has a file of its own.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Parser, Subcommand};

mod send;
mod throttle;
mod up;
mod warmup;

pub(crate) use send::{FileOptions, Format, SendOptions};
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
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Starts everything on this machine: Redis, all services, and a look-alike of SES with an inbox page.
    Up(UpOptions),
    /// Hands one message over, or with --file one for each row of a file.
    Send(Box<SendOptions>),
    /// Says where a message is, and why.
    Status(MessageOptions),
    /// Calls a message back, if no sender has claimed it yet.
    Cancel(MessageOptions),
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

#[derive(Args)]
pub(crate) struct MessageOptions {
    /// The message's id: 26 characters.
    pub(crate) id: String,
}

fn parse_time(text: &str) -> Result<SystemTime, humantime::TimestampError> {
    humantime::parse_rfc3339(text)
}
