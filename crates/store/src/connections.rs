//! How many connections to Redis this process has, and how many it may have.
//!
//! The number is fixed by how the store is built, never by load: for each node one connection for commands, one for reads of
//! streams, one for hints, and one for waits where writes are waited for; and for one replica at a time while its settings are
//! read. Where a client replaces another, both have theirs for some seconds. A storm of connections is how systems like this one end a Redis that was only slow.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fred::interfaces::ClusterInterface;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionUse {
    Commands,
    /// Large answers.
    Reads,
    /// Pub/sub.
    Hints,
    /// `WAIT` and `WAITAOF`, which hold up what is written behind them.
    Waits,
    /// A look at a replica's settings, at the start and after a reconnection.
    Checks,
}

impl ConnectionUse {
    pub const ALL: [Self; 5] = [
        Self::Commands,
        Self::Reads,
        Self::Hints,
        Self::Waits,
        Self::Checks,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Reads => "reads",
            Self::Hints => "hints",
            Self::Waits => "waits",
            Self::Checks => "checks",
        }
    }
}

/// To each primary: commands, reads, hints and waits.
const PER_NODE_MAX: usize = 4;
/// Replicas are looked at one after the other.
const CHECKS_MAX: usize = 1;
/// In a Cluster, each client of all nodes may ask one of them for the others, by a connection of its own.
const CLUSTER_CLIENTS: usize = 3;

/// The connections of a store, for whoever exports them. Clones are the same; none keeps a connection open.
#[derive(Clone, Default)]
pub struct Connections(Arc<Inner>);

#[derive(Default)]
struct Inner {
    last: AtomicU64,
    clients: Mutex<Vec<Entry>>,
}

struct Entry {
    number: u64,
    used_for: ConnectionUse,
    look: Box<dyn Fn() -> Look + Send + Sync>,
}

/// One client now.
struct Look {
    open: usize,
    /// The primaries of a Cluster as far as they are known; `None` where there is one node for all.
    primaries: Option<usize>,
}

impl Connections {
    /// How many are open now for this use; none while a client connects anew. What a client of a Cluster asks for the others
    /// by is not seen.
    #[must_use]
    pub fn open(&self, used_for: ConnectionUse) -> usize {
        let clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let of_use = clients.iter().filter(|entry| entry.used_for == used_for);
        of_use.map(|entry| (entry.look)().open).sum()
    }

    /// How many may be open at one time, with the primaries that are known now.
    #[must_use]
    pub fn max(&self) -> usize {
        let clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let commands = clients
            .iter()
            .find(|entry| entry.used_for == ConnectionUse::Commands);
        match commands.and_then(|entry| (entry.look)().primaries) {
            Some(primaries) => PER_NODE_MAX * primaries.max(1) + CHECKS_MAX + CLUSTER_CLIENTS,
            None => PER_NODE_MAX + CHECKS_MAX,
        }
    }

    /// Counts a client, as it is when somebody asks, until what is returned is dropped.
    pub(crate) fn count<C: ClusterInterface>(
        &self,
        used_for: ConnectionUse,
        client: impl Fn() -> C + Send + Sync + 'static,
    ) -> Counted {
        let number = self.0.last.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            number,
            used_for,
            look: Box::new(move || look(&client())),
        };
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.push(entry);
        Counted {
            connections: self.clone(),
            number,
        }
    }
}

fn look(client: &impl ClusterInterface) -> Look {
    let open = match (client.is_connected(), client.is_clustered()) {
        (false, _) => 0,
        (true, true) => client.active_connections().len(),
        (true, false) => 1,
    };
    let primaries = client
        .cached_cluster_state()
        .map(|state| state.unique_primary_nodes().len());
    Look { open, primaries }
}

/// A client that is counted.
pub(crate) struct Counted {
    connections: Connections,
    number: u64,
}

impl Counted {
    pub(crate) const fn among(&self) -> &Connections {
        &self.connections
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let clients = &self.connections.0.clients;
        let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = clients.iter().position(|entry| entry.number == self.number);
        let gone = gone.map(|index| clients.swap_remove(index));
        // What ends with a client has nothing to do with the others.
        drop(clients);
        drop(gone);
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = ConnectionUse::ALL.map(|used_for| (used_for, self.open(used_for)));
        f.debug_map().entries(open).finish()
    }
}
