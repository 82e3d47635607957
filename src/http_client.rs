//! The HTTP client for the few requests that the gateway makes on its own
//! account: for keys of tokens, for certificates, to a collector of spans, to
//! the admin listener of another process.
//!
//! They are made beside the requests that are forwarded, which `upstream`
//! sends: on the control thread, or on a thread of their own. Speed is not the
//! point here, so that one client suffices for all.
//!
//! # Bounds
//!
//! The other end may hang, and it may be a stranger. The wait for a connection
//! is bounded, and so are the time of all, the head and the body. A redirect is
//! not followed: the caller gets it as the response that it is.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, uri::Authority};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    duration,
    policy::{Protocol, ServerAddress, UpstreamServer, UpstreamTls},
    tls::{ClientTls, ServerName},
};

/// Bytes of the longest head of a response: several times that of any service
/// that is asked here.
const MOST_HEAD: usize = 16 * 1024;
/// The name by which services recognise the gateway, unless a request has
/// another one.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION")));

/// Bounds of one request with its response.
#[derive(Debug, Clone, Copy)]
pub struct ClientBounds {
    /// The longest wait for a connection to one of several addresses.
    pub connect: Duration,
    /// The longest time of all, from the name to the last byte.
    pub total: Duration,
    /// Bytes of the longest body of a response.
    pub body: usize,
}

/// Why there is no response. The texts complete a sentence about the server that
/// ends with a colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClientFault {
    /// The host has no address.
    #[error("the name of the server cannot be resolved")]
    Name,
    /// No address accepts a connection; the reason of the last one.
    #[error("no connection can be made ({0})")]
    Connect(io::ErrorKind),
    /// The handshake failed.
    #[error("TLS failed: {0}")]
    Tls(&'static str),
    /// [`ClientBounds::total`] is over.
    #[error("no complete response within {}", duration::text(*.0))]
    Timeout(Duration),
    /// The connection broke, or something else than HTTP came by it.
    #[error("the connection broke, or the response is not HTTP")]
    Broken,
    /// The body is longer than [`ClientBounds::body`].
    #[error("the response has more than {} KiB", .0 / 1024)]
    Large(usize),
}

impl ClientFault {
    /// Whether the server cannot have seen the request.
    pub fn is_before_request(self) -> bool {
        matches!(self, Self::Name | Self::Connect(_) | Self::Tls(_))
    }
}

/// A server, and how it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpServer {
    /// A name, or an address without brackets.
    host: Arc<str>,
    port: u16,
    /// The name that its certificate must be valid for; `None` for plain HTTP.
    secure_as: Option<ServerName<'static>>,
    /// The value of `Host`.
    authority: HeaderValue,
}

impl HttpServer {
    /// The server that a configuration names; `None` for one that is not at a
    /// TCP port of a host.
    pub fn new(server: &UpstreamServer) -> Option<Self> {
        let ServerAddress::Tcp { host, port } = &server.address else {
            return None;
        };
        Some(Self {
            host: Arc::clone(host),
            port: *port,
            secure_as: server.secure_as.clone(),
            authority: HeaderValue::from_str(server.authority()).ok()?,
        })
    }

    /// The server of a URL, which a stranger may have chosen; `None` without a
    /// host, and for another scheme than `http` and `https`.
    pub fn of_url(url: &Uri) -> Option<Self> {
        let (is_secure, usual) = match url.scheme_str()? {
            "https" => (true, 443),
            "http" => (false, 80),
            _ => return None,
        };
        let authority = url.authority()?;
        let host = authority.host();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let secure_as = is_secure.then(|| ServerName::try_from(host.to_owned()));
        Some(Self {
            host: host.into(),
            port: port(authority, usual)?,
            secure_as: secure_as.transpose().ok()?,
            authority: HeaderValue::from_str(authority.as_str()).ok()?,
        })
    }

    /// Whether TLS is spoken with it.
    pub fn is_secure(&self) -> bool {
        self.secure_as.is_some()
    }
}

/// The port of an authority; `None` if it is no port, or if there is a user.
fn port(authority: &Authority, usual: u16) -> Option<u16> {
    match authority.as_str().strip_prefix(authority.host())? {
        "" => Some(usual),
        port => port.strip_prefix(':')?.parse().ok(),
    }
}

/// Makes requests within bounds, one after the other.
#[derive(Debug)]
pub struct HttpClient {
    bounds: ClientBounds,
    /// `None` if it speaks plain HTTP alone.
    tls: Option<ClientTls>,
    /// Whether a connection is kept from one request to the next.
    keeps: bool,
    /// The connection between two requests, if it is kept.
    idle: Mutex<Option<OpenConnection>>,
}

/// A connection, and the task that moves its bytes.
#[derive(Debug)]
struct OpenConnection {
    to: HttpServer,
    requests: SendRequest<Full<Bytes>>,
    #[expect(dead_code, reason = "guards are held and not looked at")]
    task: AbortOnDropHandle<hyper::Result<()>>,
}

/// A socket, or TLS over one. One type for both, so that the client of hyper is
/// compiled once.
trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for IO {}

