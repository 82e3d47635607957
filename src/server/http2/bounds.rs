//! The bounds on one HTTP/2 connection, each with its reason. docs/protocols.md
//! lists them for users.

use std::time::Duration;

use h2::server::Builder;

use crate::{
    http2::{
        FIELD_OVERHEAD, SEND_BUFFER,
        windows::{CONNECTION_WINDOW, STREAM_WINDOW},
    },
    policy::ConnectionLimits,
};

/// Concurrent streams: above the 100 that RFC 9113, 6.5.2 recommends at least;
/// NGINX's default.
const STREAMS: u32 = 128;
/// Size of a client's HPACK table in bytes: the protocol's default.
const HEADER_TABLE: u32 = 4096;
/// Streams reset by us whose late frames are tolerated.
const RESET_STREAMS: usize = 50;
/// How long they are tolerated.
const RESET_MEMORY: Duration = Duration::from_secs(1);
/// Streams that a client opened and reset before they were accepted.
const UNSEEN_RESETS: usize = 50;
/// Requests of one connection that broke the protocol or exceeded the bound on
/// streams.
const BROKEN_STREAMS: usize = 1024;

/// How long a client may take to end after it was told to.
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

/// The bound on the decoded head as the protocol counts it. It is above the
/// listener's own bound, so that a request that is slightly too large gets a
/// response and an access line from the gateway. One above this bound gets a
/// bare 431, and one four times above it ends the connection.
fn header_list(limits: &ConnectionLimits) -> u32 {
    let most = 2 * limits.head.bytes + (limits.head.headers + 1) * FIELD_OVERHEAD;
    u32::try_from(most).unwrap_or(u32::MAX)
}
