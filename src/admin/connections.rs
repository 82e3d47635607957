//! Connections to the admin listener: how many, for how long, and the layers around every call.

use std::{
    any::Any,
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::{ServiceBuilder, service_fn};
use tower_http::{
    catch_panic::{CatchPanicLayer, ResponseForPanic},
    limit::RequestBodyLimitLayer,
    timeout::TimeoutLayer,
};

use super::{
    Admin,
    answer::{Answer, problem},
    endpoints::{Caller, answer},
};
use crate::telemetry::Metrics;

/// Scrapers, probes and a few people. Each further one closes another: a probe is always answered.
const MOST_CONNECTIONS: usize = 64;
/// Longest wait for a head, and the longest silence between two calls: a place is not held for nothing.
const HEAD: Duration = Duration::from_secs(30);
/// Longest time for an answer. A reload looks names up and has to build 10,000 routes: seconds, not minutes.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest life of a connection, so that one that reads slowly does not hold its place for ever.
const LIFE: Duration = Duration::from_secs(600);
/// Longest wait for the last answer of a connection that ends.
const LAST_ANSWER: Duration = Duration::from_secs(10);
/// Bytes of a call's body; no call needs as many.
const BODY: usize = 64 * 1024;
/// How long accepting pauses when the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// One connection, as it may have to make room for another.
#[derive(Debug)]
struct Seat {
    /// Whether a call is answered, and since when that is so.
    state: Mutex<(bool, Instant)>,
    leave: CancellationToken,
}

impl Seat {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new((false, Instant::now())),
            leave: CancellationToken::new(),
        })
    }

    fn set(&self, is_calling: bool) {
        *self.state.lock() = (is_calling, Instant::now());
    }
}

/// A call that is answered.
struct Calling(Arc<Seat>);

impl Calling {
    fn on(seat: &Arc<Seat>) -> Self {
        seat.set(true);
        Self(Arc::clone(seat))
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Accepts until `stop`; connections finish the call that they are at.
pub(super) async fn accept(listener: TcpListener, admin: Arc<Admin>, stop: CancellationToken) {
    let mut seats = Vec::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = next(&listener) => accepted,
        };
        match accepted {
            Ok((stream, caller)) => {
                make_room(&mut seats);
                let seat = Seat::new();
                seats.push(Arc::downgrade(&seat));
                admin.tasks.spawn(serve(
                    stream,
                    caller,
                    seat,
                    Arc::clone(&admin),
                    stop.clone(),
                ));
            }
            Err(error) => {
                tracing::debug!(%error, "an admin connection was not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Closes the connection that has been without a call for longest, when there are as many as there may be; where all are
/// at one, that which has been so for longest.
fn make_room(seats: &mut Vec<Weak<Seat>>) {
    if seats.len() < MOST_CONNECTIONS {
        return;
    }
    seats.retain(|seat| seat.strong_count() > 0);
    let open = seats.iter().filter_map(Weak::upgrade);
    if seats.len() >= MOST_CONNECTIONS
        && let Some(oldest) = open.min_by_key(|seat| *seat.state.lock())
    {
        oldest.leave.cancel();
        seats.retain(|seat| seat.as_ptr() != Arc::as_ptr(&oldest));
    }
}

async fn next(listener: &TcpListener) -> io::Result<(TcpStream, Caller)> {
    let (stream, peer) = listener.accept().await?;
    let caller = Caller {
        peer,
        local: stream.local_addr()?,
    };
    Ok((stream, caller))
}

async fn serve(
    stream: TcpStream,
    caller: Caller,
    seat: Arc<Seat>,
    admin: Arc<Admin>,
    stop: CancellationToken,
) {
    let of_calls = Arc::clone(&seat);
    let panics = Panics {
        peer: caller.peer,
        metrics: Arc::clone(&admin.metrics),
    };
    let calls = ServiceBuilder::new()
        // Outermost: whatever panics below is this call's problem alone.
        .layer(CatchPanicLayer::custom(panics))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            ANSWER,
        ))
        .layer(RequestBodyLimitLayer::new(BODY))
        .service(service_fn(move |request: Request<_>| {
            let (admin, calling) = (Arc::clone(&admin), Calling::on(&of_calls));
            async move {
                let answer = answer(&admin, caller, request).await;
                drop(calling);
                Ok::<_, Infallible>(answer)
            }
        }));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        // A probe may end its side once it has asked; it still waits for the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(calls));
    let mut connection = pin!(connection);
    tokio::select! {
        // What went wrong with a connection is its client's affair.
        _ = connection.as_mut() => return,
        () = seat.leave.cancelled() => return,
        () = stop.cancelled() => {}
        () = sleep(LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LAST_ANSWER, connection).await;
}

/// What a call is answered that panicked.
#[derive(Clone)]
struct Panics {
    peer: SocketAddr,
    metrics: Arc<Metrics>,
}

impl ResponseForPanic for Panics {
    type ResponseBody = Full<Bytes>;

    fn response_for_panic(&mut self, panic: Box<dyn Any + Send>) -> Answer {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or(panic.downcast_ref::<String>().map(String::as_str));
        self.metrics.panicked();
        tracing::error!(peer = %self.peer, panic = text, "an admin call ended in a panic");
        problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the gateway failed while it handled the call; its log says more",
        )
    }
}
