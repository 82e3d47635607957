//! A socket in the file system in front of a scripted upstream.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tempfile::TempDir;

/// A socket whose connections are passed on to a server over TCP, byte by byte.
pub struct Socket {
    folder: TempDir,
    connections: Arc<AtomicUsize>,
}

impl Socket {
    /// Listens in a new folder, in front of the server at `address`.
    pub fn before(address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connections = Arc::default();
        listen(&folder.path().join("app.sock"), address, &connections);
        Self {
            folder,
            connections,
        }
    }

    /// The path of the socket.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("app.sock")
    }

    /// The server, as the configuration names it.
    pub fn url(&self) -> String {
        format!("unix:{}", self.path().display())
    }

    /// Number of connections that were accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Accepts connections at `path` until the end of the process.
fn listen(path: &Path, address: SocketAddr, connections: &Arc<AtomicUsize>) {
    let listener = UnixListener::bind(path).unwrap();
    let connections = Arc::clone(connections);
    thread::spawn(move || {
        for client in listener.incoming() {
            connections.fetch_add(1, Ordering::SeqCst);
            pass_on(client.unwrap(), address);
        }
    });
}

/// Moves the bytes of a connection in both directions, until both ends.
fn pass_on(client: UnixStream, address: SocketAddr) {
    let server = TcpStream::connect(address).unwrap();
    let (mut from_client, mut to_server) =
        (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        // Either side may end at any time.
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
}
