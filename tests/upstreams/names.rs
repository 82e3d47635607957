//! Names of servers whose addresses change.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::mpsc::{self, Receiver, Sender},
};

use super::{
    ONCE, ONE_WORKER,
    support::{
        Client, Gate, Gateway, TIMEOUT, Upstream,
        dns::NameServer,
        gateway::{Start, request},
        http2, ok,
    },
};

/// Listeners on two addresses, at the same port.
fn two_listeners() -> [TcpListener; 2] {
    loop {
        let one = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
        let port = one.local_addr().unwrap().port();
        // Somebody else may have the port there.
        if let Ok(other) = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 3), port)) {
            return [one, other];
        }
    }
}

/// A server that answers with `name`, holds requests for `/held` until the gate
/// is opened, and tells of those and of the end of each connection.
fn telling(
    listener: TcpListener,
    name: &'static str,
    tell: Sender<&'static str>,
    gate: Gate,
) -> Upstream {
    Upstream::over(listener, move |mut connection| {
        while let Some(request) = connection.request() {
            if request.target() == "/held" {
                // The test may be over.
                let _ = tell.send("held");
                gate.pass();
            }
            connection.send(ok(name));
        }
        let _ = tell.send("end");
    })
}

/// A gateway for which `app.test` is a name of `servers`.
fn gateway(servers: &NameServer, port: u16, more: &str) -> Gateway {
    let text = format!(
        "{ONE_WORKER}[upstreams.app]\nservers = ['http://app.test.:{port}']\n{more}\n{ONCE}"
    );
    Start::new(&text).name_server(servers.address()).go()
}

fn next(events: &Receiver<&'static str>) -> &'static str {
    events.recv_timeout(TIMEOUT).unwrap()
}

#[track_caller]
fn await_text(client: &mut Client, text: &str) {
    while client.exchange(request("GET", "/", &[])).text() != text {
        std::thread::yield_now();
    }
}

#[test]
fn connections_to_an_address_that_a_name_has_no_more_are_left_idle_ones_at_once_busy_ones_after_their_request()
 {
    let names = NameServer::start();
    names.set_address("app.test.", [127, 0, 0, 2]);
    let [first, second] = two_listeners();
    let port = first.local_addr().unwrap().port();
    let (tell, events) = mpsc::channel();
    let gate = Gate::new();
    let _one = telling(first, "one", tell.clone(), gate.clone());
    let (ignored, _second_events) = mpsc::channel();
    let _other = telling(second, "other", ignored, Gate::new());
    let gateway = gateway(&names, port, "");
    let mut held = gateway.sent("/held", &[]);
    assert_eq!(next(&events), "held");
    let mut client = gateway.connect();
    await_text(&mut client, "one");
    names.set_address("app.test.", [127, 0, 0, 3]);
    assert_eq!(
        next(&events),
        "end",
        "the idle one is closed without a request"
    );
    await_text(&mut client, "other");
    gate.open();
    assert_eq!(held.response().text(), "one");
    assert_eq!(next(&events), "end");
    assert_eq!(held.exchange(request("GET", "/", &[])).text(), "other");
}

#[test]
fn a_long_connection_of_http2_gets_no_new_stream_once_its_address_is_gone() {
    let names = NameServer::start();
    names.set_address("app.test.", [127, 0, 0, 2]);
    let [first, second] = two_listeners();
    let port = first.local_addr().unwrap().port();
    let (tell, events) = mpsc::channel();
    let gate = Gate::new();
    let leave = gate.clone();
    let _one = http2::Server::over(first, h2::server::Builder::new(), move |stream| {
        let (tell, gate) = (tell.clone(), gate.clone());
        async move {
            if stream.request.uri().path() == "/held" {
                let _ = tell.send("held");
                tokio::task::spawn_blocking(move || gate.pass())
                    .await
                    .unwrap();
            }
            stream.answer(200, "one");
        }
    });
    let _other = http2::Server::over(second, h2::server::Builder::new(), async |stream| {
        stream.answer(200, "other");
    });
    let gateway = gateway(&names, port, "protocol = 'http2'");
    let mut held = gateway.sent("/held", &[]);
    assert_eq!(next(&events), "held");
    names.set_address("app.test.", [127, 0, 0, 3]);
    await_text(&mut gateway.connect(), "other");
    leave.open();
    assert_eq!(held.response().text(), "one");
    for _ in 0..3 {
        assert_eq!(held.exchange(request("GET", "/", &[])).text(), "other");
    }
}
