//! A new binary in place of this one, without a refused connection: SIGUSR2
//! starts the program again with the same arguments and hands it the listening
//! sockets. Once it says that it serves, this process drains.
//!
//! Both processes accept from the same queues meanwhile, so that no connection
//! is refused. If the new process does not serve in time, it is killed and
//! nothing has changed.
//!
//! The sockets are passed as systemd passes them (sd_listen_fds(3)):
//! descriptors from 3 on, their number in `LISTEN_FDS`, and their names in
//! `LISTEN_FDNAMES`. One more descriptor is a socket pair through which the new
//! process says that it serves.
//!
//! Beside the name of a socket in the file system, the new process gets what its
//! file is known by. The file stays, and belongs to the new process once that
//! serves. A file whose listener the new process does not have is removed by
//! this one.
//!
//! # Failure
//!
//! Until the new process has reported that it serves, this one keeps
//! everything: a new binary that cannot read the configuration costs nothing
//! but a line in the log. A second SIGUSR2 meanwhile is refused.
//!
//! # The state directory
//!
//! The state is saved before the new process starts, which restores it. Tokens
//! that are taken between the two are counted by this process alone.

use std::{
    borrow::Cow,
    env, io,
    net::TcpListener,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixDatagram as Pair,
    },
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use command_fds::{CommandFdExt, FdMapping};
use tokio::{
    net::UnixDatagram,
    time::{Instant, interval, sleep_until},
};

use super::systemd::notify;
use crate::inherited::{ADMIN, Inherited, READY, Served};

/// Longest wait until the new process serves. It reads and builds the
/// configuration as this process did at its start, and waits up to 2 s for
/// names.
const LONGEST_START: Duration = Duration::from_secs(60);
/// Time between two checks whether the new process is still alive.
const LOOK: Duration = Duration::from_millis(100);
/// The first descriptor that is handed over (sd_listen_fds(3)).
const FIRST: i32 = 3;

/// A new process that has taken over.
#[derive(Debug)]
pub(super) struct Successor {
    /// Its id.
    pub(super) process: u32,
    /// The files of sockets that are its own now.
    pub(super) served: Served,
}

/// A new process that is to take over. It is killed if this is dropped before
/// it has.
#[derive(Debug)]
pub(super) struct Takeover {
    /// The new process; `None` once it serves, as it lives on when this process
    /// ends.
    process: Option<Child>,
    /// Our end of the pair through which the new process says that it serves.
    ready: UnixDatagram,
    /// The end of the time that it has for that.
    end: Instant,
}

impl Takeover {
    /// Starts the program again and hands it copies of the sockets.
    ///
    /// # Errors
    /// This is process 1, or the system refuses a process or a descriptor. The
    /// text is a sentence for people.
    pub(super) fn start<'a>(
        listeners: impl Iterator<Item = (Cow<'static, str>, &'a TcpListener)>,
        admin: Option<OwnedFd>,
    ) -> Result<Self, String> {
        if std::process::id() == 1 {
            return Err("this is process 1, whose end ends all others (in a container, replace the container)".into());
        }
        let (ours, theirs) = Pair::pair().map_err(not_started)?;
        let mut handed: Vec<(Cow<'_, str>, OwnedFd)> = Vec::new();
        for (name, listener) in listeners {
            handed.push((
                name,
                listener.as_fd().try_clone_to_owned().map_err(not_started)?,
            ));
        }
        handed.extend(admin.map(|socket| (ADMIN.into(), socket)));
        handed.push((READY.into(), theirs.into()));
        let process = command(handed)?.spawn().map_err(not_started)?;
        ours.set_nonblocking(true).map_err(not_started)?;
        let ready = UnixDatagram::from_std(ours).map_err(not_started)?;
        Ok(Self {
            process: Some(process),
            ready,
            end: Instant::now() + LONGEST_START,
        })
    }

    /// The id of the new process; 0 once it serves.
    pub(super) fn id(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    /// Waits until the new process serves, or certainly will not.
    async fn outcome(&mut self) -> Result<Successor, String> {
        let mut looks = interval(LOOK);
        let mut said = vec![0; Served::LONGEST];
        loop {
            tokio::select! {
                biased;
                Ok(length) = self.ready.recv(&mut said) => {
                    let served = Served::of(said.get(..length).unwrap_or_default());
                    return Ok(Successor { process: self.id(), served });
                }
                _ = looks.tick() => self.look()?,
                () = sleep_until(self.end) => return Err(format!("it did not serve within {LONGEST_START:?}")),
            }
        }
    }

    /// Checks that the new process is alive.
    ///
    /// # Errors
    /// It has ended. The text gives its exit status.
    fn look(&mut self) -> Result<(), String> {
        match self.process.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => Err(format!("it has ended ({status}); its own log says why")),
            _ => Ok(()),
        }
    }
}

impl Drop for Takeover {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Both fail if it has ended already, and either way nothing is left
            // of it.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Why the new process cannot be started.
fn not_started(error: io::Error) -> String {
    format!("it cannot be started ({error})")
}

/// The command line of this process, with the descriptors and names in
/// `handed`. The program is searched for by the name that this process was
/// started with, so that a new file under this name is the new program.
fn command(handed: Vec<(Cow<'_, str>, OwnedFd)>) -> Result<Command, String> {
    let mut arguments = env::args_os();
    let program = arguments.next().ok_or("its own name is unknown")?;
    let mut names = Vec::new();
    let mut mappings = Vec::new();
    for ((name, parent_fd), child_fd) in handed.into_iter().zip(FIRST..) {
        names.push(name);
        mappings.push(FdMapping {
            parent_fd,
            child_fd,
        });
    }
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LISTEN_FDS", names.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        // LISTEN_PID would have to be the id of a process that does not exist
        // yet. Without it the variables are meant for any process that reads
        // them.
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS_FIRST_FD");
    command
        .fd_mappings(mappings)
        .map_err(|error| error.to_string())?;
    Ok(command)
}

/// Waits for the outcome of the takeover that is under way; for ever without
/// one. Cancel safe.
pub(super) async fn outcome(takeover: &mut Option<Takeover>) -> Result<Successor, String> {
    let Some(running) = takeover else {
        return std::future::pending().await;
    };
    let outcome = running.outcome().await;
    if outcome.is_ok() {
        // The new process goes on when this one ends.
        running.process = None;
    }
    *takeover = None;
    outcome
}

/// Reports that this process serves: to the process that it takes over from,
/// which then tells systemd the id of the new main process; or else to systemd
/// itself. `paths` are those of its sockets in the file system.
pub(super) fn tell_ready<'a>(inherited: &mut Inherited, paths: impl Iterator<Item = &'a Path>) {
    if !inherited.is_takeover() {
        notify(&[sd_notify::NotifyState::Ready]);
    } else if let Err(error) = inherited.tell_ready(paths) {
        tracing::warn!(%error, "the process before has not heard that this one serves");
    }
}
