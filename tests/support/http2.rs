//! HTTP/2 for tests: a correct client and server (h2's), and a client that
//! writes arbitrary frames.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client};
use http::{HeaderMap, Request, StatusCode};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{Client, End, TIMEOUT, Wire};

/// A client's HTTP/2 connection. It makes progress only inside calls of its
/// methods.
pub struct Http2 {
    runtime: Runtime,
    requests: client::SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// A request whose response has not been read.
pub struct Pending {
    /// Resolves to the head of the response.
    pub response: client::ResponseFuture,
    /// Sends the rest of the request's body.
    pub body: SendStream<Bytes>,
}

/// A whole response.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: StatusCode,
    /// Fields of the head.
    pub headers: HeaderMap,
    /// Whole body.
    pub body: Vec<u8>,
    /// Trailers, if there were any.
    pub trailers: Option<HeaderMap>,
    /// Whether the head carried END_STREAM.
    pub is_head_alone: bool,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a field of the head.
    ///
    /// # Panics
    /// If the field is absent.
    #[track_caller]
    pub fn get(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name}: {self:?}"))
            .to_str()
            .unwrap()
    }
}

impl Http2 {
    /// Connects with prior knowledge of HTTP/2 and h2's default settings.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::with(address, &mut client::Builder::new())
    }

    /// Connects with these settings.
    #[track_caller]
    pub fn with(address: SocketAddr, settings: &mut client::Builder) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (requests, connection) = runtime.block_on(async {
            let io = TcpStream::connect(address).await.unwrap();
            let (requests, connection) = settings.handshake(io).await.unwrap();
            (requests, tokio::spawn(connection))
        });
        Self {
            runtime,
            requests,
            connection,
        }
    }

    /// Drives the connection until `what` completes, at most for [`TIMEOUT`].
    #[track_caller]
    pub fn wait<F: Future>(&self, what: F) -> F::Output {
        self.runtime
            .block_on(async { timeout(TIMEOUT, what).await.expect("nothing came in time") })
    }

    /// Sends the head of a request. `ends` sets END_STREAM: the request has no
    /// body.
    #[track_caller]
    pub fn open(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        ends: bool,
    ) -> Pending {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://a.example{path}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let mut requests = self.requests.clone();
        self.wait(poll_fn(|cx| requests.poll_ready(cx))).unwrap();
        let (response, body) = requests.send_request(request, ends).unwrap();
        self.settle();
        Pending { response, body }
    }

    /// Lets the connection write what is queued and read what has arrived.
    pub fn settle(&self) {
        self.runtime.block_on(async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Reads a response to its end.
    ///
    /// # Errors
    /// If the stream is reset or the connection ends.
    #[track_caller]
    pub fn finish(&self, response: client::ResponseFuture) -> Result<Response, h2::Error> {
        self.wait(async {
            let (head, mut body) = response.await?.into_parts();
            let mut answer = Response {
                status: head.status,
                headers: head.headers,
                body: Vec::new(),
                trailers: None,
                is_head_alone: body.is_end_stream(),
            };
            while let Some(data) = body.data().await {
                answer.body.extend(take(&mut body, data?));
            }
            answer.trailers = body.trailers().await?;
            Ok(answer)
        })
    }

    /// Sends a GET and reads its response.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.ask("GET", path, &[])
    }

    /// Sends a request without a body and reads its response.
    #[track_caller]
    pub fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        let asked = self.open(method, path, fields, true);
        self.finish(asked.response).unwrap()
    }

    /// Sends a request with a body and reads its response.
    #[track_caller]
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)], body: &'static [u8]) -> Response {
        let mut asked = self.open("POST", path, fields, false);
        asked
            .body
            .send_data(Bytes::from_static(body), true)
            .unwrap();
        self.finish(asked.response).unwrap()
    }

    /// Drops the request handle and waits for the end of the connection.
    ///
    /// # Errors
    /// If the connection ends with an error.
    #[track_caller]
    pub fn ended(self) -> Result<(), h2::Error> {
        let Self {
            runtime,
            requests,
            connection,
        } = self;
        drop(requests);
        runtime.block_on(async {
            timeout(TIMEOUT, connection)
                .await
                .expect("the connection does not end")
                .unwrap()
        })
    }

    /// Waits for the end of the connection while still holding the request
    /// handle.
    ///
    /// # Errors
    /// If the connection ends with an error.
    #[track_caller]
    pub fn closed(&mut self) -> Result<(), h2::Error> {
        let connection = &mut self.connection;
        self.runtime.block_on(async {
            timeout(TIMEOUT, connection)
                .await
                .expect("the connection does not end")
                .unwrap()
        })
    }
}

