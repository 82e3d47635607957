//! The buffers of the workers, which the workers fill and the writer collects.
//!
//! Each worker has one buffer behind a lock of its own, which only the writer
//! contends for, twice a second. A buffer that reaches the size of a chunk is
//! queued by its worker; all others are queued by the writer.
//!
//! # Order
//!
//! The lines of one worker are written in the order in which they were
//! appended: a buffer stays locked while its content is queued, and the queue
//! is first in, first out. Lines of different workers are in no particular
//! order.

use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use super::{
    dates::DateCache,
    json,
    line::{Form, Line},
    pen::LineText,
    queue::{CAPACITY, Chunk, LineQueue},
    short, text,
};
use crate::{policy::LogFormat, runtime::LazyPerWorker, telemetry::Dropped};

/// The state that the workers and the writer share.
pub(super) struct Buffers {
    /// The form of all lines, fixed at the start.
    pub(super) form: Form,
    /// The buffer of each worker, made with its first line.
    pub(super) each: LazyPerWorker<Mutex<LineBuffer>>,
    /// Full buffers on their way to the writer.
    pub(super) queue: LineQueue,
    /// The writer found every buffer empty and sleeps until it is woken. Set
    /// before it looks at the buffers once more, so that a line written
    /// meanwhile is either found or wakes it.
    pub(super) is_idle: AtomicBool,
    /// The count of lines that found no room.
    pub(super) dropped: Arc<Dropped>,
}

impl Buffers {
    /// Empty buffers for `workers` workers and one for all other threads.
    pub(super) fn new(form: Form, workers: usize, dropped: Arc<Dropped>) -> Self {
        Self {
            form,
            each: LazyPerWorker::new(workers),
            queue: LineQueue::default(),
            is_idle: AtomicBool::new(true),
            dropped,
        }
    }

    /// Queues the content of `buffer`, or drops it when there is no room. The
    /// buffer stays locked meanwhile, so that its chunks are queued in the
    /// order of its lines. Either way the buffer is empty then.
    pub(super) fn hand_over(&self, buffer: &mut LineBuffer) {
        match self.queue.offer(buffer.take()) {
            Ok(empty) => buffer.text = empty,
            Err(refused) => {
                self.dropped.add(refused.lines);
                buffer.text = refused.text;
                buffer.text.clear();
            }
        }
    }

    /// Wakes the writer if it sleeps. Of several workers that call this at
    /// once, one pays for the wake-up.
    pub(super) fn wake(&self) {
        if self.is_idle.swap(false, Relaxed) {
            self.queue.stir();
        }
    }

    /// Lines that are in buffers, queued or being written.
    pub(super) fn waiting(&self) -> u64 {
        let buffered = self.each.iter().map(|buffer| buffer.lock().lines);
        self.queue.waiting() + buffered.sum::<u64>()
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers")
            .field("form", &self.form)
            .field("each", &self.each)
            .finish_non_exhaustive()
    }
}

/// The lines of one worker that are not collected yet. It always holds whole
/// lines.
#[derive(Default)]
pub(super) struct LineBuffer {
    /// The lines, each with its end.
    pub(super) text: LineText,
    /// How many lines `text` has.
    pub(super) lines: u64,
    /// The text of the last second; made with the first line, as it has the
    /// form of the lines.
    pub(super) dates: Option<DateCache>,
}

impl LineBuffer {
    /// Appends one line in the given form. The first line of an empty buffer
    /// allocates, unless a spare buffer was given back.
    pub(super) fn append(&mut self, line: &Line<'_>, form: Form) {
        let dates = self.dates.get_or_insert_with(|| form.dates());
        let lines = &mut self.text;
        match form {
            Form::Full(LogFormat::Json) => {
                lines.append(CAPACITY, |pen| json::write(line, dates, pen));
            }
            Form::Full(LogFormat::Text) => {
                lines.append(CAPACITY, |pen| text::write(line, dates, pen));
            }
            Form::Short { color } => lines.append(CAPACITY, |pen| short::write(line, color, pen)),
        }
        self.lines += 1;
    }

    /// Takes all lines out, together with their memory.
    pub(super) fn take(&mut self) -> Chunk {
        Chunk {
            text: mem::take(&mut self.text),
            lines: mem::take(&mut self.lines),
        }
    }
}

impl Form {
    /// The times of lines in this form. The short form has none.
    pub(super) fn dates(self) -> DateCache {
        DateCache::new(match self {
            Self::Full(LogFormat::Json) => json::AROUND_TIME,
            Self::Full(LogFormat::Text) => text::AROUND_TIME,
            Self::Short { .. } => ["", ""],
        })
    }
}
