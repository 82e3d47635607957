//! The request type of the service that responds to clients.
//!
//! Malformed bytes are an arrival too, so that the service writes their
//! response and their access line in the same way as those of requests.

use std::sync::Arc;

use http::Version;
use tokio::time::Instant;

use crate::{
    error::Error,
    message::{Origin, Request},
};

/// A request, or bytes that are none, to which the service responds.
#[derive(Debug)]
pub enum Arrival {
    /// A request whose head could be read.
    Request(Request),
    /// Bytes that are not a request. After the response the connection closes,
    /// or with HTTP/2 the stream.
    Refused {
        /// Why they are refused.
        error: Error,
        /// The moment at which the first byte arrived.
        started: Instant,
        /// The version in which the response is written.
        version: Version,
        /// The connection that they came by.
        origin: Arc<Origin>,
    },
}
