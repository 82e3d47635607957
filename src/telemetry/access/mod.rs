//! The access log: one line for each request, written by workers that never
//! wait for the reader of the log.
//!
//! A worker formats its lines into a buffer of its own (`buffer`). A full
//! buffer goes through a bounded queue (`queue`) to the one thread that writes
//! (`writer`). That thread also collects the lines of buffers that do not fill,
//! so that no line waits longer than a second. When nobody reads, the queue
//! fills, and further buffers are dropped and counted.
//!
//! The format is written by hand rather than with `serde_json`, because a line
//! was a tenth of the cost of a request: fields that are the same for many
//! requests are rendered once (`fixed`), all others are appended between
//! constants by copies of a fixed size (`pen`), and text is checked for
//! characters to escape eight bytes at a time.
//!
//! # Bounds
//!
//! A line is at most 56 KiB, with every character of every field escaped; some
//! 500 bytes are usual. A buffer is handed over at 32 KiB, so it ends below 88
//! KiB, in at most 144 KiB of memory. Fields that the configuration chooses add
//! 64 KiB at most, and a buffer then ends in at most 288 KiB of memory. At most 64 buffers are queued; four more
//! are spare, one is being written, and each worker has one. That is usually
//! 2.5 MiB when nobody reads, 10 MiB when every line is hostile, and 36 to 144
//! KiB for each worker.

mod buffer;
mod dates;
mod escape;
mod fixed;
mod json;
mod line;
mod outlet;
mod pen;
mod queue;
mod short;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod writer;

use std::{
    io::{self, Write},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
    time::Duration,
};

use self::{buffer::Buffers, outlet::Outlet, queue::CHUNK};
pub use self::{
    fixed::FixedFields,
    line::{ExtraFields, Form, LONGEST_FIELD, LimitState, Line},
};
use super::Dropped;

/// Time between two collections of partial buffers: half of the time that a
/// line may wait.
const INTERVAL: Duration = Duration::from_millis(500);

/// Takes the lines of requests; cheap to clone.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use tidegate::{
///     policy::LogFormat,
///     telemetry::{AccessLog, Dropped, Form},
/// };
///
/// let workers = 2;
/// let dropped = Arc::<Dropped>::default();
/// let form = Form::Full(LogFormat::Json);
/// let (log, guard) = AccessLog::start(form, std::io::stdout(), workers, Arc::clone(&dropped))?;
/// // Each worker has a clone of `log`; the end of the process waits a second for the reader.
/// let lost = guard.flush(Duration::from_secs(1));
/// assert_eq!(lost + dropped.total(), 0);
/// # drop(log);
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AccessLog {
    buffers: Arc<Buffers>,
}

impl AccessLog {
    /// Starts the thread that writes to `sink`. Each of `workers` has a buffer,
    /// and all other threads share one. Lines that `sink` does not take are
    /// added to `dropped`.
    ///
    /// # Errors
    /// The system gives the process no further thread.
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
        let buffers = Arc::new(Buffers::new(form, workers, dropped));
        let for_writer = Arc::clone(&buffers);
        let thread = thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer::run(&for_writer, outlet, interval))?;
        let guard = AccessGuard {
            buffers: Arc::clone(&buffers),
            thread: Some(thread),
        };
        Ok((Self { buffers }, guard))
    }

    /// Writes the line of one request. Bounded: formats it into this worker's
    /// buffer and at most hands that over.
    pub fn write(&self, line: &Line<'_>) {
        let buffers = &*self.buffers;
        let mut buffer = buffers.each.mine().lock();
        // Checked under the buffer's lock: either the writer's last collection
        // sees the line, or this sees the end.
        if buffers.queue.is_closed() {
            return buffers.dropped.add(1);
        }
        let is_first = buffer.text.is_empty();
        buffer.append(line, buffers.form);
        if buffer.text.len() >= CHUNK {
            buffers.hand_over(&mut buffer);
        }
        drop(buffer);
        if is_first && buffers.is_idle.load(Relaxed) {
            buffers.wake();
        }
    }
}

/// Ends the access log; held by the owner of the process.
#[derive(Debug)]
pub struct AccessGuard {
    buffers: Arc<Buffers>,
    thread: Option<JoinHandle<()>>,
}

impl AccessGuard {
    /// Writes the lines that still wait, for `timeout` at most, and returns how
    /// many were left by then. Blocks its thread. Lines of requests that end
    /// from now on are dropped.
    #[must_use = "lines that were left are lost"]
    pub fn flush(mut self, timeout: Duration) -> u64 {
        let has_ended = self.buffers.queue.close(timeout);
        if let Some(thread) = self.thread.take().filter(|_| has_ended) {
            // The thread has nothing left to do; a panic in the sink was
            // reported by the panic hook.
            let _ = thread.join();
        }
        self.buffers.waiting()
    }
}

impl Drop for AccessGuard {
    fn drop(&mut self) {
        self.buffers.queue.close(Duration::ZERO);
    }
}
