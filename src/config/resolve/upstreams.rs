//! `[upstreams.NAME]`.

use std::num::NonZeroU32;

use super::{
    super::{
        model::{Balance, Pool, Upstream, UpstreamServer},
        problem::{Code, Problem, Problems},
        schema::upstreams::SERVER,
        source::Span,
        syntax::{self, address},
        tree::{Node, Value},
        units,
    },
    concurrency::concurrency,
    reader::Reader,
};

pub(super) fn upstream(name: &str, upstream: Reader<'_>, problems: &mut Problems) -> Option<Upstream> {
    let nodes = upstream.items("servers");
    let servers: Option<Vec<_>> = nodes.iter().map(server).collect();
    for (at, (one, place)) in servers.iter().flatten().zip(places(nodes)).enumerate() {
        let first = servers.iter().flatten().zip(places(nodes)).take(at);
        if let Some((_, first)) = first.into_iter().find(|(other, _)| same(one, other)) {
            let message = format!("{} is in `servers` twice", one.url);
            let problem = Problem::new(Code::Duplicate, place, message).also(first, "first here");
            problems.report(problem.help("for a larger share write { url = \"...\", weight = 2 }"));
        }
    }
    let balance = match upstream.text("balance")? {
        "round-robin" => Balance::RoundRobin,
        _ => Balance::LeastRequests,
    };
    let pool = pool(upstream.table("pool"));
    let concurrency = concurrency(upstream, problems);
    let servers = servers?;
    if servers.is_empty() {
        return None;
    }
    Some(Upstream { name: syntax::name(name).ok()?, servers, balance, concurrency: concurrency?, pool: pool? })
}

fn places(nodes: &[Node]) -> impl Iterator<Item = Span> {
    nodes.iter().map(|node| node.span)
}

fn same(one: &UpstreamServer, other: &UpstreamServer) -> bool {
    one.host == other.host && one.port == other.port
}

fn server(node: &Node) -> Option<UpstreamServer> {
    let (url, weight) = match &node.value {
        Value::Text(text) => (text.text.as_str(), NonZeroU32::MIN),
        Value::Table(table) => {
            let server = Reader::new(&SERVER, table, node.span);
            (server.text("url")?, server.at_least_one_u32("weight")?)
        }
        _ => return None,
    };
    let address::ServerUrl { url, host, port } = address::server_url(url).ok()?;
    Some(UpstreamServer { url, host, port, weight })
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
