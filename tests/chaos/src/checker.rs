//! What must hold however much has failed, as plain functions over what was seen: by producers, by the provider, in the records, in the
//! places that name messages, and in the ledger.
//!
//! Nothing here trusts Paceline's own word alone: a message counts as sent if the provider has it, and as accepted if its caller was
//! told so. What the state says must agree with both.

use std::collections::{BTreeMap, BTreeSet};

use paceline_wire::v1::MessageState;

/// What becomes of a doubt that nobody settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A person decides; no second send ever.
    Hold,
    /// Once more, when the window is over.
    Resend,
}

impl Policy {
    /// So many emails of one acceptance may reach the provider.
    const fn sends_max(self) -> usize {
        match self {
            Self::Hold => 1,
            Self::Resend => 2,
        }
    }
}

/// A message that a producer was told is accepted.
#[derive(Clone, Debug)]
pub struct Told {
    pub tenant: &'static str,
    pub policy: Policy,
    /// Not before this time, in ms of the epoch.
    pub send_at: Option<i64>,
    /// When its caller was told that it is cancelled, in ms of the epoch.
    pub cancelled_at: Option<i64>,
}

/// An email that the provider took.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its recipient's address.
    pub to: String,
    pub attempt: u32,
    /// In ms of the epoch.
    pub at: i64,
}

/// A message as its record has it.
#[derive(Clone, Debug)]
pub struct Standing {
    pub state: MessageState,
    pub reason: String,
    pub attempt: u32,
    pub maybe_sent: bool,
    pub revision: u32,
}

/// A message as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Of its highest revision.
    pub state: MessageState,
    pub revision: u32,
    /// Of which it has the transition, rising.
    pub revisions: Vec<u32>,
    /// Those that were claimed.
    pub attempts: BTreeSet<u32>,
    /// Whether it ever was.
    pub was_cancelled: bool,
    /// One revision with two contents: Redis lost writes.
    pub conflicts: bool,
}

/// All that was seen, by message id.
#[derive(Debug, Default)]
pub struct Evidence {
    pub told: BTreeMap<String, Told>,
    /// What was asked for without an answer, by the recipient's address: it may be sent, or not be there at all.
    pub unknown: BTreeMap<String, Policy>,
    pub sent: BTreeMap<String, Vec<Sent>>,
    /// Those that were told; a missing one has no record.
    pub standing: BTreeMap<String, Standing>,
    /// What still names messages, such as "open" or an entry of a stream; an id may stand in several places.
    pub places: BTreeMap<String, BTreeSet<String>>,
    /// `None`: there is no ledger to compare with.
    pub ledger: Option<BTreeMap<String, Written>>,
}

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Acknowledged, and there is no record.
    Lost,
    /// The record says that it was sent; the provider does not have it.
    NeverSent,
    /// Sent more often than its policy allows.
    Twice,
    /// Sent, and the record claims to know that it was not.
    SentUnknown,
    /// Sent after its caller was told that it is cancelled.
    SentThoughCancelled,
    /// Sent before its time.
    SentEarly,
    /// Neither at rest nor in doubt, when all had time to end.
    Stuck,
    /// In doubt, dead or suppressed, and nothing says why.
    WithoutReason,
    /// A place names it that is none of its state, or none does where one must.
    Misplaced,
    /// The provider has an email of no message that anybody was told of.
    Stranger,
    /// The ledger's newest state is another than the record's.
    LedgerDiffers,
    /// The ledger knows of two histories.
    LedgerConflict,
    /// The ledger's history lacks a revision, a claim of what was sent, or the cancellation that its caller was told of.
    LedgerGap,
}

impl Wrong {
    /// Whether the first promise is broken by it.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        matches!(self, Self::Lost | Self::NeverSent)
    }

    /// Whether the second promise is broken by it.
    #[must_use]
    pub const fn is_double(self) -> bool {
        matches!(self, Self::Twice | Self::SentThoughCancelled)
    }
}

/// All that is wrong, by message id.
#[must_use]
pub fn check(evidence: &Evidence) -> BTreeMap<String, BTreeSet<Wrong>> {
    let mut found = BTreeMap::<String, BTreeSet<Wrong>>::new();
    for (id, told) in &evidence.told {
        let wrong = wrong_with(id, told, evidence);
        if !wrong.is_empty() {
            found.insert(id.clone(), wrong);
        }
    }
    for (id, sent) in &evidence.sent {
        if !evidence.told.contains_key(id)
            && let Some(wrong) = of_untold(sent, &evidence.unknown)
        {
            found.entry(id.clone()).or_default().insert(wrong);
        }
    }
    found
}

