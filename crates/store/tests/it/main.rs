//! The store against real servers: each script's behaviour, faults, and the model.

mod accept;
mod claim;
mod cluster;
mod connect;
mod doubt;
mod full;
mod hand_off;
mod model;
mod reading;
mod support;
mod throttle;
mod unreadable;
mod wishes;
