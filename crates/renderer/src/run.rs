//! Builds the renderer from its settings and runs it until a stop is wished for. The only place that names concrete adapters.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use paceline_kit::address_key::AddressKey;
use paceline_kit::clock::SystemClock;
use paceline_kit::health::Health;
use paceline_kit::live_templates::Follower;
use paceline_kit::stops::Stops;
use paceline_kit::unsubscribe::UnsubscribeLinks;
use paceline_kit::{
    Bound, Context, Shutdown, Supervisor, admin, grpc, redis, redis_clock, redis_connections, reflection,
    unsubscribe,
};
use paceline_store::Store;
use paceline_templates::LiveCatalog;
use paceline_wire::v1::templates_service_server::TemplatesServiceServer;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::attached::Attached;
use crate::awaited::Awaited;
use crate::bundles::Bundles;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::people::People;
use crate::promote;
use crate::reader::Reader;
use crate::room::Room;
use crate::scrub;
use crate::service::Templates;
use crate::shared::{Shared, pause};
use crate::statistics::Statistics;
use crate::stop_sweep::Sweep;

/// Under which meter its instruments are.
const METER: &str = "paceline_renderer";
/// What reflection lists beside health: the services that this process serves.
const SERVICES: [&str; 1] = ["paceline.v1.TemplatesService"];
/// Between two looks at the store, for health.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs the renderer until `context.shutdown`, then drains it: nothing new is read, what is being rendered is handed on.
///
/// # Errors
/// If a template's mail must have a link to unsubscribe and none is made, the templates or Redis can't be used at the start, an address can't be bound, or a listener fails or a task is gone: then
/// after the drain.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let (catalog, links) = templates(&config)?;
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
    let address_key = AddressKey::agreed(&config.address_key, &store).await?;

    let drain_max = config.drain_max;
    let people = People::new(address_key, links);
    let attached = Attached::new(config.attachments.clone()).context("attachments can't be fetched")?;
    let shared = Arc::new(shared(config, (people, attached), &store, &context));
    tracing::info!(name = shared.name, "renderer starts");
    let mut tasks = work(&shared, &supervisor, &context);
    let meter = context.telemetry.meter(METER);
    // Messages are rendered with what they pinned: nothing has to be published for them.
    let follower = Follower::new(Arc::clone(&catalog), health.clone(), &meter);
    let follows = shared.templates.published.then_some(&store);
    let follower = follower.announced(follows, &async |_| Ok(())).await?;
    let look_every = shared.templates.look_every;
    let following = follower.run(look_every, async |_| Ok(()), context.shutdown.clone());
    tasks.spawn(supervisor.watch("templates", following));
    let looking = look_after(store.clone(), health, context.shutdown.clone());
    let looking = supervisor.spawn("health", looking);
    let templates = Templates::new(catalog, &shared);
    let router = entrance
        .server(&context.telemetry.meter(METER))?
        .add_service(health_server)
        .add_service(reflection::current(&SERVICES)?)
        .add_service(reflection::older(&SERVICES)?)
        .add_service(TemplatesServiceServer::new(templates));
    context.ready(Bound {
        grpc: grpc_address,
        admin: admin_address,
    });

    let served = grpc::serve(router, listener, context.shutdown.clone(), drain_max).await;
    context.shutdown.trigger();
    let ended = tokio::time::timeout(drain_max, async { while tasks.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!("batches that are still under way are left to other renderers");
    }
    looking.await?;
    store.close().await;
    admin_stop.trigger();
    admin_task.await?;
    served?;
    Ok(supervisor.outcome()?)
}

/// The tasks that bring messages to their end, and those that these rely on.
fn work(shared: &Arc<Shared>, supervisor: &Supervisor, context: &Context) -> JoinSet<()> {
    let store = &shared.store;
    let mut tasks = JoinSet::new();
    for shard in 0..store.shards() {
        let reading = Reader::new(Arc::clone(shared), shard).run(context.shutdown.clone());
        tasks.spawn(supervisor.watch("reader", reading));
        let promoting = promote::run(Arc::clone(shared), shard, context.shutdown.clone());
        tasks.spawn(supervisor.watch("promoter", promoting));
        let scrubbing = scrub::run(Arc::clone(shared), shard, context.shutdown.clone());
        tasks.spawn(supervisor.watch("scrub", scrubbing));
    }
    let stops = shared
        .stops
        .clone()
        .watch(store.clone(), context.shutdown.clone());
    tasks.spawn(supervisor.watch("stops", stops));
    let sweeping = Sweep::new(Arc::clone(shared), context.shutdown.clone()).run();
    tasks.spawn(supervisor.watch("stop sweep", sweeping));
    let meter = context.telemetry.meter(METER);
    redis_connections::export(&meter, store);
    shared.bundles.export(&meter);
    let clocks = redis_clock::watch(meter, store.clone(), SystemClock, context.shutdown.clone());
    tasks.spawn(supervisor.watch("clock", clocks));
    tasks
}

/// The templates, and what makes the links that some of them need.
fn templates(config: &Config) -> anyhow::Result<(Arc<LiveCatalog>, Option<UnsubscribeLinks>)> {
    let links = config.unsubscribe.read()?;
    let directory = &config.templates.directory;
    if directory.as_os_str().is_empty() {
        return Ok((Arc::new(LiveCatalog::without_directory(links.is_some())), links));
    }
    let catalog = LiveCatalog::load(directory, links.is_some());
    let catalog = catalog.context("templates.directory can't be used")?;
    if links.is_none() {
        unsubscribe::refuse_without(catalog.current().with_category())?;
    }
    Ok((Arc::new(catalog), links))
}

fn shared(
    config: Config,
    (people, attached): (People, Attached),
    store: &Store,
    context: &Context,
) -> Shared {
    let cache_max = usize::try_from(config.templates.cache_max.as_u64()).unwrap_or(usize::MAX);
    let awaited = Arc::new(Awaited::new(&config.templates, &config.attachments));
    Shared {
        store: store.clone(),
        stops: Stops::new(Arc::new(SystemClock)),
        clock: Arc::new(SystemClock),
        bundles: Arc::new(Bundles::new(store.clone(), cache_max, Arc::clone(&awaited))),
        awaited,
        attached,
        people,
        room: Room::new(store.clone(), &config.work),
        cores: Semaphore::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get)),
        metrics: Metrics::new(&context.telemetry.meter(METER)),
        statistics: Arc::new(Statistics::new(&context.telemetry.meter(METER))),
        name: name(config.name),
        work: config.work,
        scrub: config.scrub,
        templates: config.templates,
    }
}

/// The configured name, or one that no other renderer has.
fn name(configured: String) -> String {
    if configured.is_empty() {
        format!("renderer-{:016x}", rand::random::<u64>())
    } else {
        configured
    }
}

/// Says by health whether the store is there, and that the drain has begun.
async fn look_after(store: Store, health: Health, shutdown: Shutdown) {
    while !shutdown.is_requested() {
        match store.ping().await {
            Ok(()) => health.set_ready().await,
            Err(_) => health.set_not_ready("redis does not answer").await,
        }
        pause(LOOK_EVERY, &shutdown).await;
    }
    health.set_not_ready("draining").await;
}
