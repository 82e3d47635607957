//! The accept loop of one listener on one worker: a task for each connection, no more of them than there is room for.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::{
    sync::{Notify, Semaphore},
    task::coop,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

use super::{
    Accepted, Arrival, ConnectionLimits, Listener, Socket,
    arrival::Terms,
    connection::serve,
    entrance::{self, MOST_HANDSHAKES},
    listener::BACKLOG,
};
use crate::{
    message::{Origin, Response},
    telemetry::{Latch, ListenerMetrics, Metrics},
    tls::ServerTls,
};

/// How long accepting pauses when the process has no file descriptor left. Connections that close end it earlier.
const PAUSE: Duration = Duration::from_millis(100);

/// One listener as all workers share it.
#[derive(Debug)]
pub struct Door {
    /// The address that it is bound to.
    pub name: Arc<str>,
    /// Cancelled when the listener is removed or the process drains.
    pub drain: CancellationToken,
    settings: ArcSwap<DoorSettings>,
    open: AtomicUsize,
    left: Notify,
    is_full: Latch,
    /// Open connections when the system last had no file descriptor for another; 0 when it has.
    short_at: AtomicUsize,
    /// Turns of those who want to shake hands.
    pub(super) handshakes: Semaphore,
    pub(super) metrics: Arc<ListenerMetrics>,
    process: Arc<Metrics>,
}

/// What may change while a listener stays open; holds for connections from then on.
#[derive(Debug, Clone)]
pub struct DoorSettings {
    /// Open connections over all workers.
    pub max_connections: usize,
    /// What each may do.
    pub limits: ConnectionLimits,
    /// Each begins with a PROXY protocol header, within the time for a head.
    pub proxy_protocol: bool,
    /// Then comes TLS.
    pub tls: Option<ServerTls>,
    /// How long its handshake may take.
    pub tls_handshake: Duration,
}

impl Door {
    /// A listener that is about to open.
    pub fn new(name: Arc<str>, settings: DoorSettings, process: Arc<Metrics>) -> Self {
        Self {
            metrics: process.listener(&name),
            name,
            drain: CancellationToken::new(),
            settings: ArcSwap::from_pointee(settings),
            open: AtomicUsize::new(0),
            left: Notify::new(),
            is_full: Latch::default(),
            short_at: AtomicUsize::new(0),
            handshakes: Semaphore::new(MOST_HANDSHAKES),
            process,
        }
    }

    /// Changes what holds for new connections.
    pub fn reconfigure(&self, settings: DoorSettings) {
        self.settings.store(Arc::new(settings));
        self.left.notify_waiters();
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Handshakes that are worked on; `None` where there is no TLS.
    pub fn handshaking(&self) -> Option<usize> {
        self.settings.load().tls.is_some().then(|| MOST_HANDSHAKES - self.handshakes.available_permits())
    }

    /// The TLS that holds for new connections.
    pub fn tls(&self) -> Option<ServerTls> {
        self.settings.load().tls.clone()
    }

    /// Waits until another connection may be accepted.
    async fn room(&self) {
        loop {
            let left = self.left.notified();
            let max = self.settings.load().max_connections;
            if self.open() < max {
                // One place that is left and taken again is no change worth a line.
                if self.open() + max / 16 < max && self.is_full.clear() {
                    tracing::info!(listener = %self.name, "accepting connections again");
                }
                return;
            }
            if self.is_full.raise() {
                tracing::warn!(listener = %self.name, max_connections = max, "accepting pauses: all connections are taken");
            }
            self.metrics.accept_paused("max_connections");
            left.await;
        }
    }

    /// What to do about an `accept` that failed.
    async fn failed(&self, error: &io::Error) {
        // EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection stays in the kernel's queue; trying at once would spin.
        if !matches!(error.raw_os_error(), Some(23 | 24 | 105 | 12)) {
            // Anything else is about one connection that is gone already.
            return;
        }
        if self.short_at.swap(self.open().max(1), Ordering::Relaxed) == 0 {
            tracing::error!(listener = %self.name, %error, "accepting pauses until a connection closes");
        }
        self.metrics.accept_paused("no_files");
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = self.left.notified() => {}
        }
    }

    /// A connection asked for too much work, by this kind of frames.
    pub(super) fn flooded(&self, kind: &'static str, peer: SocketAddr) {
        self.metrics.flooded(kind);
        tracing::debug!(listener = %self.name, %peer, kind, "connection closed: a flood of frames");
    }

    /// What served somebody ended in a panic.
    pub(super) fn panicked(&self, peer: SocketAddr) {
        self.process.panicked();
        tracing::error!(listener = %self.name, %peer, "what served a connection ended in a panic");
    }

