//! Compiled templates by their hash, the least recently used going first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::bundle::BundleHash;
use crate::template::Template;

/// A compiled template takes some ten times its source in memory; the bound is on what it was made of.
pub struct BundleCache {
    source_bytes_max: usize,
    inner: Mutex<Inner>,
}

/// How full a cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheUsage {
    pub templates: usize,
    pub source_bytes: usize,
    pub source_bytes_max: usize,
}

#[derive(Default)]
struct Inner {
    templates: HashMap<BundleHash, Slot>,
    source_bytes: usize,
    /// Counts the uses; a slot's stamp says which was its last.
    uses: u64,
}

struct Slot {
    template: Arc<Template>,
    last_use: u64,
}

impl BundleCache {
    /// A cache of templates whose sources together have at most `source_bytes_max`; the newest one is kept even if it
    /// alone has more.
    #[must_use]
    pub fn new(source_bytes_max: usize) -> Self {
        Self {
            source_bytes_max,
            inner: Mutex::default(),
        }
    }

    #[must_use]
    pub fn usage(&self) -> CacheUsage {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        CacheUsage {
            templates: inner.templates.len(),
            source_bytes: inner.source_bytes,
            source_bytes_max: self.source_bytes_max,
        }
    }

    #[must_use]
    pub fn get(&self, hash: &BundleHash) -> Option<Arc<Template>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.uses += 1;
        let now = inner.uses;
        let slot = inner.templates.get_mut(hash)?;
        slot.last_use = now;
        Some(Arc::clone(&slot.template))
    }

    pub fn insert(&self, template: Arc<Template>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.uses += 1;
        let slot = Slot {
            last_use: inner.uses,
            template: Arc::clone(&template),
        };
        inner.source_bytes += template.source_bytes;
        if let Some(replaced) = inner.templates.insert(template.hash(), slot) {
            inner.source_bytes -= replaced.template.source_bytes;
        }
        while inner.source_bytes > self.source_bytes_max && inner.templates.len() > 1 {
            inner.evict();
        }
    }
}

impl Inner {
    /// Evictions are rare and slots few: a scan does.
    fn evict(&mut self) {
        let oldest = self
            .templates
            .iter()
            .min_by_key(|(_, slot)| slot.last_use)
            .map(|(hash, _)| *hash);
        if let Some(slot) = oldest.and_then(|hash| self.templates.remove(&hash)) {
            self.source_bytes -= slot.template.source_bytes;
        }
    }
}
