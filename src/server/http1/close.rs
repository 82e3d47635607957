//! Bytes that nobody will read any more: the rest of a request's body, and all
//! that a client sends behind its last response.
//!
//! They are read and thrown away. The rest of a body has to be read so that the
//! next request is found behind it, if it is short (64 KiB) and comes within
//! two seconds; otherwise the connection is not worth it and ends. After the
//! last response, an unread byte in a socket that is closed would make the
//! kernel reset the connection (RFC 9112, 9.6), and destroy a response that the
//! client has not read yet.
//!
//! # Which of the two
//!
//! [`discard_rest`] is for a connection that goes on: the response is written,
//! and the next request begins behind the rest of this one. [`linger`] is for a
//! connection that ends. Its bytes are not parsed, since nothing in them will
//! be served.
//!
//! # Bounds
//!
//! The rest of a body is bounded by [`SHORT_REST`] and [`FINISH`]; all that
//! comes behind the last response is bounded by [`Linger`] in time, in silence
//! and in the number of connections. Bytes are dropped with each read, so that
//! memory stays that of one read.

use std::{
    future::poll_fn,
    task::{Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::wire::SharedWire;
use crate::{
    runtime::timer::Timer,
    server::{Socket, connection::ConnectionHandle, linger::Linger},
};

/// Longest rest of a request's body, in bytes, that is read so that the
/// connection can go on.
pub(super) const SHORT_REST: u64 = 64 * 1024;
/// How long that may take.
const FINISH: Duration = Duration::from_secs(2);

/// The end of a request's body that nobody reads.
///
/// Only the first lets the connection take another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyRest {
    /// All of it was read: the next request is behind it.
    Discarded,
    /// It is too long to be read for the sake of a next request.
    Long,
    /// It did not come in time, or the client ended the connection.
    Missing,
}

/// Reads the rest of the request's body, so that the next request can be found
/// behind it, for at most [`FINISH`].
///
/// The bytes that are already here are discarded before the length of the rest
/// is looked at. A body in chunks counts as long unless its end can be read at
/// once, since its length is not known. So does one for which the client awaits
/// a 100 (Continue). Cancel safe: what was discarded stays so.
pub(super) async fn discard_rest<IO: Socket>(wire: &SharedWire<IO>, timer: &mut Timer) -> BodyRest {
    timer.set(Instant::now() + FINISH);
    poll_fn(|cx| {
        let mut wire = wire.lock();
        loop {
            if wire.discard_body() {
                return Poll::Ready(BodyRest::Discarded);
            }
            match wire.poll_read(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(BodyRest::Missing),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        if !wire.rest_is_short(SHORT_REST) {
            return Poll::Ready(BodyRest::Long);
        }
        timer.poll(cx).map(|()| BodyRest::Missing)
    })
    .await
}

/// Ends our side of the connection, then reads until the client has ended its
/// own, within the bounds of [`Linger`].
///
/// Ready when the client has ended, when a bound is reached, or when the socket
/// fails. The drain of the listener shortens the time, so that a client cannot
/// delay the end of the process. `timer` is the connection's own, which has no
/// other use by then.
pub(super) async fn linger<IO: Socket>(
    wire: &SharedWire<IO>,
    timer: Timer,
    handle: &ConnectionHandle,
) {
    let has_more = wire.lock().has_more();
    let mut linger = Linger::begin(timer, has_more);
    let mut is_shut = false;
    poll_fn(|cx| {
        let mut wire = wire.lock();
        if !is_shut {
            is_shut = ready!(wire.poll_shutdown(cx)).is_ok();
            if !is_shut {
                return Poll::Ready(());
            }
        }
        if handle.poll_must_end(cx).is_ready() {
            linger.hurry();
        }
        loop {
            wire.input.clear();
            match wire.poll_read(cx) {
                Poll::Ready(Ok(read @ 1..)) if linger.took(read) => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return linger.poll(cx),
            }
        }
    })
    .await;
}
