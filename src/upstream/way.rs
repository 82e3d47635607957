//! The way to a server: a connection of HTTP/1, or a stream of HTTP/2; found, waited for or made.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderName, header};
use tokio::time::Instant;

use super::{
    Upstream, connect,
    connection::{self, Connection, Failure},
    http2::{self, Borrowed, Found, Turn},
    pool::{Lease, OpenSlot, Place},
    server::Server,
    stream::Stream,
    trial::{Rest, Trial},
};
use crate::{
    body::Trailers,
    call::{self, Outgoing},
    error::{ConnectFailure, Error},
    http1::{self, ResponseHead},
    message::Response,
    runtime::timer::timeout,
};

/// What carries one exchange.
pub(super) enum Way {
    Http1(Lease),
    Http2(Borrowed),
}

impl Server {
    /// The way by a connection that is kept: that of most requests.
    pub(super) fn kept(&self, worker: usize, fresh: bool, now: Instant) -> Option<Way> {
        match self.http2() {
            None => self.pool.kept(worker, fresh, now).map(Way::Http1),
            Some(_) if self.pool.is_waited_for() => None,
            Some(http2) => http2.kept(worker, &self.pool.settings, now).map(Way::Http2),
        }
    }
}

impl Upstream {
    /// A way to `server`, and when there was one: made, or waited for.
    pub(super) async fn reach(
        &self,
        server: &Server,
        worker: usize,
        fresh: bool,
        trial: &mut Trial<'_>,
    ) -> Result<(Way, Instant), Error> {
        let way = match server.http2() {
            None => self.reach_http1(server, worker, fresh, trial).await?,
            Some(http2) => self.reach_http2(server, http2, worker, trial).await?,
        };
        Ok((way, Instant::now()))
    }

    async fn reach_http1(
        &self,
        server: &Server,
        worker: usize,
        fresh: bool,
        trial: &mut Trial<'_>,
    ) -> Result<Way, Error> {
        match server.pool.take(worker, fresh).await {
            None => Err(self.no_place(server)),
            Some(Place::Kept(lease)) => Ok(Way::Http1(lease)),
            Some(Place::Free(slot)) => {
                let stream = self
                    .open(server, trial)
                    .await
                    .map_err(|cause| self.not_connected(cause))?;
                Ok(http1_by(stream, slot, server, worker))
            }
        }
    }

    async fn reach_http2(
        &self,
        server: &Server,
        http2: &Arc<http2::Shared>,
        worker: usize,
        trial: &mut Trial<'_>,
    ) -> Result<Way, Error> {
        let mut found = Found::Full;
        while !server.pool.is_waited_for() {
            found = http2.find(worker, &server.pool);
            let Found::Wait(making) = &found else { break };
            if let Some(cause) = making.wait().await {
                return Err(self.not_connected(cause));
            }
        }
        if matches!(found, Found::Wait(_) | Found::Full) {
            let wait = stream_in_turn(server, http2, worker);
            found = timeout(server.pool.settings.wait_timeout, wait)
                .await
                .map_err(|_| self.no_place(server))?;
        }
        match found {
            Found::Stream(borrowed) => Ok(Way::Http2(borrowed)),
            Found::Make(turn, slot) if server.http2().is_some() => {
                self.make_http2(server, worker, turn, slot, trial).await
            }
            // Another one has just learned that the server speaks HTTP/1.
            found => {
                drop(found);
                Box::pin(self.reach_http1(server, worker, false, trial)).await
            }
        }
    }

    /// Makes a connection and takes a stream of it.
    async fn make_http2(
        &self,
        server: &Server,
        worker: usize,
        turn: Turn,
        slot: OpenSlot,
        trial: &mut Trial<'_>,
    ) -> Result<Way, Error> {
        let stream = match self.open(server, trial).await {
            Ok(stream) => stream,
            Err(cause) => {
                turn.failed(cause);
                return Err(self.not_connected(cause));
            }
        };
        if !server.agreed_on_http2(&stream) {
            return Ok(http1_by(stream, slot, server, worker));
        }
        let begun = Instant::now();
        let made = turn.made(stream, slot, &server.pool).await;
        made.map(Way::Http2).map_err(|cause| {
            trial.not_connected(cause, begun);
            self.not_connected(cause)
        })
    }

