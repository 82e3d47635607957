//! Sending a request to a server of an upstream: the innermost service of a
//! route's stack.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tower::Service;

use super::{
    attempt::{Attempt, ResponseOutcome},
    checkout::Awaited,
    exchange::{SentParts, SentRequest},
    failure::Failure,
    http1::Reuse,
    service::Upstream,
};
use crate::{
    call::{self, Outgoing},
    error::{Error, Failed, Seen},
    message::Response,
    runtime::worker,
};

/// Sends each request to one of the servers of an [`Upstream`].
#[derive(Debug, Clone)]
pub struct SendTo(pub Arc<Upstream>);

impl Service<Outgoing> for SendTo {
    type Response = Response;
    type Error = Failed;
    /// The only box on a request's path through the stack.
    type Future = Pin<Box<dyn Future<Output = Result<Response, Failed>> + Send>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outgoing: Outgoing) -> Self::Future {
        Box::pin(Arc::clone(&self.0).send(outgoing))
    }
}

impl Upstream {
    /// Sends a request to one server, once, and judges the server by the
    /// outcome. The layers above decide whether a failure is retried.
    ///
    /// Cancel safe: a dropped future releases the connection and every count
    /// that it holds.
    async fn send(self: Arc<Self>, outgoing: Outgoing) -> Result<Response, Failed> {
        let index = self.choose(&outgoing)?;
        let server = &self.balancer.servers[index];
        let exchange = &outgoing.exchange;
        exchange.try_server(index, self.name(), &server.url);
        let in_flight = server.begin();
        let worker = worker::current();
        let reuse = match outgoing.new_connection {
            true => Reuse::Forbidden,
            false => Reuse::Allowed,
        };
        let mut attempt = Attempt::new(&self, index, &outgoing);
        let (checkout, started) = match server.pooled(worker, reuse, outgoing.now) {
            Some(checkout) => (checkout, outgoing.now),
            // Boxed, as it is rare and large.
            None => {
                let awaited = Box::pin(self.check_out(server, worker, reuse, &mut attempt)).await;
                let Awaited { checkout, ready_at } = awaited.map_err(|error| {
                    self.seek_alternative(&outgoing.exchange, Failed::unseen(error))
                })?;
                (checkout, ready_at)
            }
        };
        let call = Arc::clone(&outgoing.exchange);
        let sent = SentRequest::new(checkout, outgoing, server, in_flight);
        let mut sent = sent.map_err(|failure| failure.into_failed(self.name()))?;
        attempt.sent = Some(call);
        let head = poll_fn(|cx| sent.poll(cx, &mut attempt.is_servers_turn)).await;
        let now = Instant::now();
        let took = now - started;
        self.metrics.answered(took);
        if let Some(call) = &attempt.sent {
            call.sent(took);
        }
        let head = match head {
            Ok(head) => head,
            Err(failure) => {
                attempt.failed(failure.of_server(), took, now);
                sent.fail(failure);
                return Err(self.failed(failure, attempt.sent.as_deref()));
            }
        };
        let is_success = attempt.responded(&head, took, now);
        let Some(SentParts {
            exchange,
            call,
            in_flight,
        }) = sent.into_parts()
        else {
            return Err(Error::ClientGone.into());
        };
        let outcome = ResponseOutcome {
            upstream: self,
            index,
            call,
            is_success,
            in_flight,
        };
        Ok(exchange.into_response(head, outcome, now))
    }

    /// Chooses the server for a request, by its index.
    fn choose(&self, outgoing: &Outgoing) -> Result<usize, Failed> {
        let chosen = self
            .balancer
            .choose(outgoing.exchange.tried(), outgoing.key, outgoing.now);
        chosen.ok_or_else(|| {
            outgoing.exchange.no_server(self.name());
            Failed::unseen(Error::NoHealthyServer {
                upstream: Arc::clone(self.name()),
            })
        })
    }

    /// The failure of an attempt, with an alternative if there is one.
    fn failed(&self, failure: Failure, call: Option<&call::Exchange>) -> Failed {
        let failed = failure.into_failed(self.name());
        match call {
            Some(call) => self.seek_alternative(call, failed),
            None => failed,
        }
    }

    /// Notes in a failure, if no server has seen the request, whether another
    /// healthy server is left to try.
    fn seek_alternative(&self, call: &call::Exchange, mut failed: Failed) -> Failed {
        if failed.seen == Seen::No {
            failed.has_alternative = self.balancer.has_other(call.tried(), Instant::now());
        }
        failed
    }
}
