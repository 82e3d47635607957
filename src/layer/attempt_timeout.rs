//! Attempt timeout: bounds one attempt, from its begin to its response head,
//! and never beyond the request's deadline.
//!
//! An attempt that takes too long is dropped and fails with 504:
//! `attempt_timeout`, or `total_timeout` if the deadline came first. Both times
//! stand still while the request body flows, whose pace has bounds of its own.
//! Holds a pooled timer until the response head.
//!
//! tower's `Timeout` bounds every call by the same duration, uploads included,
//! and boxes its error.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{
    body::Body,
    call::{Call, Deadline, Uploading},
    error::Error,
    runtime::timer::PooledTimer,
};

/// Adds [`AttemptTimeout`].
#[derive(Debug, Clone, Copy)]
pub struct AttemptTimeoutLayer {
    /// Longest time for one attempt, without the time in which the request body
    /// flows.
    pub attempt: Duration,
}

impl<S> Layer<S> for AttemptTimeoutLayer {
    type Service = AttemptTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AttemptTimeout {
            inner,
            attempt: self.attempt,
        }
    }
}

/// Drops an attempt that takes too long.
#[derive(Debug, Clone)]
pub struct AttemptTimeout<S> {
    inner: S,
    /// The longest time for one attempt.
    attempt: Duration,
}

impl<S> Service<Call> for AttemptTimeout<S>
where
    S: Service<Call>,
    S::Error: From<Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let end = call.now + self.attempt;
        let upload = match call.uploading.clone() {
            Some(uploading) => Some(Box::new(Upload::begin(uploading, &mut call.body, end))),
            None => None,
        };
        let deadline = match &upload {
            Some(upload) => upload.of.deadline(),
            None => call.deadline,
        };
        let (end, total) = match deadline {
            Some(deadline) if deadline.at <= end => (deadline.at, Some(deadline.total)),
            _ => (end, None),
        };
        // A request that waited in a queue, or was tried before, may have too
        // little time left for any server.
        let is_fair = total.is_none() || end >= call.now + self.attempt / 2;
        call.attempt_deadline = is_fair.then_some(end);
        ResponseFuture {
            timer: PooledTimer::until(end),
            inner: self.inner.call(call),
            attempt: self.attempt,
            total,
            upload,
        }
    }
}

pin_project! {
    /// An attempt and its timer.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        timer: PooledTimer,
        attempt: Duration,
        // The time of the whole request, if its deadline comes before the end of
        // the attempt.
        total: Option<Duration>,
        // Set if the body arrives in pieces. It says when the attempt ends
        // then.
        upload: Option<Box<Upload>>,
    }
}

/// An attempt whose body arrives in pieces.
#[derive(Debug)]
struct Upload {
    /// The deadlines of the request, and the flow of its body.
    of: Arc<Uploading>,
    /// When the attempt would end if the body took no time.
    end: Instant,
    /// How long the body had flowed before the attempt.
    flowed: Duration,
}

impl Upload {
    /// An attempt that would end at `end` if its body took no time, and that
    /// begins now.
    fn begin(of: Arc<Uploading>, body: &mut Body, end: Instant) -> Self {
        if !body.is_whole() {
            body.set_flow(Arc::clone(&of.flow));
        }
        let flowed = of.flow.passed().unwrap_or_default();
        Self { of, end, flowed }
    }