    async fn open(&self, server: &Server, trial: &mut Trial<'_>) -> Result<Stream, ConnectFailure> {
        let begun = Instant::now();
        trial.is_its_turn = true;
        let made = connect::connect(&server.addresses, server.secure.as_ref(), server.protocol);
        let made = timeout(server.pool.settings.connect_timeout, made).await;
        let made = made.unwrap_or(Err(ConnectFailure::Timeout));
        if matches!(
            made,
            Err(ConnectFailure::Refused | ConnectFailure::Timeout | ConnectFailure::Tls(_))
        ) {
            server.addresses.are_in_doubt();
        }
        self.metrics.connected(
            made.as_ref()
                .map_or_else(|cause| cause.outcome(), |_| "success"),
        );
        match &made {
            Ok(_) if server.secure.is_some() && server.is_refused.clear() => {
                tracing::info!(
                    upstream = &**self.name(),
                    server = &*server.url,
                    "TLS connections again"
                );
            }
            Err(ConnectFailure::Tls(why)) if server.is_refused.raise() => {
                tracing::warn!(
                    upstream = &**self.name(),
                    server = &*server.url,
                    "no TLS connection: {why}"
                );
            }
            _ => {}
        }
        made.inspect_err(|cause| trial.not_connected(*cause, begun))
    }

    fn not_connected(&self, cause: ConnectFailure) -> Error {
        Error::ConnectFailed {
            upstream: Arc::clone(self.name()),
            cause,
        }
    }

    fn no_place(&self, server: &Server) -> Error {
        let after = server.pool.settings.wait_timeout;
        Error::PoolTimeout {
            upstream: Arc::clone(self.name()),
            after,
        }
    }
}

/// Waits in line for a stream of any connection, or for leave to make one. Neither once the server is known to speak HTTP/1.
async fn stream_in_turn(server: &Server, http2: &Arc<http2::Shared>, worker: usize) -> Found {
    let first = server.pool.line_up().await;
    while server.http2().is_some() {
        let making = match http2.find(worker, &server.pool) {
            Found::Wait(making) => making,
            Found::Full => {
                first.freed().await;
                continue;
            }
            found => return found,
        };
        if let Some(borrowed) = http2.steal(&server.pool.settings, Instant::now()) {
            return Found::Stream(borrowed);
        }
        tokio::select! {
            _ = making.wait() => {}
            () = first.freed() => {}
        }
    }
    Found::Full
}

fn http1_by(stream: Stream, slot: OpenSlot, server: &Server, worker: usize) -> Way {
    Way::Http1(Lease::new(
        Connection::new(stream, worker, slot),
        &server.pool,
    ))
}

/// A request on its way, and the wait for the answer's head.
pub(super) enum Exchange {
    Http1(connection::Exchange),
    /// Boxed: those of HTTP/1 need not be as large.
    Http2(Box<http2::Exchange>),
}

impl Exchange {
    /// Sends `outgoing` by this way.
    ///
    /// # Errors
    /// It cannot be said in the protocol of the way.
    pub(super) fn new(
        way: Way,
        mut outgoing: Outgoing,
        server: &Server,
    ) -> Result<(Self, Arc<call::Exchange>), Failure> {
        let to_http1 = matches!(way, Way::Http1(_));
        if !outgoing.body.is_whole() {
            bound_trailers(&mut outgoing, to_http1);
        }
        match way {
            Way::Http1(mut lease) => {
                write_head(&mut lease, &outgoing, server);
                let Outgoing { call, body, .. } = outgoing;
                Ok((Self::Http1(connection::Exchange::new(lease, body)), call))
            }
            Way::Http2(borrowed) => {
                let call = Arc::clone(&outgoing.call);
                let exchange = http2::Exchange::new(
                    borrowed,
                    outgoing,
                    &server.authority,
                    server.secure.is_some(),
                )?;
                Ok((Self::Http2(Box::new(exchange)), call))
            }
        }
    }

