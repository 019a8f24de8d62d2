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
    Start(WarmedUp),
    /// The identity is warm.
    Stop(WarmedUp),
    /// Which day it is, and what of its recipients is left.
    Status(WarmedUp),
}

#[derive(Args)]
pub(crate) struct WarmedUp {
    /// IDENTITY of SES, or PROVIDER/IDENTITY.
    #[arg(value_parser = key::parse)]
    pub(crate) identity: ThrottleKey,
}
