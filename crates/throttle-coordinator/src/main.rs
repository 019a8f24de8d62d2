//! The throttle coordinator's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    paceline_kit::run_service(
        "throttle-coordinator",
        "Owns the rate of each provider and identity and leases it to the senders",
        paceline_throttle_coordinator::DEFAULTS,
        paceline_throttle_coordinator::run,
    )
}
