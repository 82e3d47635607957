//! From a configured listener to what its door asks of those who come.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use crate::{
    config::model,
    http1::HeadLimits,
    server::{ConnectionLimits, Door, DoorSettings},
    tls::{Identity, MinVersion, Names, ServerSettings, ServerTls},
};

/// Listeners, as far as they can be prepared before they serve.
#[derive(Debug)]
pub struct Opening {
    /// Of all listeners, in their order.
    pub(super) settings: Vec<(SocketAddr, DoorSettings)>,
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
pub(super) fn one_each(mut sockets: Vec<TcpListener>, workers: usize) -> io::Result<Vec<TcpListener>> {
    for index in 0..workers.saturating_sub(sockets.len()) {
        sockets.push(sockets[index].try_clone()?);
    }
    Ok(sockets)
}

/// What `listener` asks for; `open` is its door, if it is open already.
///
/// # Errors
/// Why its TLS cannot be built.
pub(super) fn settings(
    listener: &model::Listener,
    open: Option<&Door>,
    default_max_connections: usize,
) -> Result<DoorSettings, String> {
    let earlier = open.and_then(Door::tls);
    let tls = listener.tls.as_ref().map(|tls| ServerTls::new(server_settings(tls, listener.http2), earlier.as_ref()));
    Ok(DoorSettings {
        max_connections: listener.max_connections.map_or(default_max_connections, Into::into),
        limits: ConnectionLimits {
            head: HeadLimits {
                bytes: listener.max_header_bytes,
                headers: listener.max_headers,
                keeps_underscores: listener.keeps_underscores,
            },
            headers_timeout: listener.headers_timeout,
            keep_alive: listener.keep_alive,
            http2: listener.http2,
        },
        proxy_protocol: listener.proxy_protocol,
        tls: tls.transpose().map_err(|why| format!("cannot speak TLS on {}: {why}", listener.bind))?,
        tls_handshake: listener.tls_handshake,
    })
}

fn server_settings(tls: &model::ListenerTls, http2: bool) -> ServerSettings {
    ServerSettings {
        identities: tls.certificates.iter().map(identity).collect(),
        client_ca: tls.client_ca.as_ref().map(|ca| ca.certificates.clone()),
        min_version: match tls.min_version {
            model::TlsVersion::Tls12 => MinVersion::Tls12,
            model::TlsVersion::Tls13 => MinVersion::Tls13,
        },
        http2,
    }
}

fn identity(model::Identity { certified, names, .. }: &model::Identity) -> Identity {
    Identity { key: certified.clone(), names: Names(names.clone()) }
}
