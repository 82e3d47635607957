//! Addresses that say more than is meant: proxies that anybody can be, an admin
//! listener that anybody can use, and servers that are this gateway itself.
//!
//! The header with the client's address is believed from trusted proxies. With
//! a network that clients are in, each client chooses the address that it is
//! counted under, and so has as many limits as it likes.
//!
//! Requests to a server that is the gateway itself would come back until
//! something is full. Only addresses and `localhost` are compared: names are not
//! resolved, as the answer may be another one when the gateway runs.

use std::{net::SocketAddr, sync::Arc};

use ipnet::IpNet;

use super::origins;
use crate::config::{
    configuration::Config,
    field::Given,
    problem::{Code, Problems},
    wire::{File, process as wire, upstreams},
};
use crate::policy::{Admin, ListenAddress, ServerAddress, Upstream, UpstreamServer};

/// Bits of the widest IPv4 network that may be that of proxies. IANA gives the
/// addresses out by /8: a wider one belongs to nobody alone.
const WIDEST_OF_PROXIES_V4: u8 = 8;
/// Bits of the widest IPv6 network that may be that of proxies. IANA gives the
/// addresses to regions by /12, and nobody has as many.
const WIDEST_OF_PROXIES_V6: u8 = 16;

/// Reports trust in `[client_ip]` and `[admin]`.
pub(super) fn report(file: &File, config: &Config, problems: &mut Problems) {
    if let Some(table) = file.client_ip.value() {
        proxies(table, &config.client_ip.trusted_proxies, problems);
    }
    if let (Some(table), Some(admin)) = (file.admin.value(), &config.admin) {
        self::admin(table, admin, problems);
    }
}

/// Networks that together hold every address of IPv4 or IPv6, or far more than
/// proxies have; and addresses that no peer has.
///
/// Networks are joined before they are judged: two halves of all addresses are
/// reported like the whole. One warning is for the list; addresses that no peer
/// has are reported one by one.
fn proxies(table: &wire::ClientIp, trusted: &[IpNet], problems: &mut Problems) {
    let joined = IpNet::aggregate(&trusted.to_vec());
    if let Some(all) = joined.iter().find(|network| is_public(network)) {
        let holds = match all.prefix_len() {
            0 => "holds every address",
            _ => "holds a good part of the internet",
        };
        let message =
            format!("`trusted_proxies` {holds} ({all}): each client can name itself as it likes");
        let help = "name the proxies in front of this gateway only, such as \"10.0.0.5\" or \"10.0.0.0/24\"";
        problems.warn(Code::Exposed, table.trusted_proxies.at(), message, help);
    }
    origins::host_bits(table.trusted_proxies.elements(), problems);
    for field in table.trusted_proxies.elements() {
        let Some(network) = field.read() else {
            continue;
        };
        if network.addr().is_unspecified() && network.prefix_len() == network.max_prefix_len() {
            let message = format!("{} is no peer's address", network.addr());
            let help = "name the address that the proxy connects from, such as \"10.0.0.5\"";
            problems.warn(Code::NeverMatches, field.at(), message, help);
        }
    }
}

/// Wider than the networks of proxies.
fn is_public(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < WIDEST_OF_PROXIES_V4,
        // Private networks (`fc00::/7`, RFC 4193) may be as wide as they like.
        IpNet::V6(network) => {
            let is_private = network.prefix_len() >= 7 && network.addr().is_unique_local();
            network.prefix_len() < WIDEST_OF_PROXIES_V6 && !is_private
        }
    }
}

/// An admin listener that others than this machine reach, without a token. It
/// can change limits and reload the configuration.
fn admin(table: &wire::Admin, admin: &Admin, problems: &mut Problems) {
    if !admin.bind.ip().is_loopback() && admin.token.is_none() {
        let bind = admin.bind;
        let message =
            format!("everybody who reaches {bind} can change limits and reload: there is no token");
        let help = "add `token_file` to `[admin]`, a file with one long random word, such as that of `openssl rand -hex 32`; or bind \"127.0.0.1:9901\"";
        problems.warn(Code::Exposed, table.bind.at(), message, help);
    }
}

/// Reports each server of an upstream with the address of a listener or of the
/// admin listener.
///
/// The server in the file and the one of the policy are at the same place in
/// their lists.
pub(super) fn loops(
    table: &upstreams::Upstream,
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
/// `None` if the host is a name other than `localhost` or stands for SRV
/// records, or if no listener has the address.
fn listener(server: &UpstreamServer, config: &Config) -> Option<ListenAddress> {
    let listeners = || config.listeners.iter().map(|listener| &listener.bind);
    let (host, port) = match &server.address {
        ServerAddress::Tcp { host, port } => (host, *port),
        ServerAddress::Unix(path) => {
            let own = ListenAddress::Unix(Arc::clone(path));
            return listeners().any(|bind| *bind == own).then_some(own);
        }
        ServerAddress::Srv { .. } => return None,
    };
    let host = match &**host {
        "localhost" => "127.0.0.1",
        host => host,
    };
    let address = SocketAddr::new(host.parse().ok()?, port);
    let admin = config.admin.as_ref().map(|admin| admin.bind);
    let mut all = listeners().filter_map(ListenAddress::ip).chain(admin);
    all.find(|bind| reaches(*bind, address))
        .map(ListenAddress::Ip)
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
