//! The refusal of a service that was asked about a client.

use bytes::Bytes;
use http::StatusCode;

/// The response of a service that does not vouch for a client. The client gets
/// it in place of one of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceResponse {
    /// Its status, 200 to 599 and none of success.
    pub status: StatusCode,
    /// Its fields, each with its line end, without those of the framing.
    pub lines: Box<[u8]>,
    /// Its body.
    pub body: Bytes,
}
