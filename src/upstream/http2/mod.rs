//! The HTTP/2 client: few connections, each shared by as many requests as its
//! server allows.
//!
//! * `pool`: the connections of each worker, and how a request gets a stream.
//! * `connection`: one connection, the task that drives it, and permits for its
//!   streams.
//! * `exchange`: a request on a stream, and the wait for the response's head.
//! * `head`: conversion between heads as text and header lists.
//! * `upload`, `body`: the bodies of request and response.
//! * `resets`: a limit on stream resets, so that no server takes them for an
//!   attack.
//! * `settings`: the server's SETTINGS that h2 does not expose.
//!
//! Frames and HPACK are h2's. hyper's client is not used, because it hides
//! resets, the reasons of failures and the pace at which bodies flow.

mod body;
mod connection;
mod exchange;
mod head;
mod pool;
mod resets;
mod settings;
mod upload;

pub(super) use self::{
    connection::StreamPermit,
    exchange::Http2Exchange,
    pool::{Http2Pool, MakingTurn, StreamSearch},
};
