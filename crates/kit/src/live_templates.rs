//! Keeps a service's templates as their directory has them, and as they are published.
//!
//! What is broken is told by a log, a gauge and health's note, once for each change; the service goes on with what was good before.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Meter};
use paceline_store::{Store, StoreError};
use paceline_templates::{Broken, Catalog, Change, LiveCatalog};

use crate::Shutdown;
use crate::health::Health;
use crate::published::Announcing;

/// Folders that health names.
const NAMED_MAX: usize = 5;

/// Follows a directory of templates, and what is announced in Redis.
pub struct Follower {
    live: Arc<LiveCatalog>,
    announcing: Option<Announcing>,
    health: Health,
    broken: Gauge<u64>,
    reloads: Counter<u64>,
    /// What was told last.
    told: Vec<Broken>,
    /// The same of templates without their fallbacks.
    lacking: Vec<Broken>,
    /// Mail is accepted with the templates that there are.
    in_use: bool,
}

impl Follower {
    #[must_use]
    pub fn new(live: Arc<LiveCatalog>, health: Health, meter: &Meter) -> Self {
        let broken = meter
            .u64_gauge("paceline.templates.broken")
            .with_description("Templates that can't be used as their folders or what is published have them")
            .build();
        broken.record(0, &[]);
        let reloads = meter
            .u64_counter("paceline.templates.reloads")
            .with_description("Times that templates were loaded anew")
            .build();
        Self {
            live,
            announcing: None,
            health,
            broken,
            reloads,
            told: Vec::new(),
            lacking: Vec::new(),
            in_use: false,
        }
    }

    /// Follows what is announced in `store`, too, if that is wished for, and looks at it for the first time: nothing announced, or nothing
    /// that can be used, is no error. `publish` as below.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn announced<P, F>(mut self, store: Option<&Store>, publish: &P) -> Result<Self, StoreError>
    where
        P: Fn(Arc<Catalog>) -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        if let Some(store) = store {
            self.live.follow_published();
            self.announcing = Some(Announcing::new(store.clone()));
            self.look_at_announced(publish).await?;
        }
        Ok(self)
    }

    /// Looks each `every` until `stop`. `publish` is called with templates before they are used; if it fails, they are tried again.
    pub async fn run<P, F>(mut self, every: Duration, publish: P, stop: Shutdown)
    where
        P: Fn(Arc<Catalog>) -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        self.in_use = true;
        while tokio::time::timeout(every, stop.requested()).await.is_err() {
            let live = Arc::clone(&self.live);
            match tokio::task::spawn_blocking(move || live.look()).await {
                Ok(None) => {}
                Ok(Some(change)) => {
                    self.take(change, &publish).await;
                }
                Err(error) => tracing::error!(%error, "loading templates ended badly"),
            }
            if let Err(error) = self.look_at_announced(&publish).await {
                tracing::debug!(%error, "what templates are published is not known now");
            }
        }
    }

    async fn look_at_announced<P, F>(&mut self, publish: &P) -> Result<(), StoreError>
    where
        P: Fn(Arc<Catalog>) -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        let Some(announcing) = &mut self.announcing else {
            return Ok(());
        };
        if let Some(published) = announcing.look().await? {
            let (live, in_use) = (Arc::clone(&self.live), self.in_use);
            let change = tokio::task::spawn_blocking(move || live.publish(published, in_use)).await;
            let is_taken = match change {
                Ok(change) => self.take(change, publish).await,
                Err(error) => {
                    tracing::error!(%error, "comparing templates ended badly");
                    false
                }
            };
            if let Some(announcing) = &mut self.announcing
                && !is_taken
            {
                announcing.look_again();
            }
        }
        Ok(())
    }

    /// Goes on with a change, and then tells what is wrong with it; false if that has to be tried again.
    async fn take<P, F>(&mut self, change: Change, publish: &P) -> bool
    where
        P: Fn(Arc<Catalog>) -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        let is_taken = self.adopt(&change, publish).await;
        self.tell(&change.broken);
        self.tell_lacking(&change.lacking);
        is_taken
    }

    async fn adopt<P, F>(&self, change: &Change, publish: &P) -> bool
    where
        P: Fn(Arc<Catalog>) -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        // A directory that can't be read leaves the catalog as it is, and is looked at again and again.
        if !Arc::ptr_eq(&change.catalog, &self.live.current()) {
            if let Err(error) = publish(Arc::clone(&change.catalog)).await {
                tracing::warn!(error = format!("{error:#}"), "new templates are not used yet");
                return false;
            }
            self.reloads.add(1, &[]);
            tracing::info!(
                templates = change.catalog.iter().count(),
                "templates were loaded anew"
            );
        }
        self.live.adopt(change);
        true
    }

    /// By the log alone: such a template is used, and mostly its fallback's next version, or its own, is on the way.
    fn tell_lacking(&mut self, lacking: &[Broken]) {
        for (template, problem) in lacking.iter().filter(|it| !self.lacking.contains(it)) {
            tracing::warn!(
                template,
                problem,
                "a template has no fallback now, or one that refuses its data"
            );
        }
        self.lacking = lacking.to_vec();
    }

    fn tell(&mut self, broken: &[Broken]) {
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