/// Releases the flow-control capacity of `data` and returns it.
fn take(body: &mut RecvStream, data: Bytes) -> Bytes {
    body.flow_control().release_capacity(data.len()).unwrap();
    data
}

/// An HTTP/2 server that runs a script for each stream. Declare it before the
/// gateway.
pub struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// A stream as its script sees it.
pub struct Stream {
    /// The request.
    pub request: Request<RecvStream>,
    /// Sends the response.
    pub respond: h2::server::SendResponse<Bytes>,
    /// Number of connections that were accepted before the one of this stream.
    pub connection: usize,
    /// Tells the connection to send GOAWAY.
    pub leave: Arc<Notify>,
}

impl Server {
    /// Starts a server that runs `script` for each stream.
    pub fn start<F>(
        settings: h2::server::Builder,
        script: impl Fn(Stream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self::over(listener, settings, script)
    }

    /// As [`start`](Self::start), on a listener that is open already.
    pub fn over<F>(
        listener: std::net::TcpListener,
        settings: h2::server::Builder,
        script: impl Fn(Stream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            let script = Rc::new(script);
            local.block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let accept = async {
                    while let Ok((io, _)) = listener.accept().await {
                        let index = count.fetch_add(1, Ordering::SeqCst);
                        tokio::task::spawn_local(serve(
                            io,
                            settings.clone(),
                            index,
                            Rc::clone(&script),
                        ));
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self {
            address,
            connections,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// URL of the server, for the configuration.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Number of connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve<F>(
    io: TcpStream,
    settings: h2::server::Builder,
    connection: usize,
    script: Rc<impl Fn(Stream) -> F + 'static>,
) where
    F: Future<Output = ()> + 'static,
{
    let Ok(mut h2) = settings.handshake::<_, Bytes>(io).await else {
        return;
    };
    let leave = Arc::new(Notify::new());
    loop {
        let accepted = tokio::select! {
            accepted = h2.accept() => accepted,
            () = leave.notified() => {
                h2.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        tokio::task::spawn_local(script(Stream {
            request,
            respond,
            connection,
            leave: Arc::clone(&leave),
        }));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        if !thread::panicking() {
            ended.unwrap();
        }
    }
}

impl Stream {
    /// Sends a whole response.
    pub fn answer(mut self, status: u16, body: impl Into<Bytes>) {
        let head = http::Response::builder().status(status).body(()).unwrap();
        let mut stream = self.respond.send_response(head, false).unwrap();
        stream.send_data(body.into(), true).unwrap();
    }

    /// Reads the request's body and its trailers.
    pub async fn body(&mut self) -> (Vec<u8>, Option<HeaderMap>) {
        let (body, mut all) = (self.request.body_mut(), Vec::new());
        while let Some(data) = body.data().await {
            all.extend(take(body, data.unwrap()));
        }
        (all, body.trailers().await.unwrap())
    }
}

/// A connection that arbitrary frames can be written to.
pub struct Frames(Wire);

/// Frame types (RFC 9113, 6).
pub mod kind {
    #![allow(missing_docs, reason = "names of RFC 9113, section 6")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flag END_STREAM of DATA and HEADERS, and ACK of SETTINGS and PING.
pub const END_STREAM: u8 = 1;
/// Flag END_HEADERS of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
/// The HTTP/2 client preface (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A received frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Frame type, see [`kind`].
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Stream identifier.
    pub stream: u32,
    /// Payload.
    pub payload: Vec<u8>,
}

/// The gateway's reaction to the frames of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// The connection ends: GOAWAY with this code.
    Goaway(Reason),
    /// RST_STREAM with this code.
    Reset(Reason),
    /// A response with this status.
    Status(u16),
    /// The connection ends without GOAWAY.
    Nothing,
}

/// Encodes a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Encodes a header block of literals that are not indexed.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| [vec![0], string(name), string(value)].concat())
        .collect()
}

fn string(text: &str) -> Vec<u8> {
    // Lengths from 127 on take more bytes (RFC 7541, 5.1).
    let mut out = Vec::new();
    if text.len() < 127 {
        out.push(text.len() as u8);
    } else {
        out.push(127);
        let mut left = text.len() - 127;
        while left >= 128 {
            out.push((left % 128) as u8 | 128);
            left /= 128;
        }
        out.push(left as u8);
    }
    out.extend(text.as_bytes());
    out
}

/// Header block of a GET for `path`.
pub fn get(path: &str) -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", path),
    ])
}

/// Header block of a POST to `path`, with further fields.
pub fn post(path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let head = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", path),
    ];
    block(&[&head, fields].concat())
}

impl Frames {
    /// Connects and sends the client preface with empty SETTINGS.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let mut wire = Client::connect(address).into_wire();
        wire.send([PREFACE, &frame(kind::SETTINGS, 0, 0, &[])].concat());
        let mut frames = Self(wire);
        let settings = frames.next().expect("SETTINGS");
        assert_eq!((settings.kind, settings.flags), (kind::SETTINGS, 0));
        frames.send(kind::SETTINGS, END_STREAM, 0, &[]);
        frames
    }

    /// Writes a frame. The connection may be closed already.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(&frame(kind, flags, stream, payload));
    }

