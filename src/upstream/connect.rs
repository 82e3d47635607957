//! Making a connection: TCP to one of the server's addresses, then the TLS
//! handshake; or to the server's socket.
//!
//! With several addresses the attempts overlap, as in "Happy Eyeballs" (RFC
//! 8305): an address that has not answered after 250 ms no longer keeps the next
//! one waiting, and the first connection wins. Attempts begin at a different
//! address each time, so that a name with several addresses spreads its
//! connections over them.
//!
//! Failures are told apart by whose fault they are. A lack of ports, file
//! descriptors or memory is the gateway's own ([`ConnectFailure::Local`]) and
//! does not count against the server.
//!
//! Nothing here is bounded in time. The caller applies `connect_timeout` to all
//! of it, TCP and TLS together.

use std::{
    io, net::SocketAddr, num::NonZeroU16, os::unix::fs::FileTypeExt, path::Path, time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    address::Addresses,
    proxy_protocol::{ClientEnds, header},
    server::Server,
    stream::Stream,
};
use crate::{call::Exchange, error::ConnectFailure, policy::Protocol};

/// The time after which a silent address no longer delays the attempt at the
/// next one (RFC 8305, 5).
///
/// Also the upper bound of the delay that a dead address costs, as long as
/// another one accepts.
const HEAD_START: Duration = Duration::from_millis(250);
/// `EMFILE` and `ENFILE`, for which [`io::ErrorKind`] has no stable name.
const TOO_MANY_FILES: [i32; 2] = [24, 23];

impl Server {
    /// Makes a connection for a request, including the TLS handshake if the
    /// server speaks TLS. Not bounded in time. Cancel safe: dropping the future
    /// closes what it has opened.
    ///
    /// # Errors
    /// No address is known, none accepts a connection, or the handshake failed.
    /// With `protocol = "http2"` it also fails if the server does not agree on
    /// HTTP/2 (RFC 7301).
    pub(super) async fn connect(&self, exchange: &Exchange) -> Result<Stream, ConnectFailure> {
        self.open(None, Some(exchange)).await
    }

    /// Makes a connection for the gateway itself, to another port of the same
    /// address, if there is one; a socket has none. Otherwise as
    /// [`connect`](Self::connect).
    pub(super) async fn connect_to(
        &self,
        port: Option<NonZeroU16>,
    ) -> Result<Stream, ConnectFailure> {
        self.open(port, None).await
    }

    /// Makes a connection, and sends the header that it begins with where
    /// servers are told the client. `exchange` is the request that it is made
    /// for; `None` for a connection of the gateway itself.
    async fn open(
        &self,
        port: Option<NonZeroU16>,
        exchange: Option<&Exchange>,
    ) -> Result<Stream, ConnectFailure> {
        let header = self.announces.then(|| header(exchange.map(ClientEnds::of)));
        if let Some(path) = self.addresses.socket() {
            let mut stream = open_socket(path).await?;
            announce(&mut stream, header).await?;
            return Ok(Stream::Unix(stream));
        }
        let mut stream = open_any(&self.addresses, port).await?;
        announce(&mut stream, header).await?;
        let Some(secure) = &self.secure else {
            return Ok(Stream::Plain(stream));
        };
        let stream = secure
            .tls
            .connect(secure.name.clone(), stream)
            .await
            .map_err(ConnectFailure::Tls)?;
        let stream = Stream::Secure(Box::new(stream));
        if self.protocol == Protocol::Http2 && !stream.is_http2() {
            return Err(ConnectFailure::Tls("it does not agree on HTTP/2 (ALPN)"));
        }
        Ok(stream)
    }
}

/// Sends the header that a connection begins with, if it has one.
///
/// # Errors
/// The server has closed the connection already.
async fn announce(
    stream: &mut (impl AsyncWrite + Unpin),
    header: Option<Vec<u8>>,
) -> Result<(), ConnectFailure> {
    match header {
        Some(header) => stream
            .write_all(&header)
            .await
            .map_err(|error| cause(&error)),
        None => Ok(()),
    }
}

