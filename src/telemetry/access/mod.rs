//! The access log: one line a request, told by workers that never wait for whoever reads it.
//!
//! A worker formats its lines into a buffer of its own. A full buffer goes through a bounded queue to the one thread
//! that writes; that thread also collects what waits in buffers that do not fill, so that no line waits longer than a
//! second. When nobody reads, the queue fills and further buffers are dropped and counted.
//!
//! # Bounds
//!
//! A line is at most 56 KiB, every character of every field escaped; some 500 bytes are usual. A buffer is handed over
//! at 32 KiB, so it ends below 88 KiB, in at most 144 KiB of memory. There are at most 64 of them in the queue, four to
//! spare, one being written and one a worker: usually 2.5 MiB when nobody reads, 10 MiB when every line is hostile,
//! and 36 to 144 KiB for each worker.

mod escape;
mod json;
mod line;
mod outlet;
mod queue;
mod short;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod writer;

use std::{
    fmt,
    io::{self, Write},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;

pub use self::line::Line;
use self::{
    outlet::Outlet,
    queue::{Chunk, Queue},
    value::Calendar,
};
use super::Dropped;
use crate::runtime::LazyPerWorker;

/// How much a lane gathers before it is handed over: large enough that a write costs a hundredth of a line each.
const CHUNK: usize = 32 * 1024;

/// What a buffer is made for, so that the line which fills it does not make it grow.
const CAPACITY: usize = CHUNK + 4 * 1024;

/// How often partial buffers are collected; half of what a line may wait.
const INTERVAL: Duration = Duration::from_millis(500);

/// Forms of an access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON object a line.
    Json,
    /// The same fields as `key=value`.
    Text,
    /// The most important of them in one row of a terminal.
    Short {
        /// The status is coloured.
        color: bool,
    },
}

/// Where requests are told of; cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessLog {
    shared: Arc<Shared>,
}

impl AccessLog {
    /// Starts the thread that writes to `sink`. There is a lane for each of `workers` and one for all other threads.
    /// Lines that `sink` does not take are added to `dropped`. Fails when there can be no further thread.
    pub fn start(
        form: Form,
        sink: impl Write + Send + 'static,
        workers: usize,
        dropped: Arc<Dropped>,
    ) -> io::Result<(Self, AccessGuard)> {
        Self::start_with(INTERVAL, form, sink, workers, dropped)
    }

    fn start_with(
        interval: Duration,
        form: Form,
        sink: impl Write + Send + 'static,
        workers: usize,
        dropped: Arc<Dropped>,
    ) -> io::Result<(Self, AccessGuard)> {
        let outlet = Outlet::new(sink, Arc::clone(&dropped));
        let shared = Arc::new(Shared {
            form,
            lanes: LazyPerWorker::new(workers),
            queue: Queue::default(),
            idle: AtomicBool::new(true),
            dropped,
        });
        let for_writer = Arc::clone(&shared);
        let run = move || writer::run(&for_writer, outlet, interval);
        let thread = thread::Builder::new()
            .name("access-log".into())
            .spawn(run)?;
        Ok((
            Self {
                shared: Arc::clone(&shared),
            },
            AccessGuard {
                shared,
                thread: Some(thread),
            },
        ))
    }

    /// Tells of one request. Bounded: formats it into this worker's buffer and at most hands that over.
    pub fn write(&self, line: &Line<'_>) {
        let shared = &*self.shared;
        let mut lane = shared.lanes.mine().lock();
        // Looked at under the lane's lock: either the writer's last collection sees the line, or this sees the end.
        if shared.queue.is_closed() {
            return shared.dropped.add(1);
        }
        let first = lane.text.is_empty();
        lane.append(line, shared.form);
        if lane.text.len() >= CHUNK {
            shared.hand_over(&mut lane);
        }
        drop(lane);
        if first && shared.idle.load(Relaxed) {
            shared.wake();
        }
    }
}

/// Ends the access log; held by whoever ends the process.
#[derive(Debug)]
pub struct AccessGuard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl AccessGuard {
    /// Writes what still waits, for `timeout` at most, and answers how many lines were left by then. Blocks its thread.
    /// Lines told from now on are dropped.
    #[must_use = "lines that were left are lost"]
    pub fn flush(mut self, timeout: Duration) -> u64 {
        let ended = self.shared.queue.close(timeout);
        if let Some(thread) = self.thread.take().filter(|_| ended) {
            // It has nothing left to do; a panic in the sink has been told by the panic hook.
            let _ = thread.join();
        }
        self.shared.waiting()
    }
}

impl Drop for AccessGuard {
    fn drop(&mut self) {
        self.shared.queue.close(Duration::ZERO);
    }
}

/// What the workers and the writer share.
struct Shared {
    form: Form,
    lanes: LazyPerWorker<Mutex<Lane>>,
    queue: Queue,
    /// The writer sleeps until it is woken: it found every lane empty. Set before it looks at the lanes once more, so
    /// that a line written meanwhile is either found or wakes it.
    idle: AtomicBool,
    dropped: Arc<Dropped>,
}

impl Shared {
    /// Queues what `lane` holds, or drops it when there is no room. The lane stays locked meanwhile, so that its
    /// chunks are queued in the order of its lines.
    fn hand_over(&self, lane: &mut Lane) {
        match self.queue.offer(lane.take()) {
            Ok(empty) => lane.text = empty,
            Err(refused) => {
                self.dropped.add(refused.lines);
                lane.text = refused.text;
                lane.text.clear();
            }
        }
    }

    fn wake(&self) {
        if self.idle.swap(false, Relaxed) {
            self.queue.stir();
        }
    }

    /// Lines that nobody has written.
    fn waiting(&self) -> u64 {
        self.queue.waiting() + self.lanes.iter().map(|lane| lane.lock().lines).sum::<u64>()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("form", &self.form)
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

/// What one worker has told and nobody has collected: whole lines.
#[derive(Default)]
struct Lane {
    text: Vec<u8>,
    lines: u64,
    calendar: Calendar,
}

impl Lane {
    fn append(&mut self, line: &Line<'_>, form: Form) {
        if self.text.capacity() == 0 {
            self.text.reserve_exact(CAPACITY);
        }
        match form {
            Form::Json => json::write(line, &mut self.calendar, &mut self.text),
            Form::Text => text::write(line, &mut self.calendar, &mut self.text),
            Form::Short { color } => short::write(line, color, &mut self.text),
        }
        self.lines += 1;
    }

    fn take(&mut self) -> Chunk {
        Chunk {
            text: mem::take(&mut self.text),
            lines: mem::take(&mut self.lines),
        }
    }
}
