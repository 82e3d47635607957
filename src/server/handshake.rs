//! Between accept and the first request: the PROXY protocol header and the TLS
//! handshake, where the listener requires them.
//!
//! Both run in the connection's own task, so that a slow client delays no
//! other. Each has a time of its own: `timeouts.headers` for the header and
//! `tls_handshake` for the handshake.
//!
//! # Work and fairness
//!
//! A handshake is the most expensive thing that a client can ask for: a key
//! exchange and a signature, which take as long as dozens of requests. Three
//! rules keep clients that come all at once from stopping the others:
//!
//! * A handshake begins to be computed only when the client's first message is
//!   complete ([`Hello`]), so that clients which connect and say nothing cost
//!   nothing.
//! * Of one listener, at most [`CONCURRENT_HANDSHAKES`] are computed on a
//!   worker before its other tasks run. Further ones queue for a permit, first
//!   come, first served.
//! * The permit is held for the expensive step only, and not while the client
//!   is awaited.
//!
//! # Plain HTTP on a port with TLS
//!
//! A client that speaks plain HTTP gets a 400 that says so, as browsers would
//! otherwise show an unintelligible error.
//!
//! # Order
//!
//! * The PROXY protocol header, if the listener requires it. It is read before
//!   TLS, as the load balancer does not see inside. The client that it names is
//!   counted now, since the accept loop could not know it.
//! * The ClientHello, then a permit, then the handshake, if the listener has
//!   TLS.
//! * The protocol that ALPN has chosen. Without TLS it is HTTP/1, from which a
//!   client can still turn to HTTP/2 by its preface, if the listener permits
//!   that.
//!
//! Bytes that were read too far in one step are handed to the next.
//!
//! # Cancellation
//!
//! A timeout drops the future of its step, with the permit and the count of the
//! handshake that it may hold. Then the connection is closed, without a
//! response and without an alert.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::Poll,
};

use bytes::{Buf, BytesMut};
use futures_util::{FutureExt, future::Either};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::Semaphore,
    task::yield_now,
};

use super::{
    Listener, ListenerSettings, Socket,
    connection::{ConnectionContext, ConnectionHandle, RequestService},
    connections::ClientGuard,
    http1, http2,
    proxy_protocol::{self, Ends},
};
use crate::{
    runtime::{io::poll_read, timer::timeout},
    tls::{AlpnProtocol, HandshakeFailure, Hello, ReadAhead, Secured, ServerStream, ServerTls},
};

/// Handshakes that a worker computes for one listener before all other tasks
/// run. One takes a tenth of a millisecond with ECDSA and half of one with RSA,
/// so that other requests wait for 4 ms at most.
///
/// Each loop has a semaphore with this many permits, shared by the connections
/// of one listener on one worker.
pub(super) const CONCURRENT_HANDSHAKES: usize = 8;

/// The response to plain HTTP on a port that speaks TLS.
///
/// Its length is that of the text with its line end. The service does not see
/// such a client, so that there is no access line.
const NOT_PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 48\r\n\
    connection: close\r\n\r\nThis port speaks TLS: the URL begins https://.\r\n";

/// Takes a connection through the steps that its listener requires, then serves
/// it in the protocol that the handshake agreed on.
///
/// A connection that fails a step is counted, logged and closed.
///
/// `ends` are those of the TCP connection, and are replaced by those in a PROXY
/// protocol header. The settings are those of the moment at which the
/// connection got its slot, also if a reload comes later. Ready when the
/// connection is over.
pub(super) fn serve<IO, S>(
    io: IO,
    ends: Ends,
    settings: Arc<ListenerSettings>,
    service: S,
    handle: ConnectionHandle,
    handshakes: Arc<Semaphore>,
) -> impl Future<Output = ()> + Send
where
    IO: Socket,
    S: RequestService,
{
    // Boxed, and freed before the first request.
    let prepared = Box::pin(prepare(io, ends, settings, handle, handshakes));
    async move {
        let Ok(prepared) = prepared.await else {
            return;
        };
        serve_prepared(prepared, service).await;
    }
}

/// A connection after the steps that its listener requires.
struct PreparedConnection<IO> {
    /// Its bytes: plain, with those already read, or inside TLS.
    io: Either<(IO, BytesMut), (ServerStream<IO>, AlpnProtocol)>,
    context: ConnectionContext,
    /// The count for the client that a PROXY protocol header names. Held to the
    /// end of the connection.
    client: Option<ClientGuard>,
}

