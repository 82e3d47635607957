//! The sink of the access log and its failures: a reader that is gone, a full
//! disk.
//!
//! A failure costs the lines of one chunk, which are counted. The next chunk is
//! tried again, so that the log goes on by itself when the disk has room. The
//! log on stderr has one warning when failures begin, and one line when they
//! end.
//!
//! # The reader
//!
//! The sink may be a file, a terminal or a pipe. A pipe whose reader is slow
//! blocks the writer's thread, and nothing else: the queue fills, and the
//! workers drop lines and count them. A pipe whose reader has gone fails each
//! write with `EPIPE`, as Rust ignores SIGPIPE.
//!
//! A sink may also be non-blocking, since that flag belongs to the open file
//! and not to this process. The write is then repeated every 10 ms.

use std::{
    io::{self, ErrorKind, Write},
    sync::Arc,
    thread,
    time::Duration,
};

use crate::telemetry::{Dropped, Latch};

/// Pause before the next write to a sink that returns `WouldBlock` instead of
/// blocking.
const PAUSE: Duration = Duration::from_millis(10);

/// Writes chunks to the sink. Lines that cannot be written are dropped and
/// counted, and a warning says so once until writing succeeds again.
///
/// Owned by the writer's thread, so that it needs no lock.
pub(super) struct Outlet<W> {
    /// Stdout, or a script in tests.
    sink: W,
    /// The count of lines that were lost.
    dropped: Arc<Dropped>,
    /// Whether the log has a warning about the present failure.
    failing: Latch,
    /// Whether the last line was written in part. A line end is written before
    /// the next one, so that the two do not become one.
    torn: bool,
}

impl<W: Write> Outlet<W> {
    /// Writes to `sink`, and counts in `dropped`.
    ///
    /// Nothing is written until the first chunk.
    pub(super) fn new(sink: W, dropped: Arc<Dropped>) -> Self {
        Self {
            sink,
            dropped,
            failing: Latch::new(),
            torn: false,
        }
    }

    /// Writes whole lines, or as many as the sink takes. Blocks for as long as
    /// the sink does.
    ///
    /// `lines` must end with a line end. The count of dropped lines is that of
    /// the line ends that the sink has not taken, so that a line of which only
    /// a part was written counts as dropped.
    pub(super) fn write(&mut self, mut lines: &[u8]) {
        match self.put(&mut lines).and_then(|()| self.sink.flush()) {
            Ok(()) if self.failing.clear() => tracing::info!("access lines are written again"),
            Ok(()) => {}
            Err(error) => {
                self.dropped
                    .add(lines.iter().filter(|&&byte| byte == b'\n').count() as u64);
                if self.failing.raise() {
                    tracing::warn!(%error, "access lines cannot be written and are dropped");
                }
            }
        }
    }

    /// Ends a torn line, then writes. Shortens `lines` by the bytes that the
    /// sink has taken.
    ///
    /// The line end after a torn line belongs to no line, and is not counted.
    fn put(&mut self, lines: &mut &[u8]) -> io::Result<()> {
        if self.torn {
            self.put_part(&mut &b"\n"[..])?;
        }
        self.put_part(lines)
    }

    /// Writes until the sink has taken all of `text` or fails. Interrupted
    /// writes are repeated (`EINTR`).
    ///
    /// Shortens `text` also if it fails, by the bytes that were written.
    fn put_part(&mut self, text: &mut &[u8]) -> io::Result<()> {
        while !text.is_empty() {
            match self.sink.write(text) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    self.torn = text[taken - 1] != b'\n';
                    *text = &text[taken..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process that shares the sink made it so. The guard
                // bounds the wait at the end.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_reader_that_is_gone_are_counted() {
        let (dropped, results) = (Arc::<Dropped>::default(), vec![Err(ErrorKind::BrokenPipe)]);
        let mut outlet = Outlet::new(
            Script {
                results,
                taken: Vec::new(),
            },
            Arc::clone(&dropped),
        );
        outlet.write(b"one\ntwo\n");
        assert_eq!(dropped.total(), 2);
    }

    #[test]
    fn a_line_torn_by_an_error_is_ended_before_the_next() {
        let (dropped, results) = (
            Arc::<Dropped>::default(),
            vec![Err(ErrorKind::StorageFull), Ok(5)],
        );
        let mut outlet = Outlet::new(
            Script {
                results,
                taken: Vec::new(),
            },
            Arc::clone(&dropped),
        );
        outlet.write(b"one\ntwo\nthree\n");
        outlet.write(b"four\n");
        assert_eq!(outlet.sink.taken, b"one\nt\nfour\n");
        assert_eq!(dropped.total(), 2);
    }

    #[test]
    fn a_sink_that_would_block_or_is_interrupted_is_asked_again() {
        let (dropped, results) = (
            Arc::<Dropped>::default(),
            vec![
                Err(ErrorKind::WouldBlock),
                Ok(1),
                Err(ErrorKind::Interrupted),
            ],
        );
        let mut outlet = Outlet::new(
            Script {
                results,
                taken: Vec::new(),
            },
            Arc::clone(&dropped),
        );
        outlet.write(b"one\n");
        assert_eq!(
            (outlet.sink.taken.as_slice(), dropped.total()),
            (&b"one\n"[..], 0)
        );
    }

    /// Takes what it is told to, last result first, and then everything.
    struct Script {
        results: Vec<Result<usize, ErrorKind>>,
        taken: Vec<u8>,
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self
                .results
                .pop()
                .unwrap_or(Ok(bytes.len()))?
                .min(bytes.len());
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
