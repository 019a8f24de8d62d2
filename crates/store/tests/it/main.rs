//! The store against real servers: each script's behaviour, faults, and the model. Here on a Redis with one shard; the
//! target `cluster` runs the same modules on a Cluster.

mod accept;
mod claim;
mod connect;
mod connections;
mod doubt;
mod durability;
mod final_records;
mod full;
mod hand_off;
mod hold;
mod load;
mod log;
mod model;
mod published;
mod reading;
mod scrub;
mod sentinel;
mod shards;
mod sockets;
mod standalone;
mod stops;
mod support;
mod suppressions;
mod throttle;
mod tls;
mod unreadable;
mod wishes;

use standalone::{SHARD, SHARDS, Servers, TAG, through_a_proxy};
