//! The feedback service's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    paceline_kit::run_service(
        "feedback",
        "Copies what becomes of every message into the ledger, and answers from it",
        paceline_feedback::DEFAULTS,
        paceline_feedback::run,
    )
}
