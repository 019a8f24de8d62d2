//! The arguments of `paceline warmup`.

use clap::{Args, Subcommand};
use paceline_wire::v1::ThrottleKey;

use super::Asked;
use crate::key;

#[derive(Args)]
pub(crate) struct WarmupOptions {
    #[command(flatten)]
    pub(crate) asked: Asked,
    #[command(subcommand)]
    pub(crate) command: WarmupCommand,
}

#[derive(Subcommand)]
pub(crate) enum WarmupCommand {
    /// Today is the first day.
    Start(Begun),
    /// The identity is warm.
    Stop(WarmedUp),
    /// Which day it is, and what of its recipients is left.
    Status(WarmedUp),
}

#[derive(Args)]
pub(crate) struct Begun {
    #[command(flatten)]
    pub(crate) warmed: WarmedUp,
    /// The identity as which mail goes that is above a day's cap, instead of waiting for the next day. It must be warm, and SES must have
    /// verified the From's domain for it.
    #[arg(long, value_name = "IDENTITY", default_value = "", hide_default_value = true)]
    pub(crate) overflow_to: String,
}

#[derive(Args)]
pub(crate) struct WarmedUp {
    /// IDENTITY of SES, or PROVIDER/IDENTITY.
    #[arg(value_parser = key::parse)]
    pub(crate) identity: ThrottleKey,
}
