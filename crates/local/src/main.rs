//! The look-alike of Amazon SES as a process of its own.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Parser;
use paceline_local::ses::limits::Limits;
use paceline_local::{Lookalike, LookalikeOptions};
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for Amazon SES on this machine: takes mail, sends none, and shows it on an inbox page.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// A loopback address; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Recipients per second that are taken; the rest is throttled.
    #[arg(long)]
    rate: Option<f64>,
    /// Recipients that may come at once after a pause; one second's worth if absent.
    #[arg(long, requires = "rate")]
    burst: Option<f64>,
    /// Recipients that are taken in all, as by a daily quota.
    #[arg(long)]
    daily_max: Option<u64>,
    /// How long every answer waits.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// The newest so many mails are kept.
    #[arg(long, default_value_t = 10_000)]
    keep_max: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut terminate = signal(SignalKind::terminate()).context("no signal handler")?;
    let options = LookalikeOptions {
        limits: Limits {
            rate: arguments.rate,
            burst: arguments.burst,
            daily_max: arguments.daily_max,
            latency_ms: arguments.latency_ms,
            ..Limits::default()
        },
        keep_max: arguments.keep_max,
        ..LookalikeOptions::default()
    };
    let lookalike = Lookalike::start(arguments.listen, options).await?;
    println!("ready ses={} inbox={}", lookalike.url(), lookalike.inbox_url());
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("no signal handler")?,
    }
    lookalike.stop().await;
    Ok(())
}
