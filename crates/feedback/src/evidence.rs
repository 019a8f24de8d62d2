//! What a provider's event proves about a message's record.

use std::time::Duration;

use paceline_domain::delivery::Proof;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Record, State};
use paceline_providers::{AttemptTags, ProviderEvent};
use paceline_store::Finding;

/// A message that the provider took and then did not send goes again, but not at once.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is to be written, `None` for nothing. Evidence that the message was sent holds for its acceptance, whichever attempt it was;
/// a bounce and a "not sent" for the newest attempt alone. An event of another acceptance within the dedupe window is evidence
/// where the record may have been sent: Redis may have lost the acceptance that it tells of.
pub(crate) fn finding(record: &Record, tags: &AttemptTags, event: &ProviderEvent) -> Option<Finding> {
    if record.state == State::Accepted {
        return None;
    }
    let same = record.accepted_at == tags.accepted_at;
    let newest = same && record.attempt == tags.attempt;
    let window = Duration::from_secs(record.dedupe_window_s.into());
    let apart = Duration::from_millis(record.accepted_at.0.abs_diff(tags.accepted_at.0));
    let sent = match event.kind.proof() {
        Proof::Sent => same || (record.maybe_sent && apart <= window),
        Proof::AttemptTaken => newest,
        Proof::AttemptNotSent if newest => {
            return Some(Finding::NotSent {
                attempt: tags.attempt,
                reason: Reason::MessageRefused,
                delay: AGAIN_AFTER,
            });
        }
        Proof::AttemptNotSent | Proof::Nothing => false,
    };
    sent.then(|| Finding::Sent {
        provider: event.provider,
        provider_id: event.provider_id.clone(),
    })
}
