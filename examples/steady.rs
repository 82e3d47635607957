//! An open-loop HTTP/1 client: requests come at a pace of their own, whatever the answers do. The load of `tail` and
//! `reload` of `benches/side_by_side.py`.
//!
//! Usage: `steady ADDRESS PATH RATE CONNECTIONS SECONDS`. Prints one line of JSON; latencies are in milliseconds.
//!
//! Arrivals are random (Poisson), with a share of the rate on each connection. A latency begins when the request was due, so
//! that a slow answer also counts for those that had to wait behind it (Gil Tene's "coordinated omission"). Where the
//! connection was free and only this client woke late, it begins when it woke; `late_p99` says how much that was.
#![allow(
    clippy::disallowed_methods,
    reason = "a load lives in real time; a thread a connection may sleep"
)]

use std::{
    env,
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// Longest wait for an answer; then the request has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time for all threads to start before the first request is due.
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
    gap: f64,
    start: Instant,
    end: Instant,
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
    let threads: Vec<_> = (0..connections)
        .map(|seed| {
            let load = Load {
                address: address.clone(),
                request: format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes(),
                gap: f64::from(connections) / rate,
                start,
                end: start + Duration::from_secs_f64(seconds),
            };
            thread::spawn(move || load.run(seed))
        })
        .collect();
    let mut all = Seen::default();
    for thread in threads {
        let seen = thread
            .join()
            .map_err(|_| io::Error::other("a connection's thread ended early"))?;
        all.latencies.extend(seen.latencies);
        all.late.extend(seen.late);
        all.failed += seen.failed;
    }
    all.print();
    Ok(())
}

impl Load {
    fn run(&self, seed: u32) -> Seen {
        let mut seen = Seen::default();
        let mut random = Random(u64::from(seed) + 1);
        let Ok(mut stream) = self.connect() else {
            seen.failed += 1;
            return seen;
        };
        let mut due = self.start + random.exponential(self.gap);
        while due < self.end {
            let free = Instant::now();
            thread::sleep(due.saturating_duration_since(free));
            let woke = Instant::now();
            // Idle until it was due: what passed since then is this client's own doing.
            let began = if free <= due { woke } else { due };
            seen.late.push(woke - due.max(free));
            match self.ask(&mut stream) {
                Ok(()) => seen.latencies.push(began.elapsed()),
                Err(_) => {
                    seen.failed += 1;
                    let Ok(again) = self.connect() else { break };
                    stream = again;
                }
            }
            due += random.exponential(self.gap);
        }
        seen
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Fails with anything but a whole 200.
    fn ask(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(&self.request)?;
        let (mut answer, mut filled) = ([0; 8192], 0);
        loop {
            let read = stream.read(&mut answer[filled..])?;
            filled += read;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(length) = whole(&answer[..filled]) {
                let is_good = answer.starts_with(b"HTTP/1.1 200") && filled == length;
                return if is_good {
                    Ok(())
                } else {
                    Err(io::ErrorKind::InvalidData.into())
                };
            }
        }
    }
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
