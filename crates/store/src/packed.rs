//! The stored forms: records, transitions, tickets. `lua/record.lua` reads and writes the same bytes.
//!
//! Record, format 1, all numbers big-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | format: 1 |
//! | 1 | state's letter |
//! | 1 | flags: 1 maybe sent, 2 resent, 4 policy resend, 8 bulk, 16 has digests |
//! | 1 | provider, 0 for none |
//! | 4 x 4 | revision, attempt, generation, tries |
//! | 5 x 6 | accepted at, changed at, send at, expires at, due at (ms) |
//! | 8 | nonce |
//! | 2 | reason |
//! | 4, 4 | doubt window, dedupe window (s) |
//! | 1 | most tries |
//! | 1 + n | provider id (first of the strings: the only one that changes) |
//! | 1 + n, 3 times | tenant, template, identity |
//! | 2 + n | digests |
//!
//! A first byte over 1 is a newer format: it is left alone. Anything else that does not read is corrupt.

use std::ops::Range;
use std::slice::ChunksExact;

use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Nonce, Provider, Record, State, Ticket};
use paceline_domain::time::Millis;

use crate::StoreError;

/// What a record of a message at rest takes of Redis's memory, its key and both tables' entries included: at most this for names of
/// a usual length (`make memory-per-message` measures 340). It lives on for the dedupe window.
pub const FINAL_RECORD_BYTES: u64 = 360;

const FORMAT: u8 = 1;
const MAYBE_SENT: u8 = 1;
const RESENT: u8 = 2;
const RESEND: u8 = 4;
const BULK: u8 = 8;
const DIGESTS: u8 = 16;
const FLAGS: u8 = MAYBE_SENT | RESENT | RESEND | BULK | DIGESTS;

/// Where fields stand in a record.
pub(crate) const STATE: Range<usize> = 1..2;
pub(crate) const REVISION: Range<usize> = 4..8;
pub(crate) const GENERATION: Range<usize> = 12..16;
pub(crate) const ACCEPTED_AT: Range<usize> = 20..26;

const TICKET_BYTES: usize = 26;
const TRANSITION_BYTES: usize = 39;
/// Where the state stands in a transition.
const TRANSITION_STATE: usize = 26;
const MILLIS_BYTES: usize = 6;

/// Why stored bytes are no record for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Newer,
    Corrupt,
}

/// A move that a message made, from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transition {
    pub id: MessageId,
    pub accepted_at: Millis,
    pub revision: u32,
    pub state: State,
    pub reason: Reason,
    pub attempt: u32,
    pub at: Millis,
    /// Of a claim: when what it claims was rendered, by the renderer's clock. 0 where it is not known, and of all else.
    pub rendered_at: Millis,
}

/// Six bytes of time.
pub(crate) fn millis(at: Millis) -> [u8; 6] {
    let [_, _, rest @ ..] = at.0.min(Millis::MAX.0).to_be_bytes();
    rest
}

/// Reads six bytes of time.
pub(crate) fn unpack_millis(bytes: &[u8]) -> Option<Millis> {
    let mut input = Input(bytes);
    input.millis().filter(|_| input.0.is_empty())
}

/// The record's stored form.
///
/// # Errors
/// If a string is longer than its length can say: the caller has not held its bounds.
pub(crate) fn pack(record: &Record) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::with_capacity(160 + record.digests.len());
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(record.maybe_sent, MAYBE_SENT)
        | flag(record.resent, RESENT)
        | flag(record.policy == DoubtPolicy::Resend, RESEND)
        | flag(record.lane == Lane::Bulk, BULK)
        | flag(!record.digests.is_empty(), DIGESTS);
    let provider = record.provider.map_or(0, Provider::code);
    out.extend_from_slice(&[FORMAT, record.state.letter(), flags, provider]);
    for number in [record.revision, record.attempt, record.generation, record.tries] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for at in [
        record.accepted_at,
        record.changed_at,
        record.send_at,
        record.expires_at,
        record.due_at,
    ] {
        out.extend_from_slice(&millis(at));
    }
    out.extend_from_slice(&record.nonce.0);
    out.extend_from_slice(&record.reason.code().to_be_bytes());
    out.extend_from_slice(&record.doubt_window_s.to_be_bytes());
    out.extend_from_slice(&record.dedupe_window_s.to_be_bytes());
    out.push(record.tries_max);
    for text in [
        &record.provider_id,
        &record.tenant,
        &record.template,
        &record.identity,
    ] {
        let length = u8::try_from(text.len())
            .map_err(|_| StoreError::bug("a record's string is longer than 255 bytes"))?;
        out.push(length);
        out.extend_from_slice(text.as_bytes());
    }
    let length = u16::try_from(record.digests.len())
        .map_err(|_| StoreError::bug("a record's digests are longer than 65535 bytes"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&record.digests);
    Ok(out)
}

/// Where the provider's code stands, and the largest that is known.
const PROVIDER_AT: usize = 3;
const PROVIDER_MAX: u8 = Provider::Mailgun.code();

