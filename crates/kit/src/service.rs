//! The life of a service's process: arguments, settings, telemetry, signals, drain, exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::context::Context;
use crate::settings::{self, Settings, SettingsError};
use crate::shutdown::Shutdown;
use crate::telemetry::Telemetry;

/// `EX_USAGE` of sysexits.h: the configuration is bad, and trying again won't help.
const BAD_CONFIGURATION: u8 = 64;

#[derive(Parser)]
struct Arguments {
    /// A TOML file whose keys override the defaults; PACELINE_<SERVICE>__SECTION__KEY overrides both.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Reads and checks the settings, then leaves: with 0 if they are good, with 64 if not.
    #[arg(long)]
    check_config: bool,
    /// Prints the settings in force, secrets redacted, and leaves.
    #[arg(long)]
    dump_config: bool,
    /// Prints the commented default configuration and leaves.
    #[arg(long)]
    default_config: bool,
}

/// Runs a service to its end. `defaults` is its commented `config.default.toml`.
pub fn run_service<S, F>(
    service: &'static str,
    about: &'static str,
    defaults: &'static str,
    run: impl FnOnce(S, Context) -> F,
) -> ExitCode
where
    S: Settings,
    F: Future<Output = anyhow::Result<()>>,
{
    let command = Arguments::command()
        .name(service)
        .about(about)
        .version(env!("CARGO_PKG_VERSION"));
    let arguments = match command
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches))
    {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { BAD_CONFIGURATION } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    if arguments.default_config {
        print!("{defaults}");
        return ExitCode::SUCCESS;
    }
    let settings: S = match settings::load(service, defaults, arguments.config.as_deref()) {
        Ok(settings) => settings,
        Err(error) => return refuse(service, &error),
    };
    if arguments.dump_config {
        return match settings::dump(&settings) {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => refuse(service, &error),
        };
    }
    if arguments.check_config {
        println!("{service}: the configuration is good");
        return ExitCode::SUCCESS;
    }
    start(service, settings, run)
}

fn refuse(service: &str, error: &SettingsError) -> ExitCode {
    eprintln!("{service}: bad configuration: {error}");
    ExitCode::from(BAD_CONFIGURATION)
}

fn start<S, F>(service: &'static str, settings: S, run: impl FnOnce(S, Context) -> F) -> ExitCode
where
    S: Settings,
    F: Future<Output = anyhow::Result<()>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{service}: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let telemetry = match Telemetry::install(service, settings.telemetry()) {
            Ok(telemetry) => telemetry,
            Err(error) => {
                eprintln!("{service}: bad configuration: {error}");
                return ExitCode::from(BAD_CONFIGURATION);
            }
        };
        let shutdown = Shutdown::new();
        if let Err(error) = shutdown.on_signals() {
            tracing::error!(%error, "no signal handlers");
            return ExitCode::FAILURE;
        }
        let outcome = run(settings, Context::new(service, telemetry.clone(), shutdown)).await;
        telemetry.flush().await;
        match outcome {
            Ok(()) => {
                tracing::info!("stopped");
                ExitCode::SUCCESS
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "failed");
                // Some settings can be judged only beside what they name, such as a folder of templates.
                if error.is::<SettingsError>() {
                    ExitCode::from(BAD_CONFIGURATION)
                } else {
                    ExitCode::FAILURE
                }
            }
        }
    })
}
