//! Servers that are this gateway itself: each request would come back until
//! something is full.
//!
//! Only addresses and `localhost` are compared. Names are not resolved, as the
//! answer may be another one when the gateway runs.

use std::net::SocketAddr;

use crate::config::{
    configuration::Config,
    field::Given,
    problem::{Code, Problems},
    wire::File,
};

/// Reports each server with the address of a listener or of the admin listener.
pub(super) fn report(file: &File, config: &Config, problems: &mut Problems) {
    let listeners = config.listeners.iter().map(|listener| listener.bind);
    let own: Vec<SocketAddr> = listeners
        .chain(config.admin.iter().map(|admin| admin.bind))
        .collect();
    let fields = file.upstreams.elements().iter();
    let fields = fields.filter_map(|entry| entry.field.value());
    let fields = fields.flat_map(|upstream| upstream.servers.elements());
    let servers = config
        .upstreams
        .iter()
        .flat_map(|upstream| &upstream.servers);
    for (field, server) in fields.zip(servers) {
        let host = match &*server.host {
            "localhost" => "127.0.0.1",
            host => host,
        };
        let Ok(ip) = host.parse() else { continue };
        let address = SocketAddr::new(ip, server.port);
        if let Some(bind) = own.iter().find(|bind| reaches(**bind, address)) {
            let url = &server.url;
            let message = format!("{url} is this gateway itself, which listens on {bind}");
            let help = "name the service behind the gateway, on another port";
            problems.warn(Code::Misleading, field.at(), message, help);
        }
    }
}

/// Whether a connection to `address` is one to a listener that is bound to
/// `bind`, as far as the two tell.
fn reaches(bind: SocketAddr, address: SocketAddr) -> bool {
    let is_everywhere = bind.ip().is_unspecified() && (bind.is_ipv6() || address.is_ipv4());
    let is_here = bind.ip() == address.ip()
        || is_everywhere && (address.ip().is_loopback() || address.ip().is_unspecified());
    bind.port() == address.port() && bind.port() != 0 && is_here
}
