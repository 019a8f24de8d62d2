//! The arguments of `paceline suppression`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use paceline_domain::suppression::SuppressionReason;

use super::AskedFeedback;

#[derive(Args)]
pub(crate) struct SuppressionOptions {
    #[command(flatten)]
    pub(crate) asked: AskedFeedback,
    #[command(subcommand)]
    pub(crate) command: SuppressionCommand,
}

#[derive(Subcommand)]
pub(crate) enum SuppressionCommand {
    /// Who is suppressed, for what and since when.
    List(ListOptions),
    /// Suppresses addresses.
    Add(AddOptions),
    /// Lets mail to an address go again. Events that are older than this do not undo it.
    Remove(RemoveOptions),
    /// What is known of an address, and which mail to it would be stopped.
    Check(CheckOptions),
    /// Takes a list over from elsewhere, as CSV.
    Import(ImportOptions),
    /// Writes everything as CSV, which `import` reads.
    Export(ExportOptions),
}

#[derive(Args)]
pub(crate) struct ListOptions {
    /// Of this category alone; "" is of all of the tenant's mail.
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Option<String>,
    /// For this reason alone: hard_bounce, complaint, unsubscribe or manual.
    #[arg(long)]
    pub(crate) reason: Option<SuppressionReason>,
    /// Those that were removed, too.
    #[arg(long)]
    pub(crate) removed: bool,
    /// With addresses, where they are kept; the API key needs the scope "addresses".
    #[arg(long)]
    pub(crate) addresses: bool,
}

#[derive(Args)]
pub(crate) struct AddOptions {
    /// The addresses, at most 1,000.
    #[arg(required = true, value_name = "ADDRESS")]
    pub(crate) addresses: Vec<String>,
    /// hard_bounce, complaint, unsubscribe or manual.
    #[arg(long, default_value = "manual")]
    pub(crate) reason: SuppressionReason,
    /// What was unsubscribed from; all of the tenant's mail by default.
    #[arg(long, default_value = "", value_name = "NAME")]
    pub(crate) category: String,
    #[command(flatten)]
    pub(crate) said: Said,
}

#[derive(Args)]
pub(crate) struct RemoveOptions {
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
    /// Of this category; by default what holds for all of the tenant's mail.
    #[arg(long, default_value = "", value_name = "NAME")]
    pub(crate) category: String,
    /// Of every category and all of the tenant's mail.
    #[arg(long, conflicts_with = "category")]
    pub(crate) every_category: bool,
    /// For this reason alone.
    #[arg(long)]
    pub(crate) reason: Option<SuppressionReason>,
    #[command(flatten)]
    pub(crate) said: Said,
}

#[derive(Args)]
pub(crate) struct CheckOptions {
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
    /// The category of the mail that is asked about.
    #[arg(long, default_value = "", value_name = "NAME")]
    pub(crate) category: String,
}

#[derive(Args)]
pub(crate) struct ImportOptions {
    /// The file; `-` is standard input.
    ///
    /// The header says where it comes from: SES (`EmailAddress,Reason[,LastUpdateTime]`, or no header and `address,BOUNCE`), Mailgun
    /// (`address,code,error,created_at` bounces, `address,tags,created_at` unsubscribes, `address,created_at` complaints), SendGrid
    /// (`status,reason,email,created` bounces, `ip,email,created` spam reports, `email,created` unsubscribes, `reason,email,created`
    /// invalid addresses). Any other file names the columns `address`, `reason`, and where wanted `category` and `at`.
    ///
    /// A line that is refused is reported with its number, and the rest goes on; the exit code is then 1. Run again it adds what is
    /// missing, and --from-line skips what was done.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The reason of lines that name none, whatever the file is like.
    #[arg(long)]
    pub(crate) reason: Option<SuppressionReason>,
    /// Begins with this line.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) from_line: u64,
    #[command(flatten)]
    pub(crate) said: Said,
}

#[derive(Args)]
pub(crate) struct ExportOptions {
    /// With addresses, where they are kept; the API key needs the scope "addresses". Without it, keyed hashes alone.
    #[arg(long)]
    pub(crate) addresses: bool,
}

/// Who says so.
#[derive(Args)]
pub(crate) struct Said {
    /// The reason, for others to read.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
    /// Who says so.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    pub(crate) who: String,
}
