//! Builds the service from its settings, serves it, and drains it. The only place that names concrete adapters.
//!
//! The order of the drain: health says so, calls are still taken for the notice's time; then no new call, open streams end
//! with UNAVAILABLE, what is under way is finished; then what still waits for a script is written; then the store is closed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use opentelemetry::metrics::Meter;
use paceline_kit::address_key::AddressKey;
use paceline_kit::clock::{Clock, SystemClock};
use paceline_kit::entrance::{Entrance, GuardedRouter};
use paceline_kit::health::Health;
use paceline_kit::live_templates::Follower;
use paceline_kit::object_url::UrlPrefixes;
use paceline_kit::{
    Bound, Context, Shutdown, Supervisor, admin, grpc, redis, redis_clock, redis_connections, reflection,
    unsubscribe,
};
use paceline_store::{LogMode, Store};
use paceline_templates::{BundleHash, Catalog, LiveCatalog};
use paceline_wire::v1::dead_letters_service_server::DeadLettersServiceServer;
use paceline_wire::v1::doubt_service_server::DoubtServiceServer;
use paceline_wire::v1::ids_service_server::IdsServiceServer;
use paceline_wire::v1::ingest_service_server::IngestServiceServer;
use paceline_wire::v1::messages_service_server::MessagesServiceServer;
use paceline_wire::v1::stops_service_server::StopsServiceServer;
use tokio::task::JoinHandle;

use crate::admission::Admission;
use crate::batcher::Batcher;
use crate::capacity;
use crate::config::{Config, IntakeSettings};
use crate::dead_letters::DeadLettersOf;
use crate::doubts::DoubtsOf;
use crate::ids::IdsOf;
use crate::messages::MessagesOf;
use crate::metrics::Metrics;
use crate::pressure::{self, Pressure};
use crate::service::Ingest;
use crate::stops::StopsOf;

/// What reflection lists beside health: the services that this process serves.
const SERVICES: [&str; 6] = [
    "paceline.v1.IngestService",
    "paceline.v1.IdsService",
    "paceline.v1.MessagesService",
    "paceline.v1.StopsService",
    "paceline.v1.DeadLettersService",
    "paceline.v1.DoubtService",
];

/// The largest request: a message with all its attachments, or a batch.
const REQUEST_BYTES_MAX: usize = 8 << 20;
/// Under which meter its instruments are.
const METER: &str = "paceline_ingest";
/// Between two looks at the store, for health.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Serves until the context's shutdown, then drains.
///
/// # Errors
/// If a template's mail must have a link to unsubscribe and none is made, the templates or the store can't be used at the start, an address can't be bound, or a listener fails or a task is gone:
/// then after the drain.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let catalog = Arc::new(load_templates(&config).await?);
    let (health, health_server) = Health::new().await;
    // The admin listener outlives the drain: /readyz and /metrics are what one looks at while it lasts.
    let admin_stop = Shutdown::new();
    let telemetry = context.telemetry.clone();
    let supervisor = Supervisor::new(&context.shutdown);
    let (admin_address, admin_task) = admin::serve(
        config.admin_listen,
        health.clone(),
        telemetry,
        &supervisor,
        admin_stop.clone(),
    )
    .await?;
    let entrance = config.entrance()?;
    let (listener, grpc_address) = entrance.bind().await?;
    let store = redis::connect(&config.redis.store()?, &supervisor)
        .await
        .context("redis can't be used")?;
    let meter = context.telemetry.meter(METER);
    let follower = follower(&config, &catalog, &store, (&health, &meter)).await?;
    capacity::tell(&config.intake, &catalog.current(), &store, &meter).await;

    let serving_stop = Shutdown::new();
    let drain_max = config.drain_max;
    tell_health(&store, &catalog, &health).await;
    let looking = look_after(
        (store.clone(), Arc::clone(&catalog)),
        health.clone(),
        context.shutdown.clone(),
        config.drain_notice,
    );
    let looking = Box::pin(supervisor.watch("health", looking));
    let stop = serving_stop.clone();
    // However the look ends, the serving ends with it.
    let looking = tokio::spawn(async move {
        looking.await;
        stop.trigger();
    });
    let stops = (&supervisor, &serving_stop);
    redis_connections::export(&meter, &store);
    let metrics = Metrics::new(&meter);
    let (pressure, polling) = watch_pressure(config.intake, &store, &metrics, stops).await;
    let clocks = redis_clock::watch(meter.clone(), store.clone(), SystemClock, serving_stop.clone());
    let clocks = supervisor.spawn("clock", clocks);
    let put = putting(&catalog, &store);
    let following = follower.run(config.templates.look_every, put, serving_stop.clone());
    let following = supervisor.spawn("templates", following);
    let measures = (pressure, metrics, &meter);
    let known = (catalog, address_key(&config, &store).await?);
    let (services, workers) = services(config, &entrance, known, &store, measures, stops)?;
    let router = services
        .add_service(health_server)
        .add_service(reflection::current(&SERVICES)?)
        .add_service(reflection::older(&SERVICES)?);
    context.ready(Bound {
        grpc: grpc_address,
        admin: admin_address,
    });
    let served = grpc::serve(router, listener, serving_stop, drain_max).await;

    // The router is gone, and with it the last batcher: the workers end once all that waits is written.
    looking.abort();
    polling.abort();
    clocks.abort();
    following.abort();
    finish(workers, drain_max).await;
    store.close().await;
    admin_stop.trigger();
    admin_task.await?;
    served?;
    Ok(supervisor.outcome()?)
}

