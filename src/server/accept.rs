//! The accept loop of one listener on one worker: a task for each connection, no more of them than there is room for.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc};

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::{sync::Semaphore, task::coop};
use tokio_util::task::TaskTracker;
use tower::Service;

use super::{
    Accepted, Arrival, Door, Listener, Socket,
    arrival::Terms,
    connection::serve,
    door::Visit,
    entrance::{self, HANDSHAKES_AT_ONCE},
    idle::Roll,
    listener::BACKLOG,
};
use crate::message::{Origin, Response};

/// One worker's side of a door.
struct Side<S> {
    door: Arc<Door>,
    service: S,
    connections: TaskTracker,
    /// Its connections.
    roll: Arc<Roll>,
    /// Turns of those who want to shake hands.
    turns: Arc<Semaphore>,
}

/// Accepts until the door drains; what the kernel has accepted by then is still served.
pub async fn accept<L, S>(mut listener: L, door: Arc<Door>, service: S, connections: TaskTracker)
where
    L: Listener,
    S: Service<Arrival, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let (roll, turns) = (door.roll(), Arc::new(Semaphore::new(HANDSHAKES_AT_ONCE)));
    let mut side = Side {
        door,
        service,
        connections,
        roll,
        turns,
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = side.door.drain.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => side.admit(accepted).await,
            Err(error) => side.door.failed(&error).await,
        }
    }
    side.finish(listener).await;
}

