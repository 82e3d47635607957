//! Requests to the collector (OTLP/HTTP), and their further attempts.
//!
//! It runs on the thread of the exporter alone, by one connection that is kept
//! from one batch to the next.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

use super::environment;
use crate::{
    http_client::{ClientBounds, ClientFault, HttpClient, HttpServer},
    policy::{TraceExport, UpstreamTls},
    retry_after::retry_after,
};

/// The longest wait for a connection to one of several addresses.
const CONNECT: Duration = Duration::from_secs(2);
/// Bytes of the longest response, which says at most why some spans were
/// refused.
const MOST_BODY: usize = 64 * 1024;
/// The wait before the second attempt, which doubles from one to the next.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait that the collector has not asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Why the collector did not take a batch. The texts complete "spans cannot be
/// exported:".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum CollectorFault {
    #[error(transparent)]
    Client(#[from] ClientFault),
    #[error("the collector answered with status {0}")]
    Status(u16),
}

/// Sends requests to one collector, one after the other.
#[derive(Debug)]
pub(super) struct CollectorClient {
    http: HttpClient,
    server: HttpServer,
    target: Uri,
    headers: HeaderMap,
}

impl CollectorClient {
    /// A client without a connection. Blocks to read the certificates that the
    /// system trusts, if it needs them.
    ///
    /// # Errors
    /// None of them can be used; the text says why.
    pub(super) fn new(to: &TraceExport) -> Result<Self, String> {
        let server = HttpServer::new(&to.collector).ok_or("the collector is not a host")?;
        let bounds = ClientBounds {
            connect: CONNECT,
            total: to.timeout,
            body: MOST_BODY,
        };
        let tls = UpstreamTls::default();
        let http = HttpClient::new(server.is_secure().then_some(&tls), bounds)?;
        let target = Uri::try_from(&*to.target).map_err(|error| error.to_string())?;
        let kind = HeaderValue::from_static("application/x-protobuf");
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
        // A field of the configuration takes the place of one in the environment.
        for (name, value) in environment::headers().iter().chain(&to.headers) {
            headers.insert(name, value.clone());
        }
        Ok(Self {
            http: http.keeping_alive(),
            server,
            target,
            headers,
        })
    }

    /// Sends a batch until the collector has taken it, or until the time is
    /// over, and returns the body of the response.
    ///
    /// # Errors
    /// The last attempt failed, or no other one could help, or the time is over.
    pub(super) async fn send(&self, batch: Bytes) -> Result<Bytes, CollectorFault> {
        let longest = self.http.longest();
        let sent = timeout(longest, self.attempts(batch, Instant::now() + longest)).await;
        sent.unwrap_or(Err(ClientFault::Timeout(longest).into()))
    }

    /// Attempts until one succeeds. A wait beyond the deadline is not begun.
    async fn attempts(&self, batch: Bytes, deadline: Instant) -> Result<Bytes, CollectorFault> {
        let mut pause = FIRST_WAIT;
        loop {
            let (fault, asked) = match self.attempt(batch.clone()).await {
                Ok(response) if response.status().is_success() => {
                    return Ok(response.into_body());
                }
                Ok(response) => {
                    let fault = CollectorFault::Status(response.status().as_u16());
                    if !is_passing(response.status()) {
                        return Err(fault);
                    }
                    (fault, wait_asked(&response))
                }
                // The collector would say the same again, at the same length.
                Err(fault @ ClientFault::Large(_)) => return Err(fault.into()),
                Err(fault) => (fault.into(), None),
            };
            // Several gateways that lost one collector do not all come at once.
            let wait = asked.unwrap_or_else(|| pause.mul_f64(rand::random_range(0.5..=1.0)));
            if wait >= deadline.saturating_duration_since(Instant::now()) {
                return Err(fault);
            }
            sleep(wait).await;
            pause = (2 * pause).min(LONGEST_WAIT);
        }
    }

    async fn attempt(&self, batch: Bytes) -> Result<Response<Bytes>, ClientFault> {
        let mut request = Request::new(batch);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.target.clone();
        request.headers_mut().clone_from(&self.headers);
        self.http.send(&self.server, request).await
    }
}

/// Whether another attempt may succeed (OTLP, "Retryable Response Codes").
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// The wait that a response asks for.
fn wait_asked(response: &Response<Bytes>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    retry_after(value.as_bytes(), SystemTime::now())
}
