//! Reading and writing sockets with few buffers and few system calls.
//!
//! A connection that is idle owns no buffer: reads go into one buffer of the
//! worker and are copied to the connection as far as bytes arrived. Ten
//! thousand idle connections so cost no memory for input, and a copy of a few
//! hundred bytes is cheaper than a buffer of 32 KiB that falls out of the
//! cache.
//!
//! Responses are written to one spare buffer of the worker. Nearly all of them
//! are sent within the poll that writes them, so that the next response of any
//! connection finds the buffer free.

use std::{
    cell::RefCell,
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::spare;

/// Most bytes that one read takes: larger than nearly all heads, and small
/// enough to stay in a core's first cache.
pub const READ_SIZE: usize = 32 * 1024;
/// Most bytes that are worth a write without a poll. A socket nearly always
/// takes them whole; if it takes a part, that costs one more system call.
pub const MOST_TRIED: usize = 16 * 1024;
/// Sent bytes that an [`Output`] may still hold. Beyond it the unsent bytes
/// move to its front.
const MOST_SENT: usize = 64 * 1024;

thread_local! {
    /// Shared by all connections of a worker, so that an idle connection owns
    /// no buffer. Borrowed only within one poll.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into());
}

/// Reads the bytes that have arrived, at most [`READ_SIZE`], and appends them
/// to `input`. Ready with 0 at the end of the stream.
///
/// # Errors
/// Reading the socket failed.
pub fn poll_read<IO, B>(io: &mut IO, cx: &mut Context<'_>, input: &mut B) -> Poll<io::Result<usize>>
where
    IO: AsyncRead + Unpin,
    B: BufMut,
{
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        input.put_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
}

/// As [`poll_read`], for a socket that `read` reads without a wait, and whose
/// task is woken by other means.
///
/// # Errors
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing has arrived; those of
/// `read`.
pub fn try_read(
    input: &mut BytesMut,
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    SCRATCH.with_borrow_mut(|scratch| {
        let arrived = read(scratch)?;
        let bytes = &scratch[..arrived];
        // An idle connection has no buffer. Making one of the right size costs
        // half of making room in one that is empty.
        if input.capacity() == 0 {
            *input = BytesMut::from(bytes);
        } else {
            input.extend_from_slice(bytes);
        }
        Ok(arrived)
    })
}

/// Bytes to be written to a socket. It has no bound of its own: callers append
/// only while [`pending`](Output::pending) is below theirs.
#[derive(Debug, Default)]
pub struct Output {
    /// Sent bytes, then those that are not sent yet.
    bytes: Vec<u8>,
    /// How many of `bytes` are sent.
    sent: usize,
}

impl Output {
    /// The buffer to append to. [`poll_flush`](Output::poll_flush) sends it.
    ///
    /// It is a spare buffer of the thread if there is none yet.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = spare::take(0);
        }
        // A peer that reads slowly but steadily never lets the buffer run
        // empty: sent bytes must not pile up meanwhile.
        if self.sent >= MOST_SENT {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        &mut self.bytes
    }

    /// Appends `bytes`, without a copy if nothing is pending. Returns a buffer
    /// that is free now, with any bytes in it.
    pub fn append(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if self.pending() == 0 {
            self.sent = 0;
            return std::mem::replace(&mut self.bytes, bytes);
        }
        self.bytes.extend_from_slice(&bytes);
        bytes
    }

    /// Bytes that are not sent yet.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Gives up the buffer if it is empty, as a spare one of the thread.
    pub fn release(&mut self) {
        if self.bytes.capacity() == 0 || self.pending() > 0 {
            return;
        }
        self.sent = 0;
        spare::give_back(mem::take(&mut self.bytes));
    }

    /// Frees the buffer if it is empty and its capacity exceeds `kept` bytes,
    /// so that an idle connection does not keep the memory of a large response.
    pub fn shrink(&mut self, kept: usize) {
        if self.pending() == 0 && self.bytes.capacity() > kept {
            self.bytes = Vec::new();
        }
    }

    /// Sends what `write` takes at once of the pending bytes.
    ///
    /// # Errors
    /// Those of `write`, but for
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn try_send(&mut self, write: impl FnOnce(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        match write(&self.bytes[self.sent..]) {
            Ok(written) => self.sent += written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Sends everything. Pending bytes that fit into the socket leave in a
    /// single system call. Cancel safe: sent bytes are remembered.
    ///
    /// # Errors
    /// Writing to the socket failed, or the socket took no byte
    /// ([`WriteZero`](io::ErrorKind::WriteZero)).
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

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;

    /// Takes a little, then makes the writer wait.
    struct Slow(bool);

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0 = !self.0;
            if self.0 {
                Poll::Ready(Ok(bytes.len().min(1000)))
            } else {
                Poll::Pending
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn an_output_without_bytes_gives_its_buffer_to_the_next_one() {
        let (mut first, mut second) = (Output::default(), Output::default());
        first.buffer().extend_from_slice(&[b'x'; 100]);
        first.release();
        assert_eq!(first.pending(), 100, "bytes that are not sent stay");
        first.sent = 100;
        let given = first.bytes.as_ptr();
        first.release();
        assert_eq!((first.bytes.capacity(), first.pending()), (0, 0));
        assert_eq!(second.buffer().as_ptr(), given);
        assert!(second.buffer().is_empty());
        second.buffer().reserve(spare::MOST_BYTES + 1);
        second.release();
        assert_eq!(first.buffer().capacity(), 0, "a large one is freed");
    }

    #[test]
    fn bytes_that_are_appended_follow_those_that_are_pending() {
        let mut output = Output::default();
        assert!(output.append(b"one ".to_vec()).is_empty());
        assert_eq!(output.append(b"two".to_vec()), b"two");
        output.try_send(|bytes| Ok(bytes.len() - 3)).unwrap();
        assert_eq!(output.pending(), 3);
        output
            .try_send(|bytes| {
                assert_eq!(bytes, b"two");
                Ok(3)
            })
            .unwrap();
        output.append(b"three".to_vec());
        assert_eq!(
            (output.pending(), output.buffer().as_slice()),
            (5, &b"three"[..])
        );
    }

    #[test]
    fn a_socket_that_takes_nothing_at_once_is_no_error() {
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"x");
        let full = output.try_send(|_| Err(io::ErrorKind::WouldBlock.into()));
        let broken = output.try_send(|_| Err(io::ErrorKind::BrokenPipe.into()));
        assert!(full.is_ok() && broken.is_err() && output.pending() == 1);
    }

    /// All sent bytes of a long response to a client that read slowly used to
    /// stay in memory.
    #[test]
    fn what_is_written_does_not_pile_up_for_a_peer_that_always_leaves_something() {
        let (mut io, mut output, waker) = (Slow(false), Output::default(), noop_waker());
        output.buffer().extend_from_slice(&[b'x'; 2000]);
        for _ in 0..1000 {
            output.buffer().extend_from_slice(&[b'x'; 1000]);
            assert!(
                output
                    .poll_flush(&mut io, &mut Context::from_waker(&waker))
                    .is_pending()
            );
            assert_eq!(output.pending(), 2000);
        }
        assert!(
            output.bytes.capacity() <= 4 * MOST_SENT,
            "{}",
            output.bytes.capacity()
        );
    }
}
