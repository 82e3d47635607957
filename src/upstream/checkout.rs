//! Checking out a connection: an idle one, a new one, or the first that becomes
//! free.
//!
//! Most requests get an idle connection of their own worker without awaiting
//! anything ([`Server::pooled`]). This file is for the others: they
//! join the queue if the server's `max_connections` are open, and make a
//! connection if they may. On HTTP/2 one request makes the connection while
//! others wait for it, as all of them can share it.
//!
//! # Bounds
//!
//! A request waits in the queue for at most `wait_timeout` (503, reason
//! `pool_timeout`), and for a connection for at most `connect_timeout` (502).
//! The queue itself is bounded by the concurrency limits before it.
//!
//! # Cancellation
//!
//! Everything that a request holds here is a guard: its place in the queue, the
//! permit for a connection, and the turn to make one. A request that is dropped
//! passes each of them on to the next.
//!
//! # The server's protocol
//!
//! A server that chooses its protocol (`protocol = "auto"`) is taken to speak
//! HTTP/2 until a handshake shows otherwise. From then on its requests are
//! checked out as those of HTTP/1, also those that waited for a stream.
//!
//! # The turn to make a connection
//!
//! On HTTP/1 each request that finds no idle connection makes its own, up to
//! `max_connections`. On HTTP/2 a worker makes one connection at a time: the
//! first request gets the turn, and the others of this worker wait for it, and
//! share its failure.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    attempt::Attempt,
    capacity::ConnectionPermit,
    http1::{Acquired, Lease, Reuse},
    http2::{Http2Pool, MakingTurn, StreamSearch},
    proxy_protocol::ClientEnds,
    server::{Checkout, Server},
    service::Upstream,
    stream::Stream,
};
use crate::{
    call::Exchange,
    error::{ConnectFailure, Error},
    runtime::timer::timeout,
};

impl Upstream {
    /// Checks out a connection of `server` for an attempt, waiting for one or
    /// making one.
    ///
    /// `reuse` says whether an idle connection of HTTP/1 will do; after a stale
    /// one only a new connection does. A timeout in the queue is not held
    /// against the server, whose latency is measured from the moment on at
    /// which this is ready.
    ///
    /// # Errors
    /// [`Error::PoolTimeout`] if none became free within `wait_timeout`;
    /// [`Error::ConnectFailed`] if one could not be made.
    pub(super) async fn check_out(
        &self,
        server: &Server,
        worker: usize,
        reuse: Reuse<'_>,
        attempt: &mut Attempt,
    ) -> Result<Checkout, Error> {
        match server.http2() {
            None => self.check_out_http1(server, worker, reuse, attempt).await,
            Some(http2) => self.check_out_http2(server, http2, worker, attempt).await,
        }
    }

    /// Takes an idle connection, or makes one, or waits for either.
    async fn check_out_http1(
        &self,
        server: &Server,
        worker: usize,
        reuse: Reuse<'_>,
        attempt: &mut Attempt,
    ) -> Result<Checkout, Error> {
        match server.http1.acquire(worker, reuse).await {
            None => Err(self.pool_timeout(server)),
            Some(Acquired::Idle(lease)) => Ok(Checkout::Http1(lease)),
            Some(Acquired::Permit(permit)) => {
                let stream = self
                    .connect(server, attempt)
                    .await
                    .map_err(|cause| self.connect_failed(cause))?;
                Ok(lease(stream, permit, server, worker, &attempt.call))
            }
        }
    }

