//! The thread that writes access lines: the only place of the access log that
//! may wait for the reader of the log.
//!
//! While lines are written anywhere, the thread visits all buffers at an
//! interval. When it finds them all empty, it sleeps without a timeout, so that
//! an idle gateway causes no wake-ups. Then the first line of any worker wakes
//! it.
//!
//! # Priority
//!
//! The thread has some 100 KiB to write when it wakes up, and a scheduler lets
//! a thread run for a millisecond or more before it looks for another one. So
//! the thread yields after each chunk: a worker of the same core waits for at
//! most one, and the lower priority makes it the first to run then. A thread
//! of the same priority that did not yield ran for 110 us in one go, 14 times a
//! second at 4,000 requests a second; now it runs twice as often for half as
//! long. A worker that needs all of a core leaves a tenth of it to the thread,
//! which is many times more than lines need.
//!
//! Workers do not write by themselves, although NGINX does and a regular file
//! seems to take lines at once: a disk that stalls would stop each connection
//! of a worker. Neither do they wake the thread for each buffer (`queue`).
//!
//! # Order of the end
//!
//! When the log is closed, the queue refuses chunks first. The buffers are then
//! emptied under their locks, so that a line is either found here or dropped by
//! its worker, and counted. The rest of the queue is written last.
//!
//! A panic in the sink ends the thread, and the guard `EndNotice` announces it:
//! the queue refuses chunks from then on, and the lines are counted as dropped.

use std::{io::Write, sync::atomic::Ordering::Relaxed, thread, time::Duration};

use rustix::process::nice;
use tokio::time::Instant;

use super::{
    buffer::Buffers,
    outlet::Outlet,
    queue::{Chunk, WriterStep},
};

/// How much nicer than the workers this thread is: as the weight of Linux's
/// scheduler has it, a tenth of a core if a worker wants all of it.
const NICENESS: i32 = 10;

/// Writes until the log is closed, then writes what is left and returns. While
/// there are lines, the buffers are visited every `interval`.
pub(super) fn run(buffers: &Buffers, mut outlet: Outlet<impl Write>, interval: Duration) {
    let _ended = EndNotice(buffers);
    if cfg!(target_os = "linux") {
        // On Linux, this changes the thread alone. Where it is not permitted,
        // lines are written all the same.
        let _ = nice(NICENESS);
    }
    let mut due = None;
    loop {
        match buffers.queue.next(due) {
            WriterStep::Chunk(chunk) => write(buffers, &mut outlet, chunk),
            WriterStep::Stirred => due = Some(Instant::now() + interval),
            WriterStep::Due => {
                let is_busy = collect(buffers) || !goes_idle(buffers);
                due = is_busy.then(|| Instant::now() + interval);
            }
            WriterStep::Closing => return finish(buffers, outlet),
        }
    }
}

/// Queues the content of the buffers, behind their older chunks. Returns
/// whether there was any.
///
/// The lock of a buffer is held for the push alone. A buffer without room in
/// the queue keeps its lines for the next round.
fn collect(buffers: &Buffers) -> bool {
    let mut found = false;
    for buffer in buffers.each.iter() {
        let mut buffer = buffer.lock();
        if buffer.lines == 0 {
            continue;
        }
        found = true;
        match buffers.queue.offer(buffer.take()) {
            Ok(empty) => buffer.text = empty,
            // Without room there is enough to write, and the buffer can still
            // grow.
            Err(Chunk { text, lines }) => {
                buffer.text = text;
                buffer.lines = lines;
            }
        }
    }
    found
}

/// Asks the workers to wake the writer with their next line. Returns false if a
/// line came in between.
///
/// The mark is set before the buffers are looked at again: a line that is
/// written in between either is found here, or sees the mark and wakes the
/// writer.
fn goes_idle(buffers: &Buffers) -> bool {
    buffers.is_idle.store(true, Relaxed);
    let found = collect(buffers);
    if found {
        buffers.is_idle.store(false, Relaxed);
    }
    !found
}

/// Refuses further lines, and writes everything that is there.
fn finish(buffers: &Buffers, mut outlet: Outlet<impl Write>) {
    buffers.queue.refuse();
    for buffer in buffers.each.iter() {
        buffers.queue.push_last(buffer.lock().take());
    }
    while let Some(chunk) = buffers.queue.pop() {
        write(buffers, &mut outlet, chunk);
    }
}

/// Writes a chunk and gives its buffer back. Then a worker may run that waits
/// for this core.
fn write(buffers: &Buffers, outlet: &mut Outlet<impl Write>, chunk: Chunk) {
    outlet.write(chunk.text.as_slice());
    buffers.queue.done(chunk);
    thread::yield_now();
}

/// Announces the end of the writer when it is dropped, also after a panic: then
/// nothing waits for the writer, and nothing is queued for it.
struct EndNotice<'a>(&'a Buffers);

impl Drop for EndNotice<'_> {
    fn drop(&mut self) {
        self.0.queue.refuse();
        self.0.queue.ended();
    }
}
