//! The renderer's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    paceline_kit::run_service(
        "renderer",
        "Renders accepted messages and hands them to the senders.",
        paceline_renderer::DEFAULTS,
        paceline_renderer::run,
    )
}
