//! The facts about a server that variables stand for.

use super::{listeners::Listener, servers::Server, variables::Known};

/// The facts about a server that variables stand for.
pub(super) fn of<'s>(server: &'s Server<'_>, listeners: &[Listener]) -> Known<'s> {
    let own = || server.own(listeners);
    let first = own().next();
    let port = first.and_then(Listener::port);
    let is_secure = first.is_some_and(|listener| listener.is_secure);
    Known {
        server_name: &server.first_name,
        scheme: own()
            .all(|listener| listener.is_secure == is_secure)
            .then_some(if is_secure { "https" } else { "http" }),
        port: port.filter(|_| own().all(|listener| listener.port() == port)),
        has_usual_ports: own().all(Listener::has_usual_port),
        proxy_host: "",
    }
}
