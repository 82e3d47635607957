//! Bytes on their way to a socket, with few copies and few system calls.
//!
//! Responses are written to one spare buffer of the worker. Nearly all of them
//! are sent within the poll that writes them, so that the next response of any
//! connection finds the buffer free. Long pieces of a body are not copied to it.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::spare;

/// Most bytes that are worth a write without a poll. A socket nearly always
/// takes them whole; if it takes a part, that costs one more system call.
pub const MOST_TRIED: usize = 16 * 1024;
/// Sent bytes that an [`Output`] may still hold. Beyond it the unsent bytes
/// move to its front.
const MOST_SENT: usize = 64 * 1024;

/// Bytes to be written to a socket. It has no bound of its own: callers append
/// only while [`pending`](Output::pending) is below theirs.
#[derive(Debug, Default)]
pub struct Output {
    /// Sent bytes, then those that are not sent yet.
    bytes: Vec<u8>,
    /// How many of `bytes` are sent.
    sent: usize,
    /// Bytes behind these that are not copied, less those that are sent.
    shared: Bytes,
    /// The bytes behind the shared ones, less those that are sent.
    end: &'static [u8],
}

impl Output {
    /// The buffer to append to. [`poll_flush`](Output::poll_flush) sends it.
    ///
    /// It is a spare buffer of the thread if there is none yet. Shared bytes
    /// that are not sent are copied to it.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = spare::take(0);
        }
        if !self.has_only_bytes() {
            self.bytes.extend_from_slice(&mem::take(&mut self.shared));
            self.bytes.extend_from_slice(mem::take(&mut self.end));
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
            return mem::replace(&mut self.bytes, bytes);
        }
        self.buffer().extend_from_slice(&bytes);
        bytes
    }

    /// Appends `bytes` and then `end`, which are sent from where they are. Meant
    /// for at least [`MOST_TRIED`] bytes; a copy of fewer costs less.
    pub fn append_shared(&mut self, bytes: Bytes, end: &'static [u8]) {
        self.buffer();
        (self.shared, self.end) = (bytes, end);
    }

    /// Bytes that are not sent yet.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.sent + self.shared.len() + self.end.len()
    }

    /// Whether nothing is shared.
    fn has_only_bytes(&self) -> bool {
        self.end.is_empty() && self.shared.is_empty()
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

    /// Sends what `write` takes at once of the pending bytes, if nothing is
    /// shared.
    ///
    /// # Errors
    /// Those of `write`, but for
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn try_send(&mut self, write: impl FnOnce(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        if !self.has_only_bytes() {
            return Ok(());
        }
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
            match ready!(self.poll_write(Pin::new(&mut *io), cx))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.note_sent(written),
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Pin::new(io).poll_flush(cx)
    }

    fn poll_write<IO>(&self, io: Pin<&mut IO>, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        IO: AsyncWrite,
    {
        let bytes = &self.bytes[self.sent..];
        if self.has_only_bytes() {
            return io.poll_write(cx, bytes);
        }
        let pieces = [bytes, &self.shared, self.end].map(IoSlice::new);
        // The first one has to have bytes: not every socket looks further.
        let empty = pieces.iter().take_while(|piece| piece.is_empty()).count();
        io.poll_write_vectored(cx, &pieces[empty..])
    }

    /// Notes that the first `sent` of the pending bytes are sent.
    fn note_sent(&mut self, sent: usize) {
        let of_bytes = sent.min(self.bytes.len() - self.sent);
        self.sent += of_bytes;
        let of_shared = (sent - of_bytes).min(self.shared.len());
        self.shared.advance(of_shared);
        self.end = &self.end[sent - of_bytes - of_shared..];
        if self.shared.is_empty() {
            // Frees them, or lets their reader use the memory again.
            self.shared = Bytes::new();
        }
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

    /// Takes at most three bytes of all that it is given.
    struct Narrow(Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            assert!(!pieces[0].is_empty());
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
            let taken = all.len().min(3);
            self.0.extend_from_slice(&all[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    proptest::proptest! {
        #[test]
        fn bytes_leave_in_their_order_whether_they_are_shared_or_not(
            pieces in proptest::collection::vec((proptest::bool::ANY, 0..9_usize, 0..4_usize), 0..12),
        ) {
            let (mut io, mut output, mut all) = (Narrow(Vec::new()), Output::default(), Vec::new());
            let waker = noop_waker();
            let mut cx = Context::from_waker(&waker);
            for (at, (is_shared, length, written)) in pieces.into_iter().enumerate() {
                let bytes = vec![at as u8; length];
                all.extend_from_slice(&bytes);
                if is_shared {
                    output.append_shared(bytes.into(), b"\r\n");
                    all.extend_from_slice(b"\r\n");
                } else {
                    output.buffer().extend_from_slice(&bytes);
                }
                for _ in 0..written.min(output.pending().div_ceil(3)) {
                    if let Poll::Ready(Ok(sent)) = output.poll_write(Pin::new(&mut io), &mut cx) {
                        output.note_sent(sent);
                    }
                }
                proptest::prop_assert_eq!(io.0.len() + output.pending(), all.len());
            }
            proptest::prop_assert!(output.poll_flush(&mut io, &mut cx).is_ready());
            proptest::prop_assert_eq!(io.0, all);
        }
    }
}
