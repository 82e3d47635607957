//! A worker: one thread with a runtime of its own, on which a request is served
//! from accept to close.
//!
//! There is one for each core. Workers share no queue and steal no tasks: the
//! kernel distributes connections over their sockets, so that a request touches
//! no memory that another core writes, apart from limits and metrics. The
//! control thread sends commands through a bounded channel.
//!
//! # Ending
//!
//! A worker whose listeners drain is idle once its accept loops and then its
//! connections have ended. [`Worker::cut`] ends it at once: the runtime drops
//! all tasks, and with them the requests in flight.

use std::{io, net::TcpListener, pin::Pin, sync::Arc, thread};

use tokio::{runtime, sync::mpsc};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{Listener, RequestService, accept::accept, incoming::listening};
use crate::runtime::worker;

/// Commands that may be queued for a worker. A reload sends one for each new
/// listener.
const MAX_COMMANDS: usize = 1024;

/// A command to a worker.
enum Command {
    /// Serve this socket. The token stands for its accept loop until that runs:
    /// a drain that begins in between must not find the worker idle.
    Listen(TcpListener, Arc<Listener>, TaskTrackerToken),
    /// Run this task.
    Run(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// Drop all requests in flight and end.
    Cut,
}

/// A running worker, as the control thread sees it.
#[derive(Debug)]
pub struct Worker {
    commands: mpsc::Sender<Command>,
    /// Its accept loops.
    loops: TaskTracker,
    /// The tasks of its connections.
    connections: TaskTracker,
    /// The thread, to be joined at the end.
    thread: thread::JoinHandle<()>,
    /// Cancelled when the thread ends, by a panic too.
    ended: CancellationToken,
}

impl Worker {
    /// Starts worker number `index`, whose connections clone `service`.
    ///
    /// # Errors
    /// The system has no thread or no file descriptor left for it.
    pub fn start<S>(index: usize, service: S) -> io::Result<Self>
    where
        S: RequestService,
    {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
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
            commands,
            loops,
            connections,
            thread,
            ended,
        })
    }

    /// Makes the worker accept on another socket of `listener`. Returns when
    /// the command is queued.
    pub async fn listen(&self, socket: TcpListener, listener: Arc<Listener>) {
        // Fails only if the worker has ended, which ends the process anyway.
        let _ = self
            .commands
            .send(Command::Listen(socket, listener, self.loops.token()))
            .await;
    }

    /// Spawns a task on the worker's runtime. It is dropped when the worker is
    /// cut.
    pub async fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let _ = self.commands.send(Command::Run(Box::pin(task))).await;
    }

    /// Waits until all its connections are closed. Its listeners must be
    /// draining, or this never returns.
    pub async fn idle(&self) {
        // In this order, as only accept loops begin connections.
        self.loops.close();
        self.loops.wait().await;
        self.connections.close();
        self.connections.wait().await;
    }

    /// The number of open connections.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Waits until its thread has ended, which it does only when cut or by a
    /// panic. Cancel safe.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends the worker, drops all requests in flight and waits for the thread.
    pub async fn cut(self) {
        let _ = self.commands.send(Command::Cut).await;
        let _ = tokio::task::spawn_blocking(|| self.thread.join()).await;
    }
}

/// Executes commands until the worker is cut.
async fn run<S>(
    mut inbox: mpsc::Receiver<Command>,
    service: S,
    loops: TaskTracker,
    connections: TaskTracker,
) where
    S: RequestService,
{
    loop {
        let (socket, listener, _token) = match inbox.recv().await {
            Some(Command::Listen(socket, listener, token)) => (socket, listener, token),
            Some(Command::Run(task)) => {
                loops.spawn(task);
                continue;
            }
            Some(Command::Cut) | None => {
                worker::cut();
                return;
            }
        };
        match listening(socket) {
            Ok(socket) => {
                loops.spawn(accept(
                    socket,
                    listener,
                    service.clone(),
                    connections.clone(),
                ));
            }
            Err(error) => {
                tracing::error!(listener = %listener.name(), %error, "a worker cannot listen")
            }
        }
    }
}
