//! Listening sockets that the process inherits at its start: from systemd
//! (socket activation, `LISTEN_FDS` of sd_listen_fds(3)), or from the process
//! that it takes over from, which then waits until this one serves. A leaf.
//!
//! Both use the same variables: `LISTEN_FDS` is the number of descriptors from
//! 3 on, and `LISTEN_FDNAMES` has their names, separated by colons. A process
//! that is taken over from adds one more descriptor, named `ready`, on which
//! this one reports that it serves, and in which files of sockets ([`Served`]).
//! Behind the name of a socket with such a file, and `@`, it writes what the
//! file is known by: another file may have taken its place.
//!
//! A socket belongs to the listener with the same address. Sockets of the
//! process before may also be claimed by name, for listeners on port 0, whose
//! real port the configuration does not know.

use std::{
    env,
    ffi::OsStr,
    net::{SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, net::UnixDatagram},
    },
    path::{Path, PathBuf},
};

use listenfd::ListenFd;

use crate::policy::ListenAddress;

/// The name of a listener's socket in `LISTEN_FDNAMES`, when one process hands
/// it to the next.
pub const LISTENER: &str = "listener";
/// The name of a listener's socket that is systemd's, when one process hands it
/// to the next: its file is not removed at the end.
pub const ACTIVATED: &str = "activated";
/// The name of the admin listener's socket, also in a unit of systemd.
pub const ADMIN: &str = "admin";
/// The name of the socket on which the new process reports that it serves.
pub const READY: &str = "ready";
/// Stands before what the file of a socket is known by, behind its name.
const FILE: char = '@';
/// Stands before each path behind `READY`. No path holds it.
const BEFORE_PATH: u8 = 0;

/// The name of a listener's socket that has made this file.
pub fn with_file(file: impl std::fmt::Display) -> String {
    format!("{LISTENER}{FILE}{file}")
}

/// The files of sockets on which a process that has taken over listens.
#[derive(Debug, PartialEq, Eq)]
pub enum Served {
    /// It has not told: its program knows no such message, or there are too many.
    Unknown,
    /// Their paths.
    Files(Vec<PathBuf>),
}

impl Served {
    /// The longest message. The system has a bound of about this size, too.
    pub const LONGEST: usize = 256 * 1024;

    /// Reads the message of a process that serves. A message of the full length
    /// was cut.
    pub fn of(message: &[u8]) -> Self {
        let paths = message.strip_prefix(READY.as_bytes()).unwrap_or_default();
        if paths.is_empty() || message.len() >= Self::LONGEST {
            return Self::Unknown;
        }
        let paths = paths.split(|byte| *byte == BEFORE_PATH);
        let paths = paths.filter(|path| !path.is_empty());
        Self::Files(paths.map(|path| OsStr::from_bytes(path).into()).collect())
    }

    /// Whether the process listens on the socket at `path`, as far as it is
    /// known.
    pub fn has(&self, path: &Path) -> bool {
        match self {
            Self::Unknown => true,
            Self::Files(paths) => paths.iter().any(|served| served == path),
        }
    }
}

/// The message of a process that serves, with the paths of its sockets.
fn message<'a>(paths: impl Iterator<Item = &'a Path>) -> Vec<u8> {
    let mut message = READY.as_bytes().to_vec();
    for path in paths {
        message.push(BEFORE_PATH);
        message.extend_from_slice(path.as_os_str().as_bytes());
    }
    // Without any path, too: the process tells that it has none.
    message.push(BEFORE_PATH);
    message
}

/// The inherited sockets that are not yet claimed. Empty for most processes.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The sockets that no listener has claimed yet.
    sockets: Vec<InheritedSocket>,
    /// The socket to the process that this one takes over from.
    before: Option<UnixDatagram>,
}

/// A listening socket, with its name and address.
#[derive(Debug)]
struct InheritedSocket {
    /// The name in `LISTEN_FDNAMES`; empty if there is none.
    name: String,
    /// The address that the socket is bound to.
    local: ListenAddress,
    /// The socket, in non-blocking mode.
    listener: TcpListener,
}

/// The sockets of one listener.
#[derive(Debug)]
pub struct Claimed {
    /// At least one.
    pub sockets: Vec<TcpListener>,
    /// The address that they are bound to.
    pub local: ListenAddress,
    /// Whether they are systemd's, which removes their file.
    pub is_activated: bool,
    /// The words by which the process before knows its file; `None` if it has
    /// none, or has not told.
    pub file: Option<String>,
}

