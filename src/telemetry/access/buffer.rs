//! The buffers of the workers, which the workers fill and the writer collects.

use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use super::{
    json,
    line::{Form, Line},
    queue::{CAPACITY, Chunk, Queue},
    short, text,
    value::DateCache,
};
use crate::{policy::LogFormat, runtime::LazyPerWorker, telemetry::Dropped};

/// The state that the workers and the writer share.
pub(super) struct Buffers {
    pub(super) form: Form,
    pub(super) each: LazyPerWorker<Mutex<Buffer>>,
    pub(super) queue: Queue,
    /// The writer found every buffer empty and sleeps until it is woken. Set
    /// before it looks at the buffers once more, so that a line written
    /// meanwhile is either found or wakes it.
    pub(super) is_idle: AtomicBool,
    pub(super) dropped: Arc<Dropped>,
}

impl Buffers {
    pub(super) fn new(form: Form, workers: usize, dropped: Arc<Dropped>) -> Self {
        Self {
            form,
            each: LazyPerWorker::new(workers),
            queue: Queue::default(),
            is_idle: AtomicBool::new(true),
            dropped,
        }
    }

    /// Queues the content of `buffer`, or drops it when there is no room. The
    /// buffer stays locked meanwhile, so that its chunks are queued in the
    /// order of its lines.
    pub(super) fn hand_over(&self, buffer: &mut Buffer) {
        match self.queue.offer(buffer.take()) {
            Ok(empty) => buffer.text = empty,
            Err(refused) => {
                self.dropped.add(refused.lines);
                buffer.text = refused.text;
                buffer.text.clear();
            }
        }
    }

    /// Wakes the writer if it sleeps.
    pub(super) fn wake(&self) {
        if self.is_idle.swap(false, Relaxed) {
            self.queue.stir();
        }
    }

    /// Lines that are not written yet.
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

/// The lines of one worker that are not collected yet: always whole ones.
#[derive(Default)]
pub(super) struct Buffer {
    pub(super) text: Vec<u8>,
    pub(super) lines: u64,
    dates: DateCache,
}

impl Buffer {
    /// Appends one line.
    pub(super) fn append(&mut self, line: &Line<'_>, form: Form) {
        if self.text.capacity() == 0 {
            self.text.reserve_exact(CAPACITY);
        }
        match form {
            Form::Full(LogFormat::Json) => json::write(line, &mut self.dates, &mut self.text),
            Form::Full(LogFormat::Text) => text::write(line, &mut self.dates, &mut self.text),
            Form::Short { color } => short::write(line, color, &mut self.text),
        }
        self.lines += 1;
    }

    /// Takes all lines out.
    pub(super) fn take(&mut self) -> Chunk {
        Chunk {
            text: mem::take(&mut self.text),
            lines: mem::take(&mut self.lines),
        }
    }
}
