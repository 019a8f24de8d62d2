//! The arguments of `paceline up`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

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
    /// Where feedback listens, which answers from the ledger; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:7074", value_name = "ADDR")]
    pub(crate) feedback: SocketAddr,
    /// Where the renderer listens, for `paceline templates`; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:7072", value_name = "ADDR")]
    pub(crate) renderer: SocketAddr,
    /// Where links to unsubscribe lead, and the look-alike's events; with port 0 they lead nowhere after the next start.
    #[arg(long, default_value = "127.0.0.1:8074", value_name = "ADDR")]
    pub(crate) web: SocketAddr,
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
