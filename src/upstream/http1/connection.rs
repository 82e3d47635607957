//! An open connection of HTTP/1 to a server, and the bytes on their way through
//! it. It carries one request at a time.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{
    runtime::{self, io::ReadSize, output::Output},
    upstream::{
        address::Peer, capacity::ConnectionPermit, proxy_protocol::ClientEnds, stream::Stream,
    },
};

/// An open connection.
#[derive(Debug)]
pub(super) struct PooledConnection {
    io: Stream,
    /// Bytes that were read and not yet interpreted.
    pub(super) input: BytesMut,
    /// Bytes that are still to be written.
    pub(super) output: Output,
    /// When it was made, for `max_lifetime`.
    pub(super) opened: Instant,
    /// When it was last pooled.
    pub(super) idle_since: Instant,
    /// The worker whose event loop the socket is registered with.
    pub(super) home: usize,
    /// The address that it goes to.
    pub(super) peer: Peer,
    /// The client that it was announced for; `None` where servers are not told.
    /// Boxed, as most connections have none.
    pub(super) client: Option<Box<ClientEnds>>,
    /// One of `max_connections`, freed when it closes.
    _permit: ConnectionPermit,
}

impl PooledConnection {
    /// A connection that was just made on the worker `home`.
    pub(super) fn new(
        io: Stream,
        home: usize,
        permit: ConnectionPermit,
        client: Option<ClientEnds>,
    ) -> Self {
        let (now, peer) = (Instant::now(), io.peer());
        Self {
            io,
            input: BytesMut::new(),
            output: Output::default(),
            opened: now,
            idle_since: now,
            home,
            peer,
            client: client.map(Box::new),
            _permit: permit,
        }
    }

    /// Whether an idle connection may be reused as far as the server is
    /// concerned: it has neither closed the connection nor sent anything
    /// unasked. Costs no system call unless something has arrived.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.io.is_quiet()
    }

    /// Reads into [`input`](Self::input). Ready with 0 at the end of the
    /// stream.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        runtime::io::poll_read(&mut self.io, cx, &mut self.input)
    }

    /// As [`poll_read`](Self::poll_read), for a body: at most `size` bytes.
    pub(super) fn poll_read_body(
        &mut self,
        cx: &mut Context<'_>,
        size: &mut ReadSize,
    ) -> Poll<io::Result<usize>> {
        size.poll_read(&mut self.io, cx, &mut self.input)
    }

    /// As [`poll_read`](Self::poll_read), for the moments at which nearly
    /// always something has come.
    pub(super) fn poll_read_usual(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match runtime::io::try_read(&mut self.input, |buffer| self.io.try_read(buffer)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.poll_read(cx),
            read => Poll::Ready(read),
        }
    }

    /// As [`poll_read`](Self::poll_read), for the moments at which nearly
    /// always nothing has come.
    pub(super) fn poll_read_rare(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.io.poll_readable(cx));
        self.poll_read(cx)
    }

    /// Frees the memory of a long body that was read. Without that, an idle
    /// connection would keep it.
    pub(super) fn free_input(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Writes all of [`output`](Self::output).
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_flush(&mut self.io, cx)
    }

    /// Reads past [`input`](Self::input), into `buffer`. Reads nothing at the
    /// end of the stream.
    pub(super) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }

    /// Writes past [`output`](Self::output), as much of `bytes` as the socket
    /// takes.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    /// Closes the sending side.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
