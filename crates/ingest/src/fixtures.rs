//! What several unit tests start from.

use bytesize::ByteSize;
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Nonce, Record, State};
use paceline_domain::time::Millis;

use crate::config::IntakeSettings;

/// Room for a hundred messages, small batches.
pub(crate) fn intake() -> IntakeSettings {
    IntakeSettings {
        messages_max: 100.try_into().expect("not zero"),
        bytes_max: ByteSize::mib(8),
        flights_max: 2.try_into().expect("not zero"),
        batch_messages_max: 64.try_into().expect("not zero"),
        batch_bytes_max: ByteSize::kib(1),
        memory_watermark_bulk: 0.75,
        memory_watermark: 0.85,
        backlog_max_bulk: 1_000,
        backlog_max: 2_000,
        log_bytes_max: ByteSize::mib(1),
        expected_rate: 10.0,
    }
}

/// A record, just accepted.
pub(crate) fn record() -> Record {
    Record {
        state: State::Queued,
        reason: Reason::None,
        revision: 1,
        attempt: 0,
        nonce: Nonce::default(),
        generation: 1,
        tries: 0,
        tries_max: 8,
        maybe_sent: false,
        resent: false,
        policy: DoubtPolicy::Hold,
        lane: Lane::Transactional,
        accepted_at: Millis(1_700_000_000_000),
        changed_at: Millis(1_700_000_000_000),
        send_at: Millis::default(),
        expires_at: Millis(1_700_000_600_000),
        due_at: Millis::default(),
        doubt_window_s: 900,
        dedupe_window_s: 86_400,
        provider: None,
        provider_id: String::new(),
        tenant: "shop".to_owned(),
        template: "receipt".to_owned(),
        identity: "main".to_owned(),
        digests: Vec::new(),
    }
}
