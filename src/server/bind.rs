//! Listening sockets: one for each worker on the same address (SO_REUSEPORT,
//! socket(7)), so that the kernel distributes connections and no worker wakes
//! another.
//!
//! The kernel chooses the socket by a hash of the addresses of the connection.
//! A worker that is busy therefore keeps its share of new connections, which
//! wait in its queue.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Type};

use super::unix::SocketFile;
use crate::policy::ListenAddress;

/// Connections that the kernel completes before they are accepted, at most
/// `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

/// The sockets of one listener.
#[derive(Debug)]
pub struct Sockets {
    /// The address that they are bound to, with the port that the system chose
    /// for port 0.
    pub local: ListenAddress,
    /// The file of a socket in the file system, if it is this process that
    /// removes it. Dropped before the sockets.
    pub file: Option<SocketFile>,
    /// At least one for each worker.
    pub sockets: Vec<TcpListener>,
}

/// Whether a socket on an unspecified IPv6 address also takes IPv4 connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DualStack {
    /// It takes them.
    On,
    /// It leaves them to another listener with an IPv4 address and the same
    /// port.
    Off,
}

/// Whether a socket of this process on `[::]` has the port already, and takes
/// IPv4 connections with it. Of the two, the kernel prefers the one with an
/// address of IPv4 for those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedPort {
    /// It has.
    Yes,
    /// It has not.
    No,
}

/// Binds `count` sockets to one address. With port 0, all are bound to the same
/// free port.
///
/// With `SharedPort::Yes`, a socket of this process on the other kind of address
/// may have the port already.
///
/// # Errors
/// The system refuses the address, or another process already listens on it.
/// SO_REUSEPORT alone would let that pass, and each process would get a part of
/// the connections.
pub fn bind(
    address: SocketAddr,
    count: usize,
    dual_stack: DualStack,
    shared: SharedPort,
) -> io::Result<Sockets> {
    // Without SO_REUSEPORT, to find out whether another process listens there.
    if shared == SharedPort::No {
        drop(socket(address, PortReuse::Address, dual_stack)?);
    }
    let first = socket(address, PortReuse::Port, dual_stack)?;
    let local = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(socket(local, PortReuse::Port, dual_stack)?);
    }
    Ok(Sockets {
        local: ListenAddress::Ip(local),
        sockets,
        file: None,
    })
}

/// The part of an address that a socket may share with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PortReuse {
    /// The address of closed connections only (SO_REUSEADDR).
    Address,
    /// The port with other sockets, too (SO_REUSEPORT).
    Port,
}

/// A listening socket on `address`, which does not block.
fn socket(address: SocketAddr, reuse: PortReuse, dual_stack: DualStack) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() && dual_stack == DualStack::Off {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier process in TIME_WAIT must not block the
    // address.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse == PortReuse::Port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
