//! A call to the admin listener of a running gateway.
//!
//! The command line is no long-lived client, so each call has a connection and
//! a runtime of its own. Every wait has a bound, and so has the response.
//!
//! The client speaks plain HTTP. The admin listener has no TLS, so that a token
//! crosses the network in the clear unless the address is that of this machine.

use std::{fmt, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use serde_json::Value;

use crate::http_client::{ClientBounds, ClientFault, HttpClient, HttpServer};

/// Bounds of a call: the gateway is near.
///
/// The listener gives up after 30 seconds by itself, and its response then says
/// more than a timeout here. A report on 10,000 routes has a megabyte.
const BOUNDS: ClientBounds = ClientBounds {
    connect: Duration::from_secs(5),
    total: Duration::from_secs(35),
    body: 64 << 20,
};

/// The address of an admin listener.
///
/// The host is a name or an address and is looked up when the call is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    server: HttpServer,
    /// Its URL, without a path.
    url: String,
}

impl Address {
    /// Parses `http://host:port` or `host:port`; the port may be left out.
    ///
    /// # Errors
    /// The text says what would be right.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let expected = "write a URL such as http://127.0.0.1:9901";
        let (scheme, authority) = text.split_once("://").unwrap_or(("http", text));
        if scheme != "http" {
            return Err(format!("the admin listener speaks plain HTTP; {expected}"));
        }
        let authority = authority.trim_end_matches('/');
        let url = format!("http://{authority}");
        let parsed = url.parse::<Uri>().ok().filter(|parsed| {
            // Nothing is behind it.
            parsed.authority().is_some_and(|all| all == authority)
        });
        let server = parsed.and_then(|parsed| HttpServer::of_url(&parsed));
        let server = server.ok_or(expected)?;
        Ok(Self { server, url })
    }

    /// The address to connect to for a listener that is bound to `bind`:
    /// loopback for one that is bound to every address.
    ///
    /// `bind` must have a port other than 0.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(super) fn of(bind: SocketAddr) -> Result<Self, String> {
        let ip = match bind {
            SocketAddr::V4(bind) if bind.ip().is_unspecified() => {
                std::net::Ipv4Addr::LOCALHOST.into()
            }
            SocketAddr::V6(bind) if bind.ip().is_unspecified() => {
                std::net::Ipv6Addr::LOCALHOST.into()
            }
            bind => bind.ip(),
        };
        Self::parse(&SocketAddr::new(ip, bind.port()).to_string())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
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

impl From<ClientFault> for Unanswered {
    fn from(fault: ClientFault) -> Self {
        match fault.is_before_request() {
            true => Self::Unreachable(fault.to_string()),
            false => Self::Broken(fault.to_string()),
        }
    }
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

/// Sends the request and reads the whole response.
///
/// # Errors
/// No response was received.
async fn call(
    to: &Address,
    path: &str,
    token: Option<&str>,
) -> Result<(StatusCode, Value), Unanswered> {
    let client = HttpClient::new(None, BOUNDS).map_err(Unanswered::broken)?;
    let mut request = Request::post(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Bytes::new()).map_err(Unanswered::broken)?;
    let response = client.send(&to.server, request).await?;
    let body = serde_json::from_slice(response.body());
    Ok((response.status(), body.unwrap_or_default()))
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
            ("http://gate.example", "http://gate.example"),
            ("[::1]:9901", "http://[::1]:9901"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected));
        }
        for text in [
            "https://localhost:9901",
            "",
            "http://",
            "http://a/b",
            "http://a?b",
            "http://a#b",
            "http://a:x",
            "http://a:65536",
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
            let address = Address::of(bind.parse().unwrap()).unwrap();
            assert_eq!(address.to_string(), expected);
        }
    }
}