/// A message that nobody was told of must be one that somebody asked for, and holds its policy as others do.
fn of_untold(sent: &[Sent], unknown: &BTreeMap<String, Policy>) -> Option<Wrong> {
    let asked: Option<Vec<_>> = sent.iter().map(|mail| unknown.get(&mail.to)).collect();
    let Some(asked) = asked else {
        return Some(Wrong::Stranger);
    };
    let sends_max = asked.iter().map(|policy| policy.sends_max()).max();
    is_twice(sent, sends_max.unwrap_or(0)).then_some(Wrong::Twice)
}

/// One attempt is one request, whatever the policy.
fn is_twice(sent: &[Sent], sends_max: usize) -> bool {
    let attempts: BTreeSet<_> = sent.iter().map(|mail| mail.attempt).collect();
    sent.len() > sends_max || attempts.len() < sent.len()
}

fn wrong_with(id: &str, told: &Told, evidence: &Evidence) -> BTreeSet<Wrong> {
    let sent = evidence.sent.get(id).map_or(&[][..], Vec::as_slice);
    let mut wrong = of_sends(told, sent);
    let Some(standing) = evidence.standing.get(id) else {
        wrong.insert(Wrong::Lost);
        return wrong;
    };
    wrong.extend(of_state(standing, sent));
    let places = evidence.places.get(id);
    if !are_right(standing.state, places) {
        wrong.insert(Wrong::Misplaced);
    }
    if let Some(ledger) = &evidence.ledger {
        wrong.extend(of_ledger(standing, ledger.get(id)));
        wrong.extend(of_history(told, sent, ledger.get(id)));
    }
    wrong
}

fn of_sends(told: &Told, sent: &[Sent]) -> BTreeSet<Wrong> {
    let mut wrong = BTreeSet::new();
    if is_twice(sent, told.policy.sends_max()) {
        wrong.insert(Wrong::Twice);
    }
    if told
        .send_at
        .is_some_and(|send_at| sent.iter().any(|mail| mail.at < send_at))
    {
        wrong.insert(Wrong::SentEarly);
    }
    if told
        .cancelled_at
        .is_some_and(|cancelled_at| sent.iter().any(|mail| mail.at > cancelled_at))
    {
        wrong.insert(Wrong::SentThoughCancelled);
    }
    wrong
}

fn of_state(standing: &Standing, sent: &[Sent]) -> BTreeSet<Wrong> {
    let mut wrong = BTreeSet::new();
    let mut add = |is_wrong: bool, what| {
        if is_wrong {
            wrong.insert(what);
        }
    };
    match standing.state {
        MessageState::Accepted => add(sent.is_empty(), Wrong::NeverSent),
        MessageState::Cancelled | MessageState::Expired | MessageState::Discarded => {
            add(!sent.is_empty() && !standing.maybe_sent, Wrong::SentUnknown);
        }
        MessageState::InDoubt | MessageState::Dead | MessageState::Suppressed => {
            add(standing.reason.is_empty(), Wrong::WithoutReason);
            add(!sent.is_empty() && !standing.maybe_sent, Wrong::SentUnknown);
        }
        _ => add(true, Wrong::Stuck),
    }
    wrong
}

/// Once nothing moves, a message is named where its state says, and nowhere else.
fn are_right(state: MessageState, places: Option<&BTreeSet<String>>) -> bool {
    let expected = match state {
        MessageState::InDoubt => &["doubt", "request"][..],
        MessageState::Dead => &["dead", "request"],
        MessageState::Accepted
        | MessageState::Cancelled
        | MessageState::Expired
        | MessageState::Suppressed
        | MessageState::Discarded => &[],
        // It is stuck, which is told for itself.
        _ => return true,
    };
    let expected: BTreeSet<_> = expected.iter().copied().collect();
    let seen: BTreeSet<_> = places.into_iter().flatten().map(String::as_str).collect();
    seen == expected
}

fn of_ledger(standing: &Standing, written: Option<&Written>) -> BTreeSet<Wrong> {
    let mut wrong = BTreeSet::new();
    let Some(written) = written else {
        return BTreeSet::from([Wrong::LedgerDiffers]);
    };
    if (written.state, written.revision) != (standing.state, standing.revision) {
        wrong.insert(Wrong::LedgerDiffers);
    }
    if written.conflicts {
        wrong.insert(Wrong::LedgerConflict);
    }
    wrong
}

