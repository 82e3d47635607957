//! The response to a call: the future that waits for it, and what it settles.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::charge::Charge;
use crate::{
    call::Exchange,
    error::{Error, Failed, Seen},
    layer::{refused_at_once::RefusedAtOnce, response_changes},
    message::Response,
    policy::HeaderChanges,
};

/// Settles the tokens of a request that has a response, or has failed. Without
/// a charge it does nothing.
#[inline]
pub(super) fn settle(charge: &mut Option<Charge>, response: &mut Result<Response, Failed>) {
    match response {
        Ok(response) => {
            if let Some(charge) = charge {
                charge.settle(response);
            }
        }
        Err(failed) => settle_failed(charge.take(), failed),
    }
}

/// Changes of a route in responses, and the request that values are filled in
/// of.
pub(super) type LateChanges = (Arc<HeaderChanges>, Arc<Exchange>);

/// Makes the changes of the route that had to wait until its limits have read
/// the response.
#[inline]
pub(super) fn change(changes: &mut Option<LateChanges>, response: &mut Result<Response, Failed>) {
    if let Some((changes, exchange)) = changes.take()
        && let Ok(response) = response
    {
        response_changes::apply(&changes, response, &exchange);
    }
}

/// Settles the tokens of a request that has failed.
#[cold]
fn settle_failed(charge: Option<Charge>, failed: &Failed) {
    match charge {
        Some(charge) if failed.seen == Seen::No => charge.refund(),
        Some(charge) if !failed.error.is_by_client() => charge.settle_without_response(),
        // A server may work on: see the drop of the permits.
        charge if failed.error == Error::ClientGone => drop(charge),
        Some(charge) => charge.permits.give_back(),
        None => {}
    }
}

pin_project! {
    /// The response to a call that was admitted or refused.
    ///
    /// Written by hand, since an `async` block has no name to give to
    /// [`Service::Future`], and a box would cost an allocation for each
    /// request.
    #[project = State]
    pub enum ResponseFuture<F> {
        /// The call is refused.
        Refused { error: Option<Error> },
        /// The call is admitted, and its tokens are not settled yet.
        Admitted {
            #[pin]
            inner: F,
            charge: Option<Charge>,
            // Made after the limits have read the response.
            changes: Option<LateChanges>,
        },
        /// The store is asked, then the inner service.
        Waiting { waiting: Pin<Box<dyn Future<Output = Result<Response, Failed>> + Send>> },
    }
}

impl<F> RefusedAtOnce for ResponseFuture<F> {
    #[inline]
    fn refused(&mut self) -> Option<Error> {
        match self {
            Self::Refused { error } => error.take(),
            _ => None,
        }
    }
}

impl<F: Future<Output = Result<Response, Failed>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            State::Refused { error } => {
                Poll::Ready(Err(error.take().unwrap_or(Error::ClientGone).into()))
            }
            State::Waiting { waiting } => waiting.as_mut().poll(cx),
            State::Admitted {
                inner,
                charge,
                changes,
            } => {
                let mut polled = inner.poll(cx);
                if let Poll::Ready(response) = &mut polled {
                    settle(charge, response);
                    change(changes, response);
                }
                polled
            }
        }
    }
}
