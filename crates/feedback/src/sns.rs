//! Messages of SNS over HTTP: who signed them, and for which topic.
//!
//! Anyone can post to a public address, so nothing of a message is believed before its topic is one of the settings', its
//! certificate comes from a host of SNS by TLS, and the signature holds. Those checks stand in that order: what is not for us
//! makes no request to anywhere. Where the settings name CAs, the certificate must lead to one of them; SNS serves it without what
//! leads there, so the system's CAs can't judge it, and the host's own TLS vouches for it.

mod certificate;
mod endpoint;
mod envelope;
mod fetch;
mod settings;
mod verifier;

pub use certificate::CertificateError;
pub use envelope::{Envelope, Kind};
pub use fetch::FetchError;
pub use settings::SnsSettings;
pub use verifier::{SnsError, Verifier};
