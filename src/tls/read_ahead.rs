//! A socket that is read in large pieces. rustls asks for 4 KiB at a time,
//! which costs four system calls for each record.
//!
//! The bytes of a whole ClientHello are gathered here too, before rustls sees
//! any of them ([`Hello`](super::Hello)).
//!
//! # Two ways of reading
//!
//! * Before the handshake, [`poll_fill`](ReadAhead::poll_fill) appends to the
//!   bytes ahead, and `server` shows them to [`Hello`](super::Hello) until the
//!   message is whole.
//! * From then on rustls reads through `AsyncRead`. It gets the bytes ahead
//!   first. If there are none, one large read goes to the scratch buffer, as
//!   much as rustls asks for is handed on, and the rest is kept.
//!
//! # Memory
//!
//! A thread has one scratch buffer of 32 KiB for all of its connections. A
//! connection owns memory only while it has bytes that rustls did not ask for
//! yet, and frees it with the last of them.
//!
//! Writes are not buffered: rustls gathers records by itself.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that are read at once: nearly two full records.
///
/// The scratch buffer has this size.
const READ_SIZE: usize = 32 * 1024;

thread_local! {
    /// The buffer that all connections of a worker are read into. The one in
    /// `io` cannot be used here: it is borrowed while the plaintext is read,
    /// and the socket is read within that.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into());
}

/// A socket, and the bytes that were read from it but not yet asked for: at
/// most 32 KiB, apart from those of a ClientHello.
#[derive(Debug)]
pub struct ReadAhead<IO> {
    /// The socket below TLS.
    io: IO,
    /// The bytes that were read but not yet asked for. Owns no memory while it
    /// is empty, as most connections are idle most of the time.
    ahead: BytesMut,
}

impl<IO> ReadAhead<IO> {
    /// Returns the bytes of `ahead` first, then those of `io`.
    ///
    /// `ahead` is empty, or holds the bytes behind a PROXY protocol header.
    pub fn new(io: IO, ahead: BytesMut) -> Self {
        Self { io, ahead }
    }

    /// The socket.
    ///
    /// Its readiness and its options can be asked for. Nobody reads from it
    /// directly, as bytes ahead would be passed by.
    pub fn io(&self) -> &IO {
        &self.io
    }

    /// The bytes that were read but not yet asked for.
    pub fn ahead(&self) -> &[u8] {
        &self.ahead
    }
}

impl<IO: AsyncRead + Unpin> ReadAhead<IO> {
    /// Reads what the socket has into [`ahead`](Self::ahead). Ready with 0 at
    /// the end of the stream.
    ///
    /// Has no bound of its own: the caller stops once the ClientHello is whole,
    /// at 32 KiB at the latest, to which one read can add as much again.
    ///
    /// # Errors
    /// Reading the socket failed.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            self.ahead.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
    }

    /// Reads bytes of the socket into `buffer`, and keeps those that do not
    /// fit.
    ///
    /// Called only while no bytes are ahead, so that their order is kept. Ready
    /// without any byte at the end of the stream.
    fn poll_read_more(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            let (now, later) = read
                .filled()
                .split_at(read.filled().len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.ahead.extend_from_slice(later);
            Poll::Ready(Ok(()))
        })
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for ReadAhead<IO> {
    /// Never reads the socket while bytes are ahead, even if `buffer` has room
    /// for more. The next poll does.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return this.poll_read_more(cx, buffer);
        }
        let length = buffer.remaining().min(this.ahead.len());
        buffer.put_slice(&this.ahead[..length]);
        this.ahead.advance(length);
        if this.ahead.is_empty() {
            this.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for ReadAhead<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    /// Vectored, so that all records of a response leave in one system call.
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_before_comes_first_and_nothing_is_lost_or_doubled() {
        let (mut client, server) = duplex(1 << 20);
        let sent: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
        client.write_all(&sent).await.unwrap();
        drop(client);
        let mut stream = ReadAhead::new(server, BytesMut::from(&b"ahead"[..]));
        let mut read = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match stream.read(&mut piece).await.unwrap() {
                0 => break,
                length => read.extend_from_slice(&piece[..length]),
            }
        }
        assert!(read.starts_with(b"ahead") && read[5..] == sent);
        assert_eq!(stream.ahead.capacity(), 0);
    }
}
