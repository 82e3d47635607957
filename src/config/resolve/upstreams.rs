//! `[upstreams.NAME]`: the services behind the gateway, and how a server of
//! theirs is chosen, reached and watched.
//!
//! An upstream is resolved without a look at the routes. Whether any route
//! leads to it, and whether its routes have the parameter that its `hash_key`
//! asks for, is checked where the routes are.
//!
//! # Order within an upstream
//!
//! TLS comes first, since the servers need the name that it may give. The
//! balance, the ejection and the concurrency limit follow, each reporting its
//! own mistakes. The check that TLS is spoken to at least one server needs the
//! servers, and is left out if one of them is wrong.

use rustls::pki_types::ServerName;

use super::{
    checks::{GivenKey, Unique, every},
    concurrency::concurrency,
    health, tls,
};
use crate::config::{
    field::{Field, Given, Nested, Plain, section},
    include::Loading,
    problem::{Code, Problems},
    source::Span,
    syntax, units,
    wire::{
        lists::List,
        scalar::Scalar,
        syntaxes::{FailedStatus, ServerAt},
        tables::{Either, Named, NamedEntry, SwitchOr},
        upstreams::{self as wire, Balance as Choice, SentHeader},
    },
};
use crate::policy::{
    Balance, Ejection, Pool, Protocol, ServerAddress, StatusSet, Statuses, Upstream, UpstreamServer,
};

/// 503, with which a server says that it is overloaded or down for maintenance.
const ONLY_OVERLOAD: Statuses = Statuses {
    first: 503,
    last: 503,
};

/// Resolves all upstreams, in the order of their names. `None` if any of them,
/// or the section itself, has a mistake.
pub(super) fn upstreams(
    entry: &Option<Field<Named<wire::Upstream>>>,
    loading: &mut Loading<'_>,
) -> Option<Vec<Upstream>> {
    every(entry, |entry| upstream(entry, loading))
}

/// One upstream. Its TLS is resolved first, because it may name what the
/// certificates of all servers stand for.
///
/// `None` if any part of it has a mistake.
fn upstream(entry: &NamedEntry<wire::Upstream>, loading: &mut Loading<'_>) -> Option<Upstream> {
    let upstream = entry.field.value()?;
    let at = entry.field.at();
    let tls = tls::upstream(&upstream.tls, loading);
    let name_of_all = upstream.tls.value().and_then(|tls| tls.server_name.read());
    let problems = &mut loading.problems;
    let servers = servers(upstream, name_of_all.as_ref(), problems);
    let balance = balance(upstream, at, problems);
    let ejection = ejection(&upstream.ejection, problems);
    let at = upstream.concurrency.at();
    let concurrency = upstream
        .concurrency
        .if_given(|cap| concurrency(cap, at, problems));
    let at = upstream.health_check.at();
    let known = servers.as_deref().unwrap_or_default();
    let health_check = upstream
        .health_check
        .if_given(|check| health::check(check, at, upstream.protocol.value?, known, problems));
    let proxy_protocol = proxy_protocol(upstream, problems);
    let servers = servers?;
    if upstream.tls.is_present() && servers.iter().all(|server| server.secure_as.is_none()) {
        let message = "it says how to speak TLS, and no server of this upstream speaks it";
        let help = "write the URLs with https://, or leave `tls` out";
        problems.error(Code::Conflict, upstream.tls.at(), message, help);
    }
    Some(Upstream {
        name: syntax::name(&entry.name).ok()?,
        servers,
        protocol: upstream.protocol.value?,
        balance: balance?,
        hash_bound: upstream.hash_bound.read()?,
        slow_start: upstream.slow_start.read()?,
        cool_down: cool_down(upstream.cool_down.value()?),
        health_check: health_check?,
        ejection: ejection?,
        concurrency: concurrency?,
        proxy_protocol: proxy_protocol?,
        pool: pool(&upstream.pool)?,
        tls: tls?,
    })
}

/// Whether connections begin with a header. That is a mistake where clients
/// share connections.
fn proxy_protocol(upstream: &wire::Upstream, problems: &mut Problems) -> Option<bool> {
    let is_sent = upstream.proxy_protocol.value? == SentHeader::V2;
    let is_shared = upstream
        .protocol
        .value
        .is_some_and(|protocol| protocol != Protocol::Http1);
    if is_sent && is_shared {
        let message = "`proxy_protocol` names one client for a whole connection, which HTTP/2 shares between clients";
        let help = "leave `protocol` out, or have the servers read `X-Forwarded-For` instead";
        problems.error(Code::Conflict, upstream.proxy_protocol.at(), message, help);
    }
    Some(is_sent)
}

/// How a server is chosen. Keys about hashing beside another choice are a
/// mistake: without hashing, requests that have something in common would be
/// spread over all servers.
///
/// `at` is the place of the upstream, which is reported where `balance` has no
/// place of its own. `hash_bound` counts as given only if it has a value: a
/// word that turns it off contradicts nothing.
fn balance(upstream: &wire::Upstream, at: Span, problems: &mut Problems) -> Option<Balance> {
    let choice = upstream.balance.value?;
    let bound = GivenKey::given("hash_bound", &upstream.hash_bound);
    let keys = [
        bound.filter(|_| matches!(upstream.hash_bound.read(), Some(Some(_)))),
        GivenKey::given("hash_key", &upstream.hash_key),
    ];
    let keys = keys.into_iter().flatten();
    for GivenKey { name, at } in keys.filter(|_| choice != Choice::Hash) {
        let message = format!("`{name}` is only looked at with `balance = \"hash\"`");
        let help = format!("add `balance = \"hash\"`, or leave `{name}` out");
        problems.error(Code::Conflict, at, message, help);
    }
    match choice {
        Choice::RoundRobin => Some(Balance::RoundRobin),
        Choice::LeastRequests => Some(Balance::LeastRequests),
        Choice::PeakEwma => Some(Balance::PeakEwma),
        Choice::Hash => {
            if !upstream.hash_key.is_present() && !problems.incomplete {
                let message = "`balance = \"hash\"` without a `hash_key`";
                let help =
                    "say what requests to one server have in common: `hash_key = \"client-ip\"`";
                problems.error(Code::MissingKey, upstream.balance.place(at), message, help);
            }
            upstream.hash_key.read().map(Balance::Hash)
        }
    }
}