impl HttpClient {
    /// A client whose requests have a connection each. `tls` says how servers
    /// with `https` are verified; `None` if there are none.
    ///
    /// Blocks to read the certificates that the system trusts, if `tls` names no
    /// authorities.
    ///
    /// # Errors
    /// TLS cannot be spoken; the text says why.
    pub fn new(tls: Option<&UpstreamTls>, bounds: ClientBounds) -> Result<Self, String> {
        let tls = tls.map(|tls| ClientTls::new(tls, Protocol::Http1));
        Ok(Self {
            bounds,
            tls: tls.transpose()?,
            keeps: false,
            idle: Mutex::default(),
        })
    }

    /// The same, with a connection that is kept from one request to the next,
    /// for a server that is asked often.
    pub fn keeping_alive(mut self) -> Self {
        self.keeps = true;
        self
    }

    /// The longest time of one request.
    pub fn longest(&self) -> Duration {
        self.bounds.total
    }

    /// Sends a request to `server`, and reads the whole response. Of the
    /// request's URL only the path and the query count.
    ///
    /// Cancel safe: dropping the future closes the connection.
    ///
    /// # Errors
    /// There is no response within the bounds. One with a status of an error is
    /// none.
    pub async fn send(
        &self,
        server: &HttpServer,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, ClientFault> {
        let total = self.bounds.total;
        let response = timeout(total, self.exchange(server, request)).await;
        response.unwrap_or(Err(ClientFault::Timeout(total)))
    }

    /// [`send`](Self::send) without a bound on its time.
    async fn exchange(
        &self,
        server: &HttpServer,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, ClientFault> {
        let (mut head, body) = request.into_parts();
        let target = head.uri.path_and_query().cloned();
        head.uri = target.map_or_else(Uri::default, Uri::from);
        head.headers.insert(header::HOST, server.authority.clone());
        if !self.keeps {
            let close = HeaderValue::from_static("close");
            head.headers.insert(header::CONNECTION, close);
        }
        head.headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
        let request = Request::from_parts(head, Full::new(body));
        let mut connection = self.connection(server).await?;
        let response = connection.requests.send_request(request).await;
        let (head, body) = response.map_err(|_| ClientFault::Broken)?.into_parts();
        let body = Limited::new(body, self.bounds.body).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => ClientFault::Large(self.bounds.body),
            false => ClientFault::Broken,
        })?;
        if self.keeps {
            *self.idle.lock() = Some(connection);
        }
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// The connection to this server that was kept, if it is still open, or else
    /// a new one.
    async fn connection(&self, server: &HttpServer) -> Result<OpenConnection, ClientFault> {
        let idle = self.idle.lock().take();
        if let Some(mut idle) = idle.filter(|idle| idle.to == *server)
            && idle.requests.ready().await.is_ok()
        {
            return Ok(idle);
        }
        let stream = self.connect(server).await?;
        let stream: Box<dyn ByteStream> = match (&server.secure_as, &self.tls) {
            (None, _) => Box::new(stream),
            (Some(name), Some(tls)) => {
                let secured = tls.connect(name.clone(), stream).await;
                Box::new(secured.map_err(ClientFault::Tls)?)
            }
            (Some(_), None) => return Err(ClientFault::Tls("it is not spoken here")),
        };
        let begun = http1::Builder::new()
            .max_buf_size(MOST_HEAD)
            .handshake(TokioIo::new(stream));
        let (requests, connection) = begun.await.map_err(|_| ClientFault::Broken)?;
        Ok(OpenConnection {
            to: server.clone(),
            requests,
            task: AbortOnDropHandle::new(tokio::spawn(connection)),
        })
    }

    /// Connects to the first address that accepts.
    async fn connect(&self, server: &HttpServer) -> Result<TcpStream, ClientFault> {
        let found = lookup_host((&*server.host, server.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|_| ClientFault::Name)?.collect();
        let mut fault = ClientFault::Name;
        for address in found {
            fault = match timeout(self.bounds.connect, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => ClientFault::Connect(error.kind()),
                Err(_) => ClientFault::Connect(io::ErrorKind::TimedOut),
            };
        }
        Err(fault)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::{Instant, sleep},
    };

    use super::*;

    const BOUNDS: ClientBounds = ClientBounds {
        connect: Duration::from_secs(2),
        total: Duration::from_secs(5),
        body: 2048,
    };

    /// A listener, and the server at it.
    async fn listener() -> (TcpListener, HttpServer) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, HttpServer::of_url(&url.parse().unwrap()).unwrap())
    }

    fn client() -> HttpClient {
        HttpClient::new(None, BOUNDS).unwrap()
    }

    fn get(target: &str) -> Request<Bytes> {
        Request::get(target).body(Bytes::new()).unwrap()
    }

