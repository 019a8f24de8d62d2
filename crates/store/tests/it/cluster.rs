//! The modules of the target `it` on a Redis Cluster of three nodes with 16 shards; without `sockets`, which a Cluster can't
//! listen on alone.

mod accept;
mod claim;
mod connect;
mod doubt;
mod full;
mod hand_off;
mod hold;
mod load;
mod log;
mod model;
mod published;
mod reading;
mod scrub;
mod shards;
mod silent_cluster;
mod stops;
mod support;
mod suppressions;
mod three_nodes;
mod throttle;
mod unreadable;
mod wishes;

use three_nodes::{SHARD, SHARDS, Servers, TAG, through_a_proxy};
