//! Listening sockets: one for each worker on the same address (SO_REUSEPORT,
//! socket(7)), so that the kernel distributes connections and no worker wakes
//! another.
//!
//! The kernel chooses the socket by a hash of the addresses of the connection.
//! A worker that is busy therefore keeps its share of new connections, which
//! wait in its queue.

use std::{future::Future, io, net::SocketAddr};

use socket2::{Domain, Protocol, SockRef, Type};
use tokio::net::{TcpListener, TcpStream};

use super::Socket;

/// Connections that the kernel completes before they are accepted, at most
/// `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

/// A source of connections: a listening socket, or a script in tests.
pub trait Accept: Send + 'static {
    /// The bytes of a connection.
    type Io: Socket;

    /// Waits for the next connection. Cancel safe.
    ///
    /// # Errors
    /// The system cannot accept: see accept(2).
    fn accept(&mut self) -> impl Future<Output = io::Result<Accepted<Self::Io>>> + Send;

    /// Accepts a connection that the kernel has already completed; `None` if
    /// there is none. Does not wait.
    ///
    /// # Errors
    /// The system cannot accept.
    fn accept_waiting(&mut self) -> io::Result<Option<Accepted<Self::Io>>>;
}

/// A new connection.
#[derive(Debug)]
pub struct Accepted<IO> {
    /// Its bytes.
    pub io: IO,
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
}

impl Accept for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Accepted<TcpStream>> {
        let (io, peer) = TcpListener::accept(self).await?;
        accepted(io, peer)
    }

    fn accept_waiting(&mut self) -> io::Result<Option<Accepted<TcpStream>>> {
        // This asks the system and not tokio, which cannot tell that the queue
        // is empty: its knowledge is from the last poll of all sockets, and
        // after many operations in a row it reports nothing, to let other tasks
        // run.
        let (socket, peer) = match SockRef::from(&*self).accept() {
            Ok(connection) => connection,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        socket.set_nonblocking(true)?;
        let peer = peer.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        accepted(TcpStream::from_std(socket.into())?, peer).map(Some)
    }
}

/// Sets the options of a new connection.
fn accepted(io: TcpStream, peer: SocketAddr) -> io::Result<Accepted<TcpStream>> {
    // A response is written as a whole: waiting for more bytes (Nagle) would
    // only delay it.
    io.set_nodelay(true)?;
    let local = io.local_addr()?;
    Ok(Accepted { io, peer, local })
}

/// The sockets of one listener.
#[derive(Debug)]
pub struct Sockets {
    /// The address that they are bound to, with the port that the system chose
    /// for port 0.
    pub local: SocketAddr,
    /// At least one for each worker.
    pub sockets: Vec<std::net::TcpListener>,
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

/// Binds `count` sockets to one address. With port 0, all are bound to the same
/// free port.
///
/// # Errors
/// The system refuses the address, or another process already listens on it.
/// SO_REUSEPORT alone would let that pass, and each process would get a part of
/// the connections.
pub fn bind(address: SocketAddr, count: usize, dual_stack: DualStack) -> io::Result<Sockets> {
    // Without SO_REUSEPORT, to find out whether another process listens there.
    drop(socket(address, Reuse::Address, dual_stack)?);
    let first = socket(address, Reuse::Port, dual_stack)?;
    let local = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(socket(local, Reuse::Port, dual_stack)?);
    }
    Ok(Sockets { local, sockets })
}

/// The part of an address that a socket may share with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reuse {
    /// The address of closed connections only (SO_REUSEADDR).
    Address,
    /// The port with other sockets, too (SO_REUSEPORT).
    Port,
}

/// A listening socket in non-blocking mode.
fn socket(
    address: SocketAddr,
    reuse: Reuse,
    dual_stack: DualStack,
) -> io::Result<std::net::TcpListener> {
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
    socket.set_reuse_port(reuse == Reuse::Port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
