//! `[upstreams.NAME]`.

use std::num::NonZeroU32;

use super::{
    super::{
        include::Loading,
        model::{Balance, Pool, Protocol, Upstream, UpstreamServer},
        problem::{Code, Problem},
        schema::upstreams::SERVER,
        source::Span,
        syntax::{self, address},
        tree::{Node, Value},
        units,
    },
    reader::Reader,
    tls,
};

pub(super) fn upstream(name: &str, upstream: Reader<'_>, loading: &mut Loading<'_>) -> Option<Upstream> {
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
    let balance = match upstream.text("balance")? {
        "round-robin" => Balance::RoundRobin,
        _ => Balance::LeastRequests,
    };
    let pool = pool(upstream.table("pool"));
    let servers = servers?;
    if upstream.given("tls").is_some() && servers.iter().all(|server| server.secure_as.is_none()) {
        let message = "it says how to speak TLS, and no server of this upstream speaks it";
        let problem = Problem::new(Code::Conflict, upstream.place("tls"), message);
        problems.report(problem.help("write the URLs with https://, or leave `tls` out"));
    }
    if servers.is_empty() {
        return None;
    }
    Some(Upstream { name: syntax::name(name).ok()?, servers, protocol, balance, pool: pool?, tls: tls? })
}

fn places(nodes: &[Node]) -> impl Iterator<Item = Span> {
    nodes.iter().map(|node| node.span)
}

fn same(one: &UpstreamServer, other: &UpstreamServer) -> bool {
    one.host == other.host && one.port == other.port
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
    let address::ServerUrl { url, host, port, is_tls } = address::server_url(url).ok()?;
    let secure_as = match is_tls {
        true => Some(address::server_name(name_of_all.unwrap_or(&host)).ok()?),
        false => None,
    };
    Some(UpstreamServer { url, host, port, weight, secure_as })
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
