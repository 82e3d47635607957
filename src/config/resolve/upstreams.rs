//! `[upstreams.NAME]`.

use std::num::NonZeroU32;

use super::{
    super::{
        include::Loading,
        problem::{Code, Problem, Problems},
        schema::upstreams::SERVER,
        source::Span,
        syntax::{self, address, key, path},
        tree::{Node, Value},
        units,
    },
    concurrency::concurrency,
    reader::Reader,
    tls,
};
use crate::policy::{Balance, Ejection, HealthCheck, Pool, Protocol, Upstream, UpstreamServer};

pub(super) fn upstream(
    name: &str,
    upstream: Reader<'_>,
    loading: &mut Loading<'_>,
) -> Option<Upstream> {
    let nodes = upstream.items("servers");
    let tls = tls::upstream(upstream.table("tls"), loading);
    let name_of_all = tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    let problems = &mut loading.problems;
    let servers: Option<Vec<_>> = nodes.iter().map(|node| server(node, name_of_all)).collect();
    for (at, (one, place)) in servers.iter().flatten().zip(places(nodes)).enumerate() {
        let first = servers.iter().flatten().zip(places(nodes)).take(at);
        if let Some((_, first)) = first.into_iter().find(|(other, _)| same(one, other)) {
            let message = format!("{} is in `servers` twice", one.url);
            let problem = Problem::new(Code::Duplicate, place, message).also(first, "first here");
            problems.report(problem.help("for a larger share write { url = \"...\", weight = 2 }"));
        }
    }
    let protocol = match upstream.text("protocol")? {
        "http2" => Protocol::Http2,
        "auto" => Protocol::Auto,
        _ => Protocol::Http1,
    };
    let balance = balance(upstream, problems);
    let pool = pool(upstream.table("pool"));
    let health_check = health_check(upstream);
    let ejection = ejection(upstream.table("ejection"), problems);
    let concurrency = concurrency(upstream, problems);
    let servers = servers?;
    if upstream.given("tls").is_some() && servers.iter().all(|server| server.secure_as.is_none()) {
        let message = "it says how to speak TLS, and no server of this upstream speaks it";
        let problem = Problem::new(Code::Conflict, upstream.place("tls"), message);
        problems.report(problem.help("write the URLs with https://, or leave `tls` out"));
    }
    if servers.is_empty() {
        return None;
    }
    Some(Upstream {
        name: syntax::name(name).ok()?,
        servers,
        protocol,
        balance: balance?,
        hash_bound: upstream.unless_off("hash_bound", units::bound)?,
        slow_start: upstream.parsed("slow_start", units::duration)?,
        cool_down: upstream.flag("cool_down")?,
        health_check: health_check?,
        ejection: ejection?,
        concurrency: concurrency?,
        pool: pool?,
        tls: tls?,
    })
}

fn balance(upstream: Reader<'_>, problems: &mut Problems) -> Option<Balance> {
    let balance = match upstream.text("balance")? {
        "round-robin" => Balance::RoundRobin,
        "peak-ewma" => Balance::PeakEwma,
        "hash" => Balance::Hash(upstream.list("hash_key", key::part)),
        _ => Balance::LeastRequests,
    };
    if upstream
        .unless_off("hash_bound", units::bound)
        .flatten()
        .is_some()
        && !matches!(balance, Balance::Hash(_))
    {
        let message = "`hash_bound` is only looked at with `balance = \"hash\"`";
        let problem = Problem::new(Code::Conflict, upstream.place("hash_bound"), message);
        problems.report(problem.help("add `balance = \"hash\"`, or leave `hash_bound` out"));
    }
    let has_key = upstream.entry("hash_key").is_some();
    match (&balance, has_key) {
        (Balance::Hash(_), false) if !problems.incomplete => {
            let message = "`balance = \"hash\"` without a `hash_key`";
            let problem = Problem::new(Code::MissingKey, upstream.place("balance"), message);
            problems.report(problem.help(
                "say what requests to one server have in common: `hash_key = \"client-ip\"`",
            ));
            None
        }
        (Balance::Hash(parts), _) if parts.is_empty() => None,
        (Balance::Hash(_), _) | (_, false) => Some(balance),
        (_, true) => {
            let message = "`hash_key` is only looked at with `balance = \"hash\"`";
            let problem = Problem::new(Code::Conflict, upstream.place("hash_key"), message);
            problems.report(problem.help("add `balance = \"hash\"`, or leave `hash_key` out"));
            None
        }
    }
}

/// `Some(None)` is an upstream without checks.
fn health_check(upstream: Reader<'_>) -> Option<Option<HealthCheck>> {
    if upstream.entry("health_check").is_none() {
        return Some(None);
    }
    let check = upstream.table("health_check");
    Some(Some(HealthCheck {
        path: check.parsed("path", path::target)?,
        interval: check.parsed("interval", units::duration)?,
        timeout: check.parsed("timeout", units::duration)?,
        healthy_after: check.at_least_one_u32("healthy_after")?,
        unhealthy_after: check.at_least_one_u32("unhealthy_after")?,
    }))
}

fn ejection(ejection: Reader<'_>, problems: &mut Problems) -> Option<Ejection> {
    let (base, max) = (
        ejection.parsed("base", units::duration)?,
        ejection.parsed("max", units::duration)?,
    );
    // A long base alone is meant: the default of `max` does not cut it.
    if base > max && ejection.given("max").is_some() {
        let message = format!(
            "`max` is below `base`, which is {}",
            units::duration_text(base)
        );
        let problem = Problem::new(Code::Conflict, ejection.place("max"), message);
        problems.report(problem.help("the time begins with `base` and doubles up to `max`"));
    }
    Some(Ejection {
        consecutive_failures: ejection.at_least_one_u32("consecutive_failures")?,
        base,
        max: max.max(base),
        max_percent: u8::try_from(ejection.whole("max_percent")?).ok()?,
    })
}

fn places(nodes: &[Node]) -> impl Iterator<Item = Span> {
    nodes.iter().map(|node| node.span)
}

fn same(one: &UpstreamServer, other: &UpstreamServer) -> bool {
    one.host.trim_end_matches('.') == other.host.trim_end_matches('.') && one.port == other.port
}

fn server(node: &Node, name_of_all: Option<&str>) -> Option<UpstreamServer> {
    let (url, weight) = match &node.value {
        Value::Text(text) => (text.text.as_str(), NonZeroU32::MIN),
        Value::Table(table) => {
            let server = Reader::new(&SERVER, table, node.span);
            (server.text("url")?, server.at_least_one_u32("weight")?)
        }
        _ => return None,
    };
    let address::ServerUrl {
        url,
        host,
        port,
        is_tls,
    } = address::server_url(url).ok()?;
    let secure_as = match is_tls {
        true => Some(address::server_name(name_of_all.unwrap_or(&host)).ok()?),
        false => None,
    };
    Some(UpstreamServer {
        url,
        host,
        port,
        weight,
        secure_as,
    })
}

fn pool(pool: Reader<'_>) -> Option<Pool> {
    let max_connections = pool.at_least_one("max_connections")?;
    Some(Pool {
        max_connections,
        // A pool smaller than the default number of idle connections simply keeps all of its own.
        max_idle: pool.count("max_idle")?.min(max_connections.get()),
        idle_timeout: pool.parsed("idle_timeout", units::duration)?,
        max_lifetime: pool.parsed("max_lifetime", units::duration)?,
        connect_timeout: pool.parsed("connect_timeout", units::duration)?,
        wait_timeout: pool.parsed("wait_timeout", units::duration)?,
    })
}
