//! The one thread that writes access lines. The only place of the access log that may wait for whoever reads it.

use std::{io::Write, sync::atomic::Ordering::Relaxed, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Shared,
    outlet::Outlet,
    queue::{Chunk, Next},
};

/// Writes until the log is closed. While there are lines, lanes are looked at every `interval`; while there are none
/// the thread sleeps.
pub(super) fn run(shared: &Shared, mut outlet: Outlet<impl Write>, interval: Duration) {
    let _ended = Ended(shared);
    let mut due = None;
    loop {
        match shared.queue.next(due) {
            Next::Chunk(chunk) => write(shared, &mut outlet, chunk),
            Next::Stirred => due = Some(Instant::now() + interval),
            Next::Due => due = (collect(shared) || rest(shared)).then(|| Instant::now() + interval),
            Next::Closing => return finish(shared, outlet),
        }
    }
}

/// Queues what the lanes hold, behind their older chunks. Whether there was anything.
fn collect(shared: &Shared) -> bool {
    let mut any = false;
    for mut lane in shared
        .lanes
        .iter()
        .map(Mutex::lock)
        .filter(|lane| lane.lines > 0)
    {
        any = true;
        match shared.queue.offer(lane.take()) {
            Ok(empty) => lane.text = empty,
            // No room: there is enough to write, and the lane can still grow.
            Err(Chunk { text, lines }) => (lane.text, lane.lines) = (text, lines),
        }
    }
    any
}

/// Nothing was told for a while: asks to be woken by the next line, unless one came in between.
fn rest(shared: &Shared) -> bool {
    shared.idle.store(true, Relaxed);
    let any = collect(shared);
    if any {
        shared.idle.store(false, Relaxed);
    }
    any
}

fn finish(shared: &Shared, mut outlet: Outlet<impl Write>) {
    shared.queue.refuse();
    for mut lane in shared.lanes.iter().map(Mutex::lock) {
        shared.queue.push_last(lane.take());
    }
    while let Some(chunk) = shared.queue.pop() {
        write(shared, &mut outlet, chunk);
    }
}

fn write(shared: &Shared, outlet: &mut Outlet<impl Write>, chunk: Chunk) {
    outlet.write(&chunk.text);
    shared.queue.done(chunk);
}

/// Tells of the writer's end, however it came: nobody waits for a writer that panicked, and nothing is queued for it.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.queue.refuse();
        self.0.queue.ended();
    }
}
