//! The wait of an idle connection for the drain of its listener, or for its
//! own eviction.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Tells an idle connection that it is to end.
pub(super) struct DrainWatch<'d, 't> {
    token: &'t CancellationToken,
    cancelled: Pin<&'d mut WaitForCancellationFuture<'t>>,
    /// Whether the end of the wait wakes the task, as it was polled before.
    is_awaited: bool,
}

impl<'d, 't> DrainWatch<'d, 't> {
    /// Watches `token` by its future `cancelled`. All calls are made by one
    /// task.
    pub(super) fn new(
        token: &'t CancellationToken,
        cancelled: Pin<&'d mut WaitForCancellationFuture<'t>>,
    ) -> Self {
        Self {
            token,
            cancelled,
            is_awaited: false,
        }
    }

    /// Whether the connection is to end; wakes the task when it is.
    ///
    /// `is_first` says that this is the first look since a response. A wait
    /// that began before it still lasts then, and a look at the token costs a
    /// fifth of the instructions of polling it.
    pub(super) fn has_begun(&mut self, cx: &mut Context<'_>, is_first: bool) -> bool {
        if is_first && self.is_awaited {
            return self.token.is_cancelled();
        }
        self.is_awaited = true;
        matches!(self.cancelled.as_mut().poll(cx), Poll::Ready(()))
    }
}
