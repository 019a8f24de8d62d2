//! The machine's table once more, row by row, written down and not computed: what the exploration must meet, and all that
//! it may meet.

use paceline_domain::record::{DoubtPolicy, State};

use crate::moves::{Level, Row};

const SCHEDULED: State = State::Scheduled;
const QUEUED: State = State::Queued;
const SENDING: State = State::Sending;
const DEFERRED: State = State::Deferred;
const IN_DOUBT: State = State::InDoubt;
const HELD: State = State::Held;
const ACCEPTED: State = State::Accepted;
const DEAD: State = State::Dead;
const CANCELLED: State = State::Cancelled;
const EXPIRED: State = State::Expired;
const SUPPRESSED: State = State::Suppressed;
const DISCARDED: State = State::Discarded;

const ROWS: &[Row] = &[
    (SCHEDULED, "due", QUEUED),
    (SCHEDULED, "due", EXPIRED),
    (DEFERRED, "due", QUEUED),
    (DEFERRED, "due", EXPIRED),
    (QUEUED, "buried", DEAD),
    (QUEUED, "postponed", DEFERRED),
    (QUEUED, "held", HELD),
    (HELD, "released", QUEUED),
    (QUEUED, "suppressed", SUPPRESSED),
    (QUEUED, "suppressed", EXPIRED),
    (QUEUED, "claimed", SENDING),
    (QUEUED, "claimed", EXPIRED),
    (SENDING, "reported refused", DEAD),
    (IN_DOUBT, "reported refused", DEAD),
    (SENDING, "reported failed", DEFERRED),
    (SENDING, "reported failed", DEAD),
    (IN_DOUBT, "reported failed", DEFERRED),
    (IN_DOUBT, "reported failed", DEAD),
    (SENDING, "reported deferred", DEFERRED),
    (IN_DOUBT, "reported deferred", DEFERRED),
    (SENDING, "reported unknown", IN_DOUBT),
    (SENDING, "claim lapsed", IN_DOUBT),
    (IN_DOUBT, "window over", DEAD),
    (IN_DOUBT, "event says not sent", DEFERRED),
    (SCHEDULED, "cancelled", CANCELLED),
    (QUEUED, "cancelled", CANCELLED),
    (DEFERRED, "cancelled", CANCELLED),
    (HELD, "cancelled", CANCELLED),
    (DEAD, "redriven", QUEUED),
    (DEAD, "discarded", DISCARDED),
    (SCHEDULED, "erased", CANCELLED),
    (QUEUED, "erased", CANCELLED),
    (DEFERRED, "erased", CANCELLED),
    (HELD, "erased", CANCELLED),
    (DEAD, "erased", DISCARDED),
    (IN_DOUBT, "erased", DISCARDED),
    (DEAD, "resubmitted", QUEUED),
    (DEAD, "resubmitted", SCHEDULED),
    (CANCELLED, "resubmitted", QUEUED),
    (CANCELLED, "resubmitted", SCHEDULED),
    (EXPIRED, "resubmitted", QUEUED),
    (EXPIRED, "resubmitted", SCHEDULED),
    (SUPPRESSED, "resubmitted", QUEUED),
    (SUPPRESSED, "resubmitted", SCHEDULED),
    (DISCARDED, "resubmitted", QUEUED),
    (DISCARDED, "resubmitted", SCHEDULED),
];

/// Where evidence meets a message: all states but accepted and, since nothing that may have been sent is scheduled anew,
/// scheduled, unless that was lost.
const EVIDENCE: [State; 10] = [
    QUEUED, SENDING, DEFERRED, IN_DOUBT, HELD, DEAD, CANCELLED, EXPIRED, SUPPRESSED, DISCARDED,
];

/// Where claims may be lost with their messages' last moves: what a sender stands by, and what evidence meets then.
const LOST: &[Row] = &[
    (SCHEDULED, "reported accepted", ACCEPTED),
    (SCHEDULED, "event says sent", ACCEPTED),
    (SCHEDULED, "asserted", SENDING),
    (QUEUED, "asserted", SENDING),
    (DEFERRED, "asserted", SENDING),
    (HELD, "asserted", SENDING),
    (DEAD, "asserted", SENDING),
    (CANCELLED, "asserted", CANCELLED),
    (EXPIRED, "asserted", EXPIRED),
    (SUPPRESSED, "asserted", SUPPRESSED),
    (DISCARDED, "asserted", DISCARDED),
];

pub(crate) fn rows(policy: DoubtPolicy, level: Level) -> impl Iterator<Item = Row> {
    let evidence = EVIDENCE
        .into_iter()
        .flat_map(|state| ["reported accepted", "event says sent"].map(|event| (state, event, ACCEPTED)));
    let (resends, local) = (policy == DoubtPolicy::Resend, level == Level::Local);
    let resend = resends.then_some((IN_DOUBT, "window over", QUEUED));
    let resend_lost = (resends && local).then_some((IN_DOUBT, "asserted", SENDING));
    let lost = if local { LOST } else { &[] };
    let always = ROWS.iter().chain(lost).copied();
    always.chain(evidence).chain(resend).chain(resend_lost)
}
