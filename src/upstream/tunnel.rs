//! A connection to a server that has switched protocols: the far end of a tunnel, which holds its place in the pool until
//! the tunnel closes. It never serves another request.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pool::Lease;

/// The server's side of a tunnel.
#[derive(Debug)]
pub(super) struct FarEnd(Lease);

impl FarEnd {
    /// What was read behind the answer's head is its first bytes.
    pub(super) fn new(lease: Lease) -> Self {
        Self(lease)
    }
}

impl AsyncRead for FarEnd {
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
            // A tunnel may be idle for long, and has no more use for it.
            connection.input = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FarEnd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A server may switch before it was sent the whole head.
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