impl<S> Side<S>
where
    S: Service<Arrival, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    /// Serves those who were connected when the drain began: closing the socket resets whoever is still in its queue. As
    /// many as the queue can hold, and no more: those behind them came later, and must not keep the process from ending.
    ///
    /// One case remains: a client that connects in the moment before the close, or is half connected then, is reset, as one
    /// that comes a moment later is refused. No program can tell the kernel to let the queue run dry; `[shutdown] delay` is for that.
    async fn finish<L: Listener>(&mut self, mut listener: L) {
        for _ in 0..=BACKLOG {
            // Those who are served already have their turn, too.
            coop::consume_budget().await;
            match listener.accept_waiting() {
                Ok(Some(accepted)) => self.admit(accepted).await,
                Ok(None) => return,
                Err(error) => self.door.failed(&error).await,
            }
        }
    }

    /// Serves a connection once there is room for it. Closes it at once where its client has too many: it must not even
    /// wait for a place.
    async fn admit<IO: Socket>(&mut self, accepted: Accepted<IO>) {
        let guest = {
            let settings = self.door.settings();
            // A balancer's address says nothing of the client: the header that it sends does.
            if settings.proxy_protocol {
                Ok(None)
            } else {
                self.door.admit(accepted.peer, &settings)
            }
        };
        let Ok(guest) = guest else { return };
        let visit = self.door.enter(&self.roll, guest).await;
        self.begin(accepted, visit);
    }

    fn begin<IO: Socket>(&self, accepted: Accepted<IO>, visit: Visit) {
        let Self {
            door,
            service,
            connections,
            turns,
            ..
        } = self;
        door.accepted();
        let settings = door.settings();
        let (peer, service, seat) = (accepted.peer, service.clone(), Arc::clone(&visit.seat));
        if settings.proxy_protocol || settings.tls.is_some() {
            // Boxed: the others need not be as large as one that goes through all of this.
            let entering = entrance::enter(
                accepted,
                Arc::clone(&settings),
                service,
                seat,
                Arc::clone(turns),
            );
            let entering = AssertUnwindSafe(Box::pin(entering)).catch_unwind();
            connections.spawn(async move { visit.ended(peer, entering.await.is_err()) });
            return;
        }
        let limits = settings.limits;
        let Accepted { io, local, .. } = accepted;
        let origin = Arc::new(Origin::new(Arc::clone(&door.name), peer, local));
        let served = serve(
            io,
            BytesMut::new(),
            Terms {
                service,
                limits,
                origin,
                seat,
            },
        );
        connections.spawn(async move {
            let served = AssertUnwindSafe(served).catch_unwind().await;
            visit.ended(peer, served.is_err());
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        future::pending,
        io,
        net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
        time::Duration,
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        sync::Barrier,
        time::{Instant, sleep},
    };
    use tower::service_fn;

    use super::*;
    use crate::{
        http1::HeadLimits,
        server::{ConnectionLimits, Crowd, DoorSettings, bind},
        telemetry::Metrics,
    };

    /// When the clock is paused: until all others have nothing left to do.
    const PAUSE: Duration = Duration::from_millis(100);

    const ANY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));

    pub(in crate::server) fn door(max_connections: usize) -> Arc<Door> {
        let limits = ConnectionLimits {
            head: HeadLimits {
                bytes: 32 * 1024,
                headers: 100,
                keeps_underscores: false,
            },
            headers_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            http2: true,
        };
        let settings = DoorSettings {
            max_connections,
            max_per_client: 1000,
            trusted: [].into(),
            limits,
            proxy_protocol: false,
            tls: None,
            tls_handshake: Duration::from_secs(10),
        };
        Door::new("a".into(), settings, Crowd::new(1000), Metrics::new(1))
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

    impl Listener for Burst {
        type Io = DuplexStream;

        async fn accept(&mut self) -> io::Result<Accepted<DuplexStream>> {
            self.0.wait().await;
            match self.1.take() {
                Some(io) => Ok(Accepted {
                    io,
                    peer: ANY,
                    local: ANY,
                }),
                None => pending().await,
            }
        }

        fn accept_waiting(&mut self) -> io::Result<Option<Accepted<DuplexStream>>> {
            Ok(None)
        }
    }

    /// Each worker saw room, then each accepted: there could be one too many for each further worker.
    #[tokio::test(start_paused = true)]
    async fn workers_that_accept_at_the_same_time_take_no_more_than_there_is_room_for() {
        const WORKERS: usize = 4;
        let (door, connections) = (door(2), TaskTracker::new());
        let together = Arc::new(Barrier::new(WORKERS));
        let mut clients = Vec::new();
        for _ in 0..WORKERS {
            let (client, io) = duplex(1024);
            clients.push(client);
            let burst = Burst(Arc::clone(&together), Some(io));
            let service = service_fn(|_| async { Ok(Response::default()) });
            tokio::spawn(accept(
                burst,
                Arc::clone(&door),
                service,
                connections.clone(),
            ));
        }
        // The clock is paused: it moves on when all others have nothing left to do.
        sleep(PAUSE).await;
        assert_eq!((door.open(), connections.len()), (2, 2));
        // A place that is left goes to one that waits, until none does.
        let mut ended = Vec::new();
        for mut client in clients {
            client.shutdown().await.unwrap();
            sleep(PAUSE).await;
            ended.push(door.open());
        }
        assert_eq!(ended, [2, 2, 1, 0]);
    }

    /// A listener of one connection that is there at once.
    async fn serve_one(door: &Arc<Door>) -> DuplexStream {
        let (client, io) = duplex(1024);
        let service = service_fn(|_| async { Ok(Response::default()) });
        let burst = Burst(Arc::new(Barrier::new(1)), Some(io));
        tokio::spawn(accept(burst, Arc::clone(door), service, TaskTracker::new()));
        sleep(PAUSE).await;
        client
    }

    async fn ask(client: &mut DuplexStream) -> String {
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut answer = vec![0; 1024];
        let length = client.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    /// A client that does not know of the drain met the close with one request in three takeovers.
    #[tokio::test(start_paused = true)]
    async fn in_the_first_second_of_a_drain_an_idle_connection_answers_once_more() {
        let door = door(1);
        let mut client = serve_one(&door).await;
        assert!(!ask(&mut client).await.contains("close"));
        sleep(Duration::from_secs(9)).await;
        door.begin_drain(Duration::from_secs(30));
        sleep(Duration::from_millis(900)).await;
        assert!(ask(&mut client).await.contains("connection: close"));
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_without_a_request_ends_a_second_after_the_drain_began_or_earlier() {
        for (patience, grace) in [(30_000, 1000), (500, 250), (0, 0)] {
            let door = door(1);
            let mut client = serve_one(&door).await;
            ask(&mut client).await;
            sleep(Duration::from_secs(9)).await;
            let began = Instant::now();
            door.begin_drain(Duration::from_millis(patience));
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(began.elapsed(), Duration::from_millis(grace));
        }
    }

    /// Of a burst of clients only some were served: the last look at the queue believed tokio, which says after 128
    /// operations in a row, or when it has not looked at the socket yet, that there is nothing. The rest was reset.
    #[tokio::test]
    async fn a_drain_leaves_nobody_in_the_queue() {
        const CLIENTS: usize = 300;
        let (address, sockets) = bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let (door, connections) = (door(CLIENTS), TaskTracker::new());
        door.drain.cancel();
        for socket in sockets {
            let listener = tokio::net::TcpListener::from_std(socket).unwrap();
            let service = service_fn(|_| async { Ok(Response::default()) });
            accept(listener, Arc::clone(&door), service, connections.clone()).await;
        }
        assert_eq!(door.open(), clients.len());
    }
}
