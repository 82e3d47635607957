//! A request whose client left before the response began, under a concurrency
//! limit: its permits are held until the server has ended what it does.
//!
//! Most servers do not notice a closed connection before they write to it, and
//! finish what they have begun. If the permits of a cancelled request went to
//! other requests at once, clients that come and go would put any amount of
//! work on a server. So only our sending side is closed, and a task holds the
//! permits until the server closes its side or responds, at most for
//! `timeouts.attempt`: after that a request whose client waits would have been
//! given up as well.
//!
//! There is one such task for each request that was in flight, so that the
//! concurrency limit bounds them, too. A task belongs to the runtime of its
//! worker: a drain waits for clients and not for it, and the runtime's end ends
//! it. HTTP/2 needs none of this, as a reset of the stream tells the server.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Method, StatusCode};
use tokio::{runtime::Handle, time::timeout};

use super::{exchange::Http1Exchange, upload::Http1Upload};
use crate::{
    body::Body,
    call::{Exchange, Holds},
    http1::ResponseHead,
    upstream::server::InFlight,
};

impl Http1Exchange {
    /// Holds the permits of `call` and its count of requests in flight for as
    /// long as the server works on the request, at most for `longest`.
    ///
    /// A request of which no byte was written is dropped at once, as no server
    /// works on it.
    pub(in crate::upstream) fn hold_on(
        mut self,
        call: Arc<Exchange>,
        in_flight: InFlight,
        longest: Duration,
    ) {
        // Without a runtime the process is about to end.
        let (true, Ok(runtime)) = (self.upload.has_written(), Handle::try_current()) else {
            return;
        };
        // Drops the rest of the request's body, and with it everything of the
        // client that it holds.
        self.upload = Http1Upload::new(Body::empty());
        let holds = Arc::new(Holds::default());
        call.abandon(&holds);
        let method = call.request.method.clone();
        runtime.spawn(async move {
            if !holds.is_empty() {
                let _ = timeout(longest, poll_fn(|cx| self.poll_abandoned(cx, &method))).await;
            }
            drop((self, holds, in_flight));
        });
    }

    /// Closes the sending side, so that the server learns that nobody waits,
    /// and is ready when the server closes its own, sends a final response to
    /// the `method` of the request, or breaks a rule.
    fn poll_abandoned(&mut self, cx: &mut Context<'_>, method: &Method) -> Poll<()> {
        // Shutting down again is harmless, so that this need not remember that
        // it did.
        let _ = self.lease.connection.poll_shutdown(cx);
        loop {
            match self.parse_head(method) {
                Ok(Some(head)) if is_interim(&head) && self.pass_on(&head, None).is_ok() => {
                    continue;
                }
                Ok(None) => {}
                _ => return Poll::Ready(()),
            }
            if !matches!(ready!(self.lease.connection.poll_read(cx)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
    }
}

/// Whether another head follows: the response is informational and does not
/// switch protocols.
fn is_interim(head: &ResponseHead) -> bool {
    head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS
}