/// A history is whole, and has what happened outside: nothing goes out unclaimed.
fn of_history(told: &Told, sent: &[Sent], written: Option<&Written>) -> Option<Wrong> {
    let written = written?;
    let is_whole = written.revisions.iter().copied().eq(1..=written.revision);
    let are_claimed = sent.iter().all(|mail| written.attempts.contains(&mail.attempt));
    let is_cancelled = told.cancelled_at.is_none() || written.was_cancelled;
    (!(is_whole && are_claimed && is_cancelled)).then_some(Wrong::LedgerGap)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use paceline_wire::v1::MessageState;

    use super::{Evidence, Policy, Sent, Standing, Told, Written, Wrong, check};

    const ID: &str = "M";

    /// One message, sent once and accepted, about which nothing is wrong.
    fn right() -> Evidence {
        let told = Told {
            tenant: "acme",
            policy: Policy::Hold,
            send_at: Some(1_000),
            cancelled_at: None,
        };
        Evidence {
            told: BTreeMap::from([(ID.to_owned(), told)]),
            unknown: BTreeMap::new(),
            sent: BTreeMap::from([(ID.to_owned(), vec![sent(1)])]),
            standing: BTreeMap::from([(ID.to_owned(), standing(MessageState::Accepted))]),
            places: BTreeMap::new(),
            ledger: Some(BTreeMap::from([(ID.to_owned(), written())])),
        }
    }

    fn written() -> Written {
        Written {
            state: MessageState::Accepted,
            revision: 4,
            revisions: vec![1, 2, 3, 4],
            attempts: BTreeSet::from([1]),
            was_cancelled: false,
            conflicts: false,
        }
    }

    fn sent(attempt: u32) -> Sent {
        Sent {
            to: "user1@example.com".to_owned(),
            attempt,
            at: 1_000,
        }
    }

    fn standing(state: MessageState) -> Standing {
        Standing {
            state,
            reason: String::new(),
            attempt: 1,
            maybe_sent: false,
            revision: 4,
        }
    }

    /// What is wrong once this has been changed, without what the ledger says of it.
    fn wrong_after(change: impl FnOnce(&mut Evidence)) -> Vec<Wrong> {
        let mut evidence = right();
        evidence.ledger = None;
        change(&mut evidence);
        found(&evidence)
    }

    fn found(evidence: &Evidence) -> Vec<Wrong> {
        check(evidence).into_values().flatten().collect()
    }

    fn stands(evidence: &mut Evidence, state: MessageState, reason: &str, places: &[&str]) {
        let mut standing = standing(state);
        standing.reason = reason.to_owned();
        evidence.standing.insert(ID.to_owned(), standing);
        let places = places.iter().map(|&place| place.to_owned()).collect();
        evidence.places.insert(ID.to_owned(), places);
    }

    #[test]
    fn what_is_right_is_found_right() {
        assert_eq!(found(&right()), []);
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_be_sent() {
        let lost = wrong_after(|it| {
            it.standing.clear();
            it.sent.clear();
        });
        assert_eq!(lost, [Wrong::Lost]);
        assert_eq!(wrong_after(|it| it.sent.clear()), [Wrong::NeverSent]);
        assert!(Wrong::Lost.is_loss() && Wrong::NeverSent.is_loss());
    }

    #[test]
    fn a_second_email_is_wrong_unless_the_policy_resends() {
        let twice = |it: &mut Evidence| {
            it.sent.insert(ID.to_owned(), vec![sent(1), sent(2)]);
        };
        assert_eq!(wrong_after(twice), [Wrong::Twice]);
        let resent = wrong_after(|it| {
            twice(it);
            it.told.get_mut(ID).expect("told").policy = Policy::Resend;
        });
        assert_eq!(resent, []);
        for attempts in [&[1, 1][..], &[1, 2, 3]] {
            let found = wrong_after(|it| {
                let sent = attempts.iter().map(|&attempt| sent(attempt)).collect();
                it.sent.insert(ID.to_owned(), sent);
                it.told.get_mut(ID).expect("told").policy = Policy::Resend;
            });
            assert_eq!(found, [Wrong::Twice], "{attempts:?}");
        }
        assert!(Wrong::Twice.is_double());
    }

    #[test]
    fn what_was_sent_is_never_taken_for_unsent() {
        let dead = |maybe_sent: bool| {
            wrong_after(|it| {
                stands(it, MessageState::Dead, "doubt_unresolved", &["dead", "request"]);
                it.standing.get_mut(ID).expect("stands").maybe_sent = maybe_sent;
            })
        };
        assert_eq!(dead(false), [Wrong::SentUnknown]);
        assert_eq!(dead(true), []);
        let cancelled = wrong_after(|it| stands(it, MessageState::Cancelled, "", &[]));
        assert_eq!(cancelled, [Wrong::SentUnknown]);
    }

    #[test]
    fn a_cancellation_and_a_send_time_hold() {
        let cancelled = wrong_after(|it| it.told.get_mut(ID).expect("told").cancelled_at = Some(999));
        assert_eq!(cancelled, [Wrong::SentThoughCancelled]);
        let early = wrong_after(|it| it.told.get_mut(ID).expect("told").send_at = Some(1_001));
        assert_eq!(early, [Wrong::SentEarly]);
    }

    #[test]
    fn what_is_not_at_rest_is_stuck_and_what_is_says_why_and_where() {
        for state in [
            MessageState::Queued,
            MessageState::Scheduled,
            MessageState::Sending,
            MessageState::Deferred,
            MessageState::Held,
        ] {
            let found = wrong_after(|it| stands(it, state, "", &[]));
            assert_eq!(found, [Wrong::Stuck], "{state:?}");
        }
        let doubt = |reason: &str, places: &[&str]| {
            wrong_after(|it| {
                it.sent.clear();
                stands(it, MessageState::InDoubt, reason, places);
            })
        };
        assert_eq!(doubt("timeout", &["doubt", "request"]), []);
        assert_eq!(doubt("", &["doubt", "request"]), [Wrong::WithoutReason]);
        for places in [&["doubt"][..], &[], &["doubt", "open", "request"]] {
            assert_eq!(doubt("timeout", places), [Wrong::Misplaced], "{places:?}");
        }
        let named = wrong_after(|it| stands(it, MessageState::Accepted, "", &["later"]));
        assert_eq!(named, [Wrong::Misplaced]);
    }

    /// What is wrong once the ledger has this.
    fn wrong_with(change: impl FnOnce(&mut Written)) -> Vec<Wrong> {
        let mut evidence = right();
        let mut written = written();
        change(&mut written);
        evidence.ledger = Some(BTreeMap::from([(ID.to_owned(), written)]));
        found(&evidence)
    }

    #[test]
    fn the_ledger_says_what_the_record_says() {
        let mut evidence = right();
        evidence.ledger = Some(BTreeMap::new());
        assert_eq!(found(&evidence), [Wrong::LedgerDiffers]);
        let state = wrong_with(|it| it.state = MessageState::Sending);
        assert_eq!(state, [Wrong::LedgerDiffers]);
        let behind = wrong_with(|it| (it.revision, it.revisions) = (3, vec![1, 2, 3]));
        assert_eq!(behind, [Wrong::LedgerDiffers]);
        assert_eq!(wrong_with(|it| it.conflicts = true), [Wrong::LedgerConflict]);
    }

    #[test]
    fn a_history_is_whole_and_has_what_happened_outside() {
        let without_one = wrong_with(|it| it.revisions = vec![1, 2, 4]);
        assert_eq!(without_one, [Wrong::LedgerGap]);
        let unclaimed = wrong_with(|it| it.attempts = BTreeSet::from([2]));
        assert_eq!(unclaimed, [Wrong::LedgerGap]);
        let cancelled = |was_cancelled| {
            let mut evidence = right();
            evidence.sent.clear();
            stands(&mut evidence, MessageState::Cancelled, "", &[]);
            evidence.told.get_mut(ID).expect("told").cancelled_at = Some(1);
            let all = evidence.ledger.as_mut().expect("a ledger");
            let written = all.get_mut(ID).expect("written");
            (written.state, written.was_cancelled) = (MessageState::Cancelled, was_cancelled);
            found(&evidence)
        };
        assert_eq!(cancelled(true), []);
        assert_eq!(cancelled(false), [Wrong::LedgerGap]);
    }

    #[test]
    fn what_was_asked_for_without_an_answer_may_be_sent_once_or_not_at_all() {
        let unknown = |policy, attempts: &[u32]| {
            let mut evidence = right();
            evidence.told.clear();
            evidence.unknown.insert("user1@example.com".to_owned(), policy);
            let mails = attempts.iter().map(|&attempt| sent(attempt)).collect();
            evidence.sent.insert(ID.to_owned(), mails);
            found(&evidence)
        };
        assert_eq!(unknown(Policy::Hold, &[]), []);
        assert_eq!(unknown(Policy::Hold, &[1]), []);
        assert_eq!(unknown(Policy::Hold, &[1, 2]), [Wrong::Twice]);
        assert_eq!(unknown(Policy::Resend, &[1, 2]), []);
        assert_eq!(unknown(Policy::Resend, &[1, 1]), [Wrong::Twice]);
    }

    #[test]
    fn nobody_else_s_mail_is_sent() {
        let mut evidence = right();
        evidence.sent.insert("other".to_owned(), vec![sent(1)]);
        assert_eq!(
            check(&evidence),
            BTreeMap::from([("other".to_owned(), BTreeSet::from([Wrong::Stranger]))])
        );
    }
}
