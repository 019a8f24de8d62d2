//! Stops as they are stored and shown, and what they look at in requests and rendered parts.

use bytes::{BufMut as _, Bytes, BytesMut};
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::stop::{Release, Said, Selector, Stop, StopMode, Subject, TagSelector};
use paceline_domain::time::Millis;
use prost::Message as _;

use crate::{convert, v1};

/// The first byte of the stored form.
const FORMAT: u8 = 1;

/// A stored stop that this release can't read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored stop can't be read")]
pub struct Unreadable;

/// The stored form.
#[must_use]
pub fn pack(stop: &Stop) -> Bytes {
    let stored = v1::StoredStop {
        selector: Some(selector(&stop.selector)),
        cancel: stop.mode == StopMode::Cancel,
        who: stop.said.who.clone(),
        why: stop.said.why.clone(),
        at: Some(convert::timestamp(stop.said.at)),
        release: stop.release.as_ref().map(release),
    };
    let mut bytes = BytesMut::with_capacity(1 + stored.encoded_len());
    bytes.put_u8(FORMAT);
    stored
        .encode(&mut bytes)
        .expect("BytesMut grows, so that encoding can't fail");
    bytes.freeze()
}

/// What the log says of messages that become `act` by a stop or its release: the stored form of a `LoggedAct`.
#[must_use]
pub fn act(act: &str, said: &Said, ids: impl Iterator<Item = MessageId>) -> Bytes {
    let act = v1::LoggedAct {
        at: Some(convert::timestamp(said.at)),
        act: act.to_owned(),
        who: said.who.clone(),
        why: said.why.clone(),
        tenant: String::new(),
        message_ids: ids.map(|id| Bytes::copy_from_slice(&id.0)).collect(),
    };
    act.encode_to_vec().into()
}

/// The stop of that id.
///
/// # Errors
/// If it has another format, or is none.
pub fn unpack(id: &str, bytes: &[u8]) -> Result<Stop, Unreadable> {
    let stored = bytes.strip_prefix(&[FORMAT]).ok_or(Unreadable)?;
    let stored = v1::StoredStop::decode(stored).map_err(|_| Unreadable)?;
    let wished = stored.selector.ok_or(Unreadable)?;
    let wished = read_selector(&wished).map_err(|_| Unreadable)?;
    if wished.is_empty() {
        return Err(Unreadable);
    }
    Ok(Stop {
        id: id.to_owned(),
        selector: wished,
        mode: mode(stored.cancel),
        said: said(stored.who, stored.why, stored.at),
        release: stored.release.map(|release| Release {
            cancel: release.cancel,
            said: said(release.who, release.why, release.at),
        }),
    })
}

/// The stop as the contract shows it.
#[must_use]
pub fn show(stop: &Stop, (held, more_held): (u64, bool)) -> v1::Stop {
    v1::Stop {
        stop_id: stop.id.clone(),
        selector: Some(selector(&stop.selector)),
        cancel: stop.mode == StopMode::Cancel,
        who: stop.said.who.clone(),
        why: stop.said.why.clone(),
        at: convert::timestamp_if_set(stop.said.at),
        release: stop.release.as_ref().map(release),
        held,
        more_held,
    }
}

#[must_use]
pub const fn mode(cancel: bool) -> StopMode {
    if cancel { StopMode::Cancel } else { StopMode::Hold }
}

/// The selector of a request or of a stored stop. Empty texts say nothing.
///
/// # Errors
/// If the lane is none of this release.
pub fn read_selector(selector: &v1::StopSelector) -> Result<Selector, paceline_domain::lane::UnknownLane> {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(Selector {
        tenant: given(&selector.tenant),
        template: given(&selector.template),
        tag: given(&selector.tag_name).map(|name| TagSelector {
            name,
            value: given(&selector.tag_value),
        }),
        lane: convert::lane(selector.lane)?,
    })
}

/// What a stop looks at of an accepted message. Lane and acceptance are those of its record.
#[must_use]
pub fn subject_of_request(request: &v1::StoredRequest, lane: Lane, accepted_at: Millis) -> Subject<'_> {
    Subject {
        tenant: &request.tenant,
        template: &request.template,
        lane,
        tags: tags(&request.tags),
        accepted_at,
    }
}

/// What a stop looks at of a rendered message. The lane is that of its stream, the acceptance that of its entry.
#[must_use]
pub fn subject_of_rendered(rendered: &v1::RenderedMessage, lane: Lane, accepted_at: Millis) -> Subject<'_> {
    Subject {
        tenant: &rendered.tenant,
        template: &rendered.template,
        lane,
        tags: tags(&rendered.tags),
        accepted_at,
    }
}

fn tags(tags: &[v1::Tag]) -> Vec<(&str, &str)> {
    tags.iter()
        .map(|tag| (tag.name.as_str(), tag.value.as_str()))
        .collect()
}

fn selector(selector: &Selector) -> v1::StopSelector {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    v1::StopSelector {
        template: text(&selector.template),
        tenant: text(&selector.tenant),
        tag_name: selector
            .tag
            .as_ref()
            .map(|tag| tag.name.clone())
            .unwrap_or_default(),
        tag_value: selector
            .tag
            .as_ref()
            .and_then(|tag| tag.value.clone())
            .unwrap_or_default(),
        lane: selector.lane.map_or(v1::Lane::Unspecified, v1::Lane::from).into(),
    }
}

fn release(release: &Release) -> v1::StopRelease {
    v1::StopRelease {
        cancel: release.cancel,
        who: release.said.who.clone(),
        why: release.said.why.clone(),
        at: convert::timestamp_if_set(release.said.at),
    }
}

fn said(who: String, why: String, at: Option<prost_types::Timestamp>) -> Said {
    let at = at.and_then(|at| convert::millis(&at).ok());
    Said {
        who,
        why,
        at: at.unwrap_or(Millis(0)),
    }
}

#[cfg(test)]
mod tests {
    use paceline_domain::lane::Lane;
    use paceline_domain::stop::{Release, Said, Selector, Stop, StopMode, TagSelector};
    use paceline_domain::time::Millis;

    use super::{Unreadable, pack, unpack};

    fn said(who: &str) -> Said {
        Said {
            who: who.to_owned(),
            why: "the wrong email".to_owned(),
            at: Millis(1_700_000_000_123),
        }
    }

    fn stop() -> Stop {
        Stop {
            id: "a1".to_owned(),
            selector: Selector {
                tenant: Some("shop".to_owned()),
                template: None,
                tag: Some(TagSelector {
                    name: "campaign".to_owned(),
                    value: Some("spring".to_owned()),
                }),
                lane: Some(Lane::Bulk),
            },
            mode: StopMode::Cancel,
            said: said("ops"),
            release: Some(Release {
                cancel: false,
                said: said("boss"),
            }),
        }
    }

    #[test]
    fn the_stored_form_reads_back() {
        assert_eq!(unpack("a1", &pack(&stop())), Ok(stop()));
    }

    #[test]
    fn what_is_of_a_newer_format_or_selects_nothing_is_not_read_as_a_stop() {
        let mut newer = pack(&stop()).to_vec();
        newer[0] = 2;
        let nothing = Stop {
            selector: Selector::default(),
            ..stop()
        };
        for bytes in [&newer[..], b"", b"\x01", b"\x01\xff\xff", &pack(&nothing)] {
            assert_eq!(unpack("a1", bytes), Err(Unreadable), "{bytes:?}");
        }
    }
}
