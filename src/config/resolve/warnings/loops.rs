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
    wire::upstreams as wire,
};
use crate::policy::{Upstream, UpstreamServer};

/// Reports each server of an upstream with the address of a listener or of the
/// admin listener.
///
/// The server in the file and the one of the policy are at the same place in
/// their lists.
pub(super) fn of_upstream(
    table: &wire::Upstream,
    upstream: &Upstream,
    config: &Config,
    problems: &mut Problems,
) {
    for (field, server) in table.servers.elements().iter().zip(&upstream.servers) {
        if let Some(bind) = listener(server, config) {
            let url = &server.url;
            let message = format!("{url} is this gateway itself, which listens on {bind}");
            let help = "name the service behind the gateway, on another port";
            problems.warn(Code::Misleading, field.at(), message, help);
        }
    }
}

/// The address of the listener that a server is.
///
/// `None` if the host is a name other than `localhost`, or if no listener has
/// the address.
fn listener(server: &UpstreamServer, config: &Config) -> Option<SocketAddr> {
    let host = match &*server.host {
        "localhost" => "127.0.0.1",
        host => host,
    };
    let address = SocketAddr::new(host.parse().ok()?, server.port);
    for listener in &config.listeners {
        if reaches(listener.bind, address) {
            return Some(listener.bind);
        }
    }
    let admin = config.admin.as_ref()?;
    reaches(admin.bind, address).then_some(admin.bind)
}

/// Whether a connection to `address` is one to a listener that is bound to
/// `bind`, as far as the two tell.
///
/// A listener on all addresses is reached by loopback and by the unspecified
/// address, and one on `[::]` over IPv4 as well. The other addresses of this
/// machine are not known here. A port of 0 is chosen by the system and equals
/// none.
fn reaches(bind: SocketAddr, address: SocketAddr) -> bool {
    let is_everywhere = bind.ip().is_unspecified() && (bind.is_ipv6() || address.is_ipv4());
    let is_here = bind.ip() == address.ip()
        || is_everywhere && (address.ip().is_loopback() || address.ip().is_unspecified());
    bind.port() == address.port() && bind.port() != 0 && is_here
}
