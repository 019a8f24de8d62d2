//! What a service that follows published templates has, whatever Redis shows of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::metrics::Meter;
use paceline_kit::Shutdown;
use paceline_kit::health::Health;
use paceline_kit::live_templates::Follower;
use paceline_kit::telemetry::{Telemetry, TelemetrySettings};
use paceline_store::{Announced, Store};
use paceline_templates::{Catalog, Files, LiveCatalog, Template};
use paceline_testkit::{TestRedis, eventually};
use tokio::task::JoinHandle;

use crate::redis_tasks::config;

const PATIENCE: Duration = Duration::from_secs(20);
const OFTEN: Duration = Duration::from_millis(10);

fn files(name: &str, version: u32, html: &str) -> Files {
    let manifest = format!("name = \"{name}\"\nversion = {version}\nlane = \"transactional\"\n");
    let files = [
        ("template.toml", manifest.as_str()),
        ("subject.hbs", "Hello"),
        ("body.html.hbs", html),
        ("schema.json", "{}"),
        ("examples/first.json", "{}"),
    ];
    files
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .into()
}

fn template(name: &str, version: u32, html: &str) -> Template {
    Template::from_files(&files(name, version, html)).unwrap_or_else(|error| panic!("{error}"))
}

fn announced(template: &Template) -> Announced {
    Announced {
        name: template.manifest().name.clone(),
        version: template.manifest().version,
        hash: template.hash().0,
        authored: template.hash().0,
    }
}

/// What the service does with templates before it uses them.
#[derive(Clone, Default)]
struct Puts {
    calls: Arc<AtomicUsize>,
    fail: Arc<AtomicBool>,
    names: Arc<Mutex<Vec<String>>>,
}

impl Puts {
    async fn put(self, catalog: Arc<Catalog>) -> anyhow::Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        anyhow::ensure!(!self.fail.load(Ordering::SeqCst), "not now");
        let names = catalog.iter().map(|template| template.manifest().name.clone());
        *self.names.lock().expect("no panic") = names.collect();
        Ok(())
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

struct Bench {
    redis: TestRedis,
    store: Store,
    live: Arc<LiveCatalog>,
    health: Health,
    puts: Puts,
    stop: Shutdown,
    running: JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.trigger();
        self.running.abort();
    }
}

fn meter() -> Meter {
    let telemetry = Telemetry::new("kit", &TelemetrySettings::default()).expect("no endpoint");
    telemetry.meter("test")
}

impl Bench {
    async fn start(live: LiveCatalog) -> Self {
        let redis = TestRedis::start().await;
        let store = Store::connect(&config(&redis)).await.expect("a safe redis");
        let (health, _service) = Health::new().await;
        let (live, puts, stop) = (Arc::new(live), Puts::default(), Shutdown::new());
        let follower = Follower::new(Arc::clone(&live), health.clone(), &meter());
        let putting = puts.clone();
        let put = move |catalog| putting.clone().put(catalog);
        let follower = Box::pin(follower.announced(Some(&store), &put));
        let follower = follower.await.expect("redis is there");
        let running = tokio::spawn(follower.run(OFTEN, put, stop.clone()));
        Self {
            redis,
            store,
            live,
            health,
            puts,
            stop,
            running,
        }
    }

    async fn put_bundle(&self, template: &Template) {
        let hash = template.hash().0;
        let put = self.store.put_bundle(&hash, template.bundle_bytes());
        put.await.expect("redis is there");
    }

    async fn announce(&self, templates: &[&Template], with_bundles: bool) {
        for template in templates.iter().filter(|_| with_bundles) {
            self.put_bundle(template).await;
        }
        let all: Vec<_> = templates.iter().map(|template| announced(template)).collect();
        let revision = rand_revision();
        self.store
            .announce(&all, &[], revision)
            .await
            .expect("redis is there");
    }

    /// Waits until the service has exactly these, as `name version`.
    async fn has(&self, expected: &[&str]) {
        eventually("the templates are those", PATIENCE, async || {
            let catalog = self.live.current();
            let has = catalog.iter().map(|template| {
                let manifest = template.manifest();
                format!("{} {}", manifest.name, manifest.version)
            });
            let has: Vec<_> = has.collect();
            if has == expected {
                Ok(())
            } else {
                Err(format!("{has:?}"))
            }
        })
        .await;
    }

    /// Waits until health's note has this.
    async fn tells(&self, text: &str) {
        eventually("it is told", PATIENCE, async || {
            let note = self.health.note();
            if note.contains(text) && note.is_empty() == text.is_empty() {
                Ok(())
            } else {
                Err(note)
            }
        })
        .await;
    }
}

