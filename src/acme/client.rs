//! The HTTP client that talks to authorities.
//!
//! Nothing that an authority says makes it wait or remember without a bound:
//! the time, the head and the body of a response are bounded, redirects are not
//! followed, and `Retry-After` is at most a week. Each request has a connection
//! of its own: an order makes ten of them in three months.

use std::{
    future::Future,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use parking_lot::Mutex;
use thiserror::Error as ThisError;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::tls::{ClientTls, ServerName};

/// The longest time of a request, from the name to the last byte.
const LONGEST: Duration = Duration::from_secs(20);
/// The longest wait for a connection to one of several addresses.
const CONNECT: Duration = Duration::from_secs(5);
/// Bytes of the longest head of a response.
const MOST_HEAD: usize = 16 * 1024;
/// Bytes of the longest body: chains of certificates have up to ten KiB.
const MOST_BODY: usize = 256 * 1024;
/// The longest time that an authority may ask to be left alone. The limits of
/// Let's Encrypt count over a week at most.
const LONGEST_RETRY: u64 = 7 * 24 * 60 * 60;
/// The time after which renewal information is asked for again if its response
/// does not say (RFC 9773, 4.3).
const USUAL_RETRY: HeaderValue = HeaderValue::from_static("21600");

/// Why there is no response. The texts follow "the authority cannot be used: ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub(super) enum ClientFault {
    #[error("its URL is none with https and a host")]
    Url,
    #[error("the name of its server cannot be resolved")]
    Name,
    #[error("no connection can be made")]
    Connect,
    #[error("TLS failed: {0}")]
    Tls(&'static str),
    #[error("no complete response within 20s")]
    Timeout,
    #[error("the connection broke, or the response is not HTTP")]
    Broken,
    #[error("the response is a redirect, which is not followed")]
    Redirect,
    #[error("the response has more than 256 KiB")]
    Large,
}

impl ClientFault {
    /// Whether the authority was not reached, so that it has counted nothing.
    pub(super) fn is_before_request(self) -> bool {
        matches!(self, Self::Name | Self::Connect | Self::Tls(_))
    }
}

/// The client for one authority. Cheap to clone.
#[derive(Clone)]
pub(super) struct AcmeClient {
    /// TLS with the authorities that its server is verified by.
    tls: ClientTls,
    /// The time until which the authority asked to be left alone, in its last
    /// response that was an error.
    retry_after: Arc<Mutex<Option<SystemTime>>>,
}

impl AcmeClient {
    /// A client by this TLS.
    pub(super) fn new(tls: ClientTls) -> Self {
        Self {
            tls,
            retry_after: Arc::default(),
        }
    }

    /// The time until which the authority asked to be left alone when it last
    /// responded with an error; `None` if it did not.
    pub(super) fn retry_after(&self) -> Option<SystemTime> {
        *self.retry_after.lock()
    }

    /// Sends a request, and reads the whole response.
    async fn send(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, ClientFault> {
        let (host, port) = host_and_port(request.uri())?;
        let name = ServerName::try_from(host.clone()).map_err(|_| ClientFault::Url)?;
        let is_get = request.method() == Method::GET;
        let stream = connect(&host, port).await?;
        let stream = self.tls.connect(name, stream).await;
        let response = ask(stream.map_err(ClientFault::Tls)?, request).await?;
        Ok(self.look_at(response, is_get))
    }

    /// Notes how long the authority wants to be left alone, and takes out of the
    /// head what the library could not bear.
    fn look_at(&self, mut response: Response<Full<Bytes>>, is_get: bool) -> BytesResponse {
        let status = response.status();
        let after = retry_after(response.headers());
        let headers = response.headers_mut();
        headers.remove(header::RETRY_AFTER);
        if let Some(seconds) = after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        } else if is_get {
            headers.insert(header::RETRY_AFTER, USUAL_RETRY);
        }
        if status.is_client_error() || status.is_server_error() {
            let until = |seconds| SystemTime::now() + Duration::from_secs(seconds);
            *self.retry_after.lock() = after.map(until);
        }
        response.into()
    }
}

impl HttpClient for AcmeClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let sent = timeout(LONGEST, client.send(request)).await;
            let response = sent.unwrap_or(Err(ClientFault::Timeout));
            response.map_err(|fault| Error::Other(Box::new(fault)))
        })
    }
}

