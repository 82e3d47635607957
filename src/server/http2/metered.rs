//! A client's socket as h2 gets it: every byte passes the [`Meter`], bytes that
//! were read ahead come first, and a close lets the client read the last
//! frames.
//!
//! h2 reads a block of fields only when all of it is here, because the meter
//! may have to repair it. Until then the socket holds it back, at most 16 KiB.
//!
//! # Reading
//!
//! Three sources are read, in this order: the repaired block in `held`, the
//! bytes in `ahead` that an earlier step of the connection has read, and the
//! socket. Bytes of the last two go through `Meter::received`, which reports
//! how many of them h2 may have. The remainder is the beginning of a block of
//! fields. It moves to `held`, and every later read is appended there until the
//! block is whole.
//!
//! # Writing
//!
//! Bytes are passed to the socket first and shown to the meter afterwards, and
//! only as many of them as the socket took. A write that the socket does not
//! take starts the clock of `Overdue::Write` in the meter.
//!
//! # Closing
//!
//! The kernel resets a connection that is closed with unread bytes (RFC 9112,
//! 9.6, describes this for HTTP/1). So after our end the socket reads on, until
//! the client ends its side, 256 KiB have come, or `FAREWELL` is over. A
//! connection that is evicted for the sake of another one does not wait
//! (`Meter::is_hurried`).

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
///
/// The rest stays unread, and the kernel may reset the connection for it.
const LINGER_BYTES: usize = 256 * 1024;
/// Bytes of them that are read at once.
///
/// They are read to the stack, so that a connection that closes allocates
/// nothing.
const PIECE: usize = 4 * 1024;

/// The meter as the connection's task and its socket share it. Both run in one
/// task, so that its lock is never contended.
pub(super) type SharedMeter = Arc<Mutex<Meter>>;

/// A socket whose bytes are looked at as they pass.
#[derive(Debug)]
pub(super) struct MeteredSocket<IO> {
    /// The client's connection, with or without TLS.
    io: IO,
    /// Bytes that were read before h2 took over.
    ahead: BytesMut,
    /// A block of fields that came in pieces, with anything behind it.
    held: BytesMut,
    /// The bytes of `held` that h2 may read.
    whole: usize,
    /// Sees the bytes of both directions. The lock is held within one poll only
    /// and never across two.
    meter: SharedMeter,
    /// Bytes that may still be read after our end was sent.
    ///
    /// Starts at [`LINGER_BYTES`], and is 0 for a connection that closes in a
    /// hurry.
    linger: usize,
    /// Whether our end was sent.
    is_shut: bool,
    /// Ends the wait for the client's end.
    timer: Timer,
}

impl<IO> MeteredSocket<IO> {
    /// The socket `io`, of which `ahead` was read already.
    ///
    /// `ahead` is the first part of the stream, preface included, and is read
    /// before anything of `io`. It is empty if the connection has just finished
    /// its TLS handshake.
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
    ///
    /// A write that succeeded covers a prefix of `bytes`, across the borders of
    /// its pieces. An error is not noted: h2 sees it and ends the connection.
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
///
/// The buffer `from` is freed when its last byte is moved. The cost is one copy
/// of the bytes.
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
    /// Pending, without a waker, while the meter holds a flood: the task of the
    /// connection takes the flood in the same poll and ends the connection.
    ///
    /// Loops only while a block is incomplete. Each turn reads the socket,
    /// which is pending once all that has arrived was read.
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
    /// Takes the bytes as they are. The meter sees those that the socket
    /// accepted.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note(&written, &[IoSlice::new(bytes)]);
        written
    }

    /// As `poll_write`, for several slices at once: h2 sends the head of a
    /// frame and its payload in one system call.
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

    /// Sends our end, then reads until the client has ended, too. An unread
    /// byte in our socket would make the kernel reset the connection, and
    /// destroy a GOAWAY that the client has not read.
    ///
    /// Ready at once, as far as reading is concerned, if the client has ended
    /// or the connection is in a hurry. Ready with success when the time or the
    /// bytes are used up: nothing more can be done for the client then.
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
