//! Connections as they come from the kernel: taken from the queue of a socket,
//! and closed at once or made ready to be served.
//!
//! A connection costs as little as possible before it is known that it is
//! served: a flood of those that are not is answered by three calls of the
//! system for each. Accepting is therefore apart from all else, and done without
//! tokio's `TcpListener`, which registers each connection with the poll of its
//! runtime first.
//!
//! Sockets in the file system are accepted and served by the same types (see
//! `unix`).

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::SockRef;
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::TcpStream,
};

use super::Socket;
use crate::message::UNIX_PEER;

/// A source of connections: a listening socket, or a script in tests.
///
/// The loop calls `accept` until the listener drains, and then `accept_waiting`
/// until the queue is empty, within a bound. Of a connection that it does not
/// close at once it has `set_up` make an [`Accepted`].
pub trait Accept: Send + 'static {
    /// A connection as the system hands it over. Closed when it is dropped.
    type Arrived: Send;

    /// The bytes of a connection.
    ///
    /// With it, tests serve a pipe in memory by the same code.
    type Io: Socket;

    /// Waits for the next connection, and its other end. Cancel safe.
    ///
    /// # Errors
    /// Those of the system. Some concern one connection that is already gone,
    /// and some all of them, such as a lack of file descriptors.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Arrived, SocketAddr)>> + Send;

    /// Takes a connection that the kernel has already completed; `None` if
    /// there is none.
    ///
    /// Never waits, and does not depend on the readiness that a runtime has
    /// noted.
    ///
    /// # Errors
    /// Those of the system.
    fn accept_waiting(&mut self) -> io::Result<Option<(Self::Arrived, SocketAddr)>>;

    /// Makes a connection ready to be served.
    ///
    /// # Errors
    /// Those of the system, with which the connection is gone.
    fn set_up(arrived: Self::Arrived, peer: SocketAddr) -> io::Result<Accepted<Self::Io>>;

    /// Closes a connection at once: the peer sees a reset, and nothing is left
    /// of it in the kernel.
    fn reject(arrived: Self::Arrived) {
        drop(arrived);
    }
}

/// A new connection, of which nothing was read.
#[derive(Debug)]
pub struct Accepted<IO> {
    /// Its bytes.
    pub io: IO,
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
}

impl Accept for AsyncFd<TcpListener> {
    type Arrived = OwnedFd;
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(OwnedFd, SocketAddr)> {
        self.async_io(Interest::READABLE, accept_from).await
    }

    fn accept_waiting(&mut self) -> io::Result<Option<(OwnedFd, SocketAddr)>> {
        // This asks the system and not tokio, which cannot tell that the queue
        // is empty: its knowledge is from the last poll of all sockets, and
        // after many operations in a row it reports nothing, to let other tasks
        // run.
        match accept_from(self.get_ref()) {
            Ok(arrived) => Ok(Some(arrived)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn set_up(arrived: OwnedFd, peer: SocketAddr) -> io::Result<Accepted<TcpStream>> {
        let io = TcpStream::from_std(arrived.into())?;
        if peer == UNIX_PEER {
            let local = UNIX_PEER;
            return Ok(Accepted { io, peer, local });
        }
        // A response is written as a whole: waiting for more bytes (Nagle) would
        // only delay it.
        io.set_nodelay(true)?;
        let local = io.local_addr()?;
        Ok(Accepted { io, peer, local })
    }

    fn reject(arrived: OwnedFd) {
        // A failure leaves an ordinary close.
        let _ = SockRef::from(&arrived).set_linger(Some(Duration::ZERO));
    }
}

/// A listening socket, which does not block, on the runtime of this thread.
///
/// # Errors
/// Those of the system.
#[expect(
    deprecated,
    reason = "the bound that it lacks is fulfilled, as the socket owns its descriptor; what replaces it is unsafe"
)]
pub(super) fn listening(socket: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// Takes a connection from the queue of a socket. It does not block.
fn accept_from(socket: &TcpListener) -> io::Result<(OwnedFd, SocketAddr)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (arrived, peer) = acceptfrom_with(socket, flags)?;
    // The other end of a socket in the file system has no address.
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    Ok((arrived, peer.unwrap_or(UNIX_PEER)))
}
