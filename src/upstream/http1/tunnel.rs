//! A connection to a server that has switched protocols. It keeps its permit
//! until the tunnel closes, and never carries another request.

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
#[derive(Debug)]
pub(super) struct TunnelEnd(Lease);

impl TunnelEnd {
    /// The far end of a tunnel on the connection that has switched.
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
