//! Flow-control windows: the number of bytes in flight in one round trip.
//!
//! A round trip is simulated by bytes instead of time: the sender sends all
//! that the window grants, and the reader reads the last byte of it before the
//! next round trip begins.

use std::sync::mpsc;

use bytes::Bytes;
use h2::{client, server::Builder};
use http::Response;
use tokio::sync::mpsc as async_mpsc;

use crate::support::{
    Gateway, Upstream,
    http2::{Http2, Server},
    ok, one_route,
};

/// Window that allows 20 MB/s at a round-trip time of 100 ms.
const ENOUGH: usize = 2 * 1024 * 1024;
/// Round trips within which [`ENOUGH`] has to be reached.
const MOST_TRIPS: usize = 16;
const LENGTH: usize = 1 << 30;
/// Length of a body that makes a window grow in two steps.
const WHOLE: usize = 16 << 20;
/// Sum of grown windows above which idle connections give theirs back.
const AMPLE: f64 = (64 << 20) as f64;
/// Send buffer of the peer, larger than any window.
const BUFFER: usize = 64 << 20;

/// A fixed window of 256 KiB would allow 2.4 MB/s at a round-trip time of 100
/// ms.
#[test]
fn the_window_of_an_upload_grows_while_its_reader_keeps_up() {
    let (read, to_read) = mpsc::channel::<usize>();
    let (sender, done) = mpsc::channel();
    let to_read = std::sync::Mutex::new(to_read);
    let upstream = Upstream::start(move |mut connection| {
        connection.head().unwrap();
        while let Ok(burst) = to_read.lock().unwrap().recv() {
            connection.bytes(burst).unwrap();
            sender.send(()).unwrap();
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, "request = { max_body = 'off' }"));
    let mut client = Http2::with(
        gateway.address(),
        client::Builder::new().max_send_buffer_size(BUFFER),
    );
    let mut pending = client.open(
        "POST",
        "/",
        &[("content-length", &LENGTH.to_string())],
        false,
    );
    let mut bursts = Vec::new();
    while bursts.last().is_none_or(|burst| *burst < ENOUGH) {
        assert!(bursts.len() < MOST_TRIPS, "{bursts:?}");
        pending.body.reserve_capacity(BUFFER);
        client
            .wait(std::future::poll_fn(|cx| pending.body.poll_capacity(cx)))
            .unwrap()
            .unwrap();
        client.settle();
        let burst = pending.body.capacity();
        pending
            .body
            .send_data(Bytes::from(vec![b'x'; burst]), false)
            .unwrap();
        read.send(burst).unwrap();
        // The client's connection makes progress only while something is
        // awaited.
        client.wait(async {
            while done.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
        });
        bursts.push(burst);
    }
    assert!(bursts.iter().sum::<usize>() < 32 << 20, "{bursts:?}");
    // The window of this connection has grown by `ENOUGH` or more. Connections
    // of other tests in this process may have grown, too.
    assert!(gateway.metric("tidegate_http2_grown_window_bytes", &[]) >= ENOUGH as f64);
    drop(read);
}

#[test]
fn the_window_of_a_response_grows_while_its_reader_keeps_up() {
    let (sender, bursts) = mpsc::channel();
    let (done, was_read) = async_mpsc::unbounded_channel();
    let was_read = std::sync::Arc::new(tokio::sync::Mutex::new(was_read));
    let mut settings = Builder::new();
    settings.max_send_buffer_size(BUFFER);
    let server = Server::start(settings, move |mut stream| {
        let (sender, was_read) = (sender.clone(), std::sync::Arc::clone(&was_read));
        async move {
            let head = Response::builder()
                .header("content-length", LENGTH)
                .body(())
                .unwrap();
            let mut body = stream.respond.send_response(head, false).unwrap();
            loop {
                body.reserve_capacity(BUFFER);
                let Some(Ok(_)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else {
                    return;
                };
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                let burst = body.capacity();
                body.send_data(Bytes::from(vec![b'x'; burst]), false)
                    .unwrap();
                if sender.send(burst).is_err() || was_read.lock().await.recv().await.is_none() {
                    return;
                }
            }
        }
    });
    let gateway = Gateway::start(&format!(
        "[upstreams.app]\nservers = ['{}']\nprotocol = 'http2'\n[[routes]]\nname = 'app'\nupstream = 'app'\n",
        server.url()
    ));
    let mut client = gateway.sent("/", &[]);
    client.head().unwrap();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|burst| *burst < ENOUGH) {
        assert!(seen.len() < MOST_TRIPS, "{seen:?}");
        let burst = bursts.recv().unwrap();
        client.bytes(burst).unwrap();
        seen.push(burst);
        done.send(()).unwrap();
    }
    drop((client, done));
}

/// Otherwise sixty clients that have uploaded something would leave no room for
/// further ones until `keep_alive`.
#[test]
fn idle_clients_give_their_grown_windows_back() {
    let upstream = Upstream::start(|mut connection| {
        while connection.head().is_ok() {
            connection.bytes(WHOLE).unwrap();
            connection.send(ok("done"));
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, "request = { max_body = 'off' }"));
    let mut clients: Vec<_> = (0..6).map(|_| Http2::connect(gateway.address())).collect();
    for client in &mut clients {
        let mut pending = client.open(
            "POST",
            "/",
            &[("content-length", &WHOLE.to_string())],
            false,
        );
        let mut left = WHOLE;
        while left > 0 {
            pending.body.reserve_capacity(left);
            client
                .wait(std::future::poll_fn(|cx| pending.body.poll_capacity(cx)))
                .unwrap()
                .unwrap();
            let burst = pending.body.capacity().min(left);
            left -= burst;
            pending
                .body
                .send_data(Bytes::from(vec![b'x'; burst]), left == 0)
                .unwrap();
        }
        assert_eq!(client.finish(pending.response).unwrap().status, 200);
    }
    assert!(
        gateway.metric("tidegate_http2_grown_window_bytes", &[]) > AMPLE,
        "the grown windows are below the threshold"
    );
    // The connection is closed long before the default `keep_alive` of 75 s.
    clients[0].closed().unwrap();
}
