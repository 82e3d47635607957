//! A connection to a server that has switched protocols (101, RFC 9110,
//! 15.2.2). It keeps its permit until the tunnel closes, and never carries
//! another request.
//!
//! `exchange` makes a tunnel of its lease when the response is 101, and puts it
//! into the body of that response, through which `server` reaches it and copies
//! bytes between the client and the tunnel. Nothing interprets the bytes any
//! more, and no framing tells where a message ends: the tunnel ends when either
//! side closes its connection.
//!
//! # Buffers
//!
//! Two buffers of the exchange may hold bytes at the switch, and the tunnel
//! empties both in order. `input` has bytes that the server sent right behind
//! the head of its response, in the same segment; they are the first that a
//! read returns. `output` has bytes of the request that the socket has not
//! taken yet; they go out before the first byte of the client.
//!
//! # Cancellation
//!
//! Dropping the tunnel drops the lease, which closes the connection and returns
//! its permit. The lease is never ended in an orderly way, so that the pool
//! cannot get the connection back.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pool::Lease;

/// The server's end of a tunnel. Bytes that were read behind the response's
/// head are the first that it returns.
///
/// Reads and writes are those of the connection, without a buffer in between.
#[derive(Debug)]
pub(super) struct TunnelEnd(Lease);

impl TunnelEnd {
    /// The far end of a tunnel on the connection that has switched.
    ///
    /// `lease` is the one over which the request was sent. Its buffers are
    /// kept.
    pub(super) fn new(lease: Lease) -> Self {
        Self(lease)
    }
}

impl AsyncRead for TunnelEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = &mut self.0.connection;
        if connection.input.is_empty() {
            return connection.poll_read_into(cx, buffer);
        }
        let length = connection.input.len().min(buffer.remaining());
        buffer.put_slice(&connection.input[..length]);
        connection.input.advance(length);
        if connection.input.is_empty() {
            // A tunnel may be idle for long, and no longer needs the buffer.
            connection.input = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelEnd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A server may switch protocols before the whole request was written.
        ready!(self.0.connection.poll_flush(cx))?;
        self.0.connection.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.connection.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.connection.poll_flush(cx))?;
        self.0.connection.poll_shutdown(cx)
    }
}
