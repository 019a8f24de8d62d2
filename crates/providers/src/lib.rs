//! The way out: a rendered message to a provider, and what became of it.
//!
//! One call is one attempt: nothing here retries, since a retry of a call whose outcome is unknown is a second email. What
//! a provider answered is told as a [`SendOutcome`], whose classes say what may happen next; [`Ses::send`] has no error
//! besides, and neither has [`MailgunDomain::send`]. What providers tell of what they took is read here, too. This crate is the only
//! user of AWS's SDKs.

mod answer;
pub mod events;
pub mod header_text;
mod http_client;
pub mod mailgun;
pub mod message;
pub mod outcome;
pub mod ses;
pub mod settings;
pub mod sqs;

pub use events::{AttemptTags, EventError, ProviderEvent};
pub use mailgun::{Mailgun, MailgunDomain, MailgunRegion, MailgunSettings};
pub use message::{Attachment, Mailbox, OutgoingMessage, WriteGate};
pub use outcome::SendOutcome;
pub use ses::{AccountError, AccountPause, ConnectError, Ses, SesAccount};
pub use settings::{Credentials, SesSettings};
