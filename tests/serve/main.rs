//! Serving and forwarding: what a client sends reaches its upstream, and the answer comes back, as HTTP promises.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use support::{Gateway, Upstream, ok, one_route};

#[test]
fn a_request_is_forwarded_and_its_answer_comes_back() {
    let upstream = Upstream::answering(|request| ok(request.target()));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let answer = gateway.get("/hello");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "/hello"));
    let line = gateway.access_line();
    assert_eq!((&line["route"], &line["status"]), (&"app".into(), &200.into()));
}
