//! The arguments of `paceline templates`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use paceline_domain::lane::Lane;

use super::AskedFeedback;

#[derive(Args)]
pub(crate) struct TemplatesOptions {
    #[command(flatten)]
    pub(crate) asked: AskedRenderer,
    /// Without one: as `stats`.
    #[command(subcommand)]
    pub(crate) command: Option<TemplatesCommand>,
}

/// Which renderer to ask.
#[derive(Args)]
pub(crate) struct AskedRenderer {
    /// Where a renderer listens.
    #[arg(
        long,
        global = true,
        env = "PACELINE_RENDERER",
        default_value = "http://127.0.0.1:7072",
        value_name = "URL"
    )]
    pub(crate) renderer: String,
}

#[derive(Subcommand)]
pub(crate) enum TemplatesCommand {
    /// Shows a renderer's templates, how often each was rendered or failed since its start, and its cache.
    Stats,
    /// Checks every bundle below a directory, without a server: exit code 0 if all may be published, 1 if not, 2 if the
    /// directory can't be read.
    Check(CheckBundlesOptions),
    /// Begins a bundle that passes the check.
    New(NewOptions),
    /// Renders the newest payloads that the ledger keeps of a template by a candidate, and tells which would fail or be others than what
    /// was sent: exit code 1 if any fails, 2 if none is kept.
    Replay(ReplayOptions),
    /// Checks every bundle below a directory, asks feedback whether all may be published, and then publishes them, fallbacks first: kept by feedback,
    /// and used within seconds by services that follow what is published. Exit code 0 if all are there; 1 if one was refused, mostly before any is
    /// published, or is an earlier version than the one that mail gets; 2 if the directory can't be read or feedback does not answer; it may be repeated.
    Publish(PublishOptions),
    /// Lists what was published: version, when, hash, who, why; the newest of each template first.
    Published(PublishedOptions),
    /// Renders an example on this machine and shows it in the browser, at desktop and phone width.
    Preview(PreviewOptions),
}

#[derive(Args)]
pub(crate) struct CheckBundlesOptions {
    /// A bundle, or a directory that has some at any depth.
    #[arg(value_name = "DIR", default_value = "templates")]
    pub(crate) directory: PathBuf,
    /// The form of the report on standard output.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: ReportFormat,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ReportFormat {
    /// A line for each finding.
    Text,
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// JUnit's XML: a suite for each bundle, a case for each rule.
    Junit,
}

#[derive(Args)]
pub(crate) struct NewOptions {
    /// 1 to 64 of [a-z0-9_-].
    pub(crate) name: String,
    /// The directory of templates, in which its folder is made.
    #[arg(long, default_value = "templates", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// For mail that someone waits for, or for mail to many, which needs a link to unsubscribe.
    #[arg(long, default_value = "transactional")]
    pub(crate) lane: Lane,
}

#[derive(Args)]
pub(crate) struct ReplayOptions {
    #[command(flatten)]
    pub(crate) asked: AskedFeedback,
    /// The candidate's folder.
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// Whose payloads; of the candidate's own name by default.
    #[arg(long, value_name = "NAME")]
    pub(crate) template: Option<String>,
    /// How many messages, the newest first; at most 200.
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    pub(crate) messages: u32,
}

#[derive(Args)]
pub(crate) struct PublishOptions {
    #[command(flatten)]
    pub(crate) asked: AskedFeedback,
    /// A bundle, or a directory that has some at any depth.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// The reason, for others to read.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
    /// Who says so.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    pub(crate) who: String,
}

#[derive(Args)]
pub(crate) struct PublishedOptions {
    #[command(flatten)]
    pub(crate) asked: AskedFeedback,
    /// Of this template alone.
    #[arg(value_name = "NAME", default_value = "")]
    pub(crate) template: String,
}

#[derive(Args)]
pub(crate) struct PreviewOptions {
    /// The bundle's folder.
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// One of its examples; the first by name otherwise.
    #[arg(long, value_name = "NAME")]
    pub(crate) example: Option<String>,
    /// Only says where the page is.
    #[arg(long)]
    pub(crate) no_open: bool,
    /// Writes desktop.png and phone.png there too, made by headless Chromium.
    #[arg(long, value_name = "DIR")]
    pub(crate) png: Option<PathBuf>,
    /// Chromium's program.
    #[arg(
        long,
        env = "PACELINE_CHROMIUM",
        default_value = "chromium",
        value_name = "PROGRAM"
    )]
    pub(crate) chromium: PathBuf,
}
