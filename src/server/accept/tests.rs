//! Tests of accepting: workers that accept at the same time, and drains.

use std::{
    future::{pending, ready},
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::Barrier,
    task::yield_now,
    time::{Instant, sleep},
};
use tower::service_fn;

use super::*;
use crate::{
    message::Response,
    policy::{self, ConnectionLimits, HeadLimits, ListenAddress},
    server::{AllConnections, DualStack, SharedPort, Sockets, bind, incoming::listening},
    telemetry::{FixedFields, Metrics},
};

/// When the clock is paused: until all others have nothing left to do.
const PAUSE: Duration = Duration::from_millis(100);

const ANY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));

pub(in crate::server) fn listener(max_connections: usize) -> Arc<Listener> {
    let limits = ConnectionLimits {
        head: HeadLimits {
            bytes: 32 * 1024,
            headers: 100,
            keeps_underscores: false,
        },
        headers_timeout: Duration::from_secs(10),
        keep_alive: Duration::from_secs(75),
        http2: true,
        serves_half_closed: false,
    };
    let policy = policy::Listener {
        name: None,
        bind: ListenAddress::Ip(ANY),
        mode: 0,
        max_connections: None,
        limits,
        tls_handshake: Duration::from_secs(10),
        proxy_protocol: false,
        tls: None,
        redirect_https: None,
    };
    let settings = ListenerSettings {
        fields: Arc::new(FixedFields::listener("a".into())),
        policy,
        max_connections,
        max_per_client: 1000,
        trusted: [].into(),
        tls: None,
        bans: Arc::default(),
    };
    Listener::new(
        ListenAddress::Ip(ANY),
        settings,
        AllConnections::new(1000),
        Metrics::new(1),
    )
}

impl Socket for DuplexStream {
    fn close_cuts(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn has_ended(&self) -> bool {
        false
    }
}

/// Connections that all come at the same time.
struct Burst(Arc<Barrier>, Option<DuplexStream>);

impl Accept for Burst {
    type Arrived = DuplexStream;
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        self.0.wait().await;
        match self.1.take() {
            Some(io) => Ok((io, ANY)),
            None => pending().await,
        }
    }

    fn accept_waiting(&mut self) -> io::Result<Option<(DuplexStream, SocketAddr)>> {
        Ok(None)
    }

    fn set_up(io: DuplexStream, peer: SocketAddr) -> io::Result<Accepted<DuplexStream>> {
        let local = ANY;
        Ok(Accepted { io, peer, local })
    }
}

/// Each worker saw room, then each accepted: there could be one too many
/// for each further worker.
#[tokio::test(start_paused = true)]
async fn workers_that_accept_at_the_same_time_take_no_more_than_there_is_room_for() {
    const WORKERS: usize = 4;
    let (listener, connections) = (listener(2), TaskTracker::new());
    let together = Arc::new(Barrier::new(WORKERS));
    let mut clients = Vec::new();
    for _ in 0..WORKERS {
        let (client, io) = duplex(1024);
        clients.push(client);
        let burst = Burst(Arc::clone(&together), Some(io));
        let service = service_fn(|_| ready(Ok(Response::default())));
        tokio::spawn(accept(
            burst,
            Arc::clone(&listener),
            service,
            connections.clone(),
        ));
    }
    // The clock is paused: it moves on when all others have nothing left to
    // do.
    sleep(PAUSE).await;
    assert_eq!((listener.open(), connections.len()), (2, 2));
    // A slot that is released goes to a connection that waits, until none
    // does.
    let mut ended = Vec::new();
    for mut client in clients {
        client.shutdown().await.unwrap();
        sleep(PAUSE).await;
        ended.push(listener.open());
    }
    assert_eq!(ended, [2, 2, 1, 0]);
}

