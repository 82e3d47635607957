//! An open-loop HTTP/1 client: requests come at a pace of their own, whatever the responses do. The load of `tail` and
//! `reload` of `benches/side_by_side.py`.
//!
//! Usage: `steady ADDRESS PATH RATE CONNECTIONS SECONDS`. Prints one line of JSON; latencies are in milliseconds.
//!
//! Arrivals are random (Poisson), with a share of the rate on each connection. A latency begins when the request was due, so
//! that a slow response also counts for those that had to wait behind it (Gil Tene's "coordinated omission"). Where the
//! connection was free and only this client woke late, it begins when it woke; `late_p99` says how much that was.
//!
//! One thread waits for all connections: threads that sleep and block cost the core of the load several times the CPU time
//! of the proxy, and the tail was theirs.
#![allow(clippy::disallowed_methods, reason = "a load lives in real time")]

use std::{
    env,
    io::{self, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// Longest wait for a response; then the request has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time to open all connections before the first request is due.
const LEAD: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    late: Vec<Duration>,
    failed: u64,
}

struct Load {
    address: String,
    request: Vec<u8>,
    /// Mean time between two requests of a connection, in seconds.
    gap: f64,
    end: Instant,
}

/// A connection with at most one request in flight.
struct Connection {
    stream: TcpStream,
    random: Random,
    /// When the next request is due.
    due: Instant,
    /// When the last response was complete.
    free: Instant,
    /// When the latency of the request in flight began; `None` without one.
    asked: Option<Instant>,
    response: Vec<u8>,
}

fn main() -> io::Result<()> {
    let usage = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "usage: steady ADDRESS PATH RATE CONNECTIONS SECONDS",
        )
    };
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, path, rate, connections, seconds] = arguments.as_slice() else {
        return Err(usage());
    };
    let rate: f64 = rate.parse().map_err(|_| usage())?;
    let connections: u32 = connections.parse().map_err(|_| usage())?;
    let seconds: f64 = seconds.parse().map_err(|_| usage())?;
    let start = Instant::now() + LEAD;
    let load = Load {
        address: address.clone(),
        request: format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes(),
        gap: f64::from(connections) / rate,
        end: start + Duration::from_secs_f64(seconds),
    };
    load.run(connections, start)?.print();
    Ok(())
}

impl Load {
    fn run(&self, connections: u32, start: Instant) -> io::Result<Seen> {
        let mut seen = Seen::default();
        let mut all = (0..connections)
            .map(|seed| self.open(seed, start))
            .collect::<io::Result<Vec<_>>>()?;
        loop {
            for connection in &mut all {
                if connection.is_due(self.end) && connection.ask(&self.request, &mut seen).is_err()
                {
                    self.replace(connection, &mut seen)?;
                }
            }
            let Some(next) = all.iter().filter_map(|one| one.next(self.end)).min() else {
                return Ok(seen);
            };
            for place in wait(&all, next)? {
                let connection = &mut all[place];
                match connection.read() {
                    Ok(true) => connection.complete(self.gap, &mut seen),
                    Ok(false) => {}
                    Err(_) => self.replace(connection, &mut seen)?,
                }
            }
        }
    }

    fn open(&self, seed: u32, start: Instant) -> io::Result<Connection> {
        let mut random = Random(u64::from(seed) + 1);
        Ok(Connection {
            stream: self.connect()?,
            due: start + random.exponential(self.gap),
            random,
            free: start,
            asked: None,
            response: Vec::new(),
        })
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    /// Counts a failure and opens the connection again.
    fn replace(&self, connection: &mut Connection, seen: &mut Seen) -> io::Result<()> {
        seen.failed += 1;
        connection.stream = self.connect()?;
        connection.finish(self.gap);
        Ok(())
    }
}

impl Connection {
    fn is_due(&self, end: Instant) -> bool {
        self.asked.is_none() && self.due < end && self.due <= Instant::now()
    }

