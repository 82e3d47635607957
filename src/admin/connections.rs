//! Connections to the admin listener: their number, their life, and the layers
//! around every call.
//!
//! # Bounds
//!
//! There are at most 64 connections, and a further one closes the least useful
//! one rather than being refused: a liveness probe must get its response even
//! if somebody opens many connections and leaves them. A head, a response and a
//! life each have a timeout, and a body has a size, so that no caller holds
//! memory for long.
//!
//! # End
//!
//! A connection ends when its client closes it, after thirty seconds without a
//! head, at once when it has to make room, and after its present call when the
//! listener stops or ten minutes have passed. Every connection is a task of the
//! tracker that the caller owns, so that the process can wait for all of them.
//! Dropping the future of a connection drops the call in it; a reload that such
//! a call has asked for goes on.

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
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{ServiceBuilder, service_fn};
use tower_http::{
    catch_panic::{CatchPanicLayer, ResponseForPanic},
    limit::RequestBodyLimitLayer,
    timeout::TimeoutLayer,
};

use super::{
    context::AdminContext,
    endpoints::respond,
    guard::Caller,
    response::{AdminResponse, problem},
};
use crate::telemetry::Metrics;

/// Open connections: enough for scrapers, probes and a few people. Each further
/// one closes another, so that a probe always gets its response.
const MOST_CONNECTIONS: usize = 64;
/// Longest wait for a head, and longest silence between two calls.
const HEAD: Duration = Duration::from_secs(30);
/// Longest time for a response. A reload that looks names up and builds 10,000
/// routes takes seconds.
const RESPONSE: Duration = Duration::from_secs(30);
/// Longest life of a connection, also of one that reads slowly.
const LIFE: Duration = Duration::from_secs(600);
/// Longest wait for the last response of a connection that ends.
const LAST_RESPONSE: Duration = Duration::from_secs(10);
/// Bytes of the body of a call; no call needs as many.
const BODY: usize = 64 * 1024;
/// Pause of accepting when the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// An open connection as the acceptor knows it, which may have to make room for
/// another one.
#[derive(Debug)]
struct ClosableConnection {
    /// The present activity.
    ///
    /// Written at the beginning and the end of each call, and read when room is
    /// needed.
    activity: Mutex<Activity>,
    /// Ends the connection at once.
    leave: CancellationToken,
}

/// The activity of a connection. The smallest is the first to make room: idle
/// ones before busy ones, and of each kind the one that has been so for
/// longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Activity {
    /// Whether a call is being served.
    is_calling: bool,
    /// When that began.
    since: Instant,
}

impl Activity {
    /// An activity that begins now.
    fn now(is_calling: bool) -> Self {
        let since = Instant::now();
        Self { is_calling, since }
    }
}

impl ClosableConnection {
    /// A connection that is idle.
    fn new() -> Arc<Self> {
        Arc::new(Self {
            activity: Mutex::new(Activity::now(false)),
            leave: CancellationToken::new(),
        })
    }
}

/// Marks a connection as busy until it is dropped.
///
/// A guard, so that a call that panics or runs out of time leaves the
/// connection idle as well.
struct Calling(Arc<ClosableConnection>);

impl Calling {
    /// Marks a connection as busy.
    fn on(entry: &Arc<ClosableConnection>) -> Self {
        *entry.activity.lock() = Activity::now(true);
        Self(Arc::clone(entry))
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        *self.0.activity.lock() = Activity::now(false);
    }
}

/// Accepts until `stop`. Connections then finish their present call. If the
/// process has no file descriptor left, accepting pauses for a tenth of a
/// second.
pub(super) async fn accept(
    listener: TcpListener,
    context: Arc<AdminContext>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let mut open = Vec::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = next(&listener) => accepted,
        };
        match accepted {
            Ok((stream, caller)) => {
                make_room(&mut open);
                let entry = ClosableConnection::new();
                open.push(Arc::downgrade(&entry));
                tasks.spawn(serve(
                    stream,
                    caller,
                    entry,
                    Arc::clone(&context),
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

/// Closes the connection that has been idle for longest if there are as many as
/// there may be; if none is idle, the one with the longest call.
///
/// `open` holds weak references: an entry lives as long as its connection's
/// task, and dead ones are removed only when the list is full. Afterwards there
/// is room for one more. The cost is linear in at most 64 entries.
fn make_room(open: &mut Vec<Weak<ClosableConnection>>) {
    if open.len() < MOST_CONNECTIONS {
        return;
    }
    open.retain(|entry| entry.strong_count() > 0);
    let entries = open.iter().filter_map(Weak::upgrade);
    if open.len() >= MOST_CONNECTIONS
        && let Some(first) = entries.min_by_key(|entry| *entry.activity.lock())
    {
        first.leave.cancel();
        open.retain(|entry| entry.as_ptr() != Arc::as_ptr(&first));
    }
}

/// The next connection and its two ends.
///
/// # Errors
/// The system refuses to accept, or the connection has ended before its own
/// address was read.
async fn next(listener: &TcpListener) -> io::Result<(TcpStream, Caller)> {
    let (stream, peer) = listener.accept().await?;
    let caller = Caller {
        peer,
        local: stream.local_addr()?,
    };
    Ok((stream, caller))
}

/// Serves one connection until it ends, has to make room, or is too old.
///
/// HTTP/1 only: callers are scrapers, probes and browsers. Errors of the
/// connection are not logged, as most are clients that leave.
async fn serve(
    stream: TcpStream,
    caller: Caller,
    entry: Arc<ClosableConnection>,
    context: Arc<AdminContext>,
    stop: CancellationToken,
) {
    let busy = Arc::clone(&entry);
    let panics = Panics {
        peer: caller.peer,
        metrics: Arc::clone(&context.metrics),
    };
    let calls = ServiceBuilder::new()
        // Outermost, so that a panic in any other layer ends this call alone.
        .layer(CatchPanicLayer::custom(panics))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            RESPONSE,
        ))
        .layer(RequestBodyLimitLayer::new(BODY))
        .service(service_fn(move |request: Request<_>| {
            let context = Arc::clone(&context);
            let calling = Calling::on(&busy);
            async move {
                let response = respond(&context, caller, request).await;
                drop(calling);
                Ok::<_, Infallible>(response)
            }
        }));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        // A probe may end its side after its request and still wait for the
        // response.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(calls));
    let mut connection = pin!(connection);
    tokio::select! {
        // The client sees an error of its connection by itself.
        _ = connection.as_mut() => return,
        () = entry.leave.cancelled() => return,
        () = stop.cancelled() => {}
        () = sleep(LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LAST_RESPONSE, connection).await;
}

/// Responds to a call that panicked, and logs the panic.
///
/// The response is 500 with problem details, and the connection goes on.
#[derive(Clone)]
struct Panics {
    /// The address of the caller, for the log.
    peer: SocketAddr,
    /// Where panics are counted.
    metrics: Arc<Metrics>,
}

impl ResponseForPanic for Panics {
    type ResponseBody = Full<Bytes>;

    fn response_for_panic(&mut self, panic: Box<dyn Any + Send>) -> AdminResponse {
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