/// Takes a connection through these steps; [`Closed`] if it fails one of them.
async fn prepare<IO: Socket>(
    mut io: IO,
    mut ends: Ends,
    settings: Arc<ListenerSettings>,
    handle: ConnectionHandle,
    handshakes: Arc<Semaphore>,
) -> Result<PreparedConnection<IO>, Closed> {
    let listener = Arc::clone(handle.listener());
    let mut ahead = BytesMut::new();
    let header = read_proxy_header(&mut io, &mut ends, &mut ahead, &listener, &settings);
    let client = header.await?;
    let peer = ends.source;
    let mut origin = settings.origin(peer, ends.destination);
    let io = match &settings.tls {
        None => Either::Left((io, ahead)),
        Some(tls) => {
            let handshake = secure(ReadAhead::new(io, ahead), tls, &listener, &handshakes);
            let secured = timeout(settings.policy.tls_handshake, handshake)
                .await
                .unwrap_or(Err(Unsecured::Slow))
                .map_err(|unsecured| unsecured.report(&listener, peer))?;
            listener.metrics().handshake("success");
            if secured.is_resumed {
                listener.metrics().resumed();
            }
            origin.tls = Some(Box::new(secured.facts));
            Either::Right((secured.io, secured.protocol))
        }
    };
    Ok(PreparedConnection {
        io,
        context: ConnectionContext {
            settings,
            origin: Arc::new(origin),
            handle,
        },
        client,
    })
}

/// Serves a connection in the protocol that it speaks. Not `async`: the socket
/// is moved to where the protocol keeps it before there is a future.
fn serve_prepared<IO, S>(
    prepared: PreparedConnection<IO>,
    service: S,
) -> impl Future<Output = ()> + Send
where
    IO: Socket,
    S: RequestService,
{
    let (context, client) = (prepared.context, prepared.client);
    let none = BytesMut::new();
    let served = match prepared.io {
        Either::Left((io, ahead)) => Either::Left(http1::serve(io, ahead, service, context)),
        Either::Right((io, AlpnProtocol::Http1)) => {
            Either::Right(Either::Left(http1::serve(io, none, service, context)))
        }
        // Boxed: a connection of HTTP/1 need not be as large.
        Either::Right((io, AlpnProtocol::Http2)) => Either::Right(Either::Right(Box::pin(
            http2::serve(io, none, service, context),
        ))),
    };
    served.map(move |()| drop(client))
}

/// The connection is to be closed, which was counted and logged.
///
/// It has no content, as nobody further up has to know the reason.
struct Closed;

/// Reads the PROXY protocol header where the listener requires one, and counts
/// the connection for the client that it names. `ends` then are those that it
/// names, and `ahead` holds the bytes behind the header.
///
/// `None` where the listener requires no header, where the load balancer speaks
/// for itself, and where the client is trusted and so not counted. The guard is
/// to be held as long as the connection is open.
///
/// # Errors
/// [`Closed`] if the header is malformed, cut off or late, or if the client has
/// too many connections.
async fn read_proxy_header<IO: Socket>(
    io: &mut IO,
    ends: &mut Ends,
    ahead: &mut BytesMut,
    listener: &Listener,
    settings: &ListenerSettings,
) -> Result<Option<ClientGuard>, Closed> {
    if !settings.policy.proxy_protocol {
        return Ok(None);
    }
    let header = timeout(settings.policy.limits.headers_timeout, read_ends(io, ahead));
    match header.await.unwrap_or(Err(NoHeader::TIMEOUT)) {
        // The load balancer connects for itself, for a health check: that is
        // not counted by client.
        Ok(None) => Ok(None),
        Ok(Some(named)) => {
            *ends = named;
            listener.admit(named.source, settings).map_err(|_| Closed)
        }
        Err(NoHeader { reason, why }) => {
            let peer = ends.source;
            listener.metrics().not_named(reason);
            tracing::debug!(listener = %listener.name(), %peer, why, "connection closed: the PROXY protocol is required");
            Err(Closed)
        }
    }
}

/// Why there is no PROXY protocol header.
///
/// The connection is closed without a response: nobody knows yet which protocol
/// it speaks.
struct NoHeader {
    /// The label of the metric.
    reason: &'static str,
    /// The text of the log line.
    why: &'static str,
}

impl NoHeader {
    /// The time for a head was over.
    const TIMEOUT: Self = Self {
        reason: "timeout",
        why: "its header did not come in time",
    };
    /// The peer closed the connection.
    const CLOSED: Self = Self {
        reason: "closed",
        why: "it left before its header was complete",
    };
}