/// Serves one connection, which is there at once.
async fn serve_one(listener: &Arc<Listener>) -> DuplexStream {
    let (client, io) = duplex(1024);
    let service = service_fn(|_| ready(Ok(Response::default())));
    let burst = Burst(Arc::new(Barrier::new(1)), Some(io));
    tokio::spawn(accept(
        burst,
        Arc::clone(listener),
        service,
        TaskTracker::new(),
    ));
    sleep(PAUSE).await;
    client
}

async fn ask(client: &mut DuplexStream) -> String {
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut response = vec![0; 1024];
    let length = client.read(&mut response).await.unwrap();
    String::from_utf8_lossy(&response[..length]).into_owned()
}

/// Idle connections are many, and each is one task: what only an exchange, a
/// handshake or the end of a connection needs must not be part of it.
#[tokio::test]
async fn the_task_of_a_connection_is_small_while_it_waits_for_a_request() {
    let listener = listener(1);
    let handle = ConnectionHandle::new(Arc::new(IdleCell::new()), Arc::clone(&listener));
    let settings = Arc::clone(&listener.settings());
    let service = || {
        service_fn(|_| {
            Box::pin(async {
                let large = [0_u8; 4000];
                yield_now().await;
                assert_eq!(large, [0; 4000]);
                Ok(Response::default())
            })
        })
    };
    let context = ConnectionContext {
        settings: Arc::clone(&settings),
        origin: Arc::new(listener.settings().origin(ANY, ANY)),
        handle: handle.clone(),
    };
    let plain = http1::serve(duplex(1).0, BytesMut::new(), service(), context);
    let ends = Ends {
        source: ANY,
        destination: ANY,
    };
    let handshakes = Arc::new(Semaphore::new(1));
    let secured = handshake::serve(duplex(1).0, ends, settings, service(), handle, handshakes);
    let sizes = (size_of_val(&plain), size_of_val(&secured));
    assert!(sizes.0 <= 640 && sizes.1 <= 720, "{sizes:?}");
}

/// Once, a client that did not know of the drain lost one request in three
/// takeovers to the close.
#[tokio::test(start_paused = true)]
async fn in_the_first_second_of_a_drain_an_idle_connection_answers_once_more() {
    let listener = listener(1);
    let mut client = serve_one(&listener).await;
    assert!(!ask(&mut client).await.contains("close"));
    sleep(Duration::from_secs(9)).await;
    listener.begin_drain(Duration::from_secs(30));
    sleep(Duration::from_millis(900)).await;
    assert!(ask(&mut client).await.contains("connection: close"));
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_without_a_request_ends_a_second_after_the_drain_began_or_earlier() {
    for (timeout, grace) in [(30_000, 1000), (500, 250), (0, 0)] {
        let listener = listener(1);
        let mut client = serve_one(&listener).await;
        ask(&mut client).await;
        sleep(Duration::from_secs(9)).await;
        let began = Instant::now();
        listener.begin_drain(Duration::from_millis(timeout));
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(began.elapsed(), Duration::from_millis(grace));
    }
}

/// Once, only some of a burst of clients were served and the others reset:
/// the last look at the queue asked tokio, which reports an empty queue
/// after 128 operations in a row, or if it has not polled the socket yet.
#[tokio::test]
async fn a_drain_leaves_nobody_in_the_queue() {
    const CLIENTS: usize = 300;
    let any = "127.0.0.1:0".parse().unwrap();
    let bound = bind(any, 1, DualStack::On, SharedPort::No).unwrap();
    let Sockets { local, sockets, .. } = bound;
    let local = local.ip().unwrap();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| TcpStream::connect(local).unwrap())
        .collect();
    let (listener, connections) = (listener(CLIENTS), TaskTracker::new());
    listener.close();
    for socket in sockets {
        let socket = listening(socket).unwrap();
        let service = service_fn(|_| ready(Ok(Response::default())));
        accept(socket, Arc::clone(&listener), service, connections.clone()).await;
    }
    assert_eq!(listener.open(), clients.len());
}
