//! `[upstreams.NAME]`.

use std::num::NonZeroU32;

use super::{
    super::{
        field::{Field, Given, section},
        include::Loading,
        problem::{Code, Problem, Problems},
        source::Span,
        syntax::{
            self,
            address::{self, ServerUrl},
        },
        units,
        wire::{
            syntaxes::ServerAt,
            tables::{Either, Named, NamedEntry},
            text::Text,
            upstreams::{self as wire, Balance as Choice},
        },
    },
    concurrency::concurrency,
    tls,
};
use crate::policy::{Balance, Ejection, HealthCheck, Pool, Upstream, UpstreamServer};

pub(super) fn upstreams(
    entry: &Option<Field<Named<wire::Upstream>>>,
    loading: &mut Loading<'_>,
) -> Vec<Option<Upstream>> {
    if entry.is_broken() {
        return vec![None];
    }
    entry
        .elements()
        .iter()
        .map(|entry| upstream(entry, loading))
        .collect()
}

fn upstream(entry: &NamedEntry<wire::Upstream>, loading: &mut Loading<'_>) -> Option<Upstream> {
    let upstream = entry.section.value()?;
    let at = entry.section.at();
    let tls = tls::upstream(&upstream.tls, loading);
    let name_of_all = tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    let problems = &mut loading.problems;
    let servers = servers(upstream, name_of_all, problems);
    let balance = balance(upstream, at, problems);
    let pool = pool(&upstream.pool);
    let health_check = health_check(&upstream.health_check);
    let ejection = ejection(&upstream.ejection, problems);
    let concurrency = concurrency(&upstream.concurrency, problems);
    let servers = servers?;
    if upstream.tls.is_present() && servers.iter().all(|server| server.secure_as.is_none()) {
        let message = "it says how to speak TLS, and no server of this upstream speaks it";
        problems.error(
            Code::Conflict,
            upstream.tls.place(at),
            message,
            "write the URLs with https://, or leave `tls` out",
        );
    }
    Some(Upstream {
        name: syntax::name(&entry.name).ok()?,
        servers,
        protocol: upstream.protocol.value?,
        balance: balance?,
        hash_bound: upstream.hash_bound.read()?,
        slow_start: upstream.slow_start.read()?,
        cool_down: upstream.cool_down.value?,
        health_check: health_check?,
        ejection: ejection?,
        concurrency: concurrency?,
        pool: pool?,
        tls: tls?,
    })
}

fn balance(upstream: &wire::Upstream, at: Span, problems: &mut Problems) -> Option<Balance> {
    let choice = upstream.balance.value?;
    if upstream.hash_bound.read().flatten().is_some() && choice != Choice::Hash {
        let message = "`hash_bound` is only looked at with `balance = \"hash\"`";
        problems.error(
            Code::Conflict,
            upstream.hash_bound.place(at),
            message,
            "add `balance = \"hash\"`, or leave `hash_bound` out",
        );
    }
    match (choice, &upstream.hash_key) {
        (Choice::Hash, Some(key)) => key.read().map(Balance::Hash),
        (Choice::Hash, None) => {
            if !problems.incomplete {
                let message = "`balance = \"hash\"` without a `hash_key`";
                problems.error(
                    Code::MissingKey,
                    upstream.balance.place(at),
                    message,
                    "say what requests to one server have in common: `hash_key = \"client-ip\"`",
                );
            }
            None
        }
        (_, Some(key)) => {
            let message = "`hash_key` is only looked at with `balance = \"hash\"`";
            problems.error(
                Code::Conflict,
                key.place(at),
                message,
                "add `balance = \"hash\"`, or leave `hash_key` out",
            );
            None
        }
        (Choice::RoundRobin, None) => Some(Balance::RoundRobin),
        (Choice::LeastRequests, None) => Some(Balance::LeastRequests),
        (Choice::PeakEwma, None) => Some(Balance::PeakEwma),
    }
}

/// `Some(None)` is an upstream without checks.
fn health_check(entry: &Option<Field<wire::HealthCheck>>) -> Option<Option<HealthCheck>> {
    let Some(field) = entry else {
        return Some(None);
    };
    let check = field.value()?;
    Some(Some(HealthCheck {
        path: check.path.read()?,
        interval: check.interval.read()?,
        timeout: check.timeout.read()?,
        healthy_after: check.healthy_after.read()?,
        unhealthy_after: check.unhealthy_after.read()?,
    }))
}

fn ejection(entry: &Option<Field<wire::Ejection>>, problems: &mut Problems) -> Option<Ejection> {
    let field = section(entry);
    let ejection = field.value()?;
    let (base, max) = (ejection.base.read()?, ejection.max.read()?);
    // A long base alone is meant: the default of `max` does not cut it.
    if base > max && ejection.max.is_present() {
        let message = format!(
            "`max` is below `base`, which is {}",
            units::duration_text(base)
        );
        let at = ejection.max.at();
        problems.error(
            Code::Conflict,
            at,
            message,
            "the time begins with `base` and doubles up to `max`",
        );
    }
    Some(Ejection {
        consecutive_failures: ejection.consecutive_failures.read()?,
        base,
        max: max.max(base),
        max_percent: ejection.max_percent.read()?,
    })
}

fn servers(
    upstream: &wire::Upstream,
    name_of_all: Option<&str>,
    problems: &mut Problems,
) -> Option<Vec<UpstreamServer>> {
    let mut servers: Vec<(UpstreamServer, Span)> = Vec::new();
    let mut is_whole = true;
    for field in &upstream.servers.value()?.0 {
        let Some(server) = server(field, name_of_all) else {
            is_whole = false;
            continue;
        };
        let at = field.at();
        if let Some((_, first)) = servers.iter().find(|(other, _)| is_same(&server, other)) {
            let message = format!("{} is in `servers` twice", server.url);
            let problem = Problem::new(Code::Duplicate, at, message).also(*first, "first here");
            problems.report(problem.help("for a larger share write { url = \"...\", weight = 2 }"));
        }
        servers.push((server, at));
    }
    is_whole.then(|| servers.into_iter().map(|(server, _)| server).collect())
}

fn is_same(one: &UpstreamServer, other: &UpstreamServer) -> bool {
    one.host.trim_end_matches('.') == other.host.trim_end_matches('.') && one.port == other.port
}

fn server(
    field: &Field<Either<Text<ServerAt>, wire::Server>>,
    name_of_all: Option<&str>,
) -> Option<UpstreamServer> {
    let (url, weight) = match field.value()? {
        Either::Short(url) => (url.value.clone(), NonZeroU32::MIN),
        Either::Long(server) => (server.url.read()?, server.weight.read()?),
    };
    let ServerUrl {
        url,
        host,
        port,
        is_tls,
    } = url;
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

fn pool(entry: &Option<Field<wire::Pool>>) -> Option<Pool> {
    let field = section(entry);
    let pool = field.value()?;
    let max_connections = pool.max_connections.read()?;
    Some(Pool {
        max_connections,
        // A pool smaller than the default number of idle connections simply
        // keeps all of its own.
        max_idle: pool.max_idle.read()?.min(max_connections.get()),
        idle_timeout: pool.idle_timeout.read()?,
        max_lifetime: pool.max_lifetime.read()?,
        connect_timeout: pool.connect_timeout.read()?,
        wait_timeout: pool.wait_timeout.read()?,
    })
}
