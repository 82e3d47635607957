//! From a configured listener to the settings of the one that serves.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use super::Files;
use crate::{
    config::Config,
    policy,
    server::{Listener, ListenerSettings},
    tls::{AlpnProtocol, ServerTls},
};

/// Connections that each client may have unless the configuration says less: a browser opens six for a site.
const LEAST_PER_CLIENT: usize = 10;

/// Listeners, as far as they can be prepared before they serve.
#[derive(Debug)]
pub struct Opening {
    /// Of all listeners, in their order.
    pub(super) settings: Vec<(SocketAddr, ListenerSettings)>,
    /// Of those that are new.
    pub(super) bound: Vec<Bound>,
}

impl Opening {
    /// Where the new ones listen, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|bound| bound.local).collect()
    }
}

/// A listener's sockets, one for each worker.
#[derive(Debug)]
pub(super) struct Bound {
    /// As configured, which is what a listener is known by over reloads.
    pub(super) address: SocketAddr,
    /// With the port that the system chose, if it was to choose one.
    pub(super) local: SocketAddr,
    pub(super) sockets: Vec<TcpListener>,
}

/// At least one socket for each worker: where fewer were handed over, workers share them.
pub(super) fn one_each(
    mut sockets: Vec<TcpListener>,
    workers: usize,
) -> io::Result<Vec<TcpListener>> {
    for index in 0..workers.saturating_sub(sockets.len()) {
        sockets.push(sockets[index].try_clone()?);
    }
    Ok(sockets)
}

/// What `listener` asks for, as far as the limit on open files allows; `open` is the open listener, if there is one.
///
/// # Errors
/// Why its TLS cannot be built.
pub(super) fn settings(
    config: &Config,
    listener: &policy::Listener,
    open: Option<&Listener>,
    files: Files,
) -> Result<ListenerSettings, String> {
    let max_connections = files.max_connections(listener);
    let per_client = config.server.max_connections_per_client;
    let earlier = open.and_then(Listener::tls);
    let tls = listener
        .tls
        .as_ref()
        .map(|tls| ServerTls::new(tls, offered(listener), earlier.as_ref()));
    Ok(ListenerSettings {
        max_connections,
        max_per_client: per_client.map_or_else(|| share_of_a_client(max_connections), Into::into),
        trusted: config.client_ip.trusted_proxies.as_slice().into(),
        limits: listener.limits,
        proxy_protocol: listener.proxy_protocol,
        tls: tls
            .transpose()
            .map_err(|why| format!("cannot speak TLS on {}: {why}", listener.bind))?,
        tls_handshake: listener.tls_handshake,
    })
}

/// Connections of one client where the configuration names no number: a tenth, so that no one can take all places alone.
fn share_of_a_client(max_connections: usize) -> usize {
    max_connections.div_ceil(10).max(LEAST_PER_CLIENT)
}

/// The versions of HTTP that are offered to clients, the preferred one first.
fn offered(listener: &policy::Listener) -> &'static [AlpnProtocol] {
    if listener.limits.http2 {
        &[AlpnProtocol::Http2, AlpnProtocol::Http1]
    } else {
        &[AlpnProtocol::Http1]
    }
}
