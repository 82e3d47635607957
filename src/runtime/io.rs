//! Reading sockets with few buffers and few system calls.
//!
//! A connection that is idle owns no buffer: reads go into one buffer of the
//! worker and are copied to the connection as far as bytes arrived. Ten
//! thousand idle connections so cost no memory for input, and a copy of a few
//! hundred bytes is cheaper than a buffer of 32 KiB that falls out of the
//! cache.
//!
//! Long bodies are read in larger pieces, see [`ReadSize`].

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

/// Most bytes that one read takes: larger than nearly all heads, and small
/// enough to stay in a core's first cache.
pub const READ_SIZE: usize = 32 * 1024;
/// Most bytes that one read of a body takes.
const MOST_READ: usize = 256 * 1024;

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

/// The size of the next read of a body.
///
/// Each read that finds as many bytes as it takes doubles the size, from
/// [`READ_SIZE`] to 256 KiB; one that finds few starts over. The fewer
/// reads, the fewer acknowledgements are sent, and the less often is the other
/// end woken to send more: with reads of 32 KiB, a response of 1 MiB took 1.6
/// times the CPU time.
#[derive(Debug)]
pub struct ReadSize(usize);

impl Default for ReadSize {
    fn default() -> Self {
        Self(READ_SIZE)
    }
}

impl ReadSize {
    /// As [`poll_read`], at most as many bytes as the size says.
    ///
    /// Longer reads than [`READ_SIZE`] go into a buffer of their own, without
    /// a copy. It is freed when nothing has come, so that a body that makes its
    /// reader wait holds none.
    ///
    /// # Errors
    /// Reading the socket failed.
    pub fn poll_read<IO>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        input: &mut BytesMut,
    ) -> Poll<io::Result<usize>>
    where
        IO: AsyncRead + Unpin,
    {
        let read = if self.0 == READ_SIZE {
            ready!(poll_read(io, cx, input))?
        } else {
            input.reserve(self.0);
            match poll_read_buf(Pin::new(io), cx, &mut input.limit(self.0)) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    self.0 = READ_SIZE;
                    if input.is_empty() {
                        *input = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
        };
        if read == self.0 {
            self.0 = (2 * self.0).min(MOST_READ);
        } else if read < READ_SIZE {
            self.0 = READ_SIZE;
        }
        Poll::Ready(Ok(read))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;

    /// Has this many bytes each time it is read, if it may give as many.
    struct Steady(usize);

    impl AsyncRead for Steady {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0 == 0 {
                return Poll::Pending;
            }
            let bytes = vec![b'x'; self.0.min(buffer.remaining())];
            buffer.put_slice(&bytes);
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn reads_of_a_body_grow_while_they_are_full_and_start_over_when_it_pauses() {
        let (mut size, mut input) = (ReadSize::default(), BytesMut::new());
        let waker = noop_waker();
        let mut read = |bytes: usize| {
            let mut cx = Context::from_waker(&waker);
            let polled = size.poll_read(&mut Steady(bytes), &mut cx, &mut input);
            let whole = input.split();
            (polled.map(Result::unwrap), whole.len(), input.capacity())
        };
        for expected in [32, 64, 128, 256, 256] {
            let (polled, length, _) = read(usize::MAX);
            assert_eq!(polled, Poll::Ready(expected * 1024));
            assert_eq!(length, expected * 1024);
        }
        assert_eq!(read(0), (Poll::Pending, 0, 0));
        assert_eq!(read(usize::MAX).1, 32 * 1024);
        assert_eq!(read(100).1, 100);
        assert_eq!(read(usize::MAX).1, 32 * 1024);
    }
}
