//! Settings that are allowed and yet surely not meant. A warning has a place and says what to write instead, as an error does.
//!
//! These are looked for once everything else is sound.

mod keys;
mod overrides;
mod patterns;
mod times;
mod unused;

use std::net::SocketAddr;

use ipnet::{IpNet, Ipv6Net};

use super::{
    super::{
        Config,
        problem::{Code, Problem, Problems},
    },
    reader::Reader,
};
use crate::policy::{Action, Admin};

pub(super) fn report(root: &Reader<'_>, config: &Config, problems: &mut Problems) {
    unused::report(root, problems);
    keys::report(root, config, problems);
    for (reader, route) in root.tables("routes").into_iter().zip(&config.routes) {
        patterns::report(reader, route, problems);
        times::of_route(reader, route, config, problems);
    }
    times::of_upstreams(root, config, problems);
    mirrors(root, config, problems);
    trusts_everybody(root.table("client_ip"), config, problems);
    admin(root.table("admin"), config.admin.as_ref(), problems);
    certificates(root, config, problems);
    loops(root, config, problems);
}

/// Wider networks than these belong to nobody alone (IANA gives IPv4 out by /8, IPv6 to regions by /12).
const WIDEST_OF_PROXIES_V4: u8 = 8;
const WIDEST_OF_PROXIES_V6: u8 = 16;

/// `fc00::/7` (RFC 4193): the addresses of private networks, however wide they are written.
fn is_unique_local(network: &Ipv6Net) -> bool {
    network.prefix_len() >= 7 && network.addr().segments()[0] & 0xfe00 == 0xfc00
}

/// Copies for the very servers that have the request already.
fn mirrors(root: &Reader<'_>, config: &Config, problems: &mut Problems) {
    for (reader, route) in root.tables("routes").into_iter().zip(&config.routes) {
        let Some(mirror) = route.mirror.as_ref().filter(|mirror| mirror.percent > 0) else {
            continue;
        };
        if matches!(&route.action, Action::Forward(upstream) if *upstream == mirror.upstream) {
            let message = format!(
                "`{}` gets each request twice: it is the upstream of this route",
                mirror.upstream
            );
            let problem = Problem::warning(
                Code::Misleading,
                reader.table("mirror").place("upstream"),
                message,
            );
            problems.report(problem.help("name another upstream, or leave `mirror` out"));
        }
    }
}

/// Networks that together hold every address of IPv4 or IPv6, or far more than proxies have.
fn trusts_everybody(client_ip: Reader<'_>, config: &Config, problems: &mut Problems) {
    let together = IpNet::aggregate(&config.client_ip.trusted_proxies);
    let is_public = |network: &&IpNet| match network {
        IpNet::V4(network) => network.prefix_len() < WIDEST_OF_PROXIES_V4,
        IpNet::V6(network) => {
            network.prefix_len() < WIDEST_OF_PROXIES_V6 && !is_unique_local(network)
        }
    };
    if let Some(all) = together.iter().find(is_public) {
        let holds = if all.prefix_len() == 0 {
            "holds every address"
        } else {
            "holds a good part of the internet"
        };
        let message =
            format!("`trusted_proxies` {holds} ({all}): each client can name itself as it likes");
        let problem = Problem::warning(Code::Exposed, client_ip.place("trusted_proxies"), message);
        problems.report(
            problem.help("name the proxies in front of this gateway only, such as \"10.0.0.5\" or \"10.0.0.0/24\""),
        );
    }
    for (network, node) in config
        .client_ip
        .trusted_proxies
        .iter()
        .zip(client_ip.items("trusted_proxies"))
    {
        if network.addr().is_unspecified() && network.prefix_len() == network.max_prefix_len() {
            let problem = Problem::warning(
                Code::NeverMatches,
                node.span,
                format!("{} is no peer's address", network.addr()),
            );
            problems.report(
                problem.help("name the address that the proxy connects from, such as \"10.0.0.5\""),
            );
        }
    }
}

fn admin(reader: Reader<'_>, admin: Option<&Admin>, problems: &mut Problems) {
    let Some(admin) = admin else { return };
    if !admin.bind.ip().to_canonical().is_loopback() && admin.token.is_none() {
        let message = format!(
            "everybody who reaches {} can change limits and reload: there is no token",
            admin.bind
        );
        let help = "add `token_file` to `[admin]`, a file with one long random word, such as that of `openssl rand -hex 32`; or bind \"127.0.0.1:9901\"";
        problems.report(Problem::warning(Code::Exposed, reader.place("bind"), message).help(help));
    }
}

fn certificates(root: &Reader<'_>, config: &Config, problems: &mut Problems) {
    for (reader, listener) in root.tables("listeners").into_iter().zip(&config.listeners) {
        let tables = reader.table("tls").tables("certificates");
        let identities = listener.tls.iter().flat_map(|tls| &tls.certificates);
        for (table, identity) in tables
            .into_iter()
            .zip(identities)
            .filter(|(_, identity)| identity.names.is_empty())
        {
            let file = identity.file.display();
            let message = format!(
                "{file} stands for no name: it has no subjectAltName, and clients look at nothing else"
            );
            let problem = Problem::warning(Code::NeverMatches, table.place("cert"), message);
            let help = "have it issued with the names of the site, such as `openssl req ... -addext subjectAltName=DNS:shop.example.com`";
            problems.report(problem.help(help));
        }
    }
}

/// Servers that are this gateway itself: each request would come back until something is full.
fn loops(root: &Reader<'_>, config: &Config, problems: &mut Problems) {
    let own = || {
        config
            .listeners
            .iter()
            .map(|listener| listener.bind)
            .chain(config.admin.iter().map(|admin| admin.bind))
    };
    for ((_, reader), upstream) in root.named("upstreams").into_iter().zip(&config.upstreams) {
        for (node, server) in reader.items("servers").iter().zip(&upstream.servers) {
            let host = if &*server.host == "localhost" {
                "127.0.0.1"
            } else {
                &*server.host
            };
            let Ok(ip) = host.parse() else { continue };
            let address = SocketAddr::new(ip, server.port);
            if let Some(bind) = own().find(|bind| reaches(*bind, address)) {
                let message = format!(
                    "{} is this gateway itself, which listens on {bind}",
                    server.url
                );
                let problem = Problem::warning(Code::Misleading, node.span, message);
                problems
                    .report(problem.help("name the service behind the gateway, on another port"));
            }
        }
    }
}

/// Whether a connection to `address` is one to a listener that is bound to `bind`, as far as the two tell.
fn reaches(bind: SocketAddr, address: SocketAddr) -> bool {
    let is_everywhere = bind.ip().is_unspecified() && (bind.is_ipv6() || address.is_ipv4());
    let is_here = bind.ip() == address.ip()
        || is_everywhere && (address.ip().is_loopback() || address.ip().is_unspecified());
    bind.port() == address.port() && bind.port() != 0 && is_here
}
