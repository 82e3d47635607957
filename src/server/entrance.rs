//! Between accept and the first request: the PROXY protocol header and the TLS handshake, each in its own time.
//!
//! In the connection's own task: whoever dawdles here keeps nobody else from being accepted.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::Arc,
    task::Poll,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::Semaphore,
    task::yield_now,
};
use tower::Service;

use super::{
    Accepted, Arrival, Door, DoorSettings, Socket, arrival::Terms, http2, idle::Seat,
    proxy_protocol, serve,
};
use crate::{
    message::{Origin, Response},
    runtime::timer::timeout,
    tls::{AlpnProtocol, Hello, ReadAhead, Refusal, Secured, ServerTls},
};

/// Handshakes that a worker computes for one listener before everything else has its turn: one takes a tenth of a
/// millisecond with ECDSA, half of one with RSA. More wait, first come, first served.
pub(super) const HANDSHAKES_AT_ONCE: usize = 8;

/// What a client is told that speaks plain HTTP where TLS is spoken.
const NOT_PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 48\r\n\
    connection: close\r\n\r\nThis port speaks TLS: the URL begins https://.\r\n";

/// Takes a connection through what its listener asks for, then serves it.
pub(super) async fn enter<IO, S>(
    accepted: Accepted<IO>,
    settings: Arc<DoorSettings>,
    service: S,
    seat: Arc<Seat>,
    turns: Arc<Semaphore>,
) where
    IO: Socket,
    S: Service<Arrival, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let (door, limits) = (Arc::clone(seat.door()), settings.limits);
    let listener = Arc::clone(&door.name);
    let Accepted {
        mut io,
        mut peer,
        mut local,
    } = accepted;
    let mut ahead = BytesMut::new();
    // Counts for the client that the header names; nobody counts where the balancer speaks for itself.
    let mut _guest = None;
    if settings.proxy_protocol {
        match timeout(limits.headers_timeout, named_ends(&mut io, &mut ahead))
            .await
            .unwrap_or(Err(NotNamed::TIMEOUT))
        {
            Ok(None) => {}
            Ok(Some(ends)) => {
                (peer, local) = ends;
                let Ok(admitted) = door.admit(peer, &settings) else {
                    return;
                };
                _guest = admitted;
            }
            Err(NotNamed { reason, why }) => {
                door.metrics.not_named(reason);
                tracing::debug!(%listener, %peer, why, "connection closed: the PROXY protocol is required");
                return;
            }
        }
    }
    let mut origin = Origin::new(Arc::clone(&listener), peer, local);
    let Some(tls) = &settings.tls else {
        return serve(
            io,
            ahead,
            Terms {
                service,
                limits,
                origin: Arc::new(origin),
                seat,
            },
        )
        .await;
    };
    // Boxed: a connection need not be as large as its handshake.
    let handshake = Box::pin(secure(ReadAhead::new(io, ahead), tls, &door, &turns));
    let secured = match timeout(settings.tls_handshake, handshake)
        .await
        .unwrap_or(Err(Unsecured::Slow))
    {
        Ok(secured) => secured,
        Err(unsecured) => {
            door.metrics.handshake(unsecured.outcome());
            tracing::debug!(%listener, %peer, outcome = unsecured.outcome(), why = unsecured.why(), "no TLS handshake");
            if let Unsecured::Refused(Refusal::Failed(_)) = unsecured {
                door.unsecured(peer, &unsecured.why());
            }
            return;
        }
    };
    door.metrics.handshake("success");
    if secured.is_resumed {
        door.metrics.resumed();
    }
    origin.tls = Some(secured.facts);
    let terms = Terms {
        service,
        limits,
        origin: Arc::new(origin),
        seat,
    };
    match secured.protocol {
        AlpnProtocol::Http1 => serve(secured.io, BytesMut::new(), terms).await,
        // Boxed: a connection of HTTP/1 need not be as large.
        AlpnProtocol::Http2 => Box::pin(http2::serve(secured.io, BytesMut::new(), terms)).await,
    }
}

/// Why the PROXY protocol named nobody: for the metric, and for the log.
struct NotNamed {
    reason: &'static str,
    why: &'static str,
}