    /// Takes a stream, or makes a connection for one, or waits for either.
    /// Falls back to HTTP/1 if the server turns out to prefer it.
    ///
    /// While nobody queues, a request takes a stream or makes a connection, or
    /// waits for the connection that is being made without queueing; when that
    /// cannot be made, it fails with the same cause. As soon as others queue,
    /// it queues behind them, for at most `wait_timeout`.
    async fn check_out_http2(
        &self,
        server: &Server,
        http2: &Arc<Http2Pool>,
        worker: usize,
        attempt: &mut Attempt,
    ) -> Result<Checkout, Error> {
        let mut search = StreamSearch::Exhausted;
        while !server.capacity.is_contended() {
            search = http2.find(worker);
            let StreamSearch::BeingMade(making) = &search else {
                break;
            };
            if let Some(cause) = making.wait().await {
                return Err(self.connect_failed(cause));
            }
        }
        if matches!(search, StreamSearch::BeingMade(_) | StreamSearch::Exhausted) {
            let queued = queue_for_stream(server, http2, worker);
            search = timeout(server.capacity.settings.wait_timeout, queued)
                .await
                .map_err(|_| self.pool_timeout(server))?;
        }
        match search {
            StreamSearch::Stream(stream) => Ok(Checkout::Http2(stream)),
            StreamSearch::Make(turn, permit) if server.http2().is_some() => {
                self.make_http2(server, worker, turn, permit, attempt).await
            }
            // A concurrent handshake has shown that the server speaks HTTP/1.
            search => {
                drop(search);
                Box::pin(self.check_out_http1(server, worker, Reuse::Allowed, attempt)).await
            }
        }
    }

    /// Makes a connection that may become one of HTTP/2, and takes its first
    /// stream.
    ///
    /// Two steps may fail: TCP and TLS, and the exchange of SETTINGS after
    /// them. Either failure is passed on to the requests that wait for this
    /// connection. If the handshake agrees on HTTP/1, the connection becomes
    /// one of HTTP/1, and the requests that wait look again.
    async fn make_http2(
        &self,
        server: &Server,
        worker: usize,
        turn: MakingTurn,
        permit: ConnectionPermit,
        attempt: &mut Attempt,
    ) -> Result<Checkout, Error> {
        let stream = match self.connect(server, attempt).await {
            Ok(stream) => stream,
            Err(cause) => {
                turn.fail(cause);
                return Err(self.connect_failed(cause));
            }
        };
        if !server.agrees_on_http2(&stream) {
            return Ok(lease(stream, permit, server, worker, &attempt.call));
        }
        let begun = Instant::now();
        turn.complete(stream, permit)
            .await
            .map(Checkout::Http2)
            .map_err(|cause| {
                attempt.connect_failed(cause, begun);
                self.connect_failed(cause)
            })
    }

    /// Makes a connection within `connect_timeout`, and notes how that went in
    /// metrics, log and health.
    ///
    /// From here on it is the server's turn. A server that is a name is looked
    /// up again soon if it refused, did not respond or failed the handshake:
    /// its address may have gone to another machine.
    async fn connect(
        &self,
        server: &Server,
        attempt: &mut Attempt,
    ) -> Result<Stream, ConnectFailure> {
        let begun = Instant::now();
        attempt.is_servers_turn = true;
        let connecting = server.connect(&attempt.call);
        let connected = timeout(server.capacity.settings.connect_timeout, connecting)
            .await
            .unwrap_or(Err(ConnectFailure::Timeout));
        if let Err(ConnectFailure::Refused | ConnectFailure::Timeout | ConnectFailure::Tls(_)) =
            connected
        {
            server.addresses.suspect();
        }
        let outcome = match &connected {
            Ok(_) => "success",
            Err(cause) => cause.outcome(),
        };
        self.metrics.connected(outcome);
        self.log_tls(server, &connected);
        connected.inspect_err(|cause| attempt.connect_failed(*cause, begun))
    }

    /// Logs the first failed handshake in a row, and the first that succeeds
    /// again.
    fn log_tls(&self, server: &Server, connected: &Result<Stream, ConnectFailure>) {
        let (upstream, url) = (&**self.name(), &*server.url);
        match connected {
            Ok(_) if server.speaks_tls() && server.has_failed_tls.clear() => {
                tracing::info!(upstream, server = url, "TLS connections again");
            }
            Err(ConnectFailure::Tls(why)) if server.has_failed_tls.raise() => {
                tracing::warn!(upstream, server = url, "no TLS connection: {why}");
            }
            _ => {}
        }
    }