/// The templates, of which none may need links that are not made.
async fn load_templates(config: &Config) -> anyhow::Result<LiveCatalog> {
    let (directory, makes_links) = (config.templates.directory.clone(), config.unsubscribe.is_set());
    if directory.as_os_str().is_empty() {
        return Ok(LiveCatalog::without_directory(makes_links));
    }
    let catalog = tokio::task::spawn_blocking(move || LiveCatalog::load(&directory, makes_links))
        .await?
        .context("templates.directory can't be used")?;
    if !makes_links {
        unsubscribe::refuse_without(catalog.current().with_category())?;
    }
    Ok(catalog)
}

async fn finish(workers: Vec<JoinHandle<()>>, time_max: Duration) {
    let all = futures_util::future::join_all(workers);
    if tokio::time::timeout(time_max, all).await.is_err() {
        tracing::warn!("messages that still wait for the store are given up");
    }
}

/// The key of the hashes that the log has of people, which others have too; none where nobody copies the log.
async fn address_key(config: &Config, store: &Store) -> anyhow::Result<Option<AddressKey>> {
    if config.address_key.expose().is_empty() {
        return Ok(None);
    }
    let key = AddressKey::agreed(&config.address_key, store).await?;
    Ok(key.filter(|_| store.log_mode() == LogMode::Ledger))
}

