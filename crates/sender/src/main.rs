//! The sender's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    paceline_kit::run_service(
        "sender",
        "Sends rendered mail to the provider at the rate that the throttle coordinator grants",
        paceline_sender::DEFAULTS,
        paceline_sender::run,
    )
}
