//! The bounded queue of full buffers between the workers and the writer, which
//! gives empty buffers back.
//!
//! Its lock is held for a push or a pop, never while anything is written. A
//! worker never waits for room: without it, [`offer`](LineQueue::offer) returns
//! the chunk.
//!
//! The writer sleeps on `work`. It is woken when several chunks are queued,
//! when the first line after a silence is written, and when the log is closed.
//! The owner of the log sleeps on `end` until the writer has ended.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use super::pen::LineText;

/// Bytes that a buffer gathers before it is handed over: large enough that a
/// write costs a hundredth of a line each.
pub(super) const CHUNK: usize = 32 * 1024;

/// Capacity that a buffer is made with, so that the line that fills it does not
/// make it grow.
pub(super) const CAPACITY: usize = CHUNK + 4 * 1024;

/// Chunks that may wait for the writer: a tenth of a second or so of a busy
/// gateway, 2 MiB.
pub(super) const QUEUED: usize = 64;

/// Queued chunks from which on the writer is woken. It looks twice a second
/// anyway, and a wake-up costs the worker as much as ten lines: on a busy
/// gateway a few chunks share one, and still fit into the cache of a core.
const WORTH_WAKING: usize = 4;

/// Empty buffers that are kept; more are in use at once only when the writer is
/// behind.
const SPARE: usize = WORTH_WAKING;

/// Whole lines of one worker.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The lines, each with its end.
    pub(super) text: LineText,
    /// How many lines `text` has.
    pub(super) lines: u64,
}

/// The queue; the lock is held for a push or a pop.
#[derive(Default)]
pub(super) struct LineQueue {
    state: Mutex<QueueState>,
    /// Workers queue nothing any more. Set under the lock of `state`.
    closed: AtomicBool,
    /// The writer waits here for something to do.
    work: Condvar,
    /// The caller of `close` waits here for the writer to end.
    end: Condvar,
}

/// The state behind the lock.
#[derive(Default)]
struct QueueState {
    /// Chunks in the order in which they are written; at most [`QUEUED`], and
    /// at the end one more for each worker.
    chunks: VecDeque<Chunk>,
    /// Empty buffers for workers; at most [`SPARE`].
    spare: Vec<LineText>,
    /// A worker wrote a line while the writer slept.
    stirred: bool,
    /// The owner of the log waits for the writer to end.
    closing: bool,
    /// The writer has ended, or has panicked.
    ended: bool,
    /// Lines of the chunk that is being written.
    in_hand: u64,
}

/// The next task of the writer.
pub(super) enum WriterStep {
    /// Write this chunk.
    Chunk(Chunk),
    /// Collect the buffers: the time that the writer asked for has come.
    Due,
    /// Collect the buffers after the interval: a worker has written a line.
    Stirred,
    /// Write everything and end.
    Closing,
}

impl LineQueue {
    /// Queues a chunk and returns an empty buffer.
    ///
    /// # Errors
    /// Returns the chunk when there is no room, or the log has ended.
    pub(super) fn offer(&self, chunk: Chunk) -> Result<LineText, Chunk> {
        let mut state = self.state.lock();
        if self.is_closed() || state.chunks.len() >= QUEUED {
            return Err(chunk);
        }
        state.chunks.push_back(chunk);
        let empty = state.spare.pop().unwrap_or_default();
        let wake = state.chunks.len() >= WORTH_WAKING;
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(empty)
    }

    /// Tells a sleeping writer that a worker has written a line.
    pub(super) fn stir(&self) {
        self.state.lock().stirred = true;
        self.work.notify_one();
    }

    /// Waits for work, until `due` at the latest; without `due`, until there is
    /// some. Blocks the thread.
    pub(super) fn next(&self, due: Option<Instant>) -> WriterStep {
        let mut state = self.state.lock();
        loop {
            if state.closing {
                return WriterStep::Closing;
            }
            // Checked before the chunks: on a busy gateway there may always be
            // one, and the lines of quiet workers must not wait for ever.
            if due.is_some_and(|due| due <= Instant::now()) {
                return WriterStep::Due;
            }
            if let Some(chunk) = state.pop() {
                return WriterStep::Chunk(chunk);
            }
            if std::mem::take(&mut state.stirred) {
                return WriterStep::Stirred;
            }
            match due {
                Some(due) => drop(self.work.wait_until(&mut state, due.into_std())),
                None => self.work.wait(&mut state),
            }
        }
    }

    /// Takes the buffer of a chunk that was written or dropped, for reuse.
    pub(super) fn done(&self, mut chunk: Chunk) {
        chunk.text.clear();
        let mut state = self.state.lock();
        state.in_hand = 0;
        // A buffer that hostile lines made grow is not kept.
        if state.spare.len() < SPARE && chunk.text.capacity() <= CAPACITY {
            state.spare.push(chunk.text);
        }
    }

    /// Refuses chunks of workers from now on.
    pub(super) fn refuse(&self) {
        let _state = self.state.lock();
        self.closed.store(true, Relaxed);
    }

    /// Queues the last chunk of a worker, at the end, even without room: it is
    /// at most one for each worker.
    pub(super) fn push_last(&self, chunk: Chunk) {
        self.state.lock().chunks.push_back(chunk);
    }

    /// Returns the next chunk without waiting.
    pub(super) fn pop(&self) -> Option<Chunk> {
        self.state.lock().pop()
    }

    /// Wakes the caller of `close`: the writer has ended.
    pub(super) fn ended(&self) {
        self.state.lock().ended = true;
        self.end.notify_all();
    }

    /// Makes the writer end and waits for that, for `timeout` at most. Returns
    /// whether it has ended.
    pub(super) fn close(&self, timeout: Duration) -> bool {
        let mut state = self.state.lock();
        state.closing = true;
        self.work.notify_one();
        self.end
            .wait_while_for(&mut state, |state| !state.ended, timeout);
        state.ended
    }

    /// True once chunks of workers are refused for good.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Lines that are queued or being written.
    pub(super) fn waiting(&self) -> u64 {
        let state = self.state.lock();
        state.in_hand + state.chunks.iter().map(|chunk| chunk.lines).sum::<u64>()
    }
}

impl QueueState {
    /// The next chunk, whose lines count as being written from now on.
    fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.in_hand = chunk.lines;
        Some(chunk)
    }
}
