//! The running process: it wires the modules together, reacts to signals and
//! reloads, and ends in order. The only module that knows every other.
//!
//! * `start`: opens the state directory, builds the configuration, binds
//!   listeners and starts workers.
//! * `serve`: the loop of the control thread; `signals`, `reading` and
//!   `takeover` are its sources of events.
//! * `drain`: the end.
//! * `maintain` and `persist`: tasks beside the loop.
//! * `process`: settings that hold for the whole life of the process.
//!
//! # Threads
//!
//! The control thread has a runtime of its own. It serves no requests, so that
//! a reload of ten thousand routes, a slow name server or a slow disk delays
//! none. Work that may block for long (reading files, writing state) runs on
//! the blocking pool of this runtime, so that signals, probes and scrapes are
//! not delayed either. Workers are threads of their own (`server::Worker`), and
//! so are the writers of both logs.
//!
//! # Life of the process
//!
//! ```text
//! read the file -> check -> build -> bind -> start workers -> ready
//!      serve: reloads, saves, sweeps, signals
//! not ready -> stop accepting -> drain -> cut -> save -> last lines of the logs
//! ```
//!
//! An error before `ready` ends the process with nothing left behind: no
//! connection has been accepted, and sockets that were inherited stay open in
//! the process that handed them over.

mod drain;
mod maintain;
mod outcome;
mod persist;
mod process;
mod reading;
mod serve;
mod signals;
mod start;
mod systemd;
mod takeover;

use std::path::PathBuf;

pub use self::{
    outcome::{Ended, OnReady, Ready, StartError},
    process::try_build,
};
use self::{process::start_logs, start::start};
use crate::{inherited::Inherited, reload::ConfigSource, watch};

/// Runs the gateway until a signal ends it. Blocks. `on_ready` is called once,
/// on this thread, when the gateway serves.
///
/// # Errors
/// The configuration has mistakes, or the system refuses an address, a file or
/// a thread. No connection has been accepted then.
///
/// # Examples
///
/// ```no_run
/// use tidegate::{app, reload::ConfigSource};
///
/// tidegate::tls::install_provider();
/// let source = ConfigSource::File("tidegate.toml".into());
/// match app::run(source, Box::new(|ready| println!("serving {:?}", ready.listeners))) {
///     Ok(ended) => println!("{ended:?}"),
///     Err(error) => eprintln!("{error}"),
/// }
/// ```
pub fn run(source: ConfigSource, on_ready: OnReady) -> Result<Ended, StartError> {
    let inherited = Inherited::take()?;
    let config = source.load().map_err(StartError::Mistakes)?;
    let logs = start_logs(&config.log)?;
    if let ConfigSource::File(path) = &source {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        tracing::info!("configuration read from {}", path.display());
    }
    // The thread that looks at the files is kept from one look to the next. The
    // threads that looked up names all at once find nothing to do for longer
    // than that, and end.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(watch::LOOK * 3 / 2)
        .build()
        .map_err(|error| format!("cannot start the control thread's runtime ({error})"))?;
    let ended = runtime.block_on(async {
        let app = start(source, config, inherited, &logs).await?;
        on_ready(&app.ready);
        Ok(app.serve().await)
    });
    // A lookup that hangs must not keep the process from ending.
    runtime.shutdown_background();
    drop(logs);
    ended
}

/// The configuration files that are searched for, in this order, when none is
/// named.
pub fn default_files() -> [PathBuf; 2] {
    [
        "./tidegate.toml".into(),
        "/etc/tidegate/tidegate.toml".into(),
    ]
}