    /// Takes a connection and reads the head of a request.
    async fn asked(listener: &TcpListener) -> (TcpStream, String) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = head(&mut stream).await;
        (stream, head)
    }

    async fn head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// The outcome of a request of which a server answers these bytes, each
    /// after `pause`.
    async fn outcome(bytes: &[u8], pause: Duration) -> Result<Response<Bytes>, ClientFault> {
        let (listener, server) = listener().await;
        let answering = async {
            let (mut stream, _) = asked(&listener).await;
            for byte in bytes.chunks(if pause.is_zero() { bytes.len() } else { 1 }) {
                sleep(pause).await;
                if stream.write_all(byte).await.is_err() {
                    return;
                }
            }
            // The client closes the connection in the end.
            while stream.read_u8().await.is_ok() {}
        };
        let client = client();
        let (response, ()) = tokio::join!(client.send(&server, get("/")), answering);
        response
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_is_left_when_the_time_is_over() {
        let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
        for bytes in [&b"H"[..], begun] {
            let since = Instant::now();
            let outcome = outcome(bytes, Duration::ZERO).await;
            assert_eq!(outcome.unwrap_err(), ClientFault::Timeout(BOUNDS.total));
            assert_eq!(since.elapsed(), BOUNDS.total);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_sends_a_byte_at_a_time_has_no_more_time() {
        let endless = [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n"[..],
            &[b'x'; 2000],
        ];
        let since = Instant::now();
        let outcome = outcome(&endless.concat(), Duration::from_millis(100)).await;
        assert_eq!(outcome.unwrap_err(), ClientFault::Timeout(BOUNDS.total));
        // The server notices it with its next byte.
        assert!(since.elapsed() <= BOUNDS.total + Duration::from_millis(100));
    }

    #[tokio::test]
    async fn a_response_may_be_as_long_as_the_bounds_and_no_longer() {
        let sized = |body: usize| {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {body}\r\n\r\n");
            [head.into_bytes(), vec![b'x'; body]].concat()
        };
        let whole = outcome(&sized(BOUNDS.body), Duration::ZERO).await.unwrap();
        assert_eq!(whole.body().len(), BOUNDS.body);
        let fault = outcome(&sized(BOUNDS.body + 1), Duration::ZERO).await;
        assert_eq!(fault.unwrap_err(), ClientFault::Large(BOUNDS.body));
        let field = format!(
            "HTTP/1.1 200 OK\r\na: {}\r\n\r\n",
            "x".repeat(2 * MOST_HEAD)
        );
        let fault = outcome(field.as_bytes(), Duration::ZERO).await;
        assert_eq!(fault.unwrap_err(), ClientFault::Broken);
    }

    #[tokio::test]
    async fn a_redirect_is_returned_and_not_followed() {
        let moved = b"HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n";
        let response = outcome(moved, Duration::ZERO).await.unwrap();
        assert_eq!(response.status(), 302);
    }

    #[tokio::test]
    async fn a_connection_is_kept_if_the_client_is_to_keep_it() {
        for keeps in [false, true] {
            let (listener, server) = listener().await;
            let answering = async {
                let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                let (mut stream, first) = asked(&listener).await;
                stream.write_all(ok).await.unwrap();
                let (mut stream, second) = match keeps {
                    true => {
                        let second = head(&mut stream).await;
                        (stream, second)
                    }
                    false => asked(&listener).await,
                };
                stream.write_all(ok).await.unwrap();
                (first, second)
            };
            let client = match keeps {
                true => client().keeping_alive(),
                false => client(),
            };
            let asking = async {
                for target in ["http://elsewhere/a?b=1", "/c"] {
                    client.send(&server, get(target)).await.unwrap();
                }
            };
            let (heads, ()) = tokio::join!(answering, asking);
            assert!(
                heads.0.starts_with("GET /a?b=1 HTTP/1.1\r\n"),
                "{}",
                heads.0
            );
            assert!(heads.1.starts_with("GET /c HTTP/1.1\r\n"), "{}", heads.1);
            let host = format!("host: 127.0.0.1:{}\r\n", server.port);
            for head in [heads.0, heads.1] {
                assert!(head.contains(&host), "{head}");
                assert_eq!(head.contains("connection: close\r\n"), !keeps, "{head}");
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_refuses_connections_is_told_from_one_that_breaks_them() {
        let (closed, server) = listener().await;
        drop(closed);
        let fault = client().send(&server, get("/")).await.unwrap_err();
        assert_eq!(
            fault.to_string(),
            "no connection can be made (connection refused)"
        );
        assert!(fault.is_before_request());
        let fault = outcome(b"SSH-2.0-x\r\n", Duration::ZERO).await.unwrap_err();
        assert_eq!(fault, ClientFault::Broken);
        assert!(!fault.is_before_request());
    }

    #[test]
    fn a_server_has_the_host_and_the_port_of_its_url() {
        let of = |url: &str| HttpServer::of_url(&url.parse().unwrap());
        for (url, host, port, is_secure) in [
            ("https://a.example/x", "a.example", 443, true),
            ("http://a.example", "a.example", 80, false),
            ("https://[::1]:14000/x", "::1", 14000, true),
        ] {
            let server = of(url).unwrap();
            assert_eq!((&*server.host, server.port), (host, port), "{url}");
            assert_eq!(server.is_secure(), is_secure, "{url}");
        }
        for url in [
            "/x",
            "ftp://a.example/",
            "http://u@a.example",
            "http://a:99999",
        ] {
            assert_eq!(of(url), None, "{url}");
        }
    }
}
