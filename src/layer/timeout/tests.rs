//! Tests of the time that an attempt has while its body flows.

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
