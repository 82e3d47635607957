//! Fetches a set of keys by its URL.
//!
//! Runs on the control thread, so that a slow issuer delays no request.
//! Everything about it is bounded: the time, the head, the body and the number
//! of keys. A redirect is not followed, as the issuer is the host that the
//! configuration names.

use std::{net::SocketAddr, pin::pin, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::{
    policy::{KeySet, KeySetFault, KeyUrl, ServerAddress},
    tls::ClientTls,
};

/// The longest time of a fetch, from the name to the last byte.
pub(super) const LONGEST: Duration = Duration::from_secs(5);
/// The longest wait for a connection to one of several addresses.
const CONNECT: Duration = Duration::from_secs(2);
/// Bytes of the longest head of a response.
const MOST_HEAD: usize = 16 * 1024;
/// Bytes of the largest set.
const MOST_BODY: usize = 256 * 1024;

/// The age after which a set is fetched again if the issuer names none.
const USUAL_AGE: Duration = Duration::from_secs(10 * 60);
/// The shortest and the longest age that an issuer may name. A key that it
/// takes out is refused a day later at the latest.
const SHORTEST_AGE: Duration = Duration::from_secs(60);
const LONGEST_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A set of keys, and how long it is good for.
#[derive(Debug)]
pub(super) struct FetchedKeys {
    pub(super) set: KeySet,
    /// When it is to be fetched again, from now.
    pub(super) fresh_for: Duration,
}

/// Why a set of keys was not fetched. The texts complete "cannot be fetched:".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum FetchFault {
    #[error("the name of its host cannot be resolved")]
    Name,
    #[error("no connection can be made")]
    Connect,
    #[error("TLS failed: {0}")]
    Tls(&'static str),
    #[error("no complete answer within 5s")]
    Timeout,
    #[error("the connection broke, or the answer is not HTTP")]
    Broken,
    #[error("the answer has status {}", .0.as_u16())]
    Status(StatusCode),
    #[error("the answer has more than 256 KiB")]
    Large,
    #[error("the answer {0}")]
    NoSet(#[from] KeySetFault),
}

/// Fetches the set once. `tls` is there for a URL with `https`.
///
/// # Errors
/// There is no answer in time, or it is no set of keys.
pub(super) async fn fetch(
    url: &KeyUrl,
    tls: Option<&ClientTls>,
) -> Result<FetchedKeys, FetchFault> {
    let fetching = async {
        let stream = connect(url).await?;
        match (&url.server.secure_as, tls) {
            (Some(name), Some(tls)) => {
                let stream = tls.connect(name.clone(), stream).await;
                ask(stream.map_err(FetchFault::Tls)?, url).await
            }
            _ => ask(stream, url).await,
        }
    };
    let fetched = timeout(LONGEST, fetching).await;
    fetched.unwrap_or(Err(FetchFault::Timeout))
}

/// Connects to the first address that accepts.
async fn connect(url: &KeyUrl) -> Result<TcpStream, FetchFault> {
    // The configuration has no other URL of keys than one of a host.
    let ServerAddress::Tcp { host, port } = &url.server.address else {
        return Err(FetchFault::Name);
    };
    let found = lookup_host((&**host, *port)).await;
    let found: Vec<SocketAddr> = found.map_err(|_| FetchFault::Name)?.collect();
    for address in found {
        if let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(address)).await {
            return Ok(stream);
        }
    }
    Err(FetchFault::Connect)
}

/// Asks for the set by this connection, which is closed afterwards.
async fn ask<IO>(io: IO, url: &KeyUrl) -> Result<FetchedKeys, FetchFault>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let request = Request::get(&*url.target)
        .header(header::HOST, url.server.authority())
        .header(
            header::USER_AGENT,
            concat!("tidegate/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchFault::Broken)?;
    let (mut requests, connection) = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|_| FetchFault::Broken)?;
    let mut answer = pin!(async move {
        let response = requests.send_request(request).await;
        let (head, body) = response.map_err(|_| FetchFault::Broken)?.into_parts();
        if head.status != StatusCode::OK {
            return Err(FetchFault::Status(head.status));
        }
        let body = Limited::new(body, MOST_BODY).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => FetchFault::Large,
            false => FetchFault::Broken,
        })?;
        Ok(FetchedKeys {
            set: KeySet::from_jwks(&body.to_bytes())?,
            fresh_for: fresh_for(&head.headers),
        })
    });
    // The connection has to be polled for the answer to arrive. It may end as
    // soon as it has passed the answer on.
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

/// How long a set is good for, as `max-age` of `Cache-Control` says (RFC 9111,
/// 5.2.2.1), within bounds. A set that is not to be stored is fetched again as
/// soon as the bounds allow.
fn fresh_for(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(header::CACHE_CONTROL).into_iter();
    let directives = lines.filter_map(|line| line.to_str().ok());
    let directives = directives.flat_map(|line| line.split(',')).map(str::trim);
    let mut age = None;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return SHORTEST_AGE;
        }
        if name.eq_ignore_ascii_case("max-age") && age.is_none() {
            age = value
                .trim_matches('"')
                .parse()
                .ok()
                .map(Duration::from_secs);
        }
    }
    age.unwrap_or(USUAL_AGE).clamp(SHORTEST_AGE, LONGEST_AGE)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::Instant,
    };

    use super::*;
    use crate::policy::{UpstreamServer, UpstreamTls};

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_does_not_complete_its_answer_is_left_after_five_seconds() {
        for begun in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"keys"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let answering = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                // An answer before the question would be a broken connection.
                stream.read_u8().await.unwrap();
                stream.write_all(begun.as_bytes()).await.unwrap();
                while stream.read_u8().await.is_ok() {}
            };
            let url = KeyUrl {
                server: UpstreamServer {
                    url: format!("http://{address}").into(),
                    address: ServerAddress::Tcp {
                        host: "127.0.0.1".into(),
                        port: address.port(),
                    },
                    secure_as: None,
                    weight: 1,
                    tier: 0,
                },
                target: "/keys".into(),
                tls: UpstreamTls::default(),
            };
            let since = Instant::now();
            let (fetched, ()) = tokio::join!(fetch(&url, None), answering);
            assert_eq!(fetched.unwrap_err(), FetchFault::Timeout);
            assert_eq!(since.elapsed(), LONGEST);
        }
    }

    #[test]
    fn the_issuer_says_how_long_a_set_is_good_for_within_bounds() {
        for (line, seconds) in [
            ("", 600),
            ("public", 600),
            ("max-age=x", 600),
            ("max-age=-1", 600),
            ("max-age=3600", 3600),
            ("public, MAX-AGE=\"120\", must-revalidate", 120),
            ("max-age=0", 60),
            ("max-age=99999999999", 86400),
            ("max-age=3600, no-cache", 60),
            ("no-store", 60),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, line.parse().unwrap());
            assert_eq!(fresh_for(&headers), Duration::from_secs(seconds), "{line}");
        }
    }
}
