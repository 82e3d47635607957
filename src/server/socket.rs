//! What the server asks of a connection beside its bytes: to end in a reset, and whether the peer has ended.

use std::{
    io,
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};

use futures_util::FutureExt;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::TcpStream,
};

use crate::tls::ServerStream;

/// A connection's bytes, and what else the server asks of it.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// From now on, whether a close cuts: the peer sees a reset instead of an end.
    ///
    /// # Errors
    /// Those of the system.
    fn close_cuts(&self, cuts: bool) -> io::Result<()>;

    /// Whether the peer has said all that it will, even if not all of it was read. Asks nothing of the system.
    fn has_ended(&self) -> bool;

    /// Says that this is the end and no cut, where that takes more than closing. Waits for nothing.
    fn say_goodbye(&mut self) {}
}

impl Socket for TcpStream {
    fn close_cuts(&self, cuts: bool) -> io::Result<()> {
        SockRef::from(self).set_linger(cuts.then_some(Duration::ZERO))
    }

    fn has_ended(&self) -> bool {
        let known = self.ready(Interest::READABLE).now_or_never();
        known.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed()))
    }
}

impl<IO: Socket> Socket for ServerStream<IO> {
    fn close_cuts(&self, cuts: bool) -> io::Result<()> {
        self.get_ref().0.io().close_cuts(cuts)
    }

    fn has_ended(&self) -> bool {
        self.get_ref().0.io().has_ended()
    }

    /// Sends `close_notify`. Where the socket takes nothing more, nobody is left to read it.
    fn say_goodbye(&mut self) {
        let _ = Pin::new(self).poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }
}
