//! The log: everything that is no access line, through `tracing` to stderr.
//!
//! A line passes a bounded queue to a thread that writes it. If stderr does not
//! take lines in time, further ones are dropped and counted ([`Dropped`]), so
//! that no worker ever waits for the reader of the log.
//!
//! The level can be changed while the process runs, which a reload does. The
//! format cannot. Lines of libraries are left out below a warning, since they
//! say nothing about the gateway; the level `trace` shows them all.
//!
//! # Order at the end
//!
//! The guard is dropped last of all, after the access log, so that the lines
//! about the end are written too. A line that is logged after that is lost.

use std::{fmt, io, time::SystemTime};

use thiserror::Error;
use tracing::{Level, Subscriber, level_filters::LevelFilter};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{format::Writer, time::FormatTime},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

use super::Dropped;
use crate::policy::{LogFormat, LogLevel};

/// Lines that may wait for stderr: some 200 bytes each, so about 1 MiB in all.
const BUFFERED_LINES: usize = 4096;

/// Starts the log of the process, on stderr. `color` applies to
/// [`LogFormat::Text`] only. The log ends when the guard is dropped.
///
/// # Errors
/// [`LogError::Started`] if a log was started in this process before.
pub fn init(level: LogLevel, format: LogFormat, color: bool) -> Result<LogGuard, LogError> {
    let (subscriber, guard) = log(level, format, color, io::stderr());
    subscriber.try_init().map_err(|_| LogError::Started)?;
    Ok(guard)
}

/// Why the log could not be started or changed.
#[derive(Debug, Error)]
pub enum LogError {
    /// The process has a log already.
    #[error("a log was started before")]
    Started,
    /// The log has ended: its guard was dropped.
    #[error("the log has ended")]
    Ended,
}

/// Keeps the log alive. Dropping it writes the lines that still wait, for about
/// a second at most; so it is dropped last of all.
#[derive(Debug)]
pub struct LogGuard {
    /// The handle that changes the log.
    control: LogControl,
    /// Ends the thread that writes.
    _writer: WorkerGuard,
}

impl LogGuard {
    /// The handle that changes the running log.
    pub fn control(&self) -> LogControl {
        self.control.clone()
    }
}

/// Changes the running log. Cheap to clone.
///
/// It holds the filter weakly: after the guard and the subscriber are gone, it
/// changes nothing and says so.
#[derive(Clone)]
pub struct LogControl {
    /// The filter of lines by level, which can be replaced.
    filter: reload::Handle<Targets, Registry>,
    /// The count of lines that were dropped.
    dropped: ErrorCounter,
}

impl LogControl {
    /// From now on writes lines that are at least as severe as `level`.
    ///
    /// # Errors
    /// [`LogError::Ended`] if the log is gone.
    pub fn set_level(&self, level: LogLevel) -> Result<(), LogError> {
        self.filter
            .reload(targets(level))
            .map_err(|_| LogError::Ended)
    }

    /// Makes `dropped` count the dropped lines of this log too. Only the first
    /// call for one `dropped` has an effect.
    pub fn count_dropped(&self, dropped: &Dropped) {
        dropped.follow(self.dropped.clone());
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl").finish_non_exhaustive()
    }
}

/// A subscriber that writes to `sink`, and its guard. Apart from [`init`], so
/// that tests can read the lines.
fn log(
    level: LogLevel,
    format: LogFormat,
    color: bool,
    sink: impl io::Write + Send + 'static,
) -> (impl Subscriber + Send + Sync, LogGuard) {
    let (sink, writer) = NonBlockingBuilder::default()
        .buffered_lines_limit(BUFFERED_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(sink);
    let dropped = sink.error_counter();
    let (filter, handle) = reload::Layer::new(targets(level));
    let subscriber = Registry::default()
        .with(filter)
        .with(lines(format, color, sink));
    (
        subscriber,
        LogGuard {
            control: LogControl {
                filter: handle,
                dropped,
            },
            _writer: writer,
        },
    )
}

/// The format of a line: time, level, message and fields. The place in the code
/// is left out, as it says nothing to the people who run the gateway.
fn lines<S>(format: LogFormat, color: bool, sink: NonBlocking) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(sink)
        .with_target(false)
        .with_timer(Utc);
    match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
        LogFormat::Text => lines.with_ansi(color).boxed(),
    }
}

/// The lines that are written at `level`: those of this crate from `level` on,
/// those of libraries from `warn` on, or from `level` on if that is more severe
/// or `trace`.
///
/// At `error` the libraries are at `error`, at `warn`, `info` and `debug` at
/// `warn`, and at `trace` at `trace`.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let libraries = if level == Level::TRACE {
        level
    } else {
        level.min(Level::WARN)
    };
    Targets::new()
        .with_default(LevelFilter::from_level(libraries))
        .with_target(env!("CARGO_CRATE_NAME"), LevelFilter::from_level(level))
}

/// The time of a line as in the access log: RFC 3339, UTC, with milliseconds.
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{}", humantime::format_rfc3339_millis(SystemTime::now()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use serde_json::Value;

    use super::*;

    #[test]
    fn a_json_line_has_time_level_message_and_fields() {
        let line = logged(LogFormat::Json, |_| {
            tracing::info!(route = "orders", "it is done")
        });
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&value["level"], &value["message"], &value["route"]),
            (&"INFO".into(), &"it is done".into(), &"orders".into())
        );
        assert!(humantime::parse_rfc3339(value["timestamp"].as_str().unwrap()).is_ok());
        assert_eq!(value.as_object().unwrap().len(), 4, "{value}");
    }

    #[test]
    fn a_text_line_has_no_target_and_no_color() {
        let line = logged(LogFormat::Text, |_| {
            tracing::warn!(route = "orders", "it is done")
        });
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(humantime::parse_rfc3339(time).is_ok(), "{line}");
        assert_eq!(rest.trim(), r#"WARN it is done route="orders""#);
    }

    #[test]
    fn the_level_can_change_while_it_runs() {
        let lines = logged(LogFormat::Text, |control| {
            tracing::debug!("before");
            control.set_level(LogLevel::Debug).unwrap();
            tracing::debug!("after");
            control.set_level(LogLevel::Error).unwrap();
            tracing::warn!("no more");
        });
        assert!(
            lines.ends_with("DEBUG after\n") && lines.lines().count() == 1,
            "{lines}"
        );
    }

    #[test]
    fn libraries_are_heard_from_a_warning_on() {
        let lines = logged(LogFormat::Text, |_| {
            tracing::info!(target: "hyper", "chatter");
            tracing::warn!(target: "hyper", "trouble");
        });
        assert!(
            lines.ends_with("trouble\n") && lines.lines().count() == 1,
            "{lines}"
        );
    }

    fn logged(format: LogFormat, say: impl FnOnce(&LogControl)) -> String {
        let (sender, receiver) = mpsc::channel();
        let (subscriber, guard) = log(LogLevel::Info, format, false, Sink(sender));
        let control = guard.control();
        tracing::subscriber::with_default(subscriber, || say(&control));
        drop(guard);
        String::from_utf8(receiver.into_iter().flatten().collect()).unwrap()
    }

    struct Sink(mpsc::Sender<Vec<u8>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
