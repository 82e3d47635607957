//! Listening sockets: one for each worker on the same address (SO_REUSEPORT), so that the kernel distributes connections
//! and no worker wakes another.

use std::{future::Future, io, net::SocketAddr};

use socket2::{Domain, Protocol, SockRef, Type};
use tokio::net::{TcpListener, TcpStream};

use super::Socket;

/// Connections that the kernel completes before they are accepted, at most `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

/// A source of connections: a listening socket, or a script in tests.
pub trait Accept: Send + 'static {
    /// The bytes of a connection.
    type Io: Socket;

    /// Waits for the next connection. Cancel safe.
    ///
    /// # Errors
    /// Those of the system.
    fn accept(&mut self) -> impl Future<Output = io::Result<Accepted<Self::Io>>> + Send;

    /// Takes a connection that the kernel has already completed; `None` if there is none.
    ///
    /// # Errors
    /// Those of the system.
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
        // This asks the system and not tokio, which cannot tell that the queue is empty: its knowledge is from the last
        // poll of all sockets, and after many operations in a row it reports nothing, to let other tasks run.
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

fn accepted(io: TcpStream, peer: SocketAddr) -> io::Result<Accepted<TcpStream>> {
    // A response is written as a whole: waiting for more bytes (Nagle) would only delay it.
    io.set_nodelay(true)?;
    let local = io.local_addr()?;
    Ok(Accepted { io, peer, local })
}

/// Binds `count` sockets to one address, with port 0 all to the same free port; gives the address with its port.
/// `only_v6`: an IPv6 address takes no IPv4 connections, as another listener has an IPv4 address of the same port.
///
/// # Errors
/// Those of the system; also when another process listens there already, which SO_REUSEPORT alone would let pass in
/// silence, each process getting a part of the connections.
pub fn bind(
    address: SocketAddr,
    count: usize,
    only_v6: bool,
) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    drop(socket(address, false, only_v6)?);
    let first = socket(address, true, only_v6)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(socket(address, true, only_v6)?);
    }
    Ok((address, sockets))
}

fn socket(
    address: SocketAddr,
    is_shared: bool,
    only_v6: bool,
) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() && only_v6 {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier process that linger in TIME_WAIT do not keep the address.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
