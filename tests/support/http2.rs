//! A client that speaks HTTP/2 as it should (h2's), and one that writes any frames.

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

use super::{Client, End, PATIENCE, Wire};

/// A client's HTTP/2 connection. It moves only while something is asked of it.
pub struct Http2 {
    runtime: Runtime,
    requests: client::SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// A request on its way.
pub struct Asked {
    /// Its answer's head.
    pub response: client::ResponseFuture,
    /// The rest of its body.
    pub body: SendStream<Bytes>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
    /// The stream ended with the head.
    pub is_head_alone: bool,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A field that is there.
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
    /// Connects, knowing that HTTP/2 is spoken.
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

    /// Waits for something that is bound to come.
    #[track_caller]
    pub fn wait<F: Future>(&self, what: F) -> F::Output {
        self.runtime
            .block_on(async { timeout(PATIENCE, what).await.expect("it never comes") })
    }

    /// Sends a request's head; `ends` when it has no body.
    #[track_caller]
    pub fn open(&mut self, method: &str, path: &str, fields: &[(&str, &str)], ends: bool) -> Asked {
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
        Asked { response, body }
    }

    /// Lets what was written leave.
    pub fn settle(&self) {
        self.runtime.block_on(async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Reads an answer to its end.
    ///
    /// # Errors
    /// When the stream was reset or the connection ended.
    #[track_caller]
    pub fn finish(&self, response: client::ResponseFuture) -> Result<Answer, h2::Error> {
        self.wait(async {
            let (head, mut body) = response.await?.into_parts();
            let mut answer = Answer {
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

    /// GET.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    /// A request without a body, and its answer.
    #[track_caller]
    pub fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let asked = self.open(method, path, fields, true);
        self.finish(asked.response).unwrap()
    }

    /// A request with a body, and its answer.
    #[track_caller]
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)], body: &'static [u8]) -> Answer {
        let mut asked = self.open("POST", path, fields, false);
        asked
            .body
            .send_data(Bytes::from_static(body), true)
            .unwrap();
        self.finish(asked.response).unwrap()
    }

    /// Waits for the end of the connection.
    ///
    /// # Errors
    /// When it did not end in order.
    #[track_caller]
    pub fn ended(self) -> Result<(), h2::Error> {
        let Self {
            runtime,
            requests,
            connection,
        } = self;
        drop(requests);
        runtime.block_on(async {
            timeout(PATIENCE, connection)
                .await
                .expect("it does not end")
                .unwrap()
        })
    }

    /// Waits for the end of the connection while requests could still be sent by it.
    ///
    /// # Errors
    /// When it did not end in order.
    #[track_caller]
    pub fn closed(&mut self) -> Result<(), h2::Error> {
        let connection = &mut self.connection;
        self.runtime.block_on(async {
            timeout(PATIENCE, connection)
                .await
                .expect("it does not end")
                .unwrap()
        })
    }
}

/// Gives the window back for what was read.
fn take(body: &mut RecvStream, data: Bytes) -> Bytes {
    body.flow_control().release_capacity(data.len()).unwrap();
    data
}

/// A server that speaks HTTP/2 only, each stream answered by a script. Declare it before the gateway.
pub struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What a script is given of a stream.
pub struct Stream {
    /// The request.
    pub request: Request<RecvStream>,
    /// The way to answer.
    pub respond: h2::server::SendResponse<Bytes>,
    /// How many connections came before its own.
    pub connection: usize,
    /// Asks the connection to say GOAWAY.
    pub leave: Arc<Notify>,
}

impl Server {
    /// Runs `script` for each stream.
    pub fn start<F>(
        settings: h2::server::Builder,
        script: impl Fn(Stream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
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

    /// As the configuration names it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections that were accepted so far.
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
    /// Answers with a whole body.
    pub fn answer(mut self, status: u16, body: impl Into<Bytes>) {
        let head = http::Response::builder().status(status).body(()).unwrap();
        let mut stream = self.respond.send_response(head, false).unwrap();
        stream.send_data(body.into(), true).unwrap();
    }

    /// Reads the request's body, and its trailers.
    pub async fn body(&mut self) -> (Vec<u8>, Option<HeaderMap>) {
        let (body, mut all) = (self.request.body_mut(), Vec::new());
        while let Some(data) = body.data().await {
            all.extend(take(body, data.unwrap()));
        }
        (all, body.trailers().await.unwrap())
    }
}

/// A connection on which any frame can be written.
pub struct Frames(Wire);

/// Kinds of frames.
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

/// END_STREAM, and the acknowledgement of SETTINGS and PING.
pub const END_STREAM: u8 = 1;
/// END_HEADERS.
pub const END_HEADERS: u8 = 4;
/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// The rest.
    pub payload: Vec<u8>,
}

/// How a client is told that it did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The connection ends: GOAWAY with this code.
    Goaway(Reason),
    /// The stream was reset with this code.
    Reset(Reason),
    /// The stream was answered.
    Status(u16),
    /// The connection ended without a word.
    Nothing,
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of literals, none of which is remembered.
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

/// The header block of a request for this path.
pub fn get(path: &str) -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", path),
    ])
}

/// The header block of a request with a body for this path.
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
    /// Connects, and says what a client says first.
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

    /// Writes a frame.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(&frame(kind, flags, stream, payload));
    }

    /// Writes bytes, to somebody who may have gone.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.try_send(bytes);
    }

    /// Reads a frame; `None` at the end.
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

    /// Reads a frame of this kind, whatever comes before it.
    #[track_caller]
    pub fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self
                .next()
                .unwrap_or_else(|| panic!("it ends without a frame of kind {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads until the client is told something about what it asked for.
    #[track_caller]
    pub fn told(&mut self) -> Told {
        while let Some(frame) = self.next() {
            let code = |at: usize| {
                Reason::from(u32::from_be_bytes(
                    frame.payload[at..at + 4].try_into().unwrap(),
                ))
            };
            match frame.kind {
                kind::GOAWAY => return Told::Goaway(code(4)),
                kind::RST_STREAM => return Told::Reset(code(0)),
                kind::HEADERS => return Told::Status(status(&frame.payload)),
                _ => {}
            }
        }
        Told::Nothing
    }

    /// Reads to the end of the connection.
    #[track_caller]
    pub fn ended(&mut self) -> End {
        self.0.rest(&mut Vec::new())
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        self.0.finish();
    }
}

/// The status at the beginning of an answer's header block: of the static table, or three digits, which are five or six
/// bits in Huffman's code (RFC 7541, appendix B).
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
