//! Between accept and the first request: the PROXY protocol header and the TLS handshake, each in its own time.
//!
//! In the connection's own task: whoever dawdles here keeps nobody else from being accepted.

use std::{convert::Infallible, future::poll_fn, io, sync::Arc};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{Accepted, Arrival, Door, DoorSettings, Socket, arrival::Terms, http2, proxy_protocol, serve};
use crate::{
    message::{Origin, Response},
    tls::{Protocol, ReadAhead, Refusal, Secured, ServerTls},
};

/// Handshakes that one listener works on at once; more wait in their own time. A worker makes one or two thousand
/// signatures a second and a client's next message takes up to half a second: so many keep two workers busy. Each holds
/// about 20 KiB.
pub(super) const MOST_HANDSHAKES: usize = 2048;

/// What a client is told that speaks plain HTTP where TLS is spoken.
const NOT_PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 48\r\n\
    connection: close\r\n\r\nThis port speaks TLS: the URL begins https://.\r\n";

/// Takes a connection through what its listener asks for, then serves it.
pub(super) async fn enter<IO, S>(
    accepted: Accepted<IO>,
    door: Arc<Door>,
    settings: Arc<DoorSettings>,
    service: S,
    drain: CancellationToken,
) where
    IO: Socket,
    S: Service<Arrival, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    let (listener, limits) = (Arc::clone(&door.name), settings.limits);
    let Accepted { mut io, mut peer, mut local } = accepted;
    let mut ahead = BytesMut::new();
    if settings.proxy_protocol {
        match timeout(limits.headers_timeout, named_ends(&mut io, &mut ahead)).await.unwrap_or(Err(NotNamed::TIMEOUT)) {
            Ok(None) => {}
            Ok(Some(ends)) => (peer, local) = ends,
            Err(NotNamed { reason, why }) => {
                door.metrics.not_named(reason);
                tracing::debug!(%listener, %peer, why, "connection closed: the PROXY protocol is required");
                return;
            }
        }
    }
    let mut origin = Origin::new(Arc::clone(&listener), peer, local);
    let Some(tls) = &settings.tls else {
        return serve(io, ahead, Terms { service, limits, origin: Arc::new(origin), drain, door }).await;
    };
    let handshake = timeout(settings.tls_handshake, secure(ReadAhead::new(io, ahead), tls, &door.handshakes));
    let secured = match handshake.await.unwrap_or(Err(Unsecured::Slow)) {
        Ok(secured) => secured,
        Err(unsecured) => {
            door.metrics.handshake(unsecured.outcome());
            tracing::debug!(%listener, %peer, outcome = unsecured.outcome(), why = unsecured.why(), "no TLS handshake");
            return;
        }
    };
    door.metrics.handshake("success");
    if secured.is_resumed {
        door.metrics.resumed();
    }
    origin.tls = Some(secured.facts);
    let terms = Terms { service, limits, origin: Arc::new(origin), drain, door };
    match secured.protocol {
        Protocol::Http1 => serve(secured.io, BytesMut::new(), terms).await,
        Protocol::Http2 => http2::serve(secured.io, BytesMut::new(), terms).await,
    }
}

/// Why the PROXY protocol named nobody: for the metric, and for the log.
struct NotNamed {
    reason: &'static str,
    why: &'static str,
}

impl NotNamed {
    const TIMEOUT: Self = Self { reason: "timeout", why: "its header did not come in time" };
    const CLOSED: Self = Self { reason: "closed", why: "it left before its header was complete" };
}

type Ends = (std::net::SocketAddr, std::net::SocketAddr);

/// Reads the header, which tells both ends or that the balancer speaks for itself. `ahead` holds what came after it.
async fn named_ends<IO>(io: &mut IO, ahead: &mut BytesMut) -> Result<Option<Ends>, NotNamed>
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
            Err(why) => return Err(NotNamed { reason: "malformed", why }),
        }
        if !matches!(poll_fn(|cx| crate::io::poll_read(io, cx, ahead)).await, Ok(1..)) {
            return Err(NotNamed::CLOSED);
        }
    }
}

/// Why a connection is not secured.
enum Unsecured {
    /// Not within `tls_handshake`.
    Slow,
    /// It speaks plain HTTP, and was told.
    Plain,
    Refused(Refusal),
}

impl Unsecured {
    /// Label of `tidegate_tls_handshakes_total{outcome}`.
    fn outcome(&self) -> &'static str {
        match self {
            Unsecured::Slow => "timeout",
            Unsecured::Plain => "plain_http",
            Unsecured::Refused(Refusal::Closed(_)) => "closed",
            Unsecured::Refused(Refusal::Failed(_)) => "failed",
        }
    }

    fn why(&self) -> String {
        match self {
            Unsecured::Slow => "it took too long".to_owned(),
            Unsecured::Plain => "it speaks plain HTTP".to_owned(),
            Unsecured::Refused(refusal) => refusal.to_string(),
        }
    }
}

async fn secure<IO>(mut io: ReadAhead<IO>, tls: &ServerTls, slots: &Semaphore) -> Result<Secured<IO>, Unsecured>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let closed = |error| Unsecured::Refused(Refusal::Closed(error));
    if io.ahead().is_empty() && poll_fn(|cx| io.poll_fill(cx)).await.map_err(closed)? == 0 {
        return Err(closed(io::ErrorKind::UnexpectedEof.into()));
    }
    // TLS begins with the byte 22; a method with a letter.
    if io.ahead().first().is_some_and(u8::is_ascii_uppercase) {
        let _ = io.write_all(NOT_PLAIN).await;
        let _ = io.shutdown().await;
        return Err(Unsecured::Plain);
    }
    // Only now: browsers connect ahead of need, and those who say nothing take no one's turn. Never closed.
    let _slot = slots.acquire().await;
    tls.accept(io).await.map_err(Unsecured::Refused)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use tokio::io::duplex;

    use super::*;
    use crate::tls::{MinVersion, ServerSettings, tests::identity};

    #[tokio::test]
    async fn a_handshake_waits_for_its_turn_and_who_says_nothing_takes_none() {
        let settings = ServerSettings {
            identities: vec![identity(&["a.example"])],
            client_ca: None,
            min_version: MinVersion::Tls12,
            http2: false,
        };
        let (tls, turns) = (ServerTls::new(settings, None).unwrap(), Semaphore::new(1));
        let secured = |io| secure(ReadAhead::new(io, BytesMut::new()), &tls, &turns);
        let [(_quiet, silent), (mut slow, first), (mut wrong, second)] = [(); 3].map(|()| duplex(1024));
        let (mut silent, mut first, mut second) = (pin!(secured(silent)), pin!(secured(first)), pin!(secured(second)));
        assert!(silent.as_mut().now_or_never().is_none());
        assert_eq!(turns.available_permits(), 1, "nothing was said yet");
        slow.write_all(&[22]).await.unwrap();
        assert!(first.as_mut().now_or_never().is_none());
        assert_eq!(turns.available_permits(), 0);
        // Wrong enough to be refused as soon as somebody looks at it.
        wrong.write_all(&[22, 9, 9, 0, 1, 1]).await.unwrap();
        assert!(second.as_mut().now_or_never().is_none(), "the one turn is taken");
        drop(slow);
        assert!(matches!(first.await, Err(Unsecured::Refused(Refusal::Closed(_)))));
        assert!(matches!(second.await, Err(Unsecured::Refused(Refusal::Failed(_)))));
        assert_eq!(turns.available_permits(), 1);
    }

    #[test]
    fn the_answer_to_plain_http_has_the_length_that_it_says() {
        let text = std::str::from_utf8(NOT_PLAIN).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
