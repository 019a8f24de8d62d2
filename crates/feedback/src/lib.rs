//! The feedback service: what providers say after they took a message, and what follows from it.

mod announce;
mod asked;
mod audit;
mod config;
mod coordinators;
mod copy;
mod counts;
mod event_metrics;
mod evidence;
mod health;
mod intake;
mod ledger_service;
mod mailgun_signature;
mod people;
mod publish;
mod queue;
mod replay;
mod retention;
mod run;
pub mod sns;
mod stats;
mod subscribe;
mod suppression_service;
mod suppressions;
mod tasks;
mod unsubscribe;
mod webhooks;

pub use audit::share::AuditSettings;
pub use config::{Config, CopySettings, DEFAULTS, LedgerSettings};
pub use run::run;
pub use sns::SnsSettings;
pub use unsubscribe::UnsubscribeSettings;
pub use webhooks::MailgunWebhookSettings;