/// Reads a PROXY protocol header and removes it from `ahead`. `None` if the
/// load balancer speaks for itself.
///
/// Waits without a timeout of its own. `ahead` grows up to the longest header,
/// and by what one further read brings.
///
/// # Errors
/// The header is malformed, or the connection ended before it was complete.
async fn read_ends<IO>(io: &mut IO, ahead: &mut BytesMut) -> Result<Option<Ends>, NoHeader>
where
    IO: AsyncRead + Unpin,
{
    loop {
        match proxy_protocol::parse(ahead) {
            Ok(Some(header)) => {
                ahead.advance(header.length);
                return Ok(header.ends);
            }
            Ok(None) => {}
            Err(why) => {
                return Err(NoHeader {
                    reason: "malformed",
                    why,
                });
            }
        }
        if !matches!(poll_fn(|cx| poll_read(io, cx, ahead)).await, Ok(1..)) {
            return Err(NoHeader::CLOSED);
        }
    }
}

/// Why a connection has no TLS.
///
/// Each variant ends the connection. It is counted once in
/// `tidegate_tls_handshakes_total`.
enum Unsecured {
    /// The handshake took longer than `tls_handshake`.
    Slow,
    /// The client speaks plain HTTP, and got a response that says so.
    Plain,
    /// The handshake failed, or was that of an ACME authority.
    Refused(HandshakeFailure),
}

impl Unsecured {
    /// The label `outcome` of `tidegate_tls_handshakes_total`.
    fn outcome(&self) -> &'static str {
        match self {
            Unsecured::Slow => "timeout",
            Unsecured::Plain => "plain_http",
            Unsecured::Refused(HandshakeFailure::Closed(_)) => "closed",
            Unsecured::Refused(HandshakeFailure::Failed(_)) => "failed",
            Unsecured::Refused(HandshakeFailure::Challenge) => "acme_challenge",
        }
    }

    /// The reason in words, for the log.
    fn why(&self) -> String {
        match self {
            Unsecured::Slow => "it took too long".to_owned(),
            Unsecured::Plain => "it speaks plain HTTP".to_owned(),
            Unsecured::Refused(refusal) => refusal.to_string(),
        }
    }

    /// Counts the connection, and logs the reason. Handshakes that failed for
    /// what the client offered are logged above the debug level, too, as they
    /// tell of a configuration that does not fit its clients.
    fn report(&self, listener: &Listener, peer: SocketAddr) -> Closed {
        listener.metrics().handshake(self.outcome());
        tracing::debug!(listener = %listener.name(), %peer, outcome = self.outcome(), why = self.why(), "no TLS handshake");
        if let Unsecured::Refused(HandshakeFailure::Failed(_)) = self {
            listener.unsecured(peer, &self.why());
        }
        Closed
    }
}

/// Awaits the client's first message, then a permit, then the handshake. Not
/// bounded in time.
///
/// The order keeps strangers from holding anything that others need: a client
/// is counted as in a handshake, and queues for a permit, only after its whole
/// ClientHello is here.
///
/// # Errors
/// [`Unsecured::Plain`] if the first byte is an upper case letter, and
/// [`Unsecured::Refused`] if the client leaves or the handshake fails. The
/// caller adds [`Unsecured::Slow`].
async fn secure<IO>(
    mut io: ReadAhead<IO>,
    tls: &ServerTls,
    listener: &Listener,
    handshakes: &Semaphore,
) -> Result<Secured<IO>, Unsecured>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let closed = |error| Unsecured::Refused(HandshakeFailure::Closed(error));
    // Browsers connect before they need to, and other clients are slow. A
    // client takes a permit only once its first message is complete.
    let mut hello = Hello::default();
    while io.ahead().is_empty() || !hello.is_whole(io.ahead()) {
        if poll_fn(|cx| io.poll_fill(cx)).await.map_err(closed)? == 0 {
            return Err(closed(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    // TLS begins with the byte 22, and a method with a letter.
    if io.ahead().first().is_some_and(u8::is_ascii_uppercase) {
        let _ = io.write_all(NOT_PLAIN).await;
        let _ = io.shutdown().await;
        return Err(Unsecured::Plain);
    }
    let _counted = listener.begin_handshake();
    let mut handshake = pin!(tls.accept(io));
    // The first poll does the expensive part, the keys and the signature. The
    // permit is released after it, so that a client that does not respond keeps
    // no other waiting, but not before all other tasks that are ready have run.
    let permit = handshakes.acquire().await;
    let begun = poll_fn(|cx| Poll::Ready(handshake.as_mut().poll(cx))).await;
    yield_now().await;
    drop(permit);
    let secured = match begun {
        Poll::Ready(secured) => secured,
        Poll::Pending => handshake.await,
    };
    secured.map_err(Unsecured::Refused)
}

#[cfg(test)]
mod tests;
