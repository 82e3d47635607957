//! Lines on their way to the sink; the tests hold the other end of it.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{
    super::{
        AccessGuard, AccessLog, Form, Line,
        line::LONG,
        queue::{CAPACITY, CHUNK, QUEUED},
    },
    full,
};
use crate::{policy::LogFormat, runtime::worker, telemetry::Dropped};

const JSON: Form = Form::Full(LogFormat::Json);
/// Longer than any test runs: lines are not collected before the end.
const NEVER: Duration = Duration::from_secs(3600);
/// Longest wait for an event that a passing test always reaches.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_line_does_not_wait_for_a_full_buffer() {
    let (sink, taken) = open();
    let (log, guard) = start(Duration::from_millis(1), sink);
    for round in 0..3 {
        write_line(&log, round);
        // Nothing else happens: only the writer's own timer can collect the
        // line, even after the writer went to sleep.
        assert_eq!(numbers(&taken.recv_timeout(PATIENCE).unwrap()), [round]);
    }
    assert_eq!(guard.flush(PATIENCE), 0);
}

#[test]
fn a_line_that_fills_a_buffer_alone_does_not_wait_for_others() {
    let (sink, taken) = open();
    let (log, guard) = start(Duration::from_millis(1), sink);
    let huge = vec![0; LONG];
    log.write(&Line {
        path: Some(&huge),
        query: Some(&huge),
        user_agent: Some(&huge),
        ..full()
    });
    assert!(taken.recv_timeout(PATIENCE).unwrap().len() >= CHUNK);
    assert_eq!(guard.flush(PATIENCE), 0);
}

#[test]
fn full_buffers_are_written_at_once_and_end_with_a_line() {
    let (sink, taken) = open();
    let (log, guard) = start(NEVER, sink);
    (0..1000).for_each(|number| write_line(&log, number));
    let chunk = taken.recv_timeout(PATIENCE).unwrap();
    assert!(
        chunk.ends_with(b"}\n") && (CHUNK..CAPACITY).contains(&chunk.len()),
        "{}",
        chunk.len()
    );
    assert_eq!(guard.flush(PATIENCE), 0);
}

#[test]
fn every_line_of_every_worker_arrives_in_its_order() {
    // Together less than the queue holds, so that a slow machine drops none.
    const EACH: u64 = 1000;
    let (sink, taken) = open();
    let (log, guard) = start(Duration::from_millis(1), sink);
    thread::scope(|scope| {
        for index in 0..2 {
            let log = &log;
            scope.spawn(move || {
                worker::set_current(index);
                (0..EACH).for_each(|number| write_line(log, index as u64 * EACH + number));
            });
        }
    });
    assert_eq!(guard.flush(PATIENCE), 0);
    let all: Vec<u64> = taken.iter().flat_map(|chunk| numbers(&chunk)).collect();
    let (first, second): (Vec<u64>, Vec<u64>) = all.iter().partition(|&&number| number < EACH);
    assert!(first.into_iter().eq(0..EACH) && second.into_iter().eq(EACH..2 * EACH));
}

#[test]
fn unread_lines_are_dropped_and_counted_without_waiting() {
    let (sink, gate) = blocked();
    let dropped = Arc::<Dropped>::default();
    let (log, guard) = AccessLog::start_with(NEVER, JSON, sink, 2, Arc::clone(&dropped)).unwrap();
    let mut written = 0;
    while dropped.total() == 0 {
        write_line(&log, written);
        written += 1;
    }
    assert!(log.buffers.waiting() >= QUEUED as u64);
    assert_eq!(log.buffers.waiting() + dropped.total(), written);
    drop(gate);
    assert_eq!(guard.flush(PATIENCE), 0);
}

#[test]
fn the_end_does_not_wait_for_a_reader_that_does_not_read() {
    let (sink, gate) = blocked();
    let (log, guard) = start(NEVER, sink);
    (0..500).for_each(|number| write_line(&log, number));
    gate.entered.recv_timeout(PATIENCE).unwrap();
    assert_eq!(guard.flush(Duration::from_millis(1)), 500);
}

#[test]
fn the_end_writes_waiting_lines() {
    let (sink, taken) = open();
    let (log, guard) = start(NEVER, sink);
    (0..500).for_each(|number| write_line(&log, number));
    assert_eq!(guard.flush(PATIENCE), 0);
    assert!(taken.iter().flat_map(|chunk| numbers(&chunk)).eq(0..500));
}

#[test]
fn a_line_after_the_end_is_counted_as_dropped() {
    let dropped = Arc::<Dropped>::default();
    let (log, guard) = AccessLog::start(
        Form::Full(LogFormat::Text),
        io::sink(),
        1,
        Arc::clone(&dropped),
    )
    .unwrap();
    assert_eq!(guard.flush(PATIENCE), 0);
    write_line(&log, 1);
    assert_eq!(dropped.total(), 1);
}

#[test]
fn a_sink_that_panics_costs_lines_and_nothing_else() {
    let (sink, gate) = blocked();
    let dropped = Arc::<Dropped>::default();
    let (log, guard) =
        AccessLog::start_with(NEVER, JSON, Panics(sink), 1, Arc::clone(&dropped)).unwrap();
    (0..100).for_each(|number| write_line(&log, number));
    drop(gate);
    let _ = guard.flush(PATIENCE);
    write_line(&log, 100);
    assert_eq!(dropped.total(), 1);
}

fn start(interval: Duration, sink: impl Write + Send + 'static) -> (AccessLog, AccessGuard) {
    AccessLog::start_with(interval, JSON, sink, 2, Arc::default()).unwrap()
}

/// Writes the line of a request that `number` identifies.
fn write_line(log: &AccessLog, number: u64) {
    log.write(&Line {
        bytes_out: number,
        ..full()
    });
}

/// The numbers of the requests whose lines these are.
fn numbers(lines: &[u8]) -> Vec<u64> {
    let number = |line: &[u8]| {
        serde_json::from_slice::<Value>(line).unwrap()["bytes_out"]
            .as_u64()
            .unwrap()
    };
    lines
        .trim_ascii_end()
        .split(|&byte| byte == b'\n')
        .map(number)
        .collect()
}

/// A sink that accepts everything, and the bytes that it received.
fn open() -> (Sink, Receiver<Vec<u8>>) {
    let (sender, receiver) = mpsc::channel();
    (Sink(sender), receiver)
}

struct Sink(Sender<Vec<u8>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink that blocks in every write until its gate is dropped, and then
/// accepts everything.
fn blocked() -> (Blocked, Gate) {
    let (entered, has_entered) = mpsc::channel();
    let (opens, open) = mpsc::channel();
    (
        Blocked { entered, open },
        Gate {
            entered: has_entered,
            _opens: opens,
        },
    )
}

struct Blocked {
    entered: Sender<()>,
    open: Receiver<()>,
}

struct Gate {
    /// Receives a message for every write that begins.
    entered: Receiver<()>,
    _opens: Sender<()>,
}

impl Write for Blocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        let _ = self.open.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Panics(Blocked);

impl Write for Panics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)?;
        panic!("the sink panics by design");
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
