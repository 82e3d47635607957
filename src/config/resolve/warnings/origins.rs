//! Conditions on where requests come from that none fulfils.

use crate::config::{
    configuration::Config,
    field::Given,
    problem::{Code, Problems},
    wire::routes as wire,
};
use crate::policy::Route;

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
    let (clients, others) = (&route.matches.clients, &route.matches.not_clients);
    let is_left_out = |network: &_| others.iter().any(|other| other.contains(network));
    if !clients.is_empty() && clients.iter().all(is_left_out) {
        let message = "no client is left: `not_clients` has all of `clients`";
        let help = "write smaller networks in `not_clients`";
        problems.warn(Code::NeverMatches, table.not_clients.at(), message, help);
    }
}
