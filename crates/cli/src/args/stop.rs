//! The arguments of `paceline stop`.

use clap::{Args, Subcommand};
use paceline_domain::lane::Lane;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct StopOptions {
    #[command(flatten)]
    pub(crate) set: SetOptions,
    #[command(subcommand)]
    pub(crate) command: Option<StopCommand>,
}

/// What is stopped: all that is given must fit, the --tenant too, where it is given.
#[derive(Args)]
pub(crate) struct SetOptions {
    /// Mail of this template.
    #[arg(long, default_value = "", value_name = "NAME")]
    pub(crate) template: String,
    /// Mail with this tag, whatever its value or with this one.
    #[arg(long, value_parser = parse_tag, value_name = "NAME[=VALUE]")]
    pub(crate) tag: Option<(String, String)>,
    /// Mail of this lane: transactional or bulk.
    #[arg(long)]
    pub(crate) lane: Option<Lane>,
    /// Ends what it meets instead of holding it.
    #[arg(long)]
    pub(crate) cancel: bool,
    /// The reason, for others to read.
    #[arg(long, value_name = "TEXT", required = true)]
    pub(crate) why: Option<String>,
    /// Who stops it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    pub(crate) who: String,
}

#[derive(Subcommand)]
pub(crate) enum StopCommand {
    /// All stops, and how much each holds.
    List,
    /// Ends a stop: what it held is sent, or with --cancel all that it kept back ends.
    Release {
        /// The stop's id.
        id: String,
        /// What is held ends as cancelled instead of being sent, and so does what is scheduled, deferred or not held yet.
        #[arg(long)]
        cancel: bool,
        /// Only tells how many messages it would be.
        #[arg(long)]
        dry_run: bool,
        /// The reason, for others to read.
        #[arg(
            long,
            value_name = "TEXT",
            required_unless_present = "dry_run",
            default_value_if("dry_run", "true", "dry run")
        )]
        why: Option<String>,
        /// Who releases it.
        #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
        who: String,
    },
}

fn parse_tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err("a tag has a name".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}