    /// The latest time at which this connection needs attention, also without a response; `None` once it is done.
    fn next(&self, end: Instant) -> Option<Instant> {
        match self.asked {
            Some(asked) => Some(asked + PATIENCE),
            None => (self.due < end).then_some(self.due),
        }
    }

    fn ask(&mut self, request: &[u8], seen: &mut Seen) -> io::Result<()> {
        let woke = Instant::now();
        // Idle until it was due: the time since then is spent by this client.
        self.asked = Some(if self.free <= self.due {
            woke
        } else {
            self.due
        });
        seen.late.push(woke - self.due.max(self.free));
        self.stream.write_all(request)
    }

    /// Whether the response is complete. Fails with anything but a 200 with the announced length.
    fn read(&mut self) -> io::Result<bool> {
        let mut part = [0; 8192];
        let read = match self.stream.read(&mut part) {
            // The wait ended without a response.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let waits = self.asked.is_some_and(|asked| asked.elapsed() < PATIENCE);
                return if waits { Ok(false) } else { Err(error) };
            }
            read => read?,
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.response.extend_from_slice(&part[..read]);
        let Some(length) = whole(&self.response) else {
            return Ok(false);
        };
        let is_good = self.response.starts_with(b"HTTP/1.1 200") && self.response.len() == length;
        if is_good {
            Ok(true)
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    fn complete(&mut self, gap: f64, seen: &mut Seen) {
        seen.latencies
            .extend(self.asked.map(|asked| asked.elapsed()));
        self.finish(gap);
    }

    fn finish(&mut self, gap: f64) {
        self.free = Instant::now();
        self.asked = None;
        self.response.clear();
        self.due += self.random.exponential(gap);
    }
}

/// Waits until `next` at the latest, and returns the places of connections that have something to read or waited too long.
fn wait(all: &[Connection], next: Instant) -> io::Result<Vec<usize>> {
    let asked: Vec<usize> = (0..all.len())
        .filter(|&place| all[place].asked.is_some())
        .collect();
    let mut events: Vec<_> = asked
        .iter()
        .map(|&place| PollFd::new(&all[place].stream, PollFlags::IN))
        .collect();
    let now = Instant::now();
    let left = next.saturating_duration_since(now);
    let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(&mut events, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_late = |place: usize| {
        all[place]
            .asked
            .is_some_and(|asked| asked + PATIENCE <= now)
    };
    Ok(asked
        .iter()
        .zip(&events)
        .filter(|&(&place, event)| !event.revents().is_empty() || is_late(place))
        .map(|(&place, _)| place)
        .collect())
}
/// Length of the answer, once its head is there and so much has come.
fn whole(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|at| at == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let field = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = head
        + field
            .and_then(|value| value.trim().parse::<usize>().ok())
            .unwrap_or(0);
    (answer.len() >= length).then_some(length)
}

/// xorshift64* (Vigna 2016); a fixed seed for each connection, so that every proxy gets the same arrivals.
struct Random(u64);

impl Random {
    fn exponential(&mut self, mean: f64) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits =
            u32::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32).unwrap_or(u32::MAX);
        let uniform = (f64::from(bits) + 1.0) / (f64::from(u32::MAX) + 2.0);
        Duration::from_secs_f64(-uniform.ln() * mean)
    }
}

impl Seen {
    fn print(&mut self) {
        self.latencies.sort_unstable();
        self.late.sort_unstable();
        let ms = |sorted: &[Duration], permille: usize| {
            let place = sorted.len() * permille / 1000;
            let at = sorted.get(place.min(sorted.len().saturating_sub(1)));
            at.map_or(0.0, |found| found.as_secs_f64() * 1e3)
        };
        println!(
            r#"{{"answers": {}, "failed": {}, "p50": {:.4}, "p99": {:.4}, "p999": {:.4}, "max": {:.4}, "late_p99": {:.4}}}"#,
            self.latencies.len(),
            self.failed,
            ms(&self.latencies, 500),
            ms(&self.latencies, 990),
            ms(&self.latencies, 999),
            ms(&self.latencies, 1000),
            ms(&self.late, 990),
        );
    }
}
