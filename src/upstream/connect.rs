//! Making a connection: every address of the server in turn, within one bound.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{net::TcpStream, time::timeout};

use super::{address::Addresses, server::Security, stream::Stream};
use crate::{error::ConnectFailure, policy::Protocol};

/// An address that is silent for so long does not keep the next one waiting (RFC 8305, 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first address that answers, and shakes hands where TLS is spoken.
pub(super) async fn connect(
    addresses: &Addresses,
    secure: Option<&Security>,
    protocol: Protocol,
) -> Result<Stream, ConnectFailure> {
    let stream = reach(addresses).await?;
    match secure {
        None => Ok(Stream::Plain(stream)),
        Some(Security { tls, name }) => {
            let stream = tls
                .connect(name.clone(), stream)
                .await
                .map_err(ConnectFailure::Tls)?;
            let stream = Stream::Secure(Box::new(stream));
            if protocol == Protocol::Http2 && !stream.is_http2() {
                return Err(ConnectFailure::Tls("it does not agree on HTTP/2 (ALPN)"));
            }
            Ok(stream)
        }
    }
}

async fn reach(addresses: &Addresses) -> Result<TcpStream, ConnectFailure> {
    let (known, first) = addresses.in_turn();
    if let [only] = known.as_slice() {
        return open(*only).await.map_err(|error| cause(&error));
    }
    let mut waiting = known
        .iter()
        .copied()
        .cycle()
        .skip(first)
        .take(known.len())
        .peekable();
    let (mut tries, mut failure) = (FuturesUnordered::new(), ConnectFailure::Name);
    loop {
        tries.extend(waiting.next().map(open));
        let next = tries.next();
        let tried = match waiting.peek() {
            Some(_) => timeout(HEAD_START, next).await,
            None => Ok(next.await),
        };
        match tried {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => failure = cause(&error),
            Ok(None) => return Err(failure),
            // Its head start is over.
            Err(_) => {}
        }
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A request is written whole: waiting for more to send along would only delay it.
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn cause(error: &io::Error) -> ConnectFailure {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse | io::ErrorKind::OutOfMemory => {
            ConnectFailure::Local
        }
        io::ErrorKind::TimedOut => ConnectFailure::Timeout,
        // EMFILE and ENFILE have no stable kind.
        _ if matches!(error.raw_os_error(), Some(23 | 24)) => ConnectFailure::Local,
        _ => ConnectFailure::Refused,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// An address where nobody listens, while the socket lives.
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
            assert_eq!(reach(&addresses).await.unwrap().peer_addr().unwrap(), open);
        }
    }

    #[tokio::test]
    async fn a_server_none_of_whose_addresses_answers_refuses() {
        let ((_one, first), (_two, second)) = (closed(), closed());
        let refused = reach(&Addresses::known(vec![first, second])).await;
        assert_eq!(refused.unwrap_err(), ConnectFailure::Refused);
        assert_eq!(
            reach(&Addresses::known(Vec::new())).await.unwrap_err(),
            ConnectFailure::Name
        );
    }

    #[tokio::test]
    async fn a_silent_address_keeps_the_next_one_waiting_for_a_moment_only() {
        // Its backlog is full: it neither takes nor refuses.
        let (socket, silent) = closed();
        socket.listen(0).unwrap();
        let _full: Vec<_> = (0..2)
            .map(|_| std::net::TcpStream::connect_timeout(&silent, HEAD_START))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let addresses = Addresses::known(vec![silent, open]);
        for _ in 0..2 {
            let taken = timeout(HEAD_START * 4, reach(&addresses))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(taken.peer_addr().unwrap(), open);
        }
    }
}
