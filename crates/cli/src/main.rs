//! `paceline`: everything on one machine, and the questions a person asks of a running system.

use std::process::ExitCode;

mod act;
mod args;
mod audit;
mod cancel;
mod client;
mod commands;
mod coordinator;
mod dead;
mod doubt;
mod ended;
mod erase;
mod key;
mod ledger;
mod queue;
mod records;
mod search;
mod send;
mod stats;
mod status;
mod stop;
mod suppression;
mod templates;
mod throttle;
mod up;
mod warmup;

use ended::Ended;

fn main() -> ExitCode {
    let arguments = args::Arguments::read();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("paceline: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref() {
            Some(Ended(code)) => ExitCode::from(*code),
            None => {
                eprintln!("paceline: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}
