//! What the server asks of a connection beside its bytes: to end in a reset, and whether the peer has ended.

use std::{io, time::Duration};

use futures_util::FutureExt;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::TcpStream,
};

/// A connection's bytes, and what else the server asks of it.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// From now on, whether a close cuts: the peer sees a reset instead of an end.
    ///
    /// # Errors
    /// Those of the system.
    fn close_cuts(&self, cuts: bool) -> io::Result<()>;

    /// Whether the peer has said all that it will, even if not all of it was read. Asks nothing of the system.
    fn has_ended(&self) -> bool;
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
