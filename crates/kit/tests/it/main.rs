//! A real listener and real clients: who is let in.

mod files;
mod keys;
mod listener;
mod tls;
