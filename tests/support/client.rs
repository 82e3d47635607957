//! The client's side of a connection.

use std::{
    net::{SocketAddr, TcpStream},
    ops::{Deref, DerefMut},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    sync::Arc,
};

use socket2::{Domain, Socket, Type};

use super::{Message, TIMEOUT, Wire};

/// A client's connection to the gateway.
pub struct Client(Wire);

impl Client {
    /// Connects to `address`.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).unwrap();
        Self(Wire::new(stream, Arc::default()))
    }

    /// Connects to a socket in the file system. The type of TCP carries it, too.
    #[track_caller]
    pub fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        Self::over(TcpStream::from(OwnedFd::from(stream)))
    }

    /// Wraps a connection that is already established.
    pub fn over(stream: TcpStream) -> Self {
        Self(Wire::new(stream, Arc::default()))
    }

    /// Connects with a small receive buffer: a peer blocks soon if this client
    /// does not read.
    #[track_caller]
    pub fn connect_narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.connect(&address.into()).unwrap();
        Self(Wire::new(socket.into(), Arc::default()))
    }

    /// Reads the response to any request but HEAD. Interim responses are
    /// returned, too.
    #[track_caller]
    pub fn response(&mut self) -> Message {
        let head = self.head().unwrap();
        let is_bodiless = matches!(head.status(), 100..200 | 204 | 304);
        self.message(head, is_bodiless, true)
    }

    /// Reads the response to a HEAD request.
    #[track_caller]
    pub fn response_to_head(&mut self) -> Message {
        let head = self.head().unwrap();
        self.message(head, true, true)
    }

    /// Sends a request and reads its response.
    #[track_caller]
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(request);
        self.response()
    }
}

impl Client {
    /// Returns the underlying connection.
    pub fn into_wire(self) -> Wire {
        self.0
    }
}

impl Deref for Client {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.0
    }
}
