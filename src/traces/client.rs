//! The client by which the exporter speaks to its collector: one connection of
//! HTTP/1, kept from one batch to the next.
//!
//! It runs on the thread of the exporter alone. Everything is bounded: the time
//! by the exporter, the head and the body of an answer here.

use std::{error, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::{
    policy::{Protocol, ServerAddress, TraceExport, UpstreamTls},
    tls::ClientTls,
};

/// The longest wait for a connection to one of several addresses.
const CONNECT: Duration = Duration::from_secs(2);
/// Bytes of the longest head of an answer.
const MOST_HEAD: usize = 16 * 1024;
/// Bytes of the longest answer, which says at most why some spans were refused.
const MOST_BODY: usize = 64 * 1024;

/// Why the collector did not take a batch. The texts complete "spans cannot be
/// exported:".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum CollectorFault {
    #[error("the name of the collector cannot be resolved")]
    Name,
    #[error("no connection to the collector can be made")]
    Connect,
    #[error("TLS with the collector failed: {0}")]
    Tls(&'static str),
    #[error("the connection to the collector broke, or its answer is not HTTP")]
    Broken,
    #[error("the answer of the collector has more than 64 KiB")]
    Large,
    #[error("the collector answered with status {0}")]
    Status(u16),
}

/// Sends requests to one collector, one after the other.
#[derive(Debug)]
pub(super) struct CollectorClient {
    to: TraceExport,
    /// `None` for a URL with `http`.
    tls: Option<ClientTls>,
    /// The connection, between two requests.
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
    /// The outcome of the last request; `None` after a success.
    last: Mutex<Option<CollectorFault>>,
}

impl CollectorClient {
    /// A client without a connection. Blocks to read the certificates that the
    /// system trusts, if it needs them.
    ///
    /// # Errors
    /// None of them can be used; the text says why.
    pub(super) fn new(to: TraceExport) -> Result<Self, String> {
        let tls = match to.collector.secure_as {
            Some(_) => Some(ClientTls::new(&UpstreamTls::default(), Protocol::Http1)?),
            None => None,
        };
        Ok(Self {
            to,
            tls,
            idle: Mutex::default(),
            last: Mutex::default(),
        })
    }

    /// Why the last request failed, if it did.
    pub(super) fn last_fault(&self) -> Option<CollectorFault> {
        *self.last.lock()
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, CollectorFault> {
        let (mut head, body) = request.into_parts();
        head.uri = (*self.to.target)
            .try_into()
            .map_err(|_| CollectorFault::Broken)?;
        let authority = self.to.collector.authority();
        let host = HeaderValue::from_str(authority).map_err(|_| CollectorFault::Broken)?;
        head.headers.insert(header::HOST, host);
        for (name, value) in &self.to.headers {
            head.headers.insert(name, value.clone());
        }
        let mut connection = self.connection().await?;
        let request = Request::from_parts(head, Full::new(body));
        let answer = connection.send_request(request).await;
        let (head, body) = answer.map_err(|_| CollectorFault::Broken)?.into_parts();
        let body = Limited::new(body, MOST_BODY).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(_) => CollectorFault::Broken,
            Err(_) => CollectorFault::Large,
        })?;
        *self.idle.lock() = Some(connection);
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// The connection that is open, or a new one.
    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, CollectorFault> {
        let idle = self.idle.lock().take();
        if let Some(mut idle) = idle
            && idle.ready().await.is_ok()
        {
            return Ok(idle);
        }
        let stream = self.connect().await?;
        match (&self.to.collector.secure_as, &self.tls) {
            (Some(name), Some(tls)) => {
                let stream = tls.connect(name.clone(), stream).await;
                handshake(stream.map_err(CollectorFault::Tls)?).await
            }
            _ => handshake(stream).await,
        }
    }

    /// Connects to the first address that accepts.
    async fn connect(&self) -> Result<TcpStream, CollectorFault> {
        // The configuration has no other URL of a collector than one of a host.
        let ServerAddress::Tcp { host, port } = &self.to.collector.address else {
            return Err(CollectorFault::Name);
        };
        let found = lookup_host((&**host, *port)).await;
        let found: Vec<SocketAddr> = found.map_err(|_| CollectorFault::Name)?.collect();
        for address in found {
            if let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(address)).await {
                return Ok(stream);
            }
        }
        Err(CollectorFault::Connect)
    }
}

/// Begins HTTP/1 on a connection. The task that moves its bytes ends with the
/// sender, and with the thread of the exporter at the latest.
async fn handshake<IO>(io: IO) -> Result<SendRequest<Full<Bytes>>, CollectorFault>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|_| CollectorFault::Broken)?;
    tokio::spawn(connection);
    Ok(sender)
}

#[async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let outcome = self.send(request).await;
        *self.last.lock() = match &outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(CollectorFault::Status(response.status().as_u16())),
            Err(fault) => Some(*fault),
        };
        outcome.map_err(|fault| Box::<dyn error::Error + Send + Sync>::from(fault.to_string()))
    }
}