    /// Writes raw bytes to a connection that may be closed already.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.try_send(bytes);
    }

    /// Reads a frame. Returns `None` at the end of the connection.
    #[track_caller]
    pub fn next(&mut self) -> Option<Frame> {
        let head = self.0.bytes(9).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.0.bytes(length as usize).ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        })
    }

    /// Reads frames until one of this type comes.
    #[track_caller]
    pub fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self
                .next()
                .unwrap_or_else(|| panic!("the connection ends without a frame of type {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads frames up to the first GOAWAY, RST_STREAM or HEADERS.
    #[track_caller]
    pub fn reaction(&mut self) -> Reaction {
        while let Some(frame) = self.next() {
            let code = |at: usize| {
                Reason::from(u32::from_be_bytes(
                    frame.payload[at..at + 4].try_into().unwrap(),
                ))
            };
            match frame.kind {
                kind::GOAWAY => return Reaction::Goaway(code(4)),
                kind::RST_STREAM => return Reaction::Reset(code(0)),
                kind::HEADERS => return Reaction::Status(status(&frame.payload)),
                _ => {}
            }
        }
        Reaction::Nothing
    }

    /// Reads to the end of the connection.
    #[track_caller]
    pub fn ended(&mut self) -> End {
        self.0.rest(&mut Vec::new())
    }

    /// Shuts down the sending side.
    pub fn finish(&mut self) {
        self.0.finish();
    }
}

/// The status at the beginning of a response's header block: an entry of the
/// static table, or three digits, which take five or six bits each in the
/// Huffman code (RFC 7541, appendix B).
fn status(block: &[u8]) -> u16 {
    match block {
        [indexed @ 0x88..=0x8e, ..] => {
            [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]
        }
        [0x48, 3, digits @ ..] => String::from_utf8_lossy(&digits[..3]).parse().unwrap(),
        [0x48, length, coded @ ..] => {
            let bits: String = coded[..usize::from(length & 127)]
                .iter()
                .map(|byte| format!("{byte:08b}"))
                .collect();
            let (mut at, mut status) = (0, 0);
            for _ in 0..3 {
                let short = u16::from_str_radix(&bits[at..at + 5], 2).unwrap();
                let digit = if short < 3 {
                    short
                } else {
                    u16::from_str_radix(&bits[at..at + 6], 2).unwrap() - 22
                };
                at += if short < 3 { 5 } else { 6 };
                status = status * 10 + digit;
            }
            status
        }
        _ => panic!("no status: {block:?}"),
    }
}
