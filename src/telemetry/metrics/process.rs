//! The standard `process_*` metrics, read from `/proc` by each scrape.
//!
//! The names and their meaning are those of the Prometheus client libraries
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>),
//! so that common dashboards work. A metric that cannot be read, as outside of
//! Linux, is left out.
//!
//! A scrape reads `/proc/self/stat` and `/proc/stat` and counts the entries of
//! `/proc/self/fd`, on the control thread. The kernel makes these files when
//! they are read, without a disk. The process counts nothing by itself for
//! these metrics.

use std::{fs, time::Duration};

use rustix::process::{Resource, getrlimit};

use super::exposition::{Exposition, FamilyType, Seconds};

/// Writes all of them.
///
/// Each part is left out by itself if it cannot be read.
pub(super) fn write(to: &mut Exposition) {
    if let Some(stat) = Stat::read() {
        stat.write(to);
    }
    if let Some(start) = start_time() {
        to.family(
            FamilyType::Gauge,
            "process_start_time_seconds",
            "Start of the process since the Unix epoch in seconds.",
        )
        .sample(&[], Seconds(start));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder itself, open for this count.
        to.family(
            FamilyType::Gauge,
            "process_open_fds",
            "Number of open file descriptors.",
        )
        .sample(&[], open.count().saturating_sub(1));
    }
    to.family(
        FamilyType::Gauge,
        "process_max_fds",
        "Maximum number of open file descriptors.",
    )
    .gauge(&[], getrlimit(Resource::Nofile).current);
}

/// The fields of `/proc/self/stat` that become metrics.
struct Stat {
    /// User and system time together.
    cpu: Duration,
    /// Threads of the process.
    threads: u64,
    /// Size of the address space.
    virtual_bytes: u64,
    /// Memory that is not swapped out.
    resident_bytes: u64,
    /// Start of the process, since the boot of the machine.
    start: Duration,
}

impl Stat {
    /// Reads and parses the file; `None` if either fails.
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Parses the file's one line.
    ///
    /// Fields are numbered from 1, as in proc_pid_stat(5). The second is the
    /// name of the program in brackets and may hold anything, brackets too, so
    /// fields are counted from the third on, after the last bracket.
    ///
    /// `None` if a field is missing or no number.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat
            .get(stat.rfind(')')? + 1..)?
            .split_ascii_whitespace()
            .collect();
        Some(Self {
            cpu: from_ticks(field(&fields, 14)? + field(&fields, 15)?),
            threads: field(&fields, 20)?,
            start: from_ticks(field(&fields, 22)?),
            virtual_bytes: field(&fields, 23)?,
            resident_bytes: field(&fields, 24)? * rustix::param::page_size() as u64,
        })
    }

    /// Writes the metrics of these fields.
    fn write(&self, to: &mut Exposition) {
        to.family(
            FamilyType::Counter,
            "process_cpu_seconds",
            "Total user and system CPU time spent in seconds.",
        )
        .sample(&[], Seconds(self.cpu));
        to.family(
            FamilyType::Gauge,
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
        )
        .sample(&[], self.resident_bytes);
        to.family(
            FamilyType::Gauge,
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
        )
        .sample(&[], self.virtual_bytes);
        to.family(
            FamilyType::Gauge,
            "process_threads",
            "Number of OS threads in the process.",
        )
        .sample(&[], self.threads);
    }
}

/// The number in a field of `/proc/self/stat` (proc(5)), whose `fields` are
/// those from the third on.
fn field(fields: &[&str], number: usize) -> Option<u64> {
    fields.get(number - 3)?.parse().ok()
}

/// Start of the process since the Unix epoch: the boot of the machine, and the
/// time from there.
///
/// As exact as the time of the boot, which the kernel gives in whole seconds.
/// `None` outside of Linux.
fn start_time() -> Option<Duration> {
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let boot = machine
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(boot) + Stat::read()?.start)
}

/// A number of clock ticks, of which a second usually has 100.
///
/// The number per second is asked of the system (`sysconf(_SC_CLK_TCK)`).
fn from_ticks(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let rest = (ticks % per_second) * 1_000_000_000 / per_second;
    Duration::from_secs(ticks / per_second) + Duration::from_nanos(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 0 0 0 100 100 0 0 20 0 3 0 500 8192 2 18446744073709551615 1";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.threads, stat.virtual_bytes), (3, 8192));
        assert_eq!(stat.cpu, from_ticks(200));
        assert_eq!(stat.start, from_ticks(500));
    }

    #[test]
    fn the_process_was_started_before_now() {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        assert!(start_time().unwrap() <= now + Duration::from_secs(1));
    }
}
