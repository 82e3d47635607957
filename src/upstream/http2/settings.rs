//! The server's SETTINGS that h2 reads but does not expose, picked out of the
//! connection's bytes.
//!
//! The limit on header lists is advisory (RFC 9113, 6.5.2), but a server that
//! gets a longer list may reset the stream, or close the connection with all of
//! its streams. `exchange` therefore compares a request with the limit before
//! it is sent.
//!
//! The bytes are looked at as they pass from the socket to h2, and are not
//! changed. Only frame headers are interpreted, and the payload of SETTINGS is
//! copied, at most 384 bytes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio_util::io::InspectReader;

use crate::{
    http2::frames::{Frames, kind},
    upstream::stream::Stream,
};

/// The identifier of SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113, 6.5.2).
const MAX_HEADER_LIST_SIZE: u16 = 6;
/// The length of one setting, identifier and value, in bytes.
const SETTING: usize = 6;
/// The longest SETTINGS frame that is looked at: 64 settings, where the
/// protocol defines six.
const MOST_SETTINGS: usize = 64 * SETTING;

/// The longest header list that the server accepts, in bytes as RFC 9113
/// (6.5.2) counts them.
///
/// Written by the task that drives the connection and read by requests. Relaxed
/// accesses suffice: a request that still sees the value before fares as one
/// that was sent earlier.
#[derive(Debug, Clone)]
pub(super) struct HeaderListLimit(Arc<AtomicUsize>);

impl HeaderListLimit {
    /// The limit before the server has announced one.
    pub(super) fn unlimited() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }

    /// The limit that the server announced last; `usize::MAX` if it has
    /// announced none.
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Returns `io` so that the limit which the server announces on it is written to
/// `limit`, each time anew.
pub(super) fn watch(
    io: Stream,
    limit: HeaderListLimit,
) -> InspectReader<Stream, impl FnMut(&[u8]) + Send> {
    let mut settings = SettingsReader {
        frames: Frames::new(0, kind::SETTINGS, MOST_SETTINGS),
        limit,
    };
    InspectReader::new(io, move |bytes| settings.read(bytes))
}

/// Reads SETTINGS in a stream of bytes.
///
/// A frame that does not begin or end with the bytes of one read is continued
/// with those of the next.
#[derive(Debug)]
struct SettingsReader {
    frames: Frames,
    limit: HeaderListLimit,
}

impl SettingsReader {
    /// Looks for SETTINGS in bytes that have arrived.
    fn read(&mut self, bytes: &[u8]) {
        self.frames.pass(bytes, |_| {});
        // A frame that arrived in pieces is looked at when it is complete.
        if !self.frames.has_kept() || !self.frames.is_between() {
            return;
        }
        for setting in self.frames.take_kept().chunks_exact(SETTING) {
            if let [a, b, value @ ..] = setting
                && u16::from_be_bytes([*a, *b]) == MAX_HEADER_LIST_SIZE
                && let Ok(value) = <[u8; 4]>::try_from(value)
            {
                let limit = u32::from_be_bytes(value) as usize;
                self.limit.0.store(limit, Ordering::Relaxed);
            }
        }
    }
}
