//! Reading and writing sockets with few buffers and few system calls. A leaf.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once.
const READ_SIZE: usize = 32 * 1024;

thread_local! {
    /// Shared by all connections of a worker, so that an idle one owns no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into());
}

/// Reads what is there and adds it to `input`; ready with 0 at the end of the stream.
///
/// # Errors
/// Those of the socket.
pub fn poll_read<IO>(io: &mut IO, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>>
where
    IO: AsyncRead + Unpin,
{
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        input.put_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
}

/// Bytes on their way into a socket.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// How many of them are written.
    sent: usize,
}

impl Output {
    /// Where to append. What is appended is sent by [`poll_flush`](Output::poll_flush).
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes still to be written.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Gives the memory back if it is more than `kept` bytes; only when nothing is pending.
    pub fn shrink(&mut self, kept: usize) {
        if self.pending() == 0 && self.bytes.capacity() > kept {
            self.bytes = Vec::new();
        }
    }

    /// Writes everything. What a single call of the system takes leaves in a single call.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_flush<IO>(&mut self, io: &mut IO, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        IO: AsyncWrite + Unpin,
    {
        while self.pending() > 0 {
            match ready!(Pin::new(&mut *io).poll_write(cx, &self.bytes[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Pin::new(io).poll_flush(cx)
    }
}
