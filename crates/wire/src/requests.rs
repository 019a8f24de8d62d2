//! Stored requests, and what they are pinned to.
//!
//! A request with an attachment that must be fetched has its pins in a field of their own: a renderer of a release that does not know urls
//! finds no bundle then, and lets the message wait instead of sending it with an empty file. Its data are there too: where an ingest of that
//! release has pinned another bundle in the old place, that renderer finds nothing that it could render.

use bytes::Bytes;
use prost::{DecodeError, Message as _};

use crate::v1::{Attachment, Pins, StoredRequest};

impl Attachment {
    /// True if its bytes are elsewhere.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        !self.url.is_empty()
    }
}

/// Reads a stored request, with its pins where they are looked for: in `bundle_hash`, `fallback_hashes` and `data`.
///
/// # Errors
/// If the bytes are no request.
pub fn read(bytes: impl bytes::Buf) -> Result<StoredRequest, DecodeError> {
    let mut request = StoredRequest::decode(bytes)?;
    if let Some(pins) = request.pins.take() {
        request.data = pins.data.unwrap_or(request.data);
        // What stands in the old place was pinned last.
        if request.bundle_hash.is_empty() {
            request.bundle_hash = pins.bundle_hash;
            request.fallback_hashes = pins.fallback_hashes;
        }
    }
    Ok(request)
}

/// The request as it is stored: the bytes that [`read`] reads.
#[must_use]
pub fn write(mut request: StoredRequest) -> Bytes {
    if request.attachments.iter().any(Attachment::is_remote) {
        request.pins = Some(Pins {
            bundle_hash: std::mem::take(&mut request.bundle_hash),
            fallback_hashes: request.fallback_hashes.take(),
            data: Some(std::mem::take(&mut request.data)),
        });
    }
    request.encode_to_vec().into()
}

/// A stored request with another template pinned. All else stays as it is, what a later release wrote included: of a field that stands
/// twice the last value counts, and messages are merged field by field
/// (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>).
#[must_use]
pub fn repin(request: &[u8], bundle_hash: &[u8], fallback_hashes: Vec<u8>) -> Bytes {
    let (bundle_hash, fallback_hashes) = (Bytes::copy_from_slice(bundle_hash), Some(fallback_hashes.into()));
    let mut pin = StoredRequest::default();
    let known = StoredRequest::decode(request).unwrap_or_default();
    let is_apart = known.pins.is_some();
    if is_apart {
        pin.pins = Some(Pins {
            bundle_hash: bundle_hash.clone(),
            fallback_hashes: fallback_hashes.clone(),
            data: None,
        });
    }
    if !is_apart || !known.bundle_hash.is_empty() {
        (pin.bundle_hash, pin.fallback_hashes) = (bundle_hash, fallback_hashes);
    }
    [request, &pin.encode_to_vec()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field 1000, a varint: of a later release.
    const UNKNOWN: [u8; 3] = [0xc0, 0x3e, 0x07];

    fn request(url: &str) -> StoredRequest {
        StoredRequest {
            template: "welcome".to_owned(),
            data: Bytes::from_static(b"{}"),
            bundle_hash: Bytes::from_static(&[1; 32]),
            fallback_hashes: Some(Bytes::from_static(&[3; 64])),
            attachments: vec![Attachment {
                url: url.to_owned(),
                ..Attachment::default()
            }],
            ..StoredRequest::default()
        }
    }

    #[test]
    fn who_does_not_know_urls_finds_nothing_to_render_such_a_message_with() {
        let remote = request("https://files.example/a");
        let stored = write(remote.clone());
        let old = StoredRequest::decode(stored.clone()).expect("readable");
        assert!(old.bundle_hash.is_empty() && old.fallback_hashes.is_none());
        assert!(old.data.is_empty());
        assert_eq!(read(stored).expect("readable"), remote);
        let local = request("");
        assert_eq!(write(local.clone()), local.encode_to_vec(), "as ever");
    }

    /// As an ingest does that knows no pins.
    fn pinned_in_the_old_place(stored: &[u8], hash: u8) -> Vec<u8> {
        let pin = StoredRequest {
            bundle_hash: Bytes::copy_from_slice(&[hash; 32]),
            fallback_hashes: Some(Bytes::new()),
            ..StoredRequest::default()
        };
        [stored, &pin.encode_to_vec()].concat()
    }

    #[test]
    fn of_what_two_releases_have_pinned_the_last_counts_and_the_old_one_has_no_data_for_it() {
        let url = "https://files.example/a";
        let by_old = pinned_in_the_old_place(&write(request(url)), 5);
        let old = StoredRequest::decode(&by_old[..]).expect("readable");
        assert!(!old.bundle_hash.is_empty() && old.data.is_empty());
        let by_both = repin(&by_old, &[6; 32], Vec::new()).to_vec();
        let by_all = pinned_in_the_old_place(&by_both, 7);
        for (stored, hash) in [(by_old, 5), (by_both, 6), (by_all, 7)] {
            let read = read(&stored[..]).expect("readable");
            assert_eq!(read.bundle_hash, vec![hash; 32]);
            assert_eq!(read.fallback_hashes, Some(Bytes::new()));
            assert_eq!(read.data, request(url).data);
        }
    }

    #[test]
    fn another_template_is_pinned_and_what_is_not_known_here_stays() {
        for url in ["", "https://files.example/a"] {
            for fallbacks in [Vec::new(), vec![4; 32]] {
                let mut stored = write(request(url)).to_vec();
                stored.extend(UNKNOWN);
                let pinned = repin(&stored, &[2; 32], fallbacks.clone());
                assert!(pinned.windows(3).any(|bytes| bytes == UNKNOWN));
                let old = StoredRequest::decode(pinned.clone()).expect("readable");
                assert_eq!(old.bundle_hash.is_empty(), !url.is_empty());
                let read = read(pinned).expect("readable");
                assert_eq!(read.bundle_hash, vec![2; 32]);
                assert_eq!(read.fallback_hashes.unwrap_or_default(), fallbacks);
                assert_eq!(
                    (read.attachments, read.data),
                    (request(url).attachments, request(url).data)
                );
            }
        }
    }
}
