//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Shows how the rates stand and how they came to it.
    #[command(subcommand)]
    Throttle(ThrottleCommand),
}

#[derive(Subcommand)]
pub(crate) enum ThrottleCommand {
    /// Replays what happened to a key: prints each decision with its time and reason, and fails unless the replay ends in the very
    /// state that is kept.
    Replay(ReplayOptions),
}

#[derive(Args)]
pub(crate) struct ReplayOptions {
    /// PROVIDER/IDENTITY, such as ses/main; all keys by default.
    pub(crate) key: Option<String>,
    /// Where a throttle coordinator listens.
    #[arg(
        long,
        env = "PACELINE_COORDINATOR",
        default_value = "http://127.0.0.1:7071",
        value_name = "URL"
    )]
    pub(crate) coordinator: String,
}

#[derive(Args)]
pub(crate) struct UpOptions {
    /// Where Redis keeps its data, and where the services' settings are written.
    #[arg(long, default_value = ".run/paceline", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The folder of templates.
    #[arg(long, default_value = "templates", value_name = "DIR")]
    pub(crate) templates: PathBuf,
    /// Where ingest listens; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Where the inbox page and the look-alike of SES listen.
    #[arg(long, default_value = "127.0.0.1:7080", value_name = "ADDR")]
    pub(crate) inbox: SocketAddr,
    /// Where the throttle coordinator listens, for `paceline throttle`; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:7071", value_name = "ADDR")]
    pub(crate) coordinator: SocketAddr,
    /// The services as processes of their own instead of one; their binaries stand beside this one.
    #[arg(long)]
    pub(crate) separate: bool,
    /// How many senders, with --separate.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16), requires = "separate")]
    pub(crate) senders: u8,
    /// Sends three example emails once everything is up.
    #[arg(long)]
    pub(crate) examples: bool,
}

#[derive(Args)]
pub(crate) struct SendOptions {
    /// The template's name.
    #[arg(required_unless_present = "file")]
    pub(crate) template: Option<String>,
    /// The recipient's address.
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    pub(crate) to: Option<String>,
    /// The recipient's display name.
    #[arg(long, default_value = "", conflicts_with = "file")]
    pub(crate) to_name: String,
    /// The recipient's id in your system; part of the message's identity.
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    pub(crate) user: Option<String>,
    /// The template's data, a JSON object; `@FILE` reads it from a file, `@-` from standard input.
    #[arg(long, default_value = "{}", value_name = "JSON")]
    pub(crate) data: String,
    /// A version of the template other than the newest.
    #[arg(long, default_value = "")]
    pub(crate) template_version: String,
    /// An idempotency key: the id is then tenant, user and key alone.
    #[arg(long, default_value = "")]
    pub(crate) key: String,
    /// transactional or bulk; the template's own by default.
    #[arg(long)]
    pub(crate) lane: Option<paceline_domain::lane::Lane>,
    /// Not before this time (RFC 3339, such as 2030-01-31T08:00:00Z).
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    pub(crate) send_at: Option<SystemTime>,
    /// Not after this time (RFC 3339).
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    pub(crate) expires_at: Option<SystemTime>,
    /// Another From than the template's.
    #[arg(long, default_value = "")]
    pub(crate) from: String,
    /// Takes a message up again that came to rest provably unsent.
    #[arg(long)]
    pub(crate) resubmit: bool,
    /// Waits until the message is at rest, showing each transition.
    #[arg(long, conflicts_with = "file")]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) file: Option<FileOptions>,
}

#[derive(Args)]
#[group(id = "file_options")]
pub(crate) struct FileOptions {
    /// A file with a message in each row; `-` is standard input. What a row does not say, the other options say for all.
    ///
    /// JSON Lines (.jsonl): one object per line with `recipient` and `user_id`, and where wanted `display_name`, `data` (an
    /// object), `tags` (an object of strings), `key`, `template`, `template_version`, `lane`, `from`, `reply_to`, `send_at`
    /// and `expires_at`.
    ///
    /// CSV (.csv, UTF-8, commas): the header names the same fields. Any other column is a field of the template's data, a
    /// string: `name`, or `order.city` (also `data.order.city`) for a field within an object. Numbers and lists go into a column
    /// `data` as JSON. `tags.NAME` is a tag. An empty cell of a field says nothing; of the data it is an empty string.
    ///
    /// A row that is refused is reported with its line, field and reason, and the rest goes on; the exit code is then 1. Run
    /// again after a cut it sends nothing twice within the template's dedupe window: a message's id is its content, or with --key
    /// (or the row's) the tenant, the user and that key.
    #[arg(id = "file", long = "file", value_name = "FILE")]
    pub(crate) path: PathBuf,
    /// The file's format, where its name does not end with .jsonl or .csv.
    #[arg(long, requires = "file")]
    pub(crate) format: Option<Format>,
    /// Where the refused rows are reported; standard error by default.
    #[arg(long, requires = "file", value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// How a file's rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Jsonl,
    Csv,
}

#[derive(Args)]
pub(crate) struct MessageOptions {
    /// The message's id: 26 characters.
    pub(crate) id: String,
}

fn parse_time(text: &str) -> Result<SystemTime, humantime::TimestampError> {
    humantime::parse_rfc3339(text)
}
