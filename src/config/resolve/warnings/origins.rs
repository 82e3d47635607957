//! Conditions on where requests come from that none fulfils, or others than it
//! seems.

use ipnet::IpNet;

use crate::config::{
    configuration::Config,
    field::{Field, Given},
    problem::{Code, Problems},
    wire::{routes as wire, scalar::Scalar, syntaxes::Network},
};
use crate::policy::{PathPattern, Route};

/// Where ACME authorities look for a challenge (RFC 8555, 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge";

/// `0.0.0.0/0` and `::/0`.
const BOTH_FAMILIES: usize = 2;

/// Reports the listeners and networks of a route by which no request comes to
/// it.
pub(super) fn of_route(
    table: &wire::Route,
    route: &Route,
    config: &Config,
    problems: &mut Problems,
) {
    let Some(table) = table.r#match.value() else {
        return;
    };
    for (field, name) in table
        .listeners
        .elements()
        .iter()
        .zip(&route.matches.listeners)
    {
        let is_named = |of: &&crate::policy::Listener| of.name.as_ref() == Some(name);
        let listener = config.listeners.iter().find(is_named);
        if listener.is_some_and(|listener| listener.redirect_https.is_some()) {
            let message =
                format!("no request comes by `{name}`: it redirects all of them to https");
            let help = "name the listener with `tls`, or leave this one out";
            problems.warn(Code::NeverMatches, field.at(), message, help);
        }
    }
    for networks in [&table.clients, &table.not_clients] {
        host_bits(networks.elements(), problems);
    }
    challenges(table, route, config, problems);
    let (clients, others) = (&route.matches.clients, &route.matches.not_clients);
    let joined = IpNet::aggregate(others);
    if joined
        .iter()
        .filter(|network| network.prefix_len() == 0)
        .count()
        == BOTH_FAMILIES
    {
        let message = "no client is left: `not_clients` has every address";
        let help = "write smaller networks in `not_clients`, or leave the route out";
        problems.warn(Code::NeverMatches, table.not_clients.at(), message, help);
        return;
    }
    let is_left_out = |network: &_| others.iter().any(|other| other.contains(network));
    if !clients.is_empty() && clients.iter().all(is_left_out) {
        let message = "no client is left: `not_clients` has all of `clients`";
        let help = "write smaller networks in `not_clients`";
        problems.warn(Code::NeverMatches, table.not_clients.at(), message, help);
    }
}

/// Networks that are written as an address in them: it is not this address
/// alone that counts.
pub(super) fn host_bits(networks: &[Field<Scalar<Network>>], problems: &mut Problems) {
    for field in networks {
        let Some(text) = field.value().map(|field| &field.text) else {
            continue;
        };
        if let Ok(written) = text.parse::<IpNet>()
            && written != written.trunc()
        {
            let (address, network) = (written.addr(), written.trunc());
            let message =
                format!("{written} is the whole network {network}, and not {address} alone");
            let help =
                format!("write \"{network}\" for the network, or \"{address}\" for the address");
            problems.warn(Code::Misleading, field.at(), message, help);
        }
    }
}

/// A route for the challenges of another ACME client, beside a listener that
/// redirects: authorities begin there.
fn challenges(table: &wire::Match, route: &Route, config: &Config, problems: &mut Problems) {
    let is_for_challenges = match &route.matches.path {
        PathPattern::Prefix(path) | PathPattern::Exact(path) | PathPattern::Parameters(path) => {
            path.starts_with(CHALLENGES)
        }
        PathPattern::Regex(_) | PathPattern::Any => false,
    };
    let redirecting = config
        .listeners
        .iter()
        .find(|listener| listener.redirect_https.is_some());
    if let Some(listener) = redirecting
        && is_for_challenges
        && route.matches.listeners.is_empty()
    {
        let name = listener.name.as_deref().unwrap_or("the listener");
        let message = format!(
            "no challenge comes by `{name}`, which redirects before the routes: it comes by https, or not at all"
        );
        let help = "have the gateway order the certificate, `acme` in `[listeners.tls]`; or leave `redirect_https` out there, and write a route with `redirect = { to = \"https://{host}{path}\" }` for that listener";
        let path = table.path.entry().map(Field::at);
        let at = path.unwrap_or(table.path_prefix.at());
        problems.warn(Code::Misleading, at, message, help);
    }
}
