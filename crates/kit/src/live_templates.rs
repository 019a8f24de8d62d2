//! Keeps a service's templates as their directory has them.
//!
//! What is broken is told by a log, a gauge and health's note, once for each change; the service goes on with what was good before.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Meter};
use paceline_templates::{Catalog, Change, LiveCatalog};

use crate::Shutdown;
use crate::health::Health;

/// Folders that health names.
const NAMED_MAX: usize = 5;

/// Follows a directory of templates.
pub struct Follower {
    live: Arc<LiveCatalog>,
    health: Health,
    broken: Gauge<u64>,
    reloads: Counter<u64>,
    /// What was told last.
    told: Vec<(String, String)>,
}

impl Follower {
    #[must_use]
    pub fn new(live: Arc<LiveCatalog>, health: Health, meter: &Meter) -> Self {
        let broken = meter
            .u64_gauge("paceline.templates.broken")
            .with_description("Folders of templates that can't be used as they stand")
            .build();
        broken.record(0, &[]);
        let reloads = meter
            .u64_counter("paceline.templates.reloads")
            .with_description("Times that the directory of templates was loaded anew")
            .build();
        Self {
            live,
            health,
            broken,
            reloads,
            told: Vec::new(),
        }
    }

    /// Looks each `every` until `stop`. `publish` is called with templates before they are used; if it fails, they are tried again.
    pub async fn run<P, F>(mut self, every: Duration, publish: P, stop: Shutdown)
    where
        P: Fn(Arc<Catalog>) -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        while tokio::time::timeout(every, stop.requested()).await.is_err() {
            let live = Arc::clone(&self.live);
            match tokio::task::spawn_blocking(move || live.look()).await {
                Ok(None) => {}
                Ok(Some(change)) => self.take(change, &publish).await,
                Err(error) => tracing::error!(%error, "loading templates ended badly"),
            }
        }
    }

    async fn take<P, F>(&mut self, change: Change, publish: &P)
    where
        P: Fn(Arc<Catalog>) -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        match publish(Arc::clone(&change.catalog)).await {
            Ok(()) => self.adopt(&change),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "new templates are not used yet"),
        }
        self.tell(&change.broken);
    }

    fn adopt(&self, change: &Change) {
        if !Arc::ptr_eq(&change.catalog, &self.live.current()) {
            self.reloads.add(1, &[]);
            tracing::info!(
                templates = change.catalog.iter().count(),
                "templates were loaded anew"
            );
        }
        self.live.adopt(change);
    }

    fn tell(&mut self, broken: &[(String, String)]) {
        if self.told == broken {
            return;
        }
        for (folder, problem) in broken {
            tracing::error!(
                folder,
                problem,
                "a template can't be used, its last good version stays"
            );
        }
        let mut folders: Vec<&str> = broken.iter().map(|(folder, _)| folder.as_str()).collect();
        folders.dedup();
        self.broken.record(folders.len() as u64, &[]);
        self.health.set_note(&note(&folders));
        self.told = broken.to_vec();
    }
}

fn note(folders: &[&str]) -> String {
    if folders.is_empty() {
        return String::new();
    }
    let named = &folders[..folders.len().min(NAMED_MAX)];
    format!("{} templates can't be used: {}", folders.len(), named.join(", "))
}
