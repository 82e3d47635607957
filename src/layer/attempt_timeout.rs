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
//!
//! # Where the time comes from
//!
//! The end of an attempt is computed from `Call::now`, the last reading of the
//! clock, and the timer is set once. Only a request whose body arrives in
//! pieces moves it: each poll then asks the flow of the body how long it has
//! flowed since the attempt began, and adds that to the end. While the body
//! flows there is no end but the deadline that the client itself has given,
//! which is absolute.
//!
//! # Fairness
//!
//! An attempt that is ended by the deadline of the request may have had little
//! time, because the request waited in a queue or was tried before. The
//! upstream is told the end of an attempt only if the attempt has at least half
//! of its timeout: no server is to blame for a shorter one.
//!
//! # Cancellation
//!
//! Dropping the future drops the attempt first and the timer afterwards. When
//! the time is over, this future is ready with an error and the attempt ends
//! when it is dropped.

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
    call::{Call, Deadline, Uploading},
    error::Error,
    runtime::timer::PooledTimer,
};

/// Adds [`AttemptTimeout`].
///
/// It belongs inside of retries, and outside of everything that takes time for
/// one attempt: choosing a server, waiting for a connection, making one.
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
///
/// A call that takes too long fails with [`Error::AttemptTimeout`], or with
/// [`Error::TotalTimeout`] if the deadline of the request is what ended it.
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
            Some(of) => Some(Box::new(Upload::begin(of, &mut call, self.attempt))),
            None => None,
        };
        let deadline = match &upload {
            Some(upload) => upload.of.deadline(),
            None => call.deadline,
        };
        let (end, bound) = match deadline {
            Some(deadline) if deadline.at <= end => (deadline.at, Bound::Total(deadline.total)),
            _ => (end, Bound::Attempt(self.attempt)),
        };
        // A request that waited in a queue, or was tried before, may have too
        // little time left for any server.
        let is_fair = matches!(bound, Bound::Attempt(_)) || end >= call.now + self.attempt / 2;
        call.attempt_deadline = is_fair.then_some(end);
        ResponseFuture {
            timer: PooledTimer::until(end),
            inner: self.inner.call(call),
            bound,
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
        bound: Bound,
        // Set if the body arrives in pieces. It says when the attempt ends
        // then.
        upload: Option<Box<Upload>>,
    }
}

/// The timeout that ends an attempt.
///
/// It is decided when the attempt begins, and anew with each poll of an attempt
/// whose body arrives in pieces.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// That of the attempt itself. Carries that timeout, for the message of the
    /// error.
    Attempt(Duration),
    /// That of the whole request, which is over before. Carries the timeout of
    /// the request, for the message of the error.
    Total(Duration),
}

impl Bound {
    /// The error of an attempt that this timeout ends.
    fn error(self) -> Error {
        match self {
            Self::Attempt(after) => Error::AttemptTimeout { after },
            Self::Total(after) => Error::TotalTimeout { after },
        }
    }
}

/// An attempt whose body arrives in pieces.
#[derive(Debug)]
struct Upload {
    /// The deadlines of the request, and the flow of its body.
    of: Arc<Uploading>,
    /// When the attempt would end if the body took no time.
    end: Instant,
    /// The time that the body had flowed before the attempt. Subtracted from
    /// the time that the body has flowed in all, as earlier attempts may have
    /// pulled a part of it.
    flowed: Duration,
    /// The timeout of an attempt.
    attempt: Duration,
}

impl Upload {
    /// The attempt that begins with `call`, and may take as long as `attempt`
    /// beside the time in which its body flows.
    ///
    /// Has the body report its flow to the request, so that the time for which
    /// it flows can be told.
    fn begin(of: Arc<Uploading>, call: &mut Call, attempt: Duration) -> Self {
        if !call.body.is_whole() {
            call.body.set_flow(Arc::clone(&of.flow));
        }
        Self {
            end: call.now + attempt,
            flowed: of.flow.passed().unwrap_or_default(),
            of,
            attempt,
        }
    }

    /// Sets the timer to the end of the attempt as of now. Gives the deadline,
    /// where that is the one; `None` when nothing but the pace of the body
    /// bounds the attempt.
    ///
    /// The inner `None` says that the timeout of the attempt itself comes
    /// first.
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
            *this.bound = match deadline {
                Some(deadline) => Bound::Total(deadline.total),
                None => Bound::Attempt(upload.attempt),
            };
        }
        ready!(this.timer.poll(cx));
        Poll::Ready(Err(E::from(this.bound.error())))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use http_body::{Body as _, Frame};
    use tokio::time::{Sleep, advance, sleep};

    use super::*;
    use crate::{
        body::{Body, Flow},
        error::Fault,
    };

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
                attempt: Duration::from_secs(20),
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