/// Another one each time.
fn rand_revision() -> u64 {
    static REVISION: AtomicUsize = AtomicUsize::new(1);
    REVISION.fetch_add(1, Ordering::SeqCst) as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_is_used_and_outlives_its_loss() {
    let bench = Bench::start(LiveCatalog::without_directory(false)).await;
    bench.has(&[]).await;
    assert!(bench.live.awaits("a", None), "nobody said what is published");
    bench.announce(&[], false).await;
    eventually("nothing is published", PATIENCE, async || {
        if bench.live.awaits("a", None) {
            Err("a may come")
        } else {
            Ok(())
        }
    })
    .await;
    let versions = [1, 2, 3].map(|version| template("a", version, "x"));
    bench.announce(&[&versions[0], &versions[1]], true).await;
    bench.has(&["a 1", "a 2"]).await;
    assert_eq!(bench.puts.names.lock().expect("no panic").len(), 2);

    bench.redis.command(&["FLUSHALL"]).await;
    bench.announce(&[&template("b", 1, "x")], true).await;
    bench.has(&["a 1", "a 2", "b 1"]).await;
    // Its oldest is no more announced.
    bench.announce(&[&versions[1], &versions[2]], true).await;
    bench.has(&["a 2", "a 3", "b 1"]).await;
    bench.tells("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_no_bundle_takes_nothing_away_and_is_told() {
    let bench = Bench::start(LiveCatalog::without_directory(false)).await;
    let good = template("a", 1, "x");
    bench.announce(&[&good], true).await;
    bench.has(&["a 1"]).await;
    // The same version with a bundle that is not there; a good one beside it.
    let (missing, beside) = (template("a", 1, "y"), template("b", 1, "x"));
    bench.put_bundle(&beside).await;
    bench.announce(&[&missing, &beside], false).await;
    bench.has(&["a 1", "b 1"]).await;
    bench.tells("a@1").await;
    let hash = bench.live.current().get("a", None).expect("there").hash();
    assert_eq!(hash, good.hash());
    // It comes late.
    bench.put_bundle(&missing).await;
    bench.tells("").await;
    let hash = bench.live.current().get("a", None).expect("there").hash();
    assert_eq!(hash, missing.hash());

    let foreign = [
        Announced {
            hash: [9; 32],
            ..announced(&template("c", 1, "z"))
        },
        // Another template's.
        Announced {
            name: "d".to_owned(),
            ..announced(&good)
        },
    ];
    let put = bench
        .store
        .put_bundle(&[9; 32], bytes::Bytes::from_static(b"no bundle"));
    put.await.expect("redis is there");
    bench
        .store
        .announce(&foreign, &[], 1 << 40)
        .await
        .expect("redis is there");
    bench.tells("2 templates can't be used: c@1, d@1").await;
    bench.has(&["a 1", "b 1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_got_before_a_look_failed_is_used_after_the_next() {
    let bench = Bench::start(LiveCatalog::without_directory(false)).await;
    let (old, new, missing) = (
        template("a", 1, "x"),
        template("a", 1, "y"),
        template("b", 1, "x"),
    );
    bench.announce(&[&missing], false).await;
    bench.announce(&[&old], true).await;
    bench.has(&["a 1"]).await;
    bench.tells("b@1").await;
    let key = format!("{{pl1:tpl}}:{}", missing.hash());
    bench.redis.command(&["RPUSH", &key, "no bundle"]).await;
    bench.announce(&[&new], true).await;
    eventually("a look fails", PATIENCE, async || {
        let errors = bench.redis.command(&["INFO", "errorstats"]).await;
        let errors = format!("{errors:?}");
        if errors.contains("WRONGTYPE") {
            Ok(())
        } else {
            Err(errors)
        }
    })
    .await;
    bench.redis.command(&["DEL", &key]).await;
    eventually("the new one is used", PATIENCE, async || {
        let hash = bench.live.current().get("a", None).expect("there").hash();
        if hash == new.hash() { Ok(()) } else { Err(hash) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_put_is_not_used_until_it_can() {
    let bench = Bench::start(LiveCatalog::without_directory(false)).await;
    bench.puts.fail.store(true, Ordering::SeqCst);
    bench.announce(&[&template("a", 1, "x")], true).await;
    eventually("it is tried again", PATIENCE, async || {
        let calls = bench.puts.calls();
        if calls > 2 { Ok(()) } else { Err(calls) }
    })
    .await;
    bench.has(&[]).await;
    bench.puts.fail.store(false, Ordering::SeqCst);
    bench.has(&["a 1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_can_t_be_read_is_told_and_nothing_is_put_again() {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, content) in files("a", 1, "x") {
        let path = folder.path().join("templates/a").join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(path, content).expect("writable");
    }
    let directory = folder.path().join("templates");
    let live = LiveCatalog::load(&directory, false).unwrap_or_else(|error| panic!("{error}"));
    let bench = Bench::start(live).await;
    std::fs::rename(&directory, folder.path().join("away")).expect("renamed");
    bench.tells("templates can't be used").await;
    // By the time this is used many looks have been made.
    bench.announce(&[&template("b", 1, "x")], true).await;
    bench.has(&["a 1", "b 1"]).await;
    bench.announce(&[&template("b", 2, "x")], true).await;
    bench.has(&["a 1", "b 1", "b 2"]).await;
    assert_eq!(bench.puts.calls(), 2, "once for each change of what is published");
    std::fs::rename(folder.path().join("away"), &directory).expect("renamed");
    bench.tells("").await;
}
