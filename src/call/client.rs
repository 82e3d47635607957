//! The client of a request, and the hops between it and the gateway.

use std::net::IpAddr;

use crate::policy::ClientIpHeader;

/// The client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The address that keys and logs use.
    pub ip: IpAddr,
    /// The word of the peer on earlier hops, which is passed on; `None` unless
    /// it is a trusted proxy.
    pub chain: Option<Chain>,
}

/// The word of a trusted proxy on the hops that a request came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The field that it stands in; the other one is not believed.
    pub by: ClientIpHeader,
    /// How many hops, counted from the peer, lead to the client; 0 where the
    /// peer is the client.
    pub walked: usize,
}