impl NotNamed {
    const TIMEOUT: Self = Self {
        reason: "timeout",
        why: "its header did not come in time",
    };
    const CLOSED: Self = Self {
        reason: "closed",
        why: "it left before its header was complete",
    };
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
            Err(why) => {
                return Err(NotNamed {
                    reason: "malformed",
                    why,
                });
            }
        }
        if !matches!(
            poll_fn(|cx| crate::runtime::io::poll_read(io, cx, ahead)).await,
            Ok(1..)
        ) {
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

async fn secure<IO>(
    mut io: ReadAhead<IO>,
    tls: &ServerTls,
    door: &Door,
    turns: &Semaphore,
) -> Result<Secured<IO>, Unsecured>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let closed = |error| Unsecured::Refused(Refusal::Closed(error));
    // Browsers connect ahead of need, and others dawdle: who has not said all of its first message takes no one's turn.
    let mut hello = Hello::default();
    while io.ahead().is_empty() || !hello.is_whole(io.ahead()) {
        if poll_fn(|cx| io.poll_fill(cx)).await.map_err(closed)? == 0 {
            return Err(closed(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    // TLS begins with the byte 22; a method with a letter.
    if io.ahead().first().is_some_and(u8::is_ascii_uppercase) {
        let _ = io.write_all(NOT_PLAIN).await;
        let _ = io.shutdown().await;
        return Err(Unsecured::Plain);
    }
    let _counted = door.shakes_hands();
    let mut handshake = pin!(tls.accept(io));
    // The costly part, keys and the signature, comes with the first look at the message. The turn ends with it, or else
    // who does not answer would keep others waiting; but not before everything else that is ready was looked at.
    let turn = turns.acquire().await;
    let begun = poll_fn(|cx| Poll::Ready(handshake.as_mut().poll(cx))).await;
    yield_now().await;
    drop(turn);
    let secured = match begun {
        Poll::Ready(secured) => secured,
        Poll::Pending => handshake.await,
    };
    secured.map_err(Unsecured::Refused)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use tokio::io::duplex;

    use super::*;
    use crate::{
        policy::{ListenerTls, TlsVersion},
        server::accept::tests::door,
        tls::tests::identity,
    };

    fn tls() -> ServerTls {
        let policy = ListenerTls {
            certificates: vec![identity(&["a.example"])],
            client_ca: None,
            min_version: TlsVersion::Tls12,
        };
        ServerTls::new(&policy, &[AlpnProtocol::Http1], None).unwrap()
    }

    /// The first bytes of a client.
    fn hello() -> Vec<u8> {
        let config =
            rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
        let name = "a.example".try_into().unwrap();
        let mut client =
            rustls::ClientConnection::new(config.with_no_client_auth().into(), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        hello
    }

    #[tokio::test]
    async fn a_handshake_waits_for_its_turn_and_who_has_not_said_all_takes_none() {
        let (tls, door, turns) = (tls(), door(1), Semaphore::new(1));
        let secured = |io| secure(ReadAhead::new(io, BytesMut::new()), &tls, &door, &turns);
        let [(_quiet, silent), (mut slow, first), (mut ready, second)] =
            [(); 3].map(|()| duplex(4096));
        let (mut silent, mut first, mut second) = (
            pin!(secured(silent)),
            pin!(secured(first)),
            pin!(secured(second)),
        );
        assert!(silent.as_mut().now_or_never().is_none());
        let hello = hello();
        slow.write_all(&hello[..hello.len() - 1]).await.unwrap();
        assert!(first.as_mut().now_or_never().is_none());
        assert_eq!(turns.available_permits(), 1, "one byte is missing");
        ready.write_all(&hello).await.unwrap();
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(
            turns.available_permits(),
            0,
            "everybody else has a turn before the next one"
        );
        slow.write_all(&hello[hello.len() - 1..]).await.unwrap();
        assert!(first.as_mut().now_or_never().is_none());
        assert!(
            second.as_mut().now_or_never().is_none(),
            "the client has to answer"
        );
        assert!(first.as_mut().now_or_never().is_none());
        assert!(first.as_mut().now_or_never().is_none());
        assert_eq!(
            (turns.available_permits(), door.shaking()),
            (1, 2),
            "both wait for their clients"
        );
        drop(slow);
        assert!(matches!(
            first.await,
            Err(Unsecured::Refused(Refusal::Closed(_)))
        ));
    }

    #[tokio::test]
    async fn what_is_no_first_message_is_refused_at_once() {
        let (tls, door, turns) = (tls(), door(1), Semaphore::new(1));
        let (mut wrong, io) = duplex(4096);
        wrong.write_all(&[22, 9, 9, 0, 1, 1]).await.unwrap();
        let secured = secure(ReadAhead::new(io, BytesMut::new()), &tls, &door, &turns).await;
        assert!(matches!(
            secured,
            Err(Unsecured::Refused(Refusal::Failed(_)))
        ));
        assert_eq!((turns.available_permits(), door.shaking()), (1, 0));
    }

    #[test]
    fn the_answer_to_plain_http_has_the_length_that_it_says() {
        let text = std::str::from_utf8(NOT_PLAIN).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())),
            "{}",
            body.len()
        );
    }
}
