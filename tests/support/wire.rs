//! A TCP connection that is read and written as raw bytes, with just enough
//! parsing to separate messages.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use socket2::SockRef;

use super::TIMEOUT;

/// One side of a connection.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Every byte read so far.
    seen: Arc<Mutex<Vec<u8>>>,
}

/// The connection ended inside a message. Holds the bytes that came after the
/// last whole part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut(pub Vec<u8>);

/// The way a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By a TCP FIN.
    Closed,
    /// By a TCP reset.
    Reset,
}

/// The first line of a message and its fields.
#[derive(Debug, Clone)]
pub struct Head {
    /// The first line, without its line end.
    pub line: String,
    /// Fields in their order, with names in lower case.
    pub fields: Vec<(String, String)>,
    /// The head as it was received.
    pub raw: Vec<u8>,
}

/// A head with its body.
#[derive(Debug, Clone)]
pub struct Message {
    /// The first line and the fields.
    pub head: Head,
    /// The body, with chunks joined.
    pub body: Vec<u8>,
    /// The trailers of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Whether the end of the message was received.
    pub is_whole: bool,
}

impl Head {
    fn parse(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let line = lines.next().unwrap().to_owned();
        Self {
            line,
            fields: lines.map(field).collect(),
            raw,
        }
    }

