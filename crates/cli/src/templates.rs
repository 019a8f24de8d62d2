//! `paceline templates`: the folder's bundles, from their first line to the check before they are published.

mod browser;
mod check;
mod new;
mod page;
mod preview;
mod report;

use crate::args::TemplatesCommand;

pub(crate) async fn run(command: TemplatesCommand) -> anyhow::Result<()> {
    match command {
        TemplatesCommand::Check(options) => check::run(&options),
        TemplatesCommand::New(options) => new::run(&options),
        TemplatesCommand::Preview(options) => preview::run(&options).await,
    }
}