    /// Sets the timer to the end of the attempt as of now. Gives the deadline,
    /// where that is the one; `None` when nothing but the pace of the body
    /// bounds the attempt.
    fn set(&self, timer: &mut PooledTimer) -> Option<Option<Deadline>> {
        let end = self
            .of
            .flow
            .passed()
            .map(|flowed| self.end + flowed.saturating_sub(self.flowed));
        let deadline = self
            .of
            .deadline()
            .filter(|deadline| end.is_none_or(|end| deadline.at <= end));
        timer.set(deadline.map(|deadline| deadline.at).or(end)?);
        Some(deadline)
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: From<Error>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.inner.poll(cx) {
            return Poll::Ready(result);
        }
        if let Some(upload) = this.upload {
            let Some(deadline) = upload.set(this.timer) else {
                return Poll::Pending;
            };
            *this.total = deadline.map(|deadline| deadline.total);
        }
        ready!(this.timer.poll(cx));
        let error = match *this.total {
            Some(after) => Error::TotalTimeout { after },
            None => Error::AttemptTimeout {
                after: *this.attempt,
            },
        };
        Poll::Ready(Err(E::from(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use http_body::{Body as _, Frame};
    use tokio::time::{Sleep, advance, sleep};

    use super::*;
    use crate::{body::Flow, error::Fault};

    const STEP: Duration = Duration::from_secs(10);

    /// Four pieces, one every ten seconds.
    struct Slow {
        left: usize,
        next: Pin<Box<Sleep>>,
    }

    impl http_body::Body for Slow {
        type Data = Bytes;
        type Error = Fault;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
            std::task::ready!(self.next.as_mut().poll(cx));
            self.next.set(sleep(STEP));
            self.left -= 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }

        fn is_end_stream(&self) -> bool {
            self.left == 0
        }
    }

    fn slow(flow: &Arc<Flow>) -> Body {
        let mut body = Body::stream(Slow {
            left: 4,
            next: Box::pin(sleep(STEP)),
        });
        body.set_flow(Arc::clone(flow));
        body
    }

    async fn piece(body: &mut Body) {
        poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx))
            .await
            .unwrap()
            .unwrap();
    }

    fn attempt(waits: bool, total: u64, of_client: Option<u64>) -> (Upload, PooledTimer) {
        let now = Instant::now();
        let of = Arc::new(Uploading {
            flow: Arc::new(Flow::new(waits)),
            of_route: Deadline::after(now, Duration::from_secs(total)),
            of_client: of_client.map(|seconds| Deadline::after(now, Duration::from_secs(seconds))),
        });
        (
            Upload {
                of,
                end: now + Duration::from_secs(20),
                flowed: Duration::ZERO,
            },
            PooledTimer::until(now),
        )
    }

    /// Uploads that took longer than 30 s ended in 504 for every service.
    #[tokio::test(start_paused = true)]
    async fn the_time_for_an_answer_stands_still_while_the_body_flows() {
        let began = Instant::now();
        let (upload, mut timer) = attempt(false, 30, None);
        let mut body = slow(&upload.of.flow);
        advance(Duration::from_secs(5)).await;
        assert_eq!(
            upload.set(&mut timer),
            Some(None),
            "nobody reads it: the attempt has its bound"
        );
        for _ in 0..3 {
            piece(&mut body).await;
            assert_eq!(upload.set(&mut timer), None, "only its pace bounds it");
        }
        piece(&mut body).await;
        assert_eq!(began.elapsed(), Duration::from_secs(40));
        assert_eq!(upload.set(&mut timer), Some(None));
        poll_fn(|cx| timer.poll(cx)).await;
        // It was polled from the fifth to the fortieth second.
        assert_eq!(began.elapsed(), Duration::from_secs(20 + 35));
    }

    #[tokio::test(start_paused = true)]
    async fn the_total_stands_still_too_and_goes_on_when_an_attempt_is_given_up_in_the_middle() {
        let (upload, mut timer) = attempt(false, 15, None);
        let began = Instant::now();
        let mut body = slow(&upload.of.flow);
        piece(&mut body).await;
        piece(&mut body).await;
        drop(body);
        let deadline = upload
            .set(&mut timer)
            .flatten()
            .expect("before the end of the attempt");
        assert_eq!(deadline.at, began + Duration::from_secs(15 + 20));
        assert_eq!(upload.of.deadline(), Some(deadline));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_a_client_gives_is_absolute() {
        let (upload, mut timer) = attempt(false, 30, Some(15));
        let began = Instant::now();
        let mut body = slow(&upload.of.flow);
        piece(&mut body).await;
        let deadline = upload
            .set(&mut timer)
            .flatten()
            .expect("a bound while the body flows");
        assert_eq!(
            (deadline.at, deadline.total),
            (began + Duration::from_secs(15), Duration::from_secs(15))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_waits_for_leave_sends_nothing_and_the_time_runs() {
        let (upload, mut timer) = attempt(true, 30, None);
        let mut body = slow(&upload.of.flow);
        assert!(
            poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx)))
                .await
                .is_pending()
        );
        assert_eq!(
            upload.set(&mut timer),
            Some(None),
            "the server has not let it send"
        );
        piece(&mut body).await;
        assert_eq!(upload.set(&mut timer), None);
    }
}
