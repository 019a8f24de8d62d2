//! Builds the coordinator from its settings, serves it, and drains it. The only place that names concrete adapters.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use paceline_domain::controller::Account;
use paceline_domain::controller::quota::DailySend;
use paceline_kit::clock::SystemClock;
use paceline_kit::entrance::Entrance;
use paceline_kit::health::Health;
use paceline_kit::{Bound, Context, Shutdown, Supervisor, admin, grpc, redis, redis_connections, reflection};
use paceline_providers::{AccountError, AccountPause, Ses, SesAccount};
use paceline_wire::v1::throttle_service_server::ThrottleServiceServer;

use crate::commit::Committer;
use crate::config::Config;
use crate::desk::{Desk, Look};
use crate::election::Election;
use crate::looks::{AccountSource, Looks, Trouble};
use crate::metrics::Metrics;
use crate::pace;
use crate::service::Throttle;

/// What reflection lists beside health: the services that this process serves.
const SERVICES: [&str; 1] = ["paceline.v1.ThrottleService"];

/// Serves until the context's shutdown, then drains, saves and resigns, in this order: another coordinator leads as soon as
/// the lead is given back.
///
/// # Errors
/// If Redis can't be used at the start, an address can't be bound, or a listener fails or a task is gone: then after the drain.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let (health, health_server) = Health::new().await;
    let (stop, stop_election) = (Shutdown::new(), Shutdown::new());
    let supervisor = Supervisor::new(&context.shutdown);
    let (admin_address, admin_task) = admin::serve(
        config.admin_listen,
        health.clone(),
        context.telemetry.clone(),
        &supervisor,
        stop.clone(),
    )
    .await?;
    let entrance = config.entrance()?;
    let (listener, grpc_address) = entrance.bind().await?;
    let store = redis::connect(&config.redis.store()?, &supervisor)
        .await
        .context("redis can't be used")?;

    let address = address(&config, &entrance, grpc_address);
    let (drain_max, accounts) = (config.drain_max, accounts(&config).await?);
    let desk = Desk::new(Arc::new(config));
    let clock = SystemClock;
    let meter = context.telemetry.meter("paceline_throttle_coordinator");
    redis_connections::export(&meter, &store);
    let metrics = Metrics::new(&meter, &desk, clock);
    // Ends with the others, and has nothing to save.
    let trouble = look_after_accounts(accounts, (&desk, &metrics, health), &supervisor, &stop);
    let election = Election {
        store: store.clone(),
        desk: desk.clone(),
        clock,
        trouble,
        address: address.clone(),
    };
    let election = supervisor.spawn("election", election.run(stop_election.clone()));
    let ticking = pace::tick(desk.clone(), clock, metrics.clone(), stop.clone());
    let ticking = supervisor.spawn("ticker", ticking);
    let committer = Committer {
        desk: desk.clone(),
        store: store.clone(),
        clock,
    };
    let committing = supervisor.spawn("committer", committer.run(stop.clone()));
    let service = ThrottleServiceServer::new(Throttle {
        desk,
        store: store.clone(),
        clock,
        metrics,
        address,
        opening: Arc::default(),
    });
    let router = entrance
        .server(&meter)?
        .add_service(health_server)
        .add_service(reflection::current(&SERVICES)?)
        .add_service(reflection::older(&SERVICES)?)
        .add_service(service);
    context.ready(Bound {
        grpc: grpc_address,
        admin: admin_address,
    });

    let served = grpc::serve(router, listener, context.shutdown.clone(), drain_max).await;
    stop.trigger();
    ticking.await?;
    committing.await?;
    stop_election.trigger();
    election.await?;
    admin_task.await?;
    store.close().await;
    served?;
    Ok(supervisor.outcome()?)
}

/// Looks at each account while this coordinator leads. What is amiss with them is said by what it returns.
fn look_after_accounts(
    accounts: Vec<(String, Duration, Ses)>,
    (desk, metrics, health): (&Desk, &Metrics, Health),
    supervisor: &Supervisor,
    stop: &Shutdown,
) -> Trouble {
    let trouble = Trouble::new(health);
    for (region, every, source) in accounts {
        let looks = Looks {
            region,
            source,
            every,
            desk: desk.clone(),
            clock: SystemClock,
            metrics: metrics.clone(),
            trouble: trouble.clone(),
        };
        drop(supervisor.spawn("looks", looks.run(stop.clone())));
    }
    trouble
}

/// Where the senders reach this coordinator.
fn address(config: &Config, entrance: &Entrance, bound: SocketAddr) -> String {
    if !config.advertise.is_empty() {
        return config.advertise.clone();
    }
    let scheme = if entrance.is_tls() { "https" } else { "http" };
    format!("{scheme}://{bound}")
}

/// The accounts to look at: region, how often, and by which client.
async fn accounts(config: &Config) -> anyhow::Result<Vec<(String, Duration, Ses)>> {
    let mut accounts = Vec::with_capacity(config.account.len());
    for account in &config.account {
        let ses = Ses::connect(&account.region, &config.ses).await?;
        accounts.push((account.region.clone(), account.look_every, ses));
    }
    Ok(accounts)
}

impl AccountSource for Ses {
    async fn look(&self) -> Result<Look, &'static str> {
        let account: SesAccount = self.account().await.map_err(AccountError::as_str)?;
        let daily = account.max_24_hour_send.and_then(DailySend::of);
        Ok(Look {
            account: Account {
                max_send_rate: account.max_send_rate,
                daily: daily.unwrap_or(DailySend::Unlimited),
                sent_last_24_hours: account.sent_last_24_hours,
                enabled: account.paused.is_none(),
            },
            knows_daily: daily.is_some(),
            paused: account.paused.map(AccountPause::as_str),
        })
    }
}
