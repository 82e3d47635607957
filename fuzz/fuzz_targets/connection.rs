//! A whole connection of a hostile client: requests, bodies, pipelines,
//! garbage, HTTP/2. However its bytes are cut, the service sees the same
//! requests and the client gets the same responses. The clock is paused, so
//! nothing times out by chance.

#![no_main]

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use http::StatusCode;
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use tidegate::{body::Body, error::Fault, policy::{self, ConnectionLimits, HeadLimits, ListenAddress}, message::{Arrival, Hangup, Request, RequestHead, Response}, server::{Accept, Accepted, AllConnections, Listener, ListenerSettings, Socket, accept}, telemetry::{FixedFields, Metrics}};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};
use tokio_util::task::TaskTracker;
use tower::Service;

fuzz_target!(|bytes: &[u8]| {
    let whole = run(&[bytes], false);
    // Cut once, at a position derived from the bytes, and once at every byte.
    let cut = bytes.iter().fold(7_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(*byte)) % bytes.len().max(1);
    assert_eq!(run(&[&bytes[..cut], &bytes[cut..]], false), whole, "cut at {cut}");
    assert_eq!(run(&bytes.chunks(1).collect::<Vec<_>>(), false), whole, "byte for byte");
    if bytes.starts_with(b"PRI") {
        run(&[bytes], true);
    }
});

/// Number of polls before the end of the client is visible: streams of HTTP/2
/// run in tasks of their own and end with their connection.
const BEFORE_THE_END: usize = 20;

/// The outcome of a connection: the requests that the service saw, and the
/// bytes written, without dates.
type Outcome = (Vec<String>, String);

fn run(pieces: &[&[u8]], http2: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("one");
    let (service, written) = (Seen::default(), Arc::default());
    let pieces = pieces.iter().filter(|piece| !piece.is_empty()).rev().map(|piece| piece.to_vec()).collect();
    let socket = Script { pieces, waits: 1, written: Arc::clone(&written) };
    let limits = ConnectionLimits {
        head: HeadLimits { bytes: 512, headers: 10, keeps_underscores: false },
        headers_timeout: Duration::from_secs(1),
        keep_alive: Duration::from_secs(1),
        http2,
        serves_half_closed: false,
    };
    let at = ListenAddress::Ip(([127, 0, 0, 1], 80).into());
    let policy = policy::Listener {
        name: None,
        bind: at.clone(),
        mode: 0o660,
        max_connections: None,
        limits,
        tls_handshake: Duration::from_secs(1),
        proxy_protocol: false,
        tls: None,
        redirect_https: None,
    };
    let fields = Arc::new(FixedFields::listener("here".into()));
    let settings = ListenerSettings { fields, policy, max_connections: 2, max_per_client: 2, trusted: [].into(), tls: None, bans: Arc::default() };
    let listener = Listener::new(at, settings, AllConnections::new(2), Metrics::new(1));
    runtime.block_on(async {
        let (begun, connections) = (Arc::new(Notify::new()), TaskTracker::new());
        let socket = Once(Some(socket), Arc::clone(&begun));
        tokio::spawn(accept(socket, listener, service.clone(), connections.clone()));
        begun.notified().await;
        connections.close();
        connections.wait().await;
    });
    drop(runtime);
    let written = String::from_utf8_lossy(&written.lock().expect("no panic")).into_owned();
    let undated = written.split_inclusive('\n').filter(|line| !line.to_ascii_lowercase().starts_with("date: "));
    let seen = service.0.lock().expect("no panic").clone();
    (seen, undated.collect())
}

/// Records what arrives: the head, and the body once it is complete.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Service<Arrival> for Seen {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        let seen = Arc::clone(&self.0);
        Box::pin(async move {
            Ok(match arrival {
                Arrival::Request(request) => respond(request, &seen).await,
                Arrival::Refused { error, .. } => {
                    note(&seen, format!("refused: {}", error.reason()));
                    Response::new(StatusCode::BAD_REQUEST, Body::whole("no"))
                }
            })
        })
    }
}

async fn respond(request: Request, seen: &Mutex<Vec<String>>) -> Response {
    let Request { head, target, body, .. } = request;
    let RequestHead { method, version, headers, upgrade, .. } = *head;
    note(seen, format!("{method} {target:?} {version:?} {headers:?} {upgrade:?}"));
    match body.collect().await {
        Ok(whole) => {
            let trailers = whole.trailers().cloned();
            note(seen, format!("body: {:?} {trailers:?}", whole.to_bytes()));
            Response::new(StatusCode::OK, Body::whole("ok"))
        }
        // The service may be dropped before it gets this error, so it is not
        // recorded.
        Err(Fault::ClientGone) => Response { hangup: Some(Hangup::AtOnce), ..Response::default() },
        Err(fault) => {
            note(seen, format!("body: {}", fault.reason()));
            let hangup = Some(Hangup::AfterResponse);
            Response { hangup, ..Response::new(StatusCode::BAD_REQUEST, Body::whole("no")) }
        }
    }
}

fn note(seen: &Mutex<Vec<String>>, what: String) {
    seen.lock().expect("no panic").push(what);
}

/// Accepts one connection, and notifies once its task has been spawned.
struct Once(Option<Script>, Arc<Notify>);

impl Accept for Once {
    type Arrived = Script;
    type Io = Script;

    async fn accept(&mut self) -> io::Result<(Script, SocketAddr)> {
        match self.0.take() {
            Some(io) => Ok((io, HERE)),
            None => {
                self.1.notify_one();
                std::future::pending().await
            }
        }
    }

    fn accept_waiting(&mut self) -> io::Result<Option<(Script, SocketAddr)>> {
        Ok(None)
    }

    fn set_up(io: Script, peer: SocketAddr) -> io::Result<Accepted<Script>> {
        Ok(Accepted { io, peer, local: HERE })
    }
}

/// Both ends of the connection.
const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40000);

/// A client that sends pieces and then closes. Each piece becomes available
/// after at least one pending read.
struct Script {
    /// The remaining pieces; the next one is last.
    pieces: Vec<Vec<u8>>,
    waits: usize,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.waits > 0 {
            self.waits -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.waits = if self.pieces.len() == 1 { BEFORE_THE_END } else { 1 };
        if let Some(mut piece) = self.pieces.pop() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.lock().expect("no panic").extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Socket for Script {
    fn close_cuts(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.pieces.is_empty()
    }
}