impl Inherited {
    /// Takes the inherited sockets. Called once, before there are other
    /// threads: it removes the environment variables, so that no child process
    /// takes them for its own.
    ///
    /// # Errors
    /// Says which descriptor is not a listening socket.
    pub fn take() -> Result<Self, String> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut handed = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..handed.len() {
            inherited.add(&mut handed, index, names.next().unwrap_or_default())?;
        }
        Ok(inherited)
    }

    /// Takes over one descriptor.
    ///
    /// # Errors
    /// It is not a socket that listens.
    fn add(&mut self, handed: &mut ListenFd, index: usize, name: &str) -> Result<(), String> {
        let wrong = |error| {
            format!(
                "the socket number {} that was handed over (LISTEN_FDS, name \"{name}\") cannot be listened on: {error}; \
                 in a .socket unit, write ListenStream=ADDRESS:PORT or ListenStream=/PATH",
                index + 1
            )
        };
        if name == READY {
            self.before = handed.take_unix_datagram(index).map_err(wrong)?;
            return Ok(());
        }
        if let Some((listener, local)) = take(handed, index).map_err(wrong)? {
            // Sockets from systemd are in blocking mode.
            listener.set_nonblocking(true).map_err(wrong)?;
            self.sockets.push(InheritedSocket {
                name: name.to_owned(),
                local,
                listener,
            });
        }
        Ok(())
    }

    /// Whether another process waits for this one to take over.
    pub fn is_takeover(&self) -> bool {
        self.before.is_some()
    }

    /// Whether one of the sockets is on this address.
    pub fn has(&self, address: &ListenAddress) -> bool {
        self.sockets.iter().any(|socket| socket.local == *address)
    }

    /// Claims the sockets of a listener, of which a process that is taken over
    /// from has one for each of its workers. A listener on port 0 gets the port
    /// that the system chose for the process before. `None` if there are none.
    pub fn listener(&mut self, bind: &ListenAddress) -> Option<Claimed> {
        let is_right = |socket: &InheritedSocket| {
            socket.local == *bind || (is_any_port(bind, socket) && socket.name == LISTENER)
        };
        let first = self.sockets.iter().find(|socket| is_right(socket))?;
        let is_activated = !self.is_takeover() || first.name == ACTIVATED;
        let local = first.local.clone();
        let file = first.name.strip_prefix(LISTENER);
        let file = file.and_then(|file| file.strip_prefix(FILE));
        Some(Claimed {
            file: file.map(str::to_owned),
            sockets: self.claim(|socket| socket.local == local),
            local,
            is_activated,
        })
    }

    /// Claims the admin listener's socket, if there is one.
    pub fn admin(&mut self, bind: SocketAddr) -> Option<TcpListener> {
        let bind = ListenAddress::Ip(bind);
        self.claim(|socket| {
            socket.local == bind || (is_any_port(&bind, socket) && socket.name == ADMIN)
        })
        .pop()
    }

    /// Takes out the sockets that are wanted.
    fn claim(&mut self, wanted: impl Fn(&InheritedSocket) -> bool) -> Vec<TcpListener> {
        let (claimed, left) = std::mem::take(&mut self.sockets)
            .into_iter()
            .partition(wanted);
        self.sockets = left;
        let claimed: Vec<InheritedSocket> = claimed;
        claimed.into_iter().map(|socket| socket.listener).collect()
    }

    /// Ends the claims. Sockets of the previous process on which this one does
    /// not listen are closed.
    ///
    /// # Errors
    /// Says which socket of systemd is not claimed: clients that connect there
    /// would wait for ever.
    pub fn finish(&mut self) -> Result<(), String> {
        let left = std::mem::take(&mut self.sockets);
        match left.first() {
            Some(socket) if !self.is_takeover() => Err(unclaimed(&socket.local)),
            _ => Ok(()),
        }
    }

    /// Tells the process before that this one serves, and on which sockets in
    /// the file system.
    ///
    /// # Errors
    /// Those of the system: there is none any more.
    pub fn tell_ready<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) -> std::io::Result<()> {
        let Some(before) = self.before.take() else {
            return Ok(());
        };
        match before.send(&message(paths)) {
            // A system may take less at once.
            Err(_) => before.send(READY.as_bytes()).map(drop),
            Ok(_) => Ok(()),
        }
    }
}

