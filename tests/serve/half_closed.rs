//! Clients of HTTP/1 that end their sending side before their response.

use crate::support::{End, Gate, Gateway, Upstream, gateway::request, ok, one_route};

/// A gateway before a server that responds once the second gate is opened, and
/// opens the first when it has a request.
fn slow(half_closed: &str) -> (Upstream, Gateway, [Gate; 2]) {
    let gates = [Gate::new(), Gate::new()];
    let [entered, leave] = gates.clone();
    let upstream = Upstream::answering(move |_| {
        entered.open();
        leave.pass();
        ok("served")
    });
    let listener = format!("[[listeners]]\nbind = '127.0.0.1:0'\n{half_closed}\n");
    let gateway = Gateway::start(&(listener + &one_route(&upstream, "")));
    (upstream, gateway, gates)
}

#[test]
fn a_client_that_ends_its_side_has_left_by_default() {
    let (_upstream, gateway, [entered, leave]) = slow("");
    let mut client = gateway.sent("/", &[]);
    entered.pass();
    client.finish();
    let line = gateway.access_line();
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&499.into(), &"client_gone".into())
    );
    assert_eq!(client.ended(), End::Closed);
    leave.open();
}

#[test]
fn a_client_that_ends_its_side_is_served_where_the_listener_says_so() {
    let (_upstream, gateway, [entered, leave]) = slow("half_closed = 'serve'");
    let mut client = gateway.sent("/", &[]);
    client.finish();
    entered.pass();
    leave.open();
    assert_eq!(client.response().text(), "served");
    assert_eq!(client.ended(), End::Closed);
    assert_eq!(gateway.access_line()["status"], 200);
}

#[test]
fn all_requests_of_a_pipeline_are_served_before_the_end() {
    let (_upstream, gateway, [_, leave]) = slow("half_closed = 'serve'");
    leave.open();
    leave.open();
    let mut client = gateway.connect();
    client.send(request("GET", "/1", &[]) + &request("POST", "/2", &["Content-Length: 3"]) + "abc");
    client.finish();
    for path in ["/1", "/2"] {
        assert_eq!(client.response().text(), "served");
        assert_eq!(gateway.access_line()["path"], path);
    }
    assert_eq!(client.ended(), End::Closed);
}

#[test]
fn a_body_that_is_cut_short_is_an_error_all_the_same() {
    let (_upstream, gateway, [_, leave]) = slow("half_closed = 'serve'");
    leave.open();
    let mut client = gateway.connect();
    client.send(request("POST", "/", &["Content-Length: 10"]) + "abc");
    client.finish();
    assert_eq!(gateway.access_line()["reason"], "client_gone");
}

#[test]
fn a_client_that_resets_its_connection_has_left_all_the_same() {
    let (_upstream, gateway, [entered, leave]) = slow("half_closed = 'serve'");
    let client = gateway.sent("/", &[]);
    entered.pass();
    client.into_wire().reset();
    assert_eq!(gateway.access_line()["status"], 499);
    leave.open();
}
