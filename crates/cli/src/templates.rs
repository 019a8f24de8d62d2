//! `paceline templates`: the folder's bundles, from their first line to the check before they are published, and how they fare.

mod browser;
mod check;
mod new;
mod page;
mod preview;
mod publish;
mod replay;
mod report;
mod stats;

use crate::args::{Target, TemplatesCommand, TemplatesOptions};

pub(crate) async fn run(target: &Target, options: TemplatesOptions) -> anyhow::Result<()> {
    match options.command {
        None | Some(TemplatesCommand::Stats) => stats::run(target, &options.asked).await,
        Some(TemplatesCommand::Check(options)) => check::run(&options),
        Some(TemplatesCommand::New(options)) => new::run(&options),
        Some(TemplatesCommand::Replay(options)) => replay::run(target, options).await,
        Some(TemplatesCommand::Publish(options)) => publish::run(target, &options).await,
        Some(TemplatesCommand::Published(options)) => publish::list(target, &options).await,
        Some(TemplatesCommand::Preview(options)) => preview::run(&options).await,
    }
}
