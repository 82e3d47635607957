//! HTTP with authorities, as the library for ACME wants it.
//!
//! Nothing that an authority says makes it wait or remember without a bound:
//! requests are bounded as all of [`http_client`](crate::http_client) are,
//! redirects are refused, and `Retry-After` is at most a week. Each request has
//! a connection of its own: an order makes ten of them in three months.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error};
use parking_lot::Mutex;
use thiserror::Error as ThisError;

use crate::{
    http_client::{ClientBounds, ClientFault, HttpClient, HttpServer},
    policy::UpstreamTls,
    retry_after::retry_after,
};

/// Bounds of a request. Chains of certificates have up to ten KiB.
const BOUNDS: ClientBounds = ClientBounds {
    connect: Duration::from_secs(5),
    total: Duration::from_secs(20),
    body: 256 * 1024,
};
/// The longest time that an authority may ask to be left alone. The limits of
/// Let's Encrypt count over a week at most.
const LONGEST_RETRY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The time after which renewal information is asked for again if its response
/// does not say (RFC 9773, 4.3).
const USUAL_RETRY: HeaderValue = HeaderValue::from_static("21600");

/// Why there is no response that the library may see. The texts follow "the
/// authority cannot be used: ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub(super) enum AuthorityFault {
    #[error("its URL is not one with https and a host")]
    Url,
    #[error(transparent)]
    Client(#[from] ClientFault),
    /// The library would take it for a success.
    #[error("the response is a redirect, which is not followed")]
    Redirect,
}

/// The client for one authority. Cheap to clone.
#[derive(Clone)]
pub(super) struct AcmeClient {
    http: Arc<HttpClient>,
    /// The time until which the authority asked to be left alone, in its last
    /// response that was an error.
    retry_after: Arc<Mutex<Option<SystemTime>>>,
}

impl AcmeClient {
    /// A client for an authority whose server is verified by `tls`. Blocks as
    /// [`HttpClient::new`] does.
    ///
    /// # Errors
    /// TLS cannot be spoken; the text says why.
    pub(super) fn new(tls: &UpstreamTls) -> Result<Self, String> {
        Ok(Self {
            http: Arc::new(HttpClient::new(Some(tls), BOUNDS)?),
            retry_after: Arc::default(),
        })
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
    ) -> Result<BytesResponse, AuthorityFault> {
        let server = HttpServer::of_url(request.uri()).filter(HttpServer::is_secure);
        let server = server.ok_or(AuthorityFault::Url)?;
        let is_get = request.method() == Method::GET;
        let (head, body) = request.into_parts();
        // The body is in memory: nothing can break.
        let body = body.collect().await.map_err(|_| ClientFault::Broken)?;
        let request = Request::from_parts(head, body.to_bytes());
        let response = self.http.send(&server, request).await?;
        let status = response.status();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            return Err(AuthorityFault::Redirect);
        }
        Ok(self.look_at(response, is_get))
    }

    /// Notes how long the authority wants to be left alone, and takes out of the
    /// head what the library could not bear.
    fn look_at(&self, mut response: Response<Bytes>, is_get: bool) -> BytesResponse {
        let status = response.status();
        let now = SystemTime::now();
        let after = rest(response.headers(), now);
        let headers = response.headers_mut();
        headers.remove(header::RETRY_AFTER);
        if let Some(after) = after {
            headers.insert(header::RETRY_AFTER, after.as_secs().into());
        } else if is_get {
            headers.insert(header::RETRY_AFTER, USUAL_RETRY);
        }
        if status.is_client_error() || status.is_server_error() {
            *self.retry_after.lock() = after.map(|after| now + after);
        }
        response.map(Full::new).into()
    }
}

impl instant_acme::HttpClient for AcmeClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let response = client.send(request).await;
            response.map_err(|fault| Error::Other(Box::new(fault)))
        })
    }
}

/// The time for which an authority asks to be left alone, at most a week; `None`
/// if it does not ask.
fn rest(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?;
    let rest = retry_after(value.as_bytes(), now)?;
    Some(rest.min(LONGEST_RETRY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_left_alone_for_a_week_at_most() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            rest(&headers, SystemTime::now())
        };
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        for long in ["604801", "18446744073709551615", "99999999999999999999999"] {
            assert_eq!(of(long), Some(LONGEST_RETRY));
        }
        assert_eq!(of("Fri, 31 Dec 9999 23:59:59 GMT"), Some(LONGEST_RETRY));
        assert_eq!(of("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(of("soon"), None);
    }
}
