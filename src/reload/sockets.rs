//! The sockets of listeners: inherited ones, new ones, and the messages about
//! those that cannot be had.

use std::{
    borrow::Cow,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
};

use crate::{
    config::Config,
    inherited::{ACTIVATED, Claimed, LISTENER, Served, with_file},
    policy::{self, ListenAddress},
    server::{DualStack, LockWait, SharedPort, SocketFile, Sockets, bind, bind_unix},
};

/// Copies of the sockets of an open listener, for a process that takes over.
///
/// Dropping them removes the file of a socket in the file system, unless it is
/// systemd's or another process has it.
#[derive(Debug)]
pub struct HeldSockets {
    /// The file of a socket in the file system that this process removes.
    /// Dropped before the socket.
    pub(super) file: Option<SocketFile>,
    /// Copies of the sockets.
    sockets: Vec<TcpListener>,
    /// Whether they are systemd's.
    is_activated: bool,
}

impl HeldSockets {
    /// Copies of these sockets. Without copies, a process that takes over binds
    /// the address itself, or reports that it cannot.
    pub(super) fn of(bound: &mut Sockets, is_activated: bool) -> Self {
        // All of those in the file system are one.
        let each = match bound.local {
            ListenAddress::Ip(_) => bound.sockets.len(),
            ListenAddress::Unix(_) => 1,
        };
        let copies: io::Result<_> = bound
            .sockets
            .iter()
            .take(each)
            .map(TcpListener::try_clone)
            .collect();
        Self {
            file: bound.file.take(),
            sockets: copies.unwrap_or_default(),
            is_activated,
        }
    }

    /// The sockets, each with the name by which the next process knows whose
    /// they are.
    pub fn named(&self) -> impl Iterator<Item = (Cow<'static, str>, &TcpListener)> {
        let name = match &self.file {
            _ if self.is_activated => ACTIVATED.into(),
            Some(file) => Cow::from(with_file(file.id())),
            None => LISTENER.into(),
        };
        self.sockets
            .iter()
            .map(move |socket| (name.clone(), socket))
    }

    /// Leaves the file to the process that has taken over, if that has the
    /// socket.
    pub(super) fn leave(&mut self, served: &Served) {
        if let Some(file) = self.file.take_if(|file| served.has(file.path())) {
            file.leave();
        }
    }
}

/// The sockets for a listener: new ones, unless there are `claimed` ones.
/// `holds` are the ports at which this process has a socket on `[::]` already,
/// and `wait` is for folders that other processes have locked.
///
/// # Errors
/// Half a sentence on why there are none, behind the address and its key.
pub(super) fn sockets_for(
    config: &Config,
    listener: &policy::Listener,
    workers: usize,
    claimed: Option<Claimed>,
    holds: &[u16],
    wait: &mut LockWait,
) -> Result<Sockets, String> {
    if let Some(claimed) = claimed {
        return Ok(Sockets {
            file: file_of(&claimed),
            local: claimed.local,
            sockets: one_each(claimed.sockets, workers).map_err(|error| hint(&error))?,
        });
    }
    match &listener.bind {
        ListenAddress::Ip(address) => {
            let shared = match address.is_ipv4() && holds.contains(&address.port()) {
                true => SharedPort::Yes,
                false => SharedPort::No,
            };
            let bound = bind(*address, workers, dual_stack(config, *address), shared);
            bound.map_err(|error| match (error.kind(), shared) {
                (io::ErrorKind::AddrInUse, SharedPort::Yes) => format!(
                    ": the socket on [::]:{} takes IPv4 connections too; in a .socket unit, write BindIPv6Only=ipv6-only ({error})",
                    address.port()
                ),
                _ => hint(&error),
            })
        }
        ListenAddress::Unix(path) => {
            bind_file(path, listener.mode, workers, wait).map_err(|why| format!(": {why}"))
        }
    }
}

/// A new socket in the file system, with a copy for each worker.
///
/// # Errors
/// Half a sentence on what is in the way.
pub(super) fn bind_file(
    path: &Arc<Path>,
    mode: u32,
    workers: usize,
    wait: &mut LockWait,
) -> Result<Sockets, String> {
    let (socket, file) = bind_unix(path, mode, wait)?;
    Ok(Sockets {
        local: ListenAddress::Unix(Arc::clone(path)),
        file: Some(file),
        sockets: one_each(vec![socket], workers).map_err(|error| error.to_string())?,
    })
}