/// A listening socket of TCP or of the file system, and its address.
///
/// # Errors
/// It is neither.
fn take(
    handed: &mut ListenFd,
    index: usize,
) -> std::io::Result<Option<(TcpListener, ListenAddress)>> {
    let not_tcp = match handed.take_tcp_listener(index) {
        Ok(Some(listener)) => {
            let local = ListenAddress::Ip(listener.local_addr()?);
            return Ok(Some((listener, local)));
        }
        Ok(None) => return Ok(None),
        Err(error) => error,
    };
    let Ok(Some(listener)) = handed.take_unix_listener(index) else {
        return Err(not_tcp);
    };
    let local = listener.local_addr()?;
    let path = local.as_pathname().ok_or(not_tcp)?;
    // The types of TCP carry both kinds (`server::bind_unix`).
    let listener = TcpListener::from(OwnedFd::from(listener));
    Ok(Some((listener, ListenAddress::Unix(path.into()))))
}

/// The message about a socket of systemd that no listener wants.
fn unclaimed(local: &ListenAddress) -> String {
    let (stream, help) = match local {
        ListenAddress::Ip(address) => (
            address.to_string(),
            "in a [[listeners]] or in [admin], or take",
        ),
        ListenAddress::Unix(path) => (path.display().to_string(), "in a [[listeners]], or take"),
    };
    format!(
        "systemd hands over a socket on {local} that the configuration does not name: write bind = \"{local}\" {help} \
         ListenStream={stream} out of the .socket unit (a ListenStream of a port alone is on [::])"
    )
}

/// Whether a listener on any port of this address may claim the socket.
fn is_any_port(bind: &ListenAddress, socket: &InheritedSocket) -> bool {
    let ip = |address: &ListenAddress| address.ip().map(|address| address.ip());
    bind.is_any_port() && ip(bind) == ip(&socket.local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(name: &str) -> InheritedSocket {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        InheritedSocket {
            name: name.to_owned(),
            local: ListenAddress::Ip(listener.local_addr().unwrap()),
            listener,
        }
    }

    #[test]
    fn a_socket_is_claimed_by_its_address_and_only_once() {
        let (one, other) = (socket(""), socket("whatever"));
        let (first, second) = (one.local.clone(), other.local.clone());
        let mut inherited = Inherited {
            sockets: vec![one, other],
            before: None,
        };
        assert_eq!(inherited.listener(&first).unwrap().sockets.len(), 1);
        assert!(inherited.listener(&first).is_none());
        assert!(
            inherited
                .finish()
                .is_err_and(|why| why.contains(&second.to_string()))
        );
    }

    #[test]
    fn on_port_0_the_port_before_is_kept_for_its_purpose() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut inherited = Inherited {
            sockets: vec![socket(LISTENER), socket(ADMIN), socket("web")],
            before: None,
        };
        let admin = inherited.sockets[1].local.ip().unwrap();
        assert_eq!(
            inherited
                .listener(&ListenAddress::Ip(any))
                .unwrap()
                .sockets
                .len(),
            1
        );
        assert_eq!(inherited.admin(any).unwrap().local_addr().unwrap(), admin);
        assert!(
            inherited.finish().is_err(),
            "a name of the unit's own is no listener's"
        );
    }

    #[test]
    fn the_process_before_hears_which_files_are_served() {
        let paths = ["/run/a b", "/run/c"].map(Path::new);
        let served = Served::of(&message(paths.into_iter()));
        assert!(served.has(paths[0]) && served.has(paths[1]) && !served.has(Path::new("/run")));
        assert_eq!(
            Served::of(&message([].into_iter())),
            Served::Files(Vec::new())
        );
        // A program that knows no such message, and one that was cut.
        for message in [READY.as_bytes(), &[b'x'; Served::LONGEST]] {
            assert!(Served::of(message).has(paths[0]));
        }
    }

    #[test]
    fn what_the_file_of_a_socket_is_known_by_stands_in_its_name() {
        for (name, file) in [(with_file("1.2"), Some("1.2")), (LISTENER.to_owned(), None)] {
            let socket = socket(&name);
            let local = socket.local.clone();
            let mut inherited = Inherited {
                sockets: vec![socket],
                before: None,
            };
            assert_eq!(inherited.listener(&local).unwrap().file.as_deref(), file);
        }
    }
}
