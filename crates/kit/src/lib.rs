//! What every `main` needs: settings, telemetry, health, drain, a clock, TLS and API keys.
//!
//! A service is a library with `run(config, context)`; its `main` hands both to [`run_service`], which reads the
//! settings before any socket opens, and leaves with 0 after a drain, 1 after a failure and 64 on a bad configuration.

pub mod access;
pub mod address_key;
pub mod admin;
pub mod client;
pub mod clock;
mod connection;
pub mod context;
pub mod entrance;
pub mod grpc;
pub mod health;
pub mod identity;
pub mod incoming;
pub mod listen;
pub mod live_templates;
pub mod object_url;
mod published;
pub mod redis;
pub mod redis_clock;
pub mod redis_connections;
pub mod reflection;
pub mod said;
pub mod secret;
pub mod service;
pub mod settings;
pub mod shutdown;
pub mod stops;
pub mod supervisor;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod unsubscribe;
pub mod web;

pub use context::{Bound, Context};
pub use service::run_service;
pub use settings::{Settings, SettingsError};
pub use shutdown::Shutdown;
pub use supervisor::Supervisor;

/// The services make and drop many values, large ones too, on several threads, and mimalloc spends less CPU on them than the
/// C library: a tenth of all that an email costs, for some more memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
