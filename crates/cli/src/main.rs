//! `paceline`: everything on one machine, and the questions a person asks of a running system.

use std::process::ExitCode;

mod act;
mod args;
mod audit;
mod cancel;
mod client;
mod coordinator;
mod dead;
mod doubt;
mod key;
mod queue;
mod records;
mod send;
mod status;
mod stop;
mod suppression;
mod throttle;
mod up;
mod warmup;

use args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("paceline: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Up(options) => up::run(options).await,
            Command::Send(options) => send::run(&arguments.target, *options).await,
            Command::Status(options) => status::run(&arguments.target, &options).await,
            Command::Cancel(options) => cancel::run(&arguments.target, &options).await,
            Command::Dead(command) => dead::run(&arguments.target, *command).await,
            Command::Doubt(options) => doubt::run(&arguments.target, *options).await,
            Command::Stop(options) => stop::run(&arguments.target, *options).await,
            Command::Suppression(options) => suppression::run(&arguments.target, *options).await,
            Command::Audit(command) => audit::run(&arguments.target, *command).await,
            Command::Queue => queue::run(&arguments.target).await,
            Command::Throttle(options) => throttle::run(&arguments.target, &options).await,
            Command::Warmup(options) => warmup::run(&arguments.target, &options).await,
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("paceline: {error:#}");
            ExitCode::FAILURE
        }
    }
}
