//! The request type of the service that responds to clients.

use std::sync::Arc;

use http::Version;
use tokio::time::Instant;

use crate::{
    error::Error,
    message::{Origin, Request},
};

/// Something to respond to.
#[derive(Debug)]
pub enum Arrival {
    /// A request whose head could be read.
    Request(Request),
    /// Bytes that are not a request. After the response the connection closes,
    /// or with HTTP/2 the stream.
    Refused {
        /// Why they are refused.
        error: Error,
        /// When the first byte was seen.
        started: Instant,
        /// The version in which the response is written.
        version: Version,
        /// The connection that they came by.
        origin: Arc<Origin>,
    },
}
