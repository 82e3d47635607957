//! Policies for the tests of this module.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use crate::policy::{
    Balance, Ejection, Failures, Pool, Protocol, StatusSet, Statuses, Upstream as Policy,
    UpstreamServer, UpstreamTls,
};

const MINUTE: Duration = Duration::from_secs(60);

/// The failures that eject by default.
pub(super) fn failures() -> Failures {
    let statuses = [(500, 500), (502, 504)].map(|(first, last)| Statuses { first, last });
    Failures {
        connect: true,
        reset: true,
        timeout: true,
        statuses: statuses.into_iter().collect(),
    }
}

/// An upstream with a server at each of `urls`, which may have one connection
/// of HTTP/1.1.
pub(super) fn policy(urls: &[&str]) -> Policy {
    Policy {
        name: "app".into(),
        servers: urls.iter().map(|url| UpstreamServer::at(url)).collect(),
        protocol: Protocol::Http1,
        balance: Balance::RoundRobin,
        hash_bound: None,
        concurrency: None,
        slow_start: Duration::ZERO,
        cool_down: StatusSet::default(),
        health_check: None,
        ejection: Ejection {
            on: failures(),
            consecutive_failures: NonZeroU32::MIN,
            base: MINUTE,
            max: MINUTE,
            max_percent: 50,
        },
        proxy_protocol: false,
        pool: Pool {
            max_connections: NonZeroUsize::MIN,
            max_idle: 1,
            idle_timeout: MINUTE,
            max_lifetime: MINUTE,
            connect_timeout: MINUTE,
            wait_timeout: MINUTE,
        },
        tls: UpstreamTls::default(),
    }
}
