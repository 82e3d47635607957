//! Windows: how much may be on its way in one round trip. A round trip is a burst of all that is granted, which is read to
//! its last byte before the next one: what a connection over any distance does, counted in bytes and not in time.

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

/// Enough for 20 MB/s at 100 ms.
const ENOUGH: usize = 2 * 1024 * 1024;
/// Round trips in which that has to be reached.
const MOST_TRIPS: usize = 16;
const LENGTH: usize = 1 << 30;
/// A body that is long enough for two steps.
const WHOLE: usize = 16 << 20;
/// Bytes that windows may have grown by before those that rest give theirs back.
const AMPLE: f64 = (64 << 20) as f64;
/// The window that the other side has to hold itself.
const BUFFER: usize = 64 << 20;

/// 256 KiB a round trip were 2.4 MB/s at 100 ms.
#[test]
fn the_window_of_an_upload_grows_while_its_reader_keeps_up() {
    let (read, to_read) = mpsc::channel::<usize>();
    let (tell, done) = mpsc::channel();
    let to_read = std::sync::Mutex::new(to_read);
    let upstream = Upstream::start(move |mut connection| {
        connection.head().unwrap();
        while let Ok(burst) = to_read.lock().unwrap().recv() {
            connection.bytes(burst).unwrap();
            tell.send(()).unwrap();
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, "request = { max_body = 'off' }"));
    let mut client = Http2::with(
        gateway.address(),
        client::Builder::new().max_send_buffer_size(BUFFER),
    );
    let mut asked = client.open(
        "POST",
        "/",
        &[("content-length", &LENGTH.to_string())],
        false,
    );
    let mut bursts = Vec::new();
    while bursts.last().is_none_or(|burst| *burst < ENOUGH) {
        assert!(bursts.len() < MOST_TRIPS, "{bursts:?}");
        asked.body.reserve_capacity(BUFFER);
        client
            .wait(std::future::poll_fn(|cx| asked.body.poll_capacity(cx)))
            .unwrap()
            .unwrap();
        client.settle();
        let burst = asked.body.capacity();
        asked
            .body
            .send_data(Bytes::from(vec![b'x'; burst]), false)
            .unwrap();
        read.send(burst).unwrap();
        // The connection moves while it is waited for.
        client.wait(async {
            while done.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
        });
        bursts.push(burst);
    }
    assert!(bursts.iter().sum::<usize>() < 32 << 20, "{bursts:?}");
    // Those of this connection are ENOUGH or more; other tests of this process may have grown some, too.
    assert!(gateway.metric("tidegate_http2_grown_window_bytes", &[]) >= ENOUGH as f64);
    drop(read);
}

#[test]
fn the_window_of_a_response_grows_while_its_reader_keeps_up() {
    let (tell, bursts) = mpsc::channel();
    let (done, was_read) = async_mpsc::unbounded_channel();
    let was_read = std::sync::Arc::new(tokio::sync::Mutex::new(was_read));
    let mut settings = Builder::new();
    settings.max_send_buffer_size(BUFFER);
    let server = Server::start(settings, move |mut stream| {
        let (tell, was_read) = (tell.clone(), std::sync::Arc::clone(&was_read));
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
                if tell.send(burst).is_err() || was_read.lock().await.recv().await.is_none() {
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

/// Sixty clients that had uploaded something would leave no room for the next ones for as long as `keep_alive`.
#[test]
fn clients_that_ask_for_nothing_give_their_grown_windows_back() {
    let upstream = Upstream::start(|mut connection| {
        while connection.head().is_ok() {
            connection.bytes(WHOLE).unwrap();
            connection.send(ok("done"));
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, "request = { max_body = 'off' }"));
    let mut clients: Vec<_> = (0..6).map(|_| Http2::connect(gateway.address())).collect();
    for client in &mut clients {
        let mut asked = client.open(
            "POST",
            "/",
            &[("content-length", &WHOLE.to_string())],
            false,
        );
        let mut left = WHOLE;
        while left > 0 {
            asked.body.reserve_capacity(left);
            client
                .wait(std::future::poll_fn(|cx| asked.body.poll_capacity(cx)))
                .unwrap()
                .unwrap();
            let burst = asked.body.capacity().min(left);
            left -= burst;
            asked
                .body
                .send_data(Bytes::from(vec![b'x'; burst]), left == 0)
                .unwrap();
        }
        assert_eq!(client.finish(asked.response).unwrap().status, 200);
    }
    assert!(
        gateway.metric("tidegate_http2_grown_window_bytes", &[]) > AMPLE,
        "there is room enough"
    );
    // Long before the 75 s of `keep_alive`.
    clients[0].closed().unwrap();
}
