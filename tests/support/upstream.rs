//! A scripted upstream: one thread for each connection, and a record of every
//! byte that the scripts read.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    ops::{Deref, DerefMut},
    panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
};

use super::{Cut, Gate, Message, Wire, ok};

/// A server that runs a script for each connection.
///
/// Dropping it joins its threads, and a panic in one of them fails the test.
/// Declare it before the gateway, so that the gateway is dropped first.
pub struct Upstream {
    address: SocketAddr,
    received: Received,
    is_over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<Vec<JoinHandle<()>>>>,
}

/// The bytes that each connection received, in the order of accepting.
type Received = Arc<Mutex<Vec<Arc<Mutex<Vec<u8>>>>>>;

/// A connection as its script sees it.
pub struct Connection {
    wire: Wire,
    /// Number of connections that were accepted before this one.
    pub index: usize,
}

impl Upstream {
    /// Starts a server that runs `script` for each connection. The connection
    /// closes when the script returns.
    pub fn start(script: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        Self::over(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// As [`start`](Self::start), on a listener that is open already.
    pub fn over(
        listener: TcpListener,
        script: impl Fn(Connection) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (received, is_over) = (Received::default(), Arc::new(AtomicBool::new(false)));
        let (record, stop, script) = (
            Arc::clone(&received),
            Arc::clone(&is_over),
            Arc::new(script),
        );
        let acceptor = thread::spawn(move || {
            let mut threads = Vec::new();
            for (index, stream) in listener.incoming().enumerate() {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let seen = Arc::default();
                record.lock().unwrap().push(Arc::clone(&seen));
                let (wire, script) = (Wire::new(stream.unwrap(), seen), Arc::clone(&script));
                threads.push(thread::spawn(move || script(Connection { wire, index })));
            }
            threads
        });
        Self {
            address,
            received,
            is_over,
            acceptor: Some(acceptor),
        }
    }

    /// Starts a server that responds to every request with the result of
    /// `response`.
    pub fn answering(response: impl Fn(&Message) -> String + Send + Sync + 'static) -> Self {
        Self::start(move |mut connection| {
            while let Some(request) = connection.request() {
                connection.send(response(&request));
            }
        })
    }

    /// Starts a server that sends the path of each request to the channel and
    /// responds once the gate is opened.
    pub fn held() -> (Self, Receiver<String>, Gate) {
        let (sender, receiver) = mpsc::channel();
        let leave = Gate::new();
        let gate = leave.clone();
        let upstream = Self::answering(move |request| {
            // The receiver may be gone: a request may arrive after the end of
            // the test.
            let _ = sender.send(request.target().to_owned());
            gate.pass();
            ok("")
        });
        (upstream, receiver, leave)
    }

    /// Address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// URL of the server, for the configuration.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Number of connections accepted so far.
    pub fn connections(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Every byte that the scripts have read so far, by connection.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.received
            .lock()
            .unwrap()
            .iter()
            .map(|seen| seen.lock().unwrap().clone())
            .collect()
    }

    /// Every byte that the scripts have read so far, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.received().concat()).into_owned()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        let threads = self.acceptor.take().unwrap().join();
        if thread::panicking() {
            return;
        }
        for script in threads.unwrap() {
            if let Err(failure) = script.join() {
                panic::resume_unwind(failure);
            }
        }
    }
}

impl Connection {
    /// Reads a whole request. Returns `None` if the gateway closes the
    /// connection before one begins.
    #[track_caller]
    pub fn request(&mut self) -> Option<Message> {
        let head = match self.head() {
            Ok(head) => head,
            Err(Cut(rest)) if rest.is_empty() => return None,
            Err(Cut(rest)) => panic!(
                "the connection ends inside a head: {:?}",
                String::from_utf8_lossy(&rest)
            ),
        };
        let request = self.message(head, false, false);
        assert!(request.is_whole, "the request is incomplete: {request:?}");
        Some(request)
    }

    /// Reads the next request and panics if there is none.
    #[track_caller]
    pub fn expect_request(&mut self) -> Message {
        self.request().expect("a request")
    }

    /// Closes the connection with a TCP reset.
    pub fn break_off(self) {
        self.wire.reset();
    }
}

impl Deref for Connection {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }
}
