//! The arguments of `paceline send`.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, ValueEnum};

use super::parse_time;

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
    pub(crate) attachments: AttachOptions,
    #[command(flatten)]
    pub(crate) file: Option<FileOptions>,
}

/// All together at most 10, and 7 MiB; with --file each row gets them.
#[derive(Args, Default)]
#[group(id = "attach_options")]
pub(crate) struct AttachOptions {
    /// Attaches a file, by its name and the type that its ending says. May be given several times, as each of these.
    #[arg(long, value_name = "FILE")]
    pub(crate) attach: Vec<PathBuf>,
    /// Attaches a file that the html shows as `cid:ID`.
    #[arg(long, value_name = "ID=FILE", value_parser = parse_pair)]
    pub(crate) inline: Vec<(String, String)>,
    /// Attaches what the renderer finds at an https URL that the settings allow, if it has this SHA-256 (64 hexadecimal digits).
    #[arg(long, value_name = "SHA256=URL", value_parser = parse_pair)]
    pub(crate) attach_url: Vec<(String, String)>,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("has no \"=\"")?;
    Ok((name.to_owned(), value.to_owned()))
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