/// Reads a stored record.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Record, Unreadable> {
    match bytes.first() {
        Some(&FORMAT) => {}
        Some(&format) if format > FORMAT => return Err(Unreadable::Newer),
        _ => return Err(Unreadable::Corrupt),
    }
    // A provider of a release to come is a format to come, if all else reads.
    if bytes.get(PROVIDER_AT).is_some_and(|code| *code > PROVIDER_MAX) {
        let mut of_none = bytes.to_vec();
        of_none[PROVIDER_AT] = 0;
        return Err(unpack(&of_none).map_or_else(|problem| problem, |_| Unreadable::Newer));
    }
    let mut input = Input(bytes.get(1..).unwrap_or_default());
    read(&mut input)
        .filter(|_| input.0.is_empty())
        .ok_or(Unreadable::Corrupt)
}

fn read(input: &mut Input<'_>) -> Option<Record> {
    let state = State::from_letter(input.u8()?)?;
    let flags = input.u8().filter(|flags| flags & !FLAGS == 0)?;
    let provider = match input.u8()? {
        0 => None,
        code => Some(Provider::from_code(code)?),
    };
    Some(Record {
        state,
        maybe_sent: flags & MAYBE_SENT != 0,
        resent: flags & RESENT != 0,
        policy: if flags & RESEND == 0 {
            DoubtPolicy::Hold
        } else {
            DoubtPolicy::Resend
        },
        lane: if flags & BULK == 0 {
            Lane::Transactional
        } else {
            Lane::Bulk
        },
        provider,
        revision: input.u32()?,
        attempt: input.u32()?,
        generation: input.u32()?,
        tries: input.u32()?,
        accepted_at: input.millis()?,
        changed_at: input.millis()?,
        send_at: input.millis()?,
        expires_at: input.millis()?,
        due_at: input.millis()?,
        nonce: Nonce(input.array()?),
        reason: Reason::from_code(u16::from_be_bytes(input.array()?)),
        doubt_window_s: input.u32()?,
        dedupe_window_s: input.u32()?,
        tries_max: input.u8()?,
        provider_id: input.text()?,
        tenant: input.text()?,
        template: input.text()?,
        identity: input.text()?,
        digests: {
            let length = usize::from(u16::from_be_bytes(input.array()?));
            input.take(length)?.to_vec()
        },
    })
}

/// An entry's id and ticket, as queued and ready streams hold them.
pub(crate) fn pack_ticket(id: MessageId, ticket: Ticket) -> [u8; TICKET_BYTES] {
    let mut out = [0; TICKET_BYTES];
    out[..16].copy_from_slice(&id.0);
    out[16..22].copy_from_slice(&millis(ticket.accepted_at));
    out[22..].copy_from_slice(&ticket.generation.to_be_bytes());
    out
}

/// Reads an entry's id and ticket.
pub(crate) fn unpack_ticket(bytes: &[u8]) -> Option<(MessageId, Ticket)> {
    let mut input = Input(bytes);
    let id = MessageId(input.array()?);
    let ticket = Ticket {
        accepted_at: input.millis()?,
        generation: input.u32()?,
    };
    input.0.is_empty().then_some((id, ticket))
}

/// Reads a log entry: its transitions, and of each the time of rendering, of which older releases know nothing (then there are
/// none). Transitions to a state of a newer release are left out.
pub(crate) fn unpack_transitions(transitions: &[u8], rendered: &[u8]) -> Vec<Transition> {
    let mut times = rendered.chunks_exact(MILLIS_BYTES);
    transitions
        .chunks_exact(TRANSITION_BYTES)
        .filter_map(|chunk| transition(&mut Input(chunk), next_time(&mut times)))
        .collect()
}

/// Reads a log entry for those who must not overlook anything: what can be read, and why the rest can't. A state that is a letter
/// and none of ours is one of a newer release. The times of rendering are as above.
pub(crate) fn read_transitions(bytes: &[u8], rendered: &[u8]) -> (Vec<Transition>, Option<Unreadable>) {
    let chunks = bytes.chunks_exact(TRANSITION_BYTES);
    let mut problem = (!chunks.remainder().is_empty()).then_some(Unreadable::Corrupt);
    let mut times = rendered.chunks_exact(MILLIS_BYTES);
    let mut transitions = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        match transition(&mut Input(chunk), next_time(&mut times)) {
            Some(transition) => transitions.push(transition),
            None if chunk[TRANSITION_STATE].is_ascii_lowercase() => problem = Some(Unreadable::Newer),
            None => problem = problem.or(Some(Unreadable::Corrupt)),
        }
    }
    (transitions, problem)
}

/// 0 where there is none.
fn next_time(times: &mut ChunksExact<'_, u8>) -> Millis {
    let time = times.next().and_then(|chunk| Input(chunk).millis());
    time.unwrap_or_default()
}

fn transition(input: &mut Input<'_>, rendered_at: Millis) -> Option<Transition> {
    Some(Transition {
        id: MessageId(input.array()?),
        accepted_at: input.millis()?,
        revision: input.u32()?,
        state: State::from_letter(input.u8()?)?,
        reason: Reason::from_code(u16::from_be_bytes(input.array()?)),
        attempt: input.u32()?,
        at: input.millis()?,
        rendered_at,
    })
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn millis(&mut self) -> Option<Millis> {
        let bytes: [u8; 6] = self.array()?;
        let mut wide = [0; 8];
        wide[2..].copy_from_slice(&bytes);
        Some(Millis(u64::from_be_bytes(wide)))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(self.u8()?);
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }
}