fn services(
    config: Config,
    entrance: &Entrance,
    (catalog, address_key): (Arc<LiveCatalog>, Option<AddressKey>),
    store: &Store,
    (pressure, metrics, meter): (Pressure, Metrics, &Meter),
    (supervisor, stop): (&Supervisor, &Shutdown),
) -> anyhow::Result<(GuardedRouter, Vec<JoinHandle<()>>)> {
    let (batcher, workers) = Batcher::start(store.shards(), config.intake, &metrics, store, supervisor);
    let admission = Admission {
        url_prefixes: UrlPrefixes::read(&config.attachments.url_prefixes)?,
        catalog: Arc::clone(&catalog),
        identities: config.identity,
        makes_links: config.unsubscribe.is_set(),
        address_key,
        digest_key: config.digest_key,
        clock: Arc::new(SystemClock),
    };
    let ingest = Ingest::new(
        admission,
        batcher,
        store.clone(),
        pressure,
        metrics.clone(),
        stop.clone(),
    );
    let messages = MessagesOf::new(store.clone(), config.watch, metrics, stop.clone());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stops = StopsOf::new(store.clone(), Arc::clone(&clock));
    let ids = IdsOf(Arc::clone(&catalog));
    let dead_letters = DeadLettersOf::new(store.clone(), catalog, Arc::clone(&clock));
    let doubts = DoubtsOf::new(store.clone(), clock);
    let router = entrance
        .server(meter)?
        .add_service(IngestServiceServer::new(ingest).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(MessagesServiceServer::new(messages))
        .add_service(IdsServiceServer::new(ids))
        .add_service(StopsServiceServer::new(stops))
        .add_service(DeadLettersServiceServer::new(dead_letters))
        .add_service(DoubtServiceServer::new(doubts));
    Ok((router, workers))
}

/// What is refused, and the task that keeps it true. Looks once before the first call, so that a full Redis is known to be full.
async fn watch_pressure(
    settings: IntakeSettings,
    store: &Store,
    metrics: &Metrics,
    (supervisor, stop): (&Supervisor, &Shutdown),
) -> (Pressure, JoinHandle<()>) {
    let pressure = Pressure::default();
    let poll = pressure::Poll {
        store: store.clone(),
        settings,
        pressure: pressure.clone(),
        metrics: metrics.clone(),
    };
    poll.once().await;
    (pressure, supervisor.spawn("pressure", poll.run(stop.clone())))
}

/// What keeps the templates as their directory and the announcements have them. All that are there stand in Redis with its answer.
async fn follower(
    config: &Config,
    catalog: &Arc<LiveCatalog>,
    store: &Store,
    (health, meter): (&Health, &Meter),
) -> anyhow::Result<Follower> {
    put_bundles(store, &catalog.current(), &Catalog::default()).await?;
    let follower = Follower::new(Arc::clone(catalog), health.clone(), meter);
    let follows = config.templates.published.then_some(store);
    Ok(follower.announced(follows, &putting(catalog, store)).await?)
}

/// Every bundle must stand in Redis before a message may pin it: writes those that the catalog in use lacks.
fn putting(
    catalog: &Arc<LiveCatalog>,
    store: &Store,
) -> impl Fn(Arc<Catalog>) -> BoxFuture<'static, anyhow::Result<()>> + use<> {
    let (used, store) = (Arc::clone(catalog), store.clone());
    move |new| {
        let (used, store) = (used.current(), store.clone());
        async move { put_bundles(&store, &new, &used).await }.boxed()
    }
}

/// Writes the bundles of a catalog that another one lacks.
async fn put_bundles(store: &Store, catalog: &Catalog, there: &Catalog) -> anyhow::Result<()> {
    let there: HashSet<BundleHash> = there.iter().map(|template| template.hash()).collect();
    for template in catalog
        .iter()
        .filter(|template| !there.contains(&template.hash()))
    {
        let hash = template.hash().0;
        let problem = || format!("the bundle of {} was not written", template.manifest().name);
        // A Redis that is full keeps what it has for longer, but takes nothing anew.
        if store.keep_bundle(&hash).await.with_context(problem)? {
            continue;
        }
        let put = store.put_bundle(&hash, template.bundle_bytes());
        put.await.with_context(problem)?;
    }
    Ok(())
}

/// Says by health whether the store and any template are there, and that the drain has begun; ends after the notice.
async fn look_after(
    (store, catalog): (Store, Arc<LiveCatalog>),
    health: Health,
    shutdown: Shutdown,
    notice: Duration,
) {
    while !shutdown.is_requested() {
        tell_health(&store, &catalog, &health).await;
        // Ends the pause at a shutdown.
        let _ = tokio::time::timeout(LOOK_EVERY, shutdown.requested()).await;
    }
    health.set_not_ready("draining").await;
    tokio::time::sleep(notice).await;
}

async fn tell_health(store: &Store, catalog: &LiveCatalog, health: &Health) {
    if store.ping().await.is_err() {
        health.set_not_ready("redis does not answer").await;
    } else if catalog.is_empty_yet() {
        health
            .set_not_ready("no published template can be used yet")
            .await;
    } else {
        health.set_ready().await;
    }
}
