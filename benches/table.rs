//! The cost of a route match among 10, 1,000 and 10,000 routes. The aim is a
//! ratio of at most 1.3 between the extremes.
//!
//! Each case looks up eight requests in turn, spread over the routes, so that
//! branch prediction does not learn a single path.

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::LazyLock,
    time::Duration,
};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::Method;
use tidegate::{
    gateway::table::{Lookup, RouteTable},
    message::Headers,
    policy::{HostPattern, Match, PathPattern},
    telemetry::FixedFields,
};

/// A kind of route set, and a request for the route at a given position.
struct Case {
    name: &'static str,
    route: fn(usize) -> Match,
    request: fn(usize) -> (String, String),
}

const SIZES: [usize; 3] = [10, 1_000, 10_000];
const REQUESTS: usize = 8;
const HOST: &str = "api.example.com";
/// Enough for a steady figure; with `--quick`, the most that a bench takes on a
/// noisy machine.
const MEASURED: Duration = Duration::from_secs(2);

const CASES: [Case; 7] = [
    Case {
        name: "exact",
        route: |at| {
            under(
                HOST,
                PathPattern::Exact(format!("/v1/service-{at:05}/items")),
            )
        },
        request: |at| (HOST.into(), format!("/v1/service-{at:05}/items")),
    },
    Case {
        name: "prefix",
        route: |at| under(HOST, PathPattern::Prefix(format!("/v1/service-{at:05}"))),
        request: |at| (HOST.into(), format!("/v1/service-{at:05}/items/7")),
    },
    Case {
        name: "parameter",
        route: |at| {
            under(
                HOST,
                PathPattern::Parameters(format!("/v1/service-{at:05}/{{id}}")),
            )
        },
        request: |at| (HOST.into(), format!("/v1/service-{at:05}/7")),
    },
    Case {
        name: "exact_host",
        route: |at| {
            under(
                &format!("tenant-{at:05}.example.com"),
                PathPattern::Prefix("/orders".into()),
            )
        },
        request: |at| (format!("tenant-{at:05}.example.com"), "/orders/7".into()),
    },
    Case {
        name: "wildcard_host",
        route: wildcard,
        request: |at| (format!("eu.tenant-{at:05}.example.com"), "/orders/7".into()),
    },
    Case {
        name: "no_match_path",
        route: |at| under(HOST, PathPattern::Prefix(format!("/v1/service-{at:05}"))),
        request: |at| (HOST.into(), format!("/v1/nobody-{at:05}/items/7")),
    },
    Case {
        name: "no_match_host",
        route: |at| under(&format!("tenant-{at:05}.example.com"), PathPattern::Any),
        request: |at| (format!("nobody-{at:05}.example.com"), "/orders/7".into()),
    },
];

fn bench(criterion: &mut Criterion) {
    for case in CASES {
        let mut group = criterion.benchmark_group(format!("table/{}", case.name));
        for size in SIZES {
            let routes: Vec<Match> = (0..size).map(case.route).collect();
            let table = RouteTable::build(&routes).expect("no regular expressions here");
            let requests: Vec<_> = (0..REQUESTS)
                .map(|nth| (case.request)(nth * size / REQUESTS))
                .collect();
            let mut turns = requests.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| turns.next().map(|(host, path)| find(&table, host, path)));
            });
        }
    }
}

fn find(table: &RouteTable, host: &str, path: &str) -> Option<usize> {
    static HEADERS: LazyLock<Headers> = LazyLock::new(Headers::default);
    static LISTENER: LazyLock<FixedFields> = LazyLock::new(|| FixedFields::listener("web".into()));
    let lookup = Lookup {
        host,
        path: path.as_bytes(),
        method: &Method::GET,
        headers: &HEADERS,
        query: None,
        listener: &LISTENER,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    black_box(table.find(black_box(&lookup))).map(|found| found.index)
}

fn under(host: &str, path: PathPattern) -> Match {
    let hosts = vec![HostPattern::Exact(host.into())];
    Match {
        hosts,
        path,
        ..Match::all()
    }
}

fn wildcard(at: usize) -> Match {
    let hosts = vec![HostPattern::Wildcard(format!("tenant-{at:05}.example.com"))];
    Match {
        hosts,
        ..under("", PathPattern::Any)
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(MEASURED);
    targets = bench
}
criterion_main!(benches);