/// At least one socket for each worker: if there are fewer, workers share them.
/// `sockets` is not empty.
fn one_each(mut sockets: Vec<TcpListener>, workers: usize) -> io::Result<Vec<TcpListener>> {
    for index in 0..workers.saturating_sub(sockets.len()) {
        sockets.push(sockets[index].try_clone()?);
    }
    Ok(sockets)
}

/// The ports at which these addresses have a socket on `[::]`.
pub(super) fn ports_of_both<'a>(addresses: impl Iterator<Item = &'a ListenAddress>) -> Vec<u16> {
    let any = |address: SocketAddr| address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let addresses = addresses.filter_map(ListenAddress::ip);
    addresses
        .filter(|address| any(*address))
        .map(|address| address.port())
        .collect()
}

/// Whether a socket on `address` also takes IPv4 connections. The unspecified
/// IPv6 address does, unless another listener has an IPv4 address with the same
/// port.
fn dual_stack(config: &Config, address: SocketAddr) -> DualStack {
    if !address.is_ipv6() || address.port() == 0 {
        return DualStack::On;
    }
    let listeners = config
        .listeners
        .iter()
        .filter_map(|listener| listener.bind.ip());
    let admin = config.admin.iter().map(|admin| admin.bind);
    let mut others = listeners.chain(admin);
    match others.any(|other| other.is_ipv4() && other.port() == address.port()) {
        true => DualStack::Off,
        false => DualStack::On,
    }
}

/// Warns that a listener on `[::]`, which was opened beside one on `gone`, an
/// address of IPv4, goes on without connections over IPv4.
pub(super) fn warn_of_one_family(config: &Config, gone: &ListenAddress) {
    let Some(gone) = gone.ip().filter(SocketAddr::is_ipv4) else {
        return;
    };
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, gone.port()));
    let stays = config
        .listeners
        .iter()
        .any(|listener| listener.bind.ip() == Some(both));
    if stays && dual_stack(config, both) == DualStack::On && gone.ip() == Ipv4Addr::UNSPECIFIED {
        tracing::warn!(
            listener = %both,
            "it takes connections over IPv6 only until a restart: its socket was opened beside one for IPv4"
        );
    }
}

/// Binds the admin listener if its address has changed; `None` if it has not,
/// or if the admin listener is off.
///
/// # Errors
/// As [`bind_admin`].
pub(super) fn bind_new_admin(
    before: &Config,
    after: &Config,
) -> Result<Option<tokio::net::TcpListener>, String> {
    match (&before.admin, &after.admin) {
        (_, None) => Ok(None),
        (Some(before), Some(after)) if before.bind == after.bind => Ok(None),
        (_, Some(admin)) => bind_admin(after, admin.bind).map(Some),
    }
}

/// Binds the admin listener of `config` to `address`.
///
/// # Errors
/// Says that the address cannot be bound, by which key, and why.
pub fn bind_admin(config: &Config, address: SocketAddr) -> Result<tokio::net::TcpListener, String> {
    let why =
        |error: io::Error| cannot_listen("admin.bind", &ListenAddress::Ip(address), &hint(&error));
    admin_socket(config, address).map_err(why)
}

fn admin_socket(config: &Config, address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let mut bound = bind(address, 1, dual_stack(config, address), SharedPort::No)?;
    let socket = bound.sockets.pop().ok_or(io::ErrorKind::NotFound)?;
    tokio::net::TcpListener::from_std(socket)
}

/// The message about an address that cannot be bound. `why` begins with its own
/// punctuation.
pub(super) fn cannot_listen(key: &str, address: &ListenAddress, why: &str) -> String {
    format!("cannot listen on {address} (key {key}){why}")
}

/// The reason of the system, with a hint for the common ones.
fn hint(error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => ": another process listens there",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        _ => "",
    };
    format!("{hint} ({error})")
}

/// The file of a claimed socket; `None` if it is systemd's, or on a port. The
/// process before tells which file it is, as another one may be at the path by
/// now.
fn file_of(claimed: &Claimed) -> Option<SocketFile> {
    match &claimed.local {
        ListenAddress::Unix(path) if !claimed.is_activated => {
            let id = claimed.file.as_deref()?.parse().ok()?;
            Some(SocketFile::handed(path, id))
        }
        _ => None,
    }
}
