//! The way from the workers to the writer: a bounded queue of full buffers, which gives empty ones back.
//!
//! Its lock is held for a push or a pop, never while anything is written.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use super::CAPACITY;

/// Chunks that may wait for the writer: a tenth of a second or so of a busy gateway, 2 MiB.
pub(super) const QUEUED: usize = 64;

/// Chunks that are worth waking the writer for. It looks twice a second anyway, and a wake-up costs the worker as much
/// as ten lines: on a busy gateway a few chunks share one, and still fit a core's cache.
const WORTH_WAKING: usize = 4;

/// Empty buffers kept for reuse; more are only in use together when the writer is behind.
const SPARE: usize = WORTH_WAKING;

/// Some whole lines of one worker.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) text: Vec<u8>,
    pub(super) lines: u64,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Set under the lock of `state`; nothing is queued by workers from then on.
    closed: AtomicBool,
    /// The writer waits here for something to do.
    work: Condvar,
    /// Who closes the queue waits here for the writer to end.
    end: Condvar,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    spare: Vec<Vec<u8>>,
    /// A lane holds lines, and the writer did not know.
    stirred: bool,
    closing: bool,
    ended: bool,
    /// Lines of the chunk that is being written.
    in_hand: u64,
}

/// What the writer has to do next.
pub(super) enum Next {
    /// Write this.
    Chunk(Chunk),
    /// The time it asked for has come.
    Due,
    /// A lane holds lines again.
    Stirred,
    /// Write everything and end.
    Closing,
}

impl Queue {
    /// Queues a chunk and answers an empty buffer, or gives it back when there is no room.
    pub(super) fn offer(&self, chunk: Chunk) -> Result<Vec<u8>, Chunk> {
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

    /// Tells the writer that a lane holds lines.
    pub(super) fn stir(&self) {
        self.state.lock().stirred = true;
        self.work.notify_one();
    }

    /// Waits for work, until `due` at the latest.
    pub(super) fn next(&self, due: Option<Instant>) -> Next {
        let mut state = self.state.lock();
        loop {
            if state.closing {
                return Next::Closing;
            }
            // Before the chunks: on a busy gateway there may always be one, and quiet lanes must not wait for ever.
            if due.is_some_and(|due| due <= Instant::now()) {
                return Next::Due;
            }
            if let Some(chunk) = state.pop() {
                return Next::Chunk(chunk);
            }
            if std::mem::take(&mut state.stirred) {
                return Next::Stirred;
            }
            match due {
                Some(due) => drop(self.work.wait_until(&mut state, due.into_std())),
                None => self.work.wait(&mut state),
            }
        }
    }

    /// A chunk was written, or given up; its buffer can be used again.
    pub(super) fn done(&self, mut chunk: Chunk) {
        chunk.text.clear();
        let mut state = self.state.lock();
        state.in_hand = 0;
        // One that hostile lines made grow is not kept.
        if state.spare.len() < SPARE && chunk.text.capacity() <= CAPACITY {
            state.spare.push(chunk.text);
        }
    }

    /// Refuses chunks of workers from now on.
    pub(super) fn refuse(&self) {
        let _state = self.state.lock();
        self.closed.store(true, Relaxed);
    }

    /// Queues what the writer found in a lane at the end, room or not: it is one chunk a lane at most.
    pub(super) fn push_last(&self, chunk: Chunk) {
        self.state.lock().chunks.push_back(chunk);
    }

    /// The next chunk, without a wait.
    pub(super) fn pop(&self) -> Option<Chunk> {
        self.state.lock().pop()
    }

    /// The writer has ended.
    pub(super) fn ended(&self) {
        self.state.lock().ended = true;
        self.end.notify_all();
    }

    /// Makes the writer end and waits for that, for `timeout` at most. Whether it has ended.
    pub(super) fn close(&self, timeout: Duration) -> bool {
        let mut state = self.state.lock();
        state.closing = true;
        self.work.notify_one();
        self.end
            .wait_while_for(&mut state, |state| !state.ended, timeout);
        state.ended
    }

    /// Whether chunks are refused for good.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Lines that are queued or being written.
    pub(super) fn waiting(&self) -> u64 {
        let state = self.state.lock();
        state.in_hand + state.chunks.iter().map(|chunk| chunk.lines).sum::<u64>()
    }
}

impl State {
    fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.in_hand = chunk.lines;
        Some(chunk)
    }
}