/// The statuses that cool a server down. Behind `true` stands only the one
/// that the key was once made for.
fn cool_down(wanted: &SwitchOr<List<Scalar<FailedStatus>>>) -> StatusSet {
    match wanted {
        SwitchOr::Switch(false) => StatusSet::default(),
        SwitchOr::Switch(true) => [ONLY_OVERLOAD].into_iter().collect(),
        SwitchOr::Other(statuses) => statuses.plain().into_iter().collect(),
    }
}

/// When and for how long a server is left alone. The default of `max` gives way
/// to a longer `base`.
///
/// A `max` below `base` that the file gives is a mistake. Where `max` is the
/// default, the larger of the two is taken for it.
pub(super) fn ejection(
    entry: &Nested<wire::Ejection>,
    problems: &mut Problems,
) -> Option<Ejection> {
    let ejection = section(entry)?;
    let (base, max) = (ejection.base.read()?, ejection.max.read()?);
    if base > max && ejection.max.is_present() {
        let from = units::duration_text(base);
        let message = format!("`max` is below `base`, which is {from}");
        let help = "the time begins with `base` and doubles up to `max`";
        problems.error(Code::Conflict, ejection.max.at(), message, help);
    }
    Some(Ejection {
        on: ejection.on.read()?.into_iter().collect(),
        consecutive_failures: ejection.consecutive_failures.read()?,
        base,
        max: max.max(base),
        max_percent: ejection.max_percent.read()?,
    })
}

/// The servers of an upstream, each address once. `name_of_all` is the name
/// that the certificates of all of them have, if the upstream gives one.
///
/// Two servers are the same if host and port are, or the path; the scheme and
/// the weight make no difference. `None` if the list or any server is wrong.
fn servers(
    upstream: &wire::Upstream,
    name_of_all: Option<&ServerName<'static>>,
    problems: &mut Problems,
) -> Option<Vec<UpstreamServer>> {
    let mut addresses = Unique::new();
    upstream.servers.value()?;
    let servers = every(&upstream.servers, |field| {
        let server = server(field, name_of_all)?;
        let address = match &server.address {
            // A trailing dot makes no difference to where a name leads.
            ServerAddress::Tcp { host, port } => format!("{}:{port}", host.trim_end_matches('.')),
            ServerAddress::Unix(_) | ServerAddress::Srv { .. } => server.url.to_string(),
        };
        let message = format!("{} is in `servers` twice", server.url);
        let help = "for a larger share write { url = \"...\", weight = 2 }";
        addresses.check(address, field.at(), message, help, problems);
        if matches!(server.address, ServerAddress::Srv { .. }) && server.weight > 1 {
            let message = "SRV records have the weights of the servers";
            let help = "leave `weight` out, or set it to 0 for no requests";
            problems.error(Code::Conflict, field.at(), message, help);
        }
        Some(server)
    })?;
    let wrong = if servers.iter().all(|server| server.weight == 0) {
        let help = "give at least one server a `weight` above 0";
        Some(("no server gets requests: all weights are 0", help))
    } else if servers.iter().all(|server| server.tier > 0) {
        let help = "leave `backup` out of the servers that usually get the requests";
        Some((
            "all servers are backups, and there is none to stand in for",
            help,
        ))
    } else {
        None
    };
    if let Some((message, help)) = wrong {
        problems.error(Code::Conflict, upstream.servers.at(), message, help);
    }
    Some(servers)
}

/// One server. With https, its certificate has to have `name_of_all`, or else
/// the host of its URL, or of its SRV record.
///
/// A server in its short form is a URL alone, with a weight of 1, and no
/// backup. Without https, there is no name to verify.
fn server(
    field: &Field<Either<Scalar<ServerAt>, wire::Server>>,
    name_of_all: Option<&ServerName<'static>>,
) -> Option<UpstreamServer> {
    let mut server = match field.value()? {
        Either::Short(url) => url.value.clone(),
        Either::Long(table) => UpstreamServer {
            weight: table.weight.read()?,
            tier: table.backup.value?.into(),
            ..table.url.read()?
        },
    };
    if let ServerAddress::Srv { by_target, .. } = &mut server.address {
        *by_target = name_of_all.is_none();
    }
    let own_name = server.secure_as;
    server.secure_as = own_name.map(|own| name_of_all.cloned().unwrap_or(own));
    Some(server)
}

/// Connections to each server, over all workers. There are never more idle
/// connections than connections: `max_idle` has a default, which a small pool
/// does not have to repeat.
///
/// A wait that is longer than any route lets it be is no mistake: `warnings`
/// reports it.
pub(super) fn pool(entry: &Nested<wire::Pool>) -> Option<Pool> {
    let pool = section(entry)?;
    let max_connections = pool.max_connections.read()?;
    Some(Pool {
        max_connections,
        // A pool smaller than the default number of idle connections keeps all
        // of its own.
        max_idle: pool.max_idle.read()?.min(max_connections.get()),
        idle_timeout: pool.idle_timeout.read()?,
        max_lifetime: pool.max_lifetime.read()?,
        connect_timeout: pool.connect_timeout.read()?,
        wait_timeout: pool.wait_timeout.read()?,
    })
}
