//! Settings that are allowed and yet surely not meant. A warning has a place
//! and says what to write instead, as an error does.
//!
//! These are looked for once everything else is sound.

mod keys;
mod overrides;
mod patterns;
mod templates;
mod times;
mod unused;

use std::net::SocketAddr;

use ipnet::{IpNet, Ipv6Net};

use super::super::{
    configuration::Config,
    field::{Field, Given},
    problem::{Code, Problems},
    wire::{self, File},
};
use crate::policy::{Action, Admin};

pub(super) fn report(file: &File, config: &Config, problems: &mut Problems) {
    unused::report(file, problems);
    keys::report(file, config, problems);
    for (field, route) in file.routes.elements().iter().zip(&config.routes) {
        if let Some(table) = field.value() {
            patterns::report(table, route, problems);
            times::of_route(table, route, config, problems);
        }
    }
    times::of_upstreams(file, config, problems);
    mirrors(file, config, problems);
    trusts_everybody(&file.client_ip, config, problems);
    admin(&file.admin, config.admin.as_ref(), problems);
    certificates(file, config, problems);
    loops(file, config, problems);
}

/// Wider networks than these belong to nobody alone (IANA gives IPv4 out by /8,
/// IPv6 to regions by /12).
const WIDEST_OF_PROXIES_V4: u8 = 8;
const WIDEST_OF_PROXIES_V6: u8 = 16;

/// `fc00::/7` (RFC 4193): the addresses of private networks, however wide they
/// are written.
fn is_unique_local(network: &Ipv6Net) -> bool {
    network.prefix_len() >= 7 && network.addr().segments()[0] & 0xfe00 == 0xfc00
}

/// Copies for the very servers that have the request already.
fn mirrors(file: &File, config: &Config, problems: &mut Problems) {
    for (field, route) in file.routes.elements().iter().zip(&config.routes) {
        let Some(mirror) = route.mirror.as_ref().filter(|mirror| mirror.percent > 0) else {
            continue;
        };
        let table = field.value().and_then(|route| route.mirror.value());
        let at = table.map(|table| table.upstream.at());
        if let Some(at) = at
            && matches!(&route.action, Action::Forward(upstream) if *upstream == mirror.upstream)
        {
            let message = format!(
                "`{}` gets each request twice: it is the upstream of this route",
                mirror.upstream
            );
            problems.warn(
                Code::Misleading,
                at,
                message,
                "name another upstream, or leave `mirror` out",
            );
        }
    }
}

/// Networks that together hold every address of IPv4 or IPv6, or far more than
/// proxies have.
fn trusts_everybody(
    client_ip: &Option<Field<wire::process::ClientIp>>,
    config: &Config,
    problems: &mut Problems,
) {
    let Some(table) = client_ip.value() else {
        return;
    };
    let together = IpNet::aggregate(&config.client_ip.trusted_proxies);
    if let Some(all) = together.iter().find(|network| is_public(network)) {
        let holds = if all.prefix_len() == 0 {
            "holds every address"
        } else {
            "holds a good part of the internet"
        };
        let message =
            format!("`trusted_proxies` {holds} ({all}): each client can name itself as it likes");
        let at = table.trusted_proxies.at();
        problems.warn(Code::Exposed, at, message, "name the proxies in front of this gateway only, such as \"10.0.0.5\" or \"10.0.0.0/24\"");
    }
    for field in table.trusted_proxies.elements() {
        let Some(network) = field.read() else {
            continue;
        };
        if network.addr().is_unspecified() && network.prefix_len() == network.max_prefix_len() {
            problems.warn(
                Code::NeverMatches,
                field.at(),
                format!("{} is no peer's address", network.addr()),
                "name the address that the proxy connects from, such as \"10.0.0.5\"",
            );
        }
    }
}

/// Wider than the networks of proxies.
fn is_public(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < WIDEST_OF_PROXIES_V4,
        IpNet::V6(network) => {
            network.prefix_len() < WIDEST_OF_PROXIES_V6 && !is_unique_local(network)
        }
    }
}

fn admin(
    table: &Option<Field<wire::process::Admin>>,
    admin: Option<&Admin>,
    problems: &mut Problems,
) {
    let (Some(table), Some(admin)) = (table.value(), admin) else {
        return;
    };
    if !admin.bind.ip().to_canonical().is_loopback() && admin.token.is_none() {
        let message = format!(
            "everybody who reaches {} can change limits and reload: there is no token",
            admin.bind
        );
        let help = "add `token_file` to `[admin]`, a file with one long random word, such as that of `openssl rand -hex 32`; or bind \"127.0.0.1:9901\"";
        let at = table.bind.at();
        problems.warn(Code::Exposed, at, message, help);
    }
}

fn certificates(file: &File, config: &Config, problems: &mut Problems) {
    for (field, listener) in file.listeners.elements().iter().zip(&config.listeners) {
        let tls = field.value().and_then(|listener| listener.tls.value());
        let tables = tls.and_then(|tls| tls.certificates.value());
        let identities = listener.tls.iter().flat_map(|tls| &tls.certificates);
        for (table, identity) in tables
            .into_iter()
            .flat_map(|tables| &tables.0)
            .zip(identities)
        {
            let Some(table) = table.value().filter(|_| identity.names.is_empty()) else {
                continue;
            };
            let message = format!(
                "{} stands for no name: it has no subjectAltName, and clients look at nothing else",
                identity.file.display()
            );
            let at = table.cert.at();
            let help = "have it issued with the names of the site, such as `openssl req ... -addext subjectAltName=DNS:shop.example.com`";
            problems.warn(Code::NeverMatches, at, message, help);
        }
    }
}

/// Servers that are this gateway itself: each request would come back until
/// something is full.
fn loops(file: &File, config: &Config, problems: &mut Problems) {
    let own: Vec<SocketAddr> = config
        .listeners
        .iter()
        .map(|listener| listener.bind)
        .chain(config.admin.iter().map(|admin| admin.bind))
        .collect();
    for (entry, upstream) in file.upstreams.elements().iter().zip(&config.upstreams) {
        let fields = entry
            .section
            .value()
            .and_then(|upstream| upstream.servers.value());
        for (field, server) in fields
            .into_iter()
            .flat_map(|list| &list.0)
            .zip(&upstream.servers)
        {
            let host = if &*server.host == "localhost" {
                "127.0.0.1"
            } else {
                &*server.host
            };
            let Ok(ip) = host.parse() else { continue };
            let address = SocketAddr::new(ip, server.port);
            if let Some(bind) = own.iter().find(|bind| reaches(**bind, address)) {
                let message = format!(
                    "{} is this gateway itself, which listens on {bind}",
                    server.url
                );
                let at = field.at();
                problems.warn(
                    Code::Misleading,
                    at,
                    message,
                    "name the service behind the gateway, on another port",
                );
            }
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
