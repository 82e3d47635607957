//! A worker: one thread with a runtime of its own. A request is served on one worker from accept to close.

use std::{convert::Infallible, io, net::TcpListener, pin::Pin, sync::Arc, thread};

use tokio::{runtime, sync::mpsc};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tower::Service;

use super::{Arrival, Door, accept};
use crate::{message::Response, runtime::worker};

/// Orders that may wait for a worker: a reload gives one for each new listener.
const MOST_ORDERS: usize = 1024;

/// What a worker is told.
enum Order {
    /// Serve this socket. The token counts as its accept loop until there is one: a drain that begins right now must
    /// not take the worker for idle.
    Listen(TcpListener, Arc<Door>, TaskTrackerToken),
    /// Do this beside everything else.
    Do(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// Drop what is still in flight and end.
    Cut,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    orders: mpsc::Sender<Order>,
    /// Its accept loops.
    loops: TaskTracker,
    /// Its connections.
    connections: TaskTracker,
    thread: thread::JoinHandle<()>,
    /// Cancelled when the thread ends, also by a panic.
    ended: CancellationToken,
}

impl Worker {
    /// Starts worker number `index`.
    ///
    /// # Errors
    /// When the system has no thread or no file descriptor left for it.
    pub fn start<S>(index: usize, service: S) -> io::Result<Self>
    where
        S: Service<Arrival, Response = Response, Error = Infallible, Future: Send>
            + Clone
            + Send
            + 'static,
    {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (orders, inbox) = mpsc::channel(MOST_ORDERS);
        let (loops, connections) = (TaskTracker::new(), TaskTracker::new());
        let own = (loops.clone(), connections.clone());
        let ended = CancellationToken::new();
        let ending = ended.clone().drop_guard();
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                let _ending = ending;
                worker::set_current(index);
                runtime.block_on(run(inbox, service, own.0, own.1));
            })?;
        Ok(Self {
            orders,
            loops,
            connections,
            thread,
            ended,
        })
    }

    /// Has it serve another socket.
    pub async fn listen(&self, socket: TcpListener, door: Arc<Door>) {
        // It refuses only when the worker has ended, which the process does not survive anyway.
        let _ = self
            .orders
            .send(Order::Listen(socket, door, self.loops.token()))
            .await;
    }

    /// Has it do something on its own runtime; it is dropped when the worker is cut.
    pub async fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        let _ = self.orders.send(Order::Do(Box::pin(work))).await;
    }

    /// Waits until all its connections are closed; its doors must be draining.
    pub async fn idle(&self) {
        // In this order: only loops begin connections.
        self.loops.close();
        self.loops.wait().await;
        self.connections.close();
        self.connections.wait().await;
    }

    /// Connections that it still serves.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Waits until its thread has ended, which it never does by itself.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends it, dropping what is still in flight.
    pub async fn cut(self) {
        let _ = self.orders.send(Order::Cut).await;
        let _ = tokio::task::spawn_blocking(|| self.thread.join()).await;
    }
}

async fn run<S>(
    mut inbox: mpsc::Receiver<Order>,
    service: S,
    loops: TaskTracker,
    connections: TaskTracker,
) where
    S: Service<Arrival, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    loop {
        let (socket, door, _token) = match inbox.recv().await {
            Some(Order::Listen(socket, door, token)) => (socket, door, token),
            Some(Order::Do(work)) => {
                loops.spawn(work);
                continue;
            }
            Some(Order::Cut) | None => {
                worker::cut();
                return;
            }
        };
        match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => {
                loops.spawn(accept(listener, door, service.clone(), connections.clone()));
            }
            Err(error) => tracing::error!(listener = %door.name, %error, "a worker cannot listen"),
        }
    }
}
