//! A connection's bytes, with two abilities beside reading and writing: to end
//! in a reset, and to tell whether the peer has ended.
//!
//! HTTP/1 needs the reset (RST of TCP) for a response whose end is the end of
//! the connection: if its body breaks off, a normal close would make the part
//! look complete.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::FutureExt;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::TcpStream,
};

use crate::{runtime::socket, tls::ServerStream};

/// The bytes of a connection: a TCP stream, with or without TLS.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Sets whether a close from now on is a cut: the peer sees a reset instead
    /// of an end (SO_LINGER with time zero).
    ///
    /// # Errors
    /// The system refuses.
    fn close_cuts(&self, cuts: bool) -> io::Result<()>;

    /// Whether the peer has ended its side, even if not all of its bytes were
    /// read. Makes no system call: it asks for the readiness that tokio knows.
    fn has_ended(&self) -> bool;

    /// Ready if a read may find bytes or the end; wakes the task when it may.
    /// Costs less than a read that finds nothing.
    fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Whether nothing has arrived since the last read, as far as is known.
    /// Makes no system call.
    fn is_quiet(&self) -> bool {
        false
    }

    /// Reads the bytes that have arrived, without a wake-up when more arrive.
    /// Costs a third of a poll.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if none have, or where only a
    /// poll can read (TLS); those of the system.
    fn try_read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Writes as many of `bytes` as the socket takes at once, without a wake-up
    /// when it takes more. Costs half of a poll.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if it takes none now, or where
    /// only a poll can write (TLS); those of the system.
    fn try_write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Tells the peer that the connection ends without a cut, where that takes
    /// more than closing. Never waits.
    fn say_goodbye(&mut self) {}
}

impl Socket for TcpStream {
    fn close_cuts(&self, cuts: bool) -> io::Result<()> {
        SockRef::from(self).set_linger(cuts.then_some(Duration::ZERO))
    }

    fn has_ended(&self) -> bool {
        let known = self.ready(Interest::READABLE).now_or_never();
        known.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed()))
    }

    fn is_quiet(&self) -> bool {
        socket::is_quiet(self)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        socket::try_read(self, buffer)
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        socket::try_write(self, bytes)
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A read finds the error, if there is one.
        self.poll_read_ready(cx).map(drop)
    }
}

impl<IO: Socket> Socket for ServerStream<IO> {
    fn close_cuts(&self, cuts: bool) -> io::Result<()> {
        self.get_ref().0.io().close_cuts(cuts)
    }

    fn has_ended(&self) -> bool {
        self.get_ref().0.io().has_ended()
    }

    /// Sends `close_notify`. It is dropped if the socket takes no more bytes,
    /// as nobody is left to read it then.
    fn say_goodbye(&mut self) {
        let _ = Pin::new(self).poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }
}
