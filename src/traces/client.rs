//! HTTP with a collector, as the library for OTLP wants it.
//!
//! It runs on the thread of the exporter alone, by one connection that is kept
//! from one batch to the next.

use std::{error, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use opentelemetry_http::HttpError;
use parking_lot::Mutex;
use thiserror::Error;

use crate::{
    http_client::{ClientBounds, ClientFault, HttpClient, HttpServer},
    policy::{TraceExport, UpstreamTls},
};

/// The longest wait for a connection to one of several addresses.
const CONNECT: Duration = Duration::from_secs(2);
/// Bytes of the longest response, which says at most why some spans were
/// refused.
const MOST_BODY: usize = 64 * 1024;

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
    /// Further fields of each request.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The outcome of the last request; `None` after a success.
    last: Mutex<Option<CollectorFault>>,
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
        Ok(Self {
            http: http.keeping_alive(),
            server,
            headers: to.headers.clone(),
            last: Mutex::default(),
        })
    }

    /// Why the last request failed, if it did.
    pub(super) fn last_fault(&self) -> Option<CollectorFault> {
        *self.last.lock()
    }
}

#[async_trait]
impl opentelemetry_http::HttpClient for CollectorClient {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let outcome = self.http.send(&self.server, request).await;
        *self.last.lock() = match &outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(CollectorFault::Status(response.status().as_u16())),
            Err(fault) => Some((*fault).into()),
        };
        outcome.map_err(|fault| Box::<dyn error::Error + Send + Sync>::from(fault.to_string()))
    }
}
