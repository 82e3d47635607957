//! A call to the admin listener of a running gateway.
//!
//! The command line is no long-lived client, so each call has a connection and
//! a runtime of its own. Every wait has a bound, and so has the response.
//!
//! The client is that of hyper over plain TCP. The admin listener has no TLS,
//! so that a token crosses the network in the clear unless the address is that
//! of this machine.
//!
//! # Bounds
//!
//! A connection takes at most 5 seconds, the exchange after it 35 seconds, and
//! the body 64 MiB. A look-up of the host's name counts as part of the
//! connection.

use std::{fmt, net::SocketAddr, time::Duration};

use http::{Request, StatusCode, Uri, header, uri::Authority};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

/// Longest wait for a connection: the gateway is near.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for a response: a little more than the admin listener has for
/// one.
///
/// The listener gives up after 30 seconds by itself, and its response then says
/// more than a timeout here.
const ANSWER: Duration = Duration::from_secs(35);
/// Most bytes of a response: a report on 10,000 routes has a megabyte.
const LONGEST: usize = 64 << 20;
/// The port of a URL without one.
const HTTP: u16 = 80;

/// The address of an admin listener: `host:port`, with IPv6 in brackets.
///
/// The host is a name or an address and is looked up when the call is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address(String);

impl Address {
    /// Parses `http://host:port` or `host:port`.
    ///
    /// # Errors
    /// The text says what would be right.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let expected = "write a URL such as http://127.0.0.1:9901";
        let (scheme, authority) = text.split_once("://").unwrap_or(("http", text));
        if scheme != "http" {
            return Err(format!("the admin listener speaks plain HTTP; {expected}"));
        }
        if let Ok(uri) = authority.trim_end_matches('/').parse::<Uri>()
            && matches!(uri.path(), "" | "/")
            && let Some(authority) = uri.authority()
            && let Some(address) = host_and_port(authority)
        {
            return Ok(Self(address));
        }
        Err(expected.to_owned())
    }

    /// The address to connect to for a listener that is bound to `bind`:
    /// loopback for one that is bound to every address.
    ///
    /// `bind` must have a port other than 0.
    pub(super) fn of(bind: SocketAddr) -> Self {
        let ip = match bind {
            SocketAddr::V4(bind) if bind.ip().is_unspecified() => {
                std::net::Ipv4Addr::LOCALHOST.into()
            }
            SocketAddr::V6(bind) if bind.ip().is_unspecified() => {
                std::net::Ipv6Addr::LOCALHOST.into()
            }
            bind => bind.ip(),
        };
        Self(SocketAddr::new(ip, bind.port()).to_string())
    }
}

/// Parses `host:port`; `None` with a user in front or anything behind.
///
/// Also `None` for a port that is no number up to 65535.
fn host_and_port(authority: &Authority) -> Option<String> {
    let host = authority.host();
    let port = match authority.as_str().strip_prefix(host)? {
        "" => HTTP,
        port => port.strip_prefix(':')?.parse().ok()?,
    };
    Some(format!("{host}:{port}"))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// Why there is no response. The texts are parts of sentences.
///
/// The variants lead to different advice: another address for the first, and
/// none for the second.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Nothing listens there.
    Unreachable(String),
    /// Something listens, but the call failed.
    Broken(String),
}

impl Unanswered {
    /// The failure of a call, for its reason.
    fn broken(why: impl fmt::Display) -> Self {
        Self::Broken(why.to_string())
    }
}

/// Sends `POST path`, with `token` as a bearer token (RFC 6750), and returns
/// status and JSON of the response. A body that is not JSON becomes `null`.
/// Blocks.
///
/// Each call starts a runtime of its own and ends it. The status is that of the
/// response, whatever it is: an error status is no error here.
///
/// # Errors
/// No response was received.
pub(super) fn post(
    to: &Address,
    path: &str,
    token: Option<&str>,
) -> Result<(StatusCode, Value), Unanswered> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Unanswered::broken)?;
    let answer = runtime.block_on(call(to, path, token));
    // A lookup that hangs must not keep the command from ending.
    runtime.shutdown_background();
    answer
}

/// Connects, and exchanges the request for its response.
///
/// # Errors
/// No response was received.
async fn call(
    to: &Address,
    path: &str,
    token: Option<&str>,
) -> Result<(StatusCode, Value), Unanswered> {
    let stream = match timeout(CONNECT, TcpStream::connect(&to.0)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Unanswered::Unreachable(error.to_string())),
        Err(_) => {
            let why = format!("no connection within {CONNECT:?}");
            return Err(Unanswered::Unreachable(why));
        }
    };
    let request = request(to, path, token).map_err(Unanswered::broken)?;
    match timeout(ANSWER, exchange(stream, request)).await {
        Ok(response) => response.map_err(Unanswered::broken),
        Err(_) => Err(Unanswered::broken(format_args!(
            "no answer within {ANSWER:?}"
        ))),
    }
}

/// The request, without a body.
fn request(to: &Address, path: &str, token: Option<&str>) -> http::Result<Request<Empty<Bytes>>> {
    let request = Request::post(path).header(header::HOST, &to.0);
    let request = match token {
        Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    };
    request.body(Empty::new())
}

/// Sends the request and reads the whole response.
///
/// The future has no timeout of its own; `post` applies one.
///
/// # Errors
/// The connection broke, or the response is not HTTP or too long.
async fn exchange(
    stream: TcpStream,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, Value), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST)
            .collect()
            .await?
            .to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    };
    // The connection has to be driven while the answer is waited for, and ends
    // with it.
    tokio::select! {
        answer = answer => answer,
        Err(error) = connection => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_a_host_and_a_port() {
        let read = |text| Address::parse(text).map(|address| address.to_string());
        for (text, expected) in [
            ("http://127.0.0.1:9901", "http://127.0.0.1:9901"),
            ("http://localhost:9901/", "http://localhost:9901"),
            ("localhost:9901", "http://localhost:9901"),
            ("http://gate.example", "http://gate.example:80"),
            ("[::1]:9901", "http://[::1]:9901"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected));
        }
        for text in [
            "https://localhost:9901",
            "",
            "http://",
            "http://a/b",
            "http://a:x",
            "http://u@a",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_called_at_loopback() {
        for (bind, expected) in [
            ("0.0.0.0:9901", "http://127.0.0.1:9901"),
            ("[::]:9901", "http://[::1]:9901"),
            ("10.0.0.1:9901", "http://10.0.0.1:9901"),
        ] {
            assert_eq!(Address::of(bind.parse().unwrap()).to_string(), expected);
        }
    }
}