/// The host and the port of a URL, which an authority may have chosen.
fn host_and_port(url: &Uri) -> Result<(String, u16), ClientFault> {
    if url.scheme_str() != Some("https") {
        return Err(ClientFault::Url);
    }
    let host = url.host().ok_or(ClientFault::Url)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), url.port_u16().unwrap_or(443)))
}

/// Connects to the first address that accepts.
async fn connect(host: &str, port: u16) -> Result<TcpStream, ClientFault> {
    let found = lookup_host((host, port)).await;
    let found: Vec<SocketAddr> = found.map_err(|_| ClientFault::Name)?.collect();
    for address in found {
        if let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(address)).await {
            return Ok(stream);
        }
    }
    Err(ClientFault::Connect)
}

/// Sends a request by this connection, which is closed afterwards.
async fn ask<IO>(
    io: IO,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, ClientFault>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (mut head, body) = request.into_parts();
    let url = std::mem::take(&mut head.uri);
    let host = url.authority().map_or("", |authority| authority.as_str());
    let host = HeaderValue::from_str(host).map_err(|_| ClientFault::Url)?;
    head.headers.insert(header::HOST, host);
    head.headers
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    head.uri = target.parse().map_err(|_| ClientFault::Url)?;
    let builder = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .handshake(TokioIo::new(io));
    let (mut requests, connection) = builder.await.map_err(|_| ClientFault::Broken)?;
    let mut response = pin!(async move {
        let sent = requests.send_request(Request::from_parts(head, body)).await;
        let (head, body) = sent.map_err(|_| ClientFault::Broken)?.into_parts();
        if head.status.is_redirection() && head.status != StatusCode::NOT_MODIFIED {
            return Err(ClientFault::Redirect);
        }
        let body = Limited::new(body, MOST_BODY).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => ClientFault::Large,
            false => ClientFault::Broken,
        })?;
        Ok(Response::from_parts(head, Full::new(body.to_bytes())))
    });
    // The connection has to be polled for the response to arrive. It may end as
    // soon as it has passed the response on.
    tokio::select! {
        biased;
        response = &mut response => response,
        _ = connection => response.await,
    }
}

/// The seconds for which an authority asks to be left alone, at most a week;
/// `None` if it does not ask, or in another form than RFC 9110, 10.2.3.
fn retry_after(headers: &http::HeaderMap) -> Option<u64> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = match value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that no integer holds is a long time, too.
        true if !value.is_empty() => value.parse().unwrap_or(LONGEST_RETRY),
        _ => {
            let at = httpdate::parse_http_date(value).ok()?;
            at.duration_since(SystemTime::now())
                .map_or(0, |left| left.as_secs())
        }
    };
    Some(seconds.min(LONGEST_RETRY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_left_alone_for_a_week_at_most() {
        let of = |value: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("120"), Some(120));
        for long in ["604801", "18446744073709551615", "99999999999999999999999"] {
            assert_eq!(of(long), Some(LONGEST_RETRY));
        }
        assert_eq!(of("Fri, 31 Dec 9999 23:59:59 GMT"), Some(LONGEST_RETRY));
        assert_eq!(of("Fri, 31 Dec 1999 23:59:59 GMT"), Some(0));
        for odd in ["", "-1", "1.5", "soon"] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }

    #[test]
    fn only_servers_with_https_are_asked() {
        let of = |url: &str| host_and_port(&url.parse().unwrap());
        assert_eq!(
            of("https://a.example/x").unwrap(),
            ("a.example".to_owned(), 443)
        );
        assert_eq!(
            of("https://[::1]:14000/x").unwrap(),
            ("::1".to_owned(), 14000)
        );
        for url in ["http://a.example/", "/x", "ftp://a.example/"] {
            assert_eq!(of(url), Err(ClientFault::Url), "{url}");
        }
    }
}