/// Opens a connection to the first address that accepts one, at its own port or
/// at this one. Fails as the last address did, or with [`ConnectFailure::Name`] if no address is known.
///
/// All attempts run at the same time from their beginning on; the rest is
/// closed when the first succeeds. A failed attempt starts the next one at
/// once, without waiting for the head start. At most as many sockets are open
/// as there are addresses.
async fn open_any(
    addresses: &Addresses,
    port: Option<NonZeroU16>,
) -> Result<TcpStream, ConnectFailure> {
    let (known, first) = addresses.rotated();
    let open = |mut address: SocketAddr| {
        if let Some(port) = port {
            address.set_port(port.get());
        }
        open(address)
    };
    if let [only] = known.as_slice() {
        return open(*only).await.map_err(|error| cause(&error));
    }
    let mut untried = known
        .iter()
        .copied()
        .cycle()
        .skip(first)
        .take(known.len())
        .peekable();
    let (mut attempts, mut failure) = (FuturesUnordered::new(), ConnectFailure::Name);
    loop {
        attempts.extend(untried.next().map(open));
        let next = attempts.next();
        let ended = match untried.peek() {
            Some(_) => timeout(HEAD_START, next).await,
            None => Ok(next.await),
        };
        match ended {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => failure = cause(&error),
            Ok(None) => return Err(failure),
            // The head start is over, and the next address is tried beside this
            // one.
            Err(_) => {}
        }
    }
}

/// Opens a TCP connection. Bounded by the kernel alone, to about two minutes.
async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A request is written in one piece, so that waiting for more to send along
    // would only delay it.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens a connection to the socket at `path`.
///
/// # Errors
/// There is no socket, it may not be used, nobody accepts, or so many wait
/// already that the system takes no other.
async fn open_socket(path: &Path) -> Result<UnixStream, ConnectFailure> {
    let error = match UnixStream::connect(path).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    Err(match error.kind() {
        io::ErrorKind::NotFound => ConnectFailure::Socket("there is no such file"),
        io::ErrorKind::PermissionDenied => ConnectFailure::Socket("permission denied"),
        // The system refuses a file of another kind as it refuses a socket at
        // which nobody listens.
        io::ErrorKind::ConnectionRefused if !is_socket(path).await => {
            ConnectFailure::Socket("the file is not a socket")
        }
        _ => cause(&error),
    })
}

/// Whether the file at `path` is a socket, or cannot be looked at.
async fn is_socket(path: &Path) -> bool {
    let path = path.to_owned();
    let metadata = spawn_blocking(move || std::fs::metadata(path)).await;
    match metadata {
        Ok(Ok(metadata)) => metadata.file_type().is_socket(),
        _ => true,
    }
}

/// The reason of a failed connection, by whose fault it is.
///
/// A reset, an unreachable network and every other error of the way count as
/// refused: each of them says that the server cannot be reached.
fn cause(error: &io::Error) -> ConnectFailure {
    let has_no_file = |code| TOO_MANY_FILES.contains(&code);
    match error.kind() {
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse | io::ErrorKind::OutOfMemory => {
            ConnectFailure::Local
        }
        io::ErrorKind::TimedOut => ConnectFailure::Timeout,
        _ if error.raw_os_error().is_some_and(has_no_file) => ConnectFailure::Local,
        _ => ConnectFailure::Refused,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// An address that refuses connections while the socket lives.
    fn closed() -> (socket2::Socket, SocketAddr) {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[tokio::test]
    async fn of_several_addresses_the_first_that_answers_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (open, (_one, first), (_two, second)) =
            (listener.local_addr().unwrap(), closed(), closed());
        let addresses = Addresses::known(vec![first, second, open]);
        for _ in 0..3 {
            assert_eq!(
                open_any(&addresses, None)
                    .await
                    .unwrap()
                    .peer_addr()
                    .unwrap(),
                open
            );
        }
    }

    #[tokio::test]
    async fn a_server_none_of_whose_addresses_answers_refuses() {
        let ((_one, first), (_two, second)) = (closed(), closed());
        let refused = open_any(&Addresses::known(vec![first, second]), None).await;
        assert_eq!(refused.unwrap_err(), ConnectFailure::Refused);
        assert_eq!(
            open_any(&Addresses::known(Vec::new()), None)
                .await
                .unwrap_err(),
            ConnectFailure::Name
        );
    }

    #[tokio::test]
    async fn a_silent_address_keeps_the_next_one_waiting_for_a_moment_only() {
        // With a full backlog it neither accepts nor refuses.
        let (socket, silent) = closed();
        socket.listen(0).unwrap();
        let _full: Vec<_> = (0..2)
            .map(|_| std::net::TcpStream::connect_timeout(&silent, HEAD_START))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let addresses = Addresses::known(vec![silent, open]);
        for _ in 0..2 {
            let taken = timeout(HEAD_START * 4, open_any(&addresses, None))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(taken.peer_addr().unwrap(), open);
        }
    }
}