    /// Every value of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The value of a field, or `None` if it is absent.
    ///
    /// # Panics
    /// If the field occurs more than once.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(
            all.len() <= 1,
            "{name} is there {} times: {all:?}",
            all.len()
        );
        all.first().copied()
    }

    /// Status of a response.
    pub fn status(&self) -> u16 {
        self.line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or_else(|| panic!("{:?}", self.line))
    }

    /// Target of a request.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }

    fn is_chunked(&self) -> bool {
        self.get("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }

    fn length(&self) -> Option<usize> {
        self.get("content-length")
            .map(|value| value.parse().unwrap())
    }
}

impl Message {
    /// Status of a response.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// Target of a request.
    pub fn target(&self) -> &str {
        self.head.target()
    }

    /// The value of a field, or `None` if it is absent.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body parsed as problem details (RFC 9457), after checking that all
    /// promised members are there.
    #[track_caller]
    pub fn problem(&self) -> Value {
        assert_eq!(
            self.get("content-type"),
            Some("application/problem+json"),
            "{:?}",
            self.head
        );
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        for member in ["type", "title", "detail", "request_id"] {
            assert!(
                problem[member]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{member}: {problem}"
            );
        }
        assert_eq!(problem["status"], self.status());
        problem
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line
        .split_once(':')
        .unwrap_or_else(|| panic!("no field: {line:?}"));
    (name.to_ascii_lowercase(), value.trim().to_owned())
}

impl Wire {
    pub(super) fn new(stream: TcpStream, seen: Arc<Mutex<Vec<u8>>>) -> Self {
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        // A socket in the file system refuses it, and needs none.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            buffer: Vec::new(),
            seen,
        }
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes to a peer that may have closed the connection.
    ///
    /// # Errors
    /// Fails as the write to the socket fails.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Writes `piece` repeatedly until the peer accepts nothing for `silence`,
    /// or until `most` bytes are written. Returns the number of bytes written.
    pub fn flood(&mut self, piece: &[u8], silence: Duration, most: usize) -> usize {
        self.stream.set_write_timeout(Some(silence)).unwrap();
        let mut sent = 0;
        while sent < most {
            let start = sent % piece.len();
            match self.stream.write(&piece[start..]) {
                Ok(written) => sent += written,
                Err(_) => break,
            }
        }
        self.stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        sent
    }

    /// Duplicates the handle of the connection, so that one thread can write
    /// while another reads.
    pub fn try_clone(&self) -> Self {
        Self::new(self.stream.try_clone().unwrap(), Arc::default())
    }

    /// Shuts down the sending side.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes the connection with a TCP reset.
    pub fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Local address.
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Reads the bytes that are available. Returns 0 at the end of the
    /// connection.
    #[track_caller]
    fn fill(&mut self) -> Result<usize, End> {
        let mut piece = vec![0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(read) => {
                self.seen.lock().unwrap().extend(&piece[..read]);
                self.buffer.extend(&piece[..read]);
                Ok(read)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                panic!(
                    "nothing more came after {:?}",
                    String::from_utf8_lossy(&self.buffer)
                )
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.fill(),
            Err(_) => Err(End::Reset),
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.buffer.drain(..length).collect()
    }

    /// Reads up to and including `end`.
    #[track_caller]
    fn until(&mut self, end: &[u8]) -> Result<Vec<u8>, Cut> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, end) {
                return Ok(self.take(at + end.len()));
            }
            if !matches!(self.fill(), Ok(1..)) {
                return Err(Cut(std::mem::take(&mut self.buffer)));
            }
        }
    }

    /// Reads `length` bytes.
    ///
    /// # Errors
    /// If the connection ends before: the bytes that came.
    #[track_caller]
    pub fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Cut> {
        while self.buffer.len() < length {
            if !matches!(self.fill(), Ok(1..)) {
                return Err(Cut(std::mem::take(&mut self.buffer)));
            }
        }
        Ok(self.take(length))
    }

    /// Reads a head.
    ///
    /// # Errors
    /// If the connection ends before: the bytes that came.
    #[track_caller]
    pub fn head(&mut self) -> Result<Head, Cut> {
        self.until(b"\r\n\r\n").map(Head::parse)
    }

    /// Reads one chunk. The last chunk is returned empty, with its trailers
    /// still unread.
    ///
    /// # Errors
    /// If the connection ends before: the bytes that came.
    #[track_caller]
    pub fn chunk(&mut self) -> Result<Vec<u8>, Cut> {
        let line = self.until(b"\r\n")?;
        let digits = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
        let size = usize::from_str_radix(&digits, 16)
            .unwrap_or_else(|_| panic!("no chunk size: {digits:?}"));
        if size == 0 {
            return Ok(Vec::new());
        }
        let mut chunk = self.bytes(size + 2)?;
        assert_eq!(chunk.split_off(size), b"\r\n");
        Ok(chunk)
    }

    /// Reads chunks until `length` bytes of data have come.
    #[track_caller]
    pub fn chunked(&mut self, length: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < length {
            let chunk = self.chunk().unwrap();
            assert!(!chunk.is_empty(), "the body ended early");
            data.extend(chunk);
        }
        assert_eq!(data.len(), length);
        data
    }

    /// Reads the body of a message with this head.
    #[track_caller]
    pub fn message(
        &mut self,
        head: Head,
        is_bodiless: bool,
        may_end_with_connection: bool,
    ) -> Message {
        let mut message = Message {
            head,
            body: Vec::new(),
            trailers: Vec::new(),
            is_whole: true,
        };
        let ended = if is_bodiless {
            Ok(())
        } else if message.head.is_chunked() {
            self.read_chunks(&mut message)
        } else if let Some(length) = message.head.length() {
            self.bytes(length).map(|body| message.body = body)
        } else if may_end_with_connection {
            message.is_whole = self.rest(&mut message.body) == End::Closed;
            Ok(())
        } else {
            Ok(())
        };
        if let Err(Cut(rest)) = ended {
            message.is_whole = false;
            message.body.extend(rest);
        }
        message
    }

    #[track_caller]
    fn read_chunks(&mut self, message: &mut Message) -> Result<(), Cut> {
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                break;
            }
            message.body.extend(chunk);
        }
        loop {
            let line = self.until(b"\r\n")?;
            if line == b"\r\n" {
                return Ok(());
            }
            message.trailers.push(field(
                String::from_utf8_lossy(&line[..line.len() - 2]).as_ref(),
            ));
        }
    }

    /// Appends everything up to the end of the connection to `into`.
    #[track_caller]
    pub fn rest(&mut self, into: &mut Vec<u8>) -> End {
        let end = loop {
            match self.fill() {
                Ok(0) => break End::Closed,
                Ok(_) => {}
                Err(end) => break end,
            }
        };
        into.append(&mut self.buffer);
        end
    }

    /// Waits for the end of the connection.
    ///
    /// # Panics
    /// If any byte comes before the end.
    #[track_caller]
    pub fn ended(&mut self) -> End {
        let mut rest = Vec::new();
        let end = self.rest(&mut rest);
        assert!(
            rest.is_empty(),
            "unexpected bytes before the end: {:?}",
            String::from_utf8_lossy(&rest)
        );
        end
    }
}
