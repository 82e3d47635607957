//! A connection's bytes, and what its server has said of header lists, which h2 reads and does not tell.

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

/// SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113, 6.5.2).
const MAX_HEADER_LIST_SIZE: u16 = 6;
/// Bytes of a setting: its name and its value.
const SETTING: usize = 6;
/// Bytes of SETTINGS that are looked at: 64 settings, where the protocol knows six.
const MOST_SETTINGS: usize = 64 * SETTING;

/// The longest header list that a server takes, as it counts it.
#[derive(Debug, Clone)]
pub(super) struct MostFields(Arc<AtomicUsize>);

impl MostFields {
    pub(super) fn unbounded() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes whose frames are looked at as they come in.
#[derive(Debug)]
pub(super) struct Heard {
    io: Stream,
    frames: Frames,
    most: MostFields,
}

impl Heard {
    pub(super) fn new(io: Stream, most: MostFields) -> Self {
        Self {
            io,
            frames: Frames::new(0, kind::SETTINGS, MOST_SETTINGS),
            most,
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.frames.pass(bytes, |_| {});
        // Settings that came in pieces wait for the rest of their frame.
        if !self.frames.has_kept() || !self.frames.is_between() {
            return;
        }
        for setting in self.frames.take_kept().chunks_exact(SETTING) {
            if let [a, b, value @ ..] = setting
                && u16::from_be_bytes([*a, *b]) == MAX_HEADER_LIST_SIZE
                && let Ok(value) = <[u8; 4]>::try_from(value)
            {
                self.most
                    .0
                    .store(u32::from_be_bytes(value) as usize, Ordering::Relaxed);
            }
        }
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        self.hear(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
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
