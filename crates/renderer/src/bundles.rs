//! The templates that messages have pinned: from Redis by their hash, kept compiled.

use std::sync::Arc;

use opentelemetry::metrics::Meter;
use paceline_store::{Store, StoreError};
use paceline_templates::{BundleCache, BundleHash, CacheUsage, Template};

use crate::awaited::{Awaited, Need};

pub(crate) struct Bundles {
    store: Store,
    cache: BundleCache,
    awaited: Arc<Awaited>,
}

impl Bundles {
    pub(crate) fn new(store: Store, source_bytes_max: usize, awaited: Arc<Awaited>) -> Self {
        Self {
            store,
            cache: BundleCache::new(source_bytes_max),
            awaited,
        }
    }

    /// Tells by metrics how full the cache is.
    pub(crate) fn export(self: &Arc<Self>, meter: &Meter) {
        let (counted, weighed) = (Arc::clone(self), Arc::clone(self));
        meter
            .u64_observable_gauge("renderer.template.cached")
            .with_description("Compiled templates in the cache")
            .with_callback(move |gauge| gauge.observe(counted.usage().templates as u64, &[]))
            .build();
        meter
            .u64_observable_gauge("renderer.template.cached.source")
            .with_unit("By")
            .with_description("Bytes of the files that the cached templates are made of")
            .with_callback(move |gauge| gauge.observe(weighed.usage().source_bytes as u64, &[]))
            .build();
    }

    pub(crate) fn usage(&self) -> CacheUsage {
        self.cache.usage()
    }

    /// The template of that hash; `None` if Redis does not have it, or has something that this release can't compile. Either
    /// is an operator's concern: another renderer may do better, so the message waits.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(crate) async fn get(&self, hash: BundleHash) -> Result<Option<Arc<Template>>, StoreError> {
        if let Some(template) = self.cache.get(&hash) {
            return Ok(Some(template));
        }
        let Some(packed) = self.store.get_bundle(&hash.0).await? else {
            tracing::error!(bundle = %hash, "bundle is not in redis");
            return Ok(None);
        };
        // Compiling takes milliseconds: not on the runtime's own threads.
        let compiled = tokio::task::spawn_blocking(move || Template::from_bundle_bytes(&packed)).await;
        match compiled {
            Ok(Ok(template)) if template.hash() == hash => {
                let template = Arc::new(template);
                self.cache.insert(Arc::clone(&template));
                self.awaited.forget(Need::Bundle(hash));
                return Ok(Some(template));
            }
            Ok(Ok(_)) => tracing::error!(bundle = %hash, "bundle in redis has another hash"),
            Ok(Err(error)) => tracing::error!(bundle = %hash, %error, "bundle can't be compiled"),
            Err(error) => tracing::error!(bundle = %hash, %error, "compiling a bundle ended badly"),
        }
        Ok(None)
    }
}
