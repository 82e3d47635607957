//! What one HTTP/2 connection may ask of the gateway: each number with its reason, all of them in docs/protocols.md.

use std::time::Duration;

use h2::server::Builder;

use crate::{
    http2::{
        FIELD_OVERHEAD, SEND_BUFFER,
        windows::{CONNECTION_WINDOW, STREAM_WINDOW},
    },
    server::ConnectionLimits,
};

/// Streams at once: what RFC 9113, 6.5.2 asks for at least, with some room; NGINX's default.
const STREAMS: u32 = 128;
/// Bytes of a client's table of header fields (HPACK): the protocol's default.
const HEADER_TABLE: u32 = 4096;
/// Streams that were reset here, of which late frames are forgiven, and for how long.
const RESET_STREAMS: usize = 50;
const RESET_MEMORY: Duration = Duration::from_secs(1);
/// Streams that a client opened and reset before they were looked at.
const UNSEEN_RESETS: usize = 50;
/// Requests of one connection that broke the protocol or came above the bound on streams.
const BROKEN_STREAMS: usize = 1024;

/// How long a client may take to end, once it was told to.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// A connection's settings and bounds.
pub(super) fn builder(limits: &ConnectionLimits) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .header_table_size(HEADER_TABLE)
        .max_header_list_size(header_list(limits))
        .max_concurrent_reset_streams(RESET_STREAMS)
        .reset_stream_duration(RESET_MEMORY)
        .max_pending_accept_reset_streams(UNSEEN_RESETS)
        .max_local_error_reset_streams(Some(BROKEN_STREAMS));
    builder
}

/// The bound on the decoded head as the protocol counts it. Above what the listener allows, so that who is a little
/// above gets an answer and an access line from the gateway; who is above this gets a bare 431, and who is four times
/// above it loses the connection.
fn header_list(limits: &ConnectionLimits) -> u32 {
    let most = 2 * limits.head.bytes + (limits.head.headers + 1) * FIELD_OVERHEAD;
    u32::try_from(most).unwrap_or(u32::MAX)
}