    fn accepted(&self) {
        let short_at = self.short_at.load(Ordering::Relaxed);
        // One descriptor that is freed and taken again is no change worth a line.
        if self.open() + short_at / 16 < short_at && self.short_at.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!(listener = %self.name, "accepting connections again");
        }
    }

    /// Takes a place for a connection that was accepted. There was room a moment ago; should another worker have taken
    /// it since, the connection waits here for the next.
    async fn enter(self: &Arc<Self>) -> Visit {
        loop {
            let left = self.left.notified();
            let max = self.settings.load().max_connections;
            let more = |open| (open < max).then_some(open + 1);
            if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
                return Visit(Arc::clone(self));
            }
            left.await;
        }
    }
}

/// An open connection; leaves when dropped.
struct Visit(Arc<Door>);

impl Visit {
    fn ended(self, peer: SocketAddr, in_panic: bool) {
        if in_panic {
            self.0.panicked(peer);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        // All workers: the one that is woken may have no connection in its own queue while another has.
        self.0.left.notify_waiters();
    }
}

/// Accepts until the door drains; what the kernel has accepted by then is still served.
pub async fn accept<L, S>(mut listener: L, door: Arc<Door>, service: S, connections: TaskTracker)
where
    L: Listener,
    S: Service<Arrival, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            biased;
            () = door.drain.cancelled() => break,
            accepted = async { door.room().await; listener.accept().await } => accepted,
        };
        match accepted {
            Ok(accepted) => begin(accepted, door.enter().await, service.clone(), &connections),
            Err(error) => door.failed(&error).await,
        }
    }
    finish(listener, &door, service, &connections).await;
}

/// Serves those who were connected when the drain began: closing the socket resets whoever is still in its queue. As
/// many as the queue can hold, and no more: those behind them came later, and must not keep the process from ending.
///
/// What remains: who connects in the moment before the close, or is half connected then, is reset, as one who comes a
/// moment later is refused. No program can tell the kernel to let the queue run dry; `[shutdown] delay` is for that.
async fn finish<L, S>(mut listener: L, door: &Arc<Door>, service: S, connections: &TaskTracker)
where
    L: Listener,
    S: Service<Arrival, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    for _ in 0..=BACKLOG {
        // Those who are served already have their turn, too.
        coop::consume_budget().await;
        match listener.accept_waiting() {
            Ok(Some(accepted)) => begin(accepted, door.enter().await, service.clone(), connections),
            Ok(None) => return,
            Err(error) => door.failed(&error).await,
        }
    }
}

fn begin<IO, S>(accepted: Accepted<IO>, visit: Visit, service: S, connections: &TaskTracker)
where
    IO: Socket,
    S: Service<Arrival, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    let door = &visit.0;
    door.accepted();
    let settings = door.settings.load();
    // A token of its own: looking at it touches nothing that another connection touches.
    let drain = door.drain.child_token();
    let peer = accepted.peer;
    if settings.proxy_protocol || settings.tls.is_some() {
        // Boxed: the others need not be as large as one that goes through all of this.
        let entering = entrance::enter(accepted, Arc::clone(door), Arc::clone(&settings), service, drain);
        let entering = AssertUnwindSafe(Box::pin(entering)).catch_unwind();
        connections.spawn(async move { visit.ended(peer, entering.await.is_err()) });
        return;
    }
    let limits = settings.limits;
    let Accepted { io, local, .. } = accepted;
    let origin = Arc::new(Origin::new(Arc::clone(&door.name), peer, local));
    let served = serve(io, BytesMut::new(), Terms { service, limits, origin, drain, door: Arc::clone(door) });
    connections.spawn(async move {
        let served = AssertUnwindSafe(served).catch_unwind().await;
        visit.ended(peer, served.is_err());
    });
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        net::{Ipv4Addr, SocketAddrV4, TcpStream},
    };

    use tokio::{
        io::{AsyncWriteExt, DuplexStream, duplex},
        sync::Barrier,
    };
    use tower::service_fn;

    use super::*;
    use crate::{http1::HeadLimits, server::bind};

    const ANY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));

    fn door(max_connections: usize) -> Arc<Door> {
        let limits = ConnectionLimits {
            head: HeadLimits { bytes: 32 * 1024, headers: 100, keeps_underscores: false },
            headers_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            http2: true,
        };
        let settings = DoorSettings {
            max_connections,
            limits,
            proxy_protocol: false,
            tls: None,
            tls_handshake: Duration::from_secs(10),
        };
        Arc::new(Door::new("a".into(), settings, Metrics::new(1)))
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
                Some(io) => Ok(Accepted { io, peer: ANY, local: ANY }),
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
            tokio::spawn(accept(burst, Arc::clone(&door), service, connections.clone()));
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

    /// Of a burst of clients only some were served: the last look at the queue believed tokio, which says after 128
    /// operations in a row, or when it has not looked at the socket yet, that there is nothing. The rest was reset.
    #[tokio::test]
    async fn a_drain_leaves_nobody_in_the_queue() {
        const CLIENTS: usize = 300;
        let (address, sockets) = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
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
