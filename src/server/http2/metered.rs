//! A client's socket as h2 gets it: every byte passes the [`Meter`], bytes that
//! were read ahead come first, and a close lets the client read the last
//! frames.
//!
//! h2 reads a block of fields only when all of it is here, because the meter
//! may have to repair it. Until then the socket holds it back, at most 16 KiB.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{bounds::FAREWELL, meter::Meter};
use crate::{runtime::timer::Timer, server::Socket};

/// Most bytes that are read after our end was sent.
const LINGER_BYTES: usize = 256 * 1024;
/// Bytes of them that are read at once.
const PIECE: usize = 4 * 1024;

/// The meter as the connection's task and its socket share it. Both run in one
/// task, so that its lock is never contended.
pub(super) type SharedMeter = Arc<Mutex<Meter>>;

/// A socket whose bytes are looked at as they pass.
#[derive(Debug)]
pub(super) struct MeteredSocket<IO> {
    io: IO,
    /// Bytes that were read before h2 took over.
    ahead: BytesMut,
    /// A block of fields that came in pieces, with anything behind it.
    held: BytesMut,
    /// The bytes of `held` that h2 may read.
    whole: usize,
    meter: SharedMeter,
    /// Bytes that may still be read after our end was sent.
    linger: usize,
    /// Whether our end was sent.
    is_shut: bool,
    /// Ends the wait for the client's end.
    timer: Timer,
}

impl<IO> MeteredSocket<IO> {
    /// The socket `io`, of which `ahead` was read already.
    pub(super) fn new(io: IO, ahead: BytesMut, meter: SharedMeter) -> Self {
        Self {
            io,
            ahead,
            held: BytesMut::new(),
            whole: 0,
            meter,
            linger: LINGER_BYTES,
            is_shut: false,
            timer: Timer::default(),
        }
    }

    /// Notes the outcome of a write of `bytes`.
    fn note(&self, written: &Poll<io::Result<usize>>, bytes: &[IoSlice<'_>]) {
        let mut meter = self.meter.lock();
        match written {
            Poll::Pending => meter.write_blocked(),
            Poll::Ready(Ok(count)) => {
                let mut left = *count;
                for piece in bytes {
                    let taken = piece.len().min(left);
                    meter.sent(&piece[..taken]);
                    left -= taken;
                }
            }
            Poll::Ready(Err(_)) => {}
        }
    }
}

/// Moves at most `most` bytes into `buffer`, as far as it has room. Returns how
/// many.
fn taken(from: &mut BytesMut, most: usize, buffer: &mut ReadBuf<'_>) -> usize {
    let count = most.min(buffer.remaining());
    buffer.put_slice(&from[..count]);
    from.advance(count);
    if from.is_empty() {
        // An idle connection keeps no memory for one block.
        *from = BytesMut::new();
    }
    count
}

impl<IO: Socket> AsyncRead for MeteredSocket<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.meter.lock().flood.is_some() {
            // No more of a flood is read. The connection's task looks for one
            // when nothing more can be read, which is now.
            return Poll::Pending;
        }
        loop {
            if this.whole > 0 {
                this.whole -= taken(&mut this.held, this.whole, buffer);
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            if this.ahead.is_empty() {
                ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
            } else {
                let length = this.ahead.len();
                taken(&mut this.ahead, length, buffer);
            }
            let received = &mut buffer.filled_mut()[before..];
            if received.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if this.held.is_empty() {
                let passing = this.meter.lock().received(received, 0);
                this.held.extend_from_slice(&received[passing..]);
                buffer.set_filled(before + passing);
                if passing > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let seen = this.held.len();
                this.held.extend_from_slice(received);
                buffer.set_filled(before);
                this.whole = this.meter.lock().received(&mut this.held, seen);
            }
        }
    }
}

impl<IO: Socket> AsyncWrite for MeteredSocket<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note(&written, &[IoSlice::new(bytes)]);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.note(&written, bytes);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Sends our end, then reads until the client has ended, too: an unread byte
    /// in our socket would make the kernel reset the connection, and destroy a
    /// GOAWAY that the client has not read.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.is_shut {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            this.is_shut = true;
            if this.meter.lock().is_hurried {
                this.linger = 0;
            }
            this.timer.set(Instant::now() + FAREWELL);
        }
        while this.linger > 0 {
            let mut piece = [0; PIECE];
            let mut buffer = ReadBuf::new(&mut piece);
            match Pin::new(&mut this.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    this.linger = this.linger.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending => return this.timer.poll(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}
