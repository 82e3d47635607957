//! Making a connection: every address of the server in turn, within one bound.

use std::{io, net::SocketAddr};

use tokio::net::TcpStream;

use super::{
    address::Addresses,
    server::{Protocol, Security},
    stream::Stream,
};
use crate::error::ConnectFailure;

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
            let stream = tls.connect(name.clone(), stream).await.map_err(ConnectFailure::Tls)?;
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
    let mut failure = ConnectFailure::Name;
    for address in known.iter().cycle().skip(first).take(known.len()) {
        match open(*address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = cause(&error),
        }
    }
    Err(failure)
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