    /// Ready with the answer's head.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        request: &call::Head,
    ) -> Poll<Result<ResponseHead, Failure>> {
        match self {
            Self::Http1(exchange) => exchange.poll(cx, request),
            Self::Http2(exchange) => exchange.poll(cx, &request.method, request.interim.as_ref()),
        }
    }

    /// The server has to do something next: neither the client nor the gateway.
    pub(super) fn waits_for_server(&self) -> bool {
        match self {
            Self::Http1(exchange) => exchange.waits_for_server(),
            Self::Http2(exchange) => exchange.waits_for_server(),
        }
    }

    /// The answer, whose head came `now`, with its body.
    pub(super) fn into_answer(self, head: ResponseHead, rest: Rest, now: Instant) -> Response {
        match self {
            Self::Http1(exchange) => exchange.into_answer(head, rest, now),
            Self::Http2(exchange) => exchange.into_answer(head, rest),
        }
    }
}

/// Lets only those trailers pass that may, and announces them. Servers of HTTP/1 get none unless the route says so: some take
/// them for fields of the head, of this request or even of the next one.
fn bound_trailers(outgoing: &mut Outgoing, to_http1: bool) {
    let mut passing = std::mem::take(&mut outgoing.trailers);
    if to_http1 && (!outgoing.trailers_to_http1 || outgoing.body.length().is_some()) {
        passing = Box::default();
    }
    if !passing.is_empty() {
        let names: Vec<_> = passing.iter().map(HeaderName::as_str).collect();
        http1::write_field(
            &mut outgoing.head,
            header::TRAILER.as_str(),
            names.join(", ").as_bytes(),
        );
    }
    outgoing.body.set_trailers(Trailers::Only(passing));
}

/// Request line and fields with their framing, as HTTP/1 has them.
fn write_head(lease: &mut Lease, outgoing: &Outgoing, server: &Server) {
    let out = lease.connection.output.buffer();
    out.extend_from_slice(&outgoing.head);
    if !outgoing.has_host {
        http1::write_field(out, "host", server.authority.as_bytes());
    }
    match outgoing.body.length() {
        // A length is named where there is one to name, or where its absence might be taken for "unknown".
        Some(0) if outgoing.names_length => out.extend_from_slice(b"content-length: 0\r\n"),
        Some(0) => {}
        Some(length) => {
            out.extend_from_slice(b"content-length: ");
            http1::write_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        None => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, pin::pin};

    use futures_util::poll;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{policy::Protocol, upstream::tests};

    /// A server of HTTP/2 that may have one connection of one stream.
    fn narrow(address: SocketAddr) -> Server {
        let mut policy = tests::policy(&[&format!("http://{address}")]);
        policy.protocol = Protocol::Http2;
        Server::new(&policy, &policy.servers[0], None, 2)
    }

    async fn made(server: &Server, http2: &Arc<http2::Shared>, address: SocketAddr) -> Borrowed {
        let Found::Make(turn, slot) = http2.find(0, &server.pool) else {
            panic!("there is a place")
        };
        let stream = Stream::Plain(TcpStream::connect(address).await.unwrap());
        turn.made(stream, slot, &server.pool).await.unwrap()
    }

    /// A request that had just come took it.
    #[tokio::test]
    async fn a_stream_that_is_free_goes_to_the_first_in_line_whatever_its_worker() {
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
        let held = made(&server, http2, address).await;
        let mut first = pin!(stream_in_turn(&server, http2, 1));
        let mut second = pin!(stream_in_turn(&server, http2, 0));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        drop(held);
        // The stream is free, and the first has not yet been woken.
        let kept = || server.kept(0, false, Instant::now());
        assert!(kept().is_none() && poll!(&mut second).is_pending());
        let Poll::Ready(Found::Stream(stream)) = poll!(&mut first) else {
            panic!("it is the first one's turn")
        };
        assert!(kept().is_none() && poll!(&mut second).is_pending());
        drop(stream);
        let Poll::Ready(Found::Stream(stream)) = poll!(&mut second) else {
            panic!("it is the second one's turn")
        };
        drop(stream);
        assert!(kept().is_some(), "nobody waits any more");
    }
}
