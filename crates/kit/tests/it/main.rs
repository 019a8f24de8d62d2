//! A real listener and real clients: who is let in, and how it ends.

mod drain;
mod files;
mod keys;
mod listener;
mod redis;
mod redis_tasks;
mod templates;
mod tls;