    /// The error of a connection that could not be made.
    fn connect_failed(&self, cause: ConnectFailure) -> Error {
        Error::ConnectFailed {
            upstream: Arc::clone(self.name()),
            cause,
        }
    }

    /// The error of a wait that was too long.
    fn pool_timeout(&self, server: &Server) -> Error {
        Error::PoolTimeout {
            upstream: Arc::clone(self.name()),
            after: server.capacity.settings.wait_timeout,
        }
    }
}

/// Queues for a stream of any worker's connection, or for permission to make a
/// connection. Returns [`StreamSearch::Exhausted`] if the server turns out to
/// speak HTTP/1 meanwhile.
///
/// The request at the front takes a stream on a connection of another worker
/// even while one of its own worker is being made, since it has waited already.
async fn queue_for_stream(server: &Server, http2: &Arc<Http2Pool>, worker: usize) -> StreamSearch {
    let front = server.capacity.queue().await;
    while server.http2().is_some() {
        let making = match http2.find(worker) {
            StreamSearch::BeingMade(making) => making,
            StreamSearch::Exhausted => {
                front.freed().await;
                continue;
            }
            search => return search,
        };
        if let Some(stream) = http2.stream_of_any(Instant::now()) {
            return StreamSearch::Stream(stream);
        }
        tokio::select! {
            _ = making.wait() => {}
            () = front.freed() => {}
        }
    }
    StreamSearch::Exhausted
}

/// Leases a connection of HTTP/1 that was just made for a request.
fn lease(
    stream: Stream,
    permit: ConnectionPermit,
    server: &Server,
    worker: usize,
    exchange: &Exchange,
) -> Checkout {
    let client = server.announces.then(|| ClientEnds::of(exchange));
    Checkout::Http1(Lease::new(stream, worker, permit, &server.http1, client))
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, pin::pin, task::Poll};

    use futures_util::poll;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{
        policy::Protocol,
        upstream::{http2::StreamPermit, tests},
    };

    /// A server of HTTP/2 that may have one connection of one stream.
    fn narrow(address: SocketAddr) -> Server {
        let mut policy = tests::policy(&[&format!("http://{address}")]);
        policy.protocol = Protocol::Http2;
        Server::new(&policy, &policy.servers[0], None, 2)
    }

    async fn made(http2: &Arc<Http2Pool>, address: SocketAddr) -> StreamPermit {
        let StreamSearch::Make(turn, permit) = http2.find(0) else {
            panic!("a connection may be made")
        };
        let stream = Stream::Plain(TcpStream::connect(address).await.unwrap());
        turn.complete(stream, permit).await.unwrap()
    }

    /// A request that had just arrived took the stream.
    #[tokio::test]
    async fn a_stream_that_is_free_goes_to_the_first_in_the_queue_whatever_its_worker() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (io, _) = listener.accept().await.unwrap();
            let mut h2 = h2::server::Builder::new()
                .max_concurrent_streams(1)
                .handshake::<_, bytes::Bytes>(io)
                .await
                .unwrap();
            while h2.accept().await.is_some() {}
        });
        let server = narrow(address);
        let http2 = server.http2().unwrap();
        let held = made(http2, address).await;
        let mut first = pin!(queue_for_stream(&server, http2, 1));
        let mut second = pin!(queue_for_stream(&server, http2, 0));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        drop(held);
        // The stream is free, but the first request was not polled since.
        let pooled = || server.pooled(0, Reuse::Allowed, Instant::now());
        assert!(pooled().is_none() && poll!(&mut second).is_pending());
        let Poll::Ready(StreamSearch::Stream(stream)) = poll!(&mut first) else {
            panic!("it is the first one's turn")
        };
        assert!(pooled().is_none() && poll!(&mut second).is_pending());
        drop(stream);
        let Poll::Ready(StreamSearch::Stream(stream)) = poll!(&mut second) else {
            panic!("it is the second one's turn")
        };
        drop(stream);
        assert!(pooled().is_some(), "the queue is empty");
    }
}
