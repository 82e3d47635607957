//! The bytes of a connection to a server, plain or inside of TLS.
//!
//! Reads and writes are forwarded. The type adds two things that both pools
//! need: a look at an idle connection without a system call
//! ([`Stream::is_quiet`]), and an orderly end of TLS when it is dropped.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::address::Peer;
use crate::{
    runtime::{output::MOST_TRIED, socket},
    tls::ClientStream,
};

/// A connection's byte stream.
///
/// An enum and not a type parameter, so that a pool holds one type. The branch
/// costs nothing beside a system call.
#[derive(Debug)]
pub(super) enum Stream {
    /// TCP alone.
    Plain(TcpStream),
    /// A socket of this machine.
    Unix(UnixStream),
    /// TLS over TCP. Boxed, as its state is large.
    Secure(Box<ClientStream<TcpStream>>),
}

impl Stream {
    /// The address that the connection goes to; unknown of a socket of this
    /// machine, which does not change.
    ///
    /// The system does not tell the address of a connection that has ended
    /// already.
    pub(super) fn peer(&self) -> Peer {
        let address = match self {
            Stream::Plain(io) => io.peer_addr().ok(),
            Stream::Unix(_) => None,
            Stream::Secure(io) => io.socket().peer_addr().ok(),
        };
        Peer::new(address)
    }

    /// Whether the handshake agreed on HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Stream::Secure(io) if io.is_http2())
    }

    /// Whether the server has neither closed the connection nor sent anything
    /// unasked.
    ///
    /// Costs no system call unless something has arrived. TLS session tickets
    /// are processed here and do not count as data.
    ///
    /// A byte that arrives unasked is lost, which does not matter: the caller
    /// closes the connection then.
    pub(super) fn is_quiet(&mut self) -> bool {
        match self {
            Stream::Plain(io) => {
                socket::is_quiet(io)
                    || matches!(socket::try_read(io, &mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Stream::Unix(io) => {
                matches!(io.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Stream::Secure(io) => {
                let (mut byte, cx) = ([0], &mut Context::from_waker(Waker::noop()));
                Pin::new(io)
                    .poll_read(cx, &mut ReadBuf::new(&mut byte))
                    .is_pending()
            }
        }
    }

    /// Reads the bytes that have arrived, without a wake-up when more arrive.
    /// Costs a third of a poll.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if none have, and always in
    /// TLS, where only a poll can read; those of the system.
    pub(super) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(io) => socket::try_read(io, buffer),
            Stream::Unix(io) => io.try_read(buffer),
            Stream::Secure(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Ready if a read may find bytes or the end; wakes the task when it may.
    /// Costs less than a read that finds nothing.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            // A read finds the error, if there is one.
            Stream::Plain(io) => io.poll_read_ready(cx).map(drop),
            Stream::Unix(io) => io.poll_read_ready(cx).map(drop),
            Stream::Secure(_) => Poll::Ready(()),
        }
    }
}

impl Drop for Stream {
    /// Sends `close_notify` on a TLS connection, for whatever reason it ends
    /// (RFC 8446, 6.1). An incomplete exchange is recognised by its framing.
    ///
    /// This waits for nothing: if the socket takes no more bytes, nobody reads
    /// them. It bypasses tokio, whose runtime may have ended before the idle
    /// connections do when the gateway stops.
    fn drop(&mut self) {
        if let Stream::Secure(io) = self {
            let last_bytes = io.close();
            let _ = SockRef::from(io.socket()).send(&last_bytes);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(io) => Pin::new(io).poll_read(cx, buffer),
            Stream::Unix(io) => Pin::new(io).poll_read(cx, buffer),
            Stream::Secure(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            // Costs half of the instructions of a poll.
            Stream::Plain(io) if bytes.len() <= MOST_TRIED => match socket::try_write(io, bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Pin::new(io).poll_write(cx, bytes)
                }
                written => Poll::Ready(written),
            },
            Stream::Plain(io) => Pin::new(io).poll_write(cx, bytes),
            Stream::Unix(io) => Pin::new(io).poll_write(cx, bytes),
            Stream::Secure(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(io) => Pin::new(io).poll_write_vectored(cx, bytes),
            Stream::Unix(io) => Pin::new(io).poll_write_vectored(cx, bytes),
            Stream::Secure(io) => Pin::new(io).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(io) => Pin::new(io).poll_flush(cx),
            Stream::Unix(io) => Pin::new(io).poll_flush(cx),
            Stream::Secure(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Stream::Unix(io) => Pin::new(io).poll_shutdown(cx),
            Stream::Secure(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
