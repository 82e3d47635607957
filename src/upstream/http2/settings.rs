//! The server's SETTINGS that h2 reads but does not expose, picked out of the
//! connection's bytes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

/// A stream whose incoming SETTINGS are looked at as they pass.
#[derive(Debug)]
pub(super) struct WatchedStream {
    io: Stream,
    frames: Frames,
    limit: HeaderListLimit,
}

impl WatchedStream {
    /// Writes the limit that the server announces on `io` to `limit`.
    pub(super) fn new(io: Stream, limit: HeaderListLimit) -> Self {
        Self {
            io,
            frames: Frames::new(0, kind::SETTINGS, MOST_SETTINGS),
            limit,
        }
    }

    /// Looks for SETTINGS in bytes that have arrived.
    fn watch(&mut self, bytes: &[u8]) {
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

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        self.watch(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
