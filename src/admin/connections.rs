//! Connections to the admin listener: how many, for how long, and the layers around every call.

use std::{any::Any, convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
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

/// Scrapers, probes and a few people; more wait in the kernel's queue.
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

/// Accepts until `stop`; connections finish the call that they are at.
pub(super) async fn accept(listener: TcpListener, admin: Arc<Admin>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = next(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, caller, place)) => {
                let connection = serve(stream, caller, Arc::clone(&admin), stop.clone());
                admin.tasks.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "an admin connection was not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Caller, Option<OwnedSemaphorePermit>)> {
    // An error would mean that the semaphore is closed, which nobody does.
    let place = Arc::clone(places).acquire_owned().await.ok();
    let (stream, peer) = listener.accept().await?;
    let caller = Caller { peer, local: stream.local_addr()? };
    Ok((stream, caller, place))
}

async fn serve(stream: TcpStream, caller: Caller, admin: Arc<Admin>, stop: CancellationToken) {
    let panics = Panics { peer: caller.peer, metrics: Arc::clone(&admin.metrics) };
    let calls = ServiceBuilder::new()
        // Outermost: whatever panics below is this call's problem alone.
        .layer(CatchPanicLayer::custom(panics))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, ANSWER))
        .layer(RequestBodyLimitLayer::new(BODY))
        .service(service_fn(move |request: Request<_>| {
            let admin = Arc::clone(&admin);
            async move { Ok::<_, Infallible>(answer(&admin, caller, request).await) }
        }));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(calls));
    let mut connection = pin!(connection);
    tokio::select! {
        // What went wrong with a connection is its client's affair.
        _ = connection.as_mut() => return,
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
        let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        self.metrics.panicked();
        tracing::error!(peer = %self.peer, panic = text, "an admin call ended in a panic");
        problem(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed while it handled the call; its log says more")
    }
}
