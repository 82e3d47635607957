//! A request whose client leaves before its response. An HTTP/1 server is told by the end of our sending side, and the
//! permits of the request are held until the server closes its side or responds: a server that finishes everything it has
//! begun is given no more than the caps allow, whatever clients do. On HTTP/2 the stream is reset.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Method;
use tokio::{runtime::Handle, time::timeout};

use super::{connection, connection::Failure, server::InFlight, way::Exchange};
use crate::{
    call::{self, Holds},
    error::Fault,
    http1::ResponseHead,
};

/// A request that was sent, before its answer. Dropped then, it is abandoned.
pub(super) struct Asked {
    /// `None` once nothing is to be waited for any more.
    open: Option<Open>,
    /// How long permits are held for a server whose client has left; `None` where there is no cap.
    linger: Option<Duration>,
}

/// A request while a server works on it.
pub(super) struct Open {
    pub(super) exchange: Exchange,
    pub(super) call: Arc<call::Exchange>,
    /// One more request of its server.
    pub(super) in_flight: InFlight,
}

impl Asked {
    pub(super) fn new(open: Open, linger: Option<Duration>) -> Self {
        Self {
            open: Some(open),
            linger,
        }
    }

    /// Ready with the answer's head; before that, says each time whether it is the server's turn.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        is_servers_turn: &mut bool,
    ) -> Poll<Result<ResponseHead, Failure>> {
        let Some(Open { exchange, call, .. }) = &mut self.open else {
            return Poll::Pending;
        };
        let head = exchange.poll(cx, &call.request);
        *is_servers_turn = exchange.waits_for_server();
        head
    }

    /// Nothing more is expected, for this reason; of a client that left in its own body the server may work on what it has.
    pub(super) fn failed(&mut self, failure: Failure) {
        if failure != Failure::Client(Fault::ClientGone) {
            self.open = None;
        }
    }

    /// All of it, once it is answered.
    pub(super) fn answered(mut self) -> Option<Open> {
        self.open.take()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // Mostly it is answered, and nothing is left to be moved.
        if self.open.is_none() {
            return;
        }
        let (
            Some(after),
            Some(Open {
                exchange,
                call,
                in_flight,
            }),
        ) = (self.linger, self.open.take())
        else {
            return;
        };
        let Exchange::Http1(mut exchange) = exchange else {
            return;
        };
        // Outside of a runtime nothing is served any more.
        let (true, Ok(runtime)) = (exchange.has_written(), Handle::try_current()) else {
            return;
        };
        exchange.forsake();
        let holds = Arc::new(Holds::default());
        call.abandon(&holds);
        let method = call.request.method.clone();
        // Its owner is the worker: a drain, which waits for clients, does not wait for it, and the worker's end ends it.
        runtime.spawn(async move {
            outlive(exchange, &method, &holds, after).await;
            drop((holds, in_flight));
        });
    }
}

/// Waits for the end of what the server does, at most `after`, if any permit is held for it; closes the connection.
async fn outlive(
    mut exchange: connection::Exchange,
    method: &Method,
    holds: &Holds,
    after: Duration,
) {
    if !holds.is_empty() {
        // A late response is given up as it would be with a client that waits.
        let _ = timeout(after, poll_fn(|cx| exchange.poll_forsaken(cx, method))).await;
    }
}
