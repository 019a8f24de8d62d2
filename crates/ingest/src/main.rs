//! The ingest service as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    paceline_kit::run_service(
        "ingest",
        "Takes messages over gRPC, checks them and stores them in Redis",
        paceline_ingest::DEFAULTS,
        paceline_ingest::run,
    )
}
