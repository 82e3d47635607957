//! `[upstreams.NAME]`: the services behind the gateway.

use super::{Default, Key, Kind, Section, concurrency::UPSTREAM_CAP, values::*};

/// Two random choices adapt to slow servers by themselves and need no knowledge of them.
const BALANCE: &str = "least-requests";

/// Hashing is chosen so that a key stays with its server.
const HASH_BOUND: &str = "off";

/// Most services are quick from their first request on.
const SLOW_START: &str = "0s";

pub(in crate::config) static UPSTREAM: Section = Section {
    path: "upstreams",
    about: "A service behind the gateway.",
    keys: &[
        Key::new(
            "servers",
            Kind::List(&Kind::TextOrTable(&SERVER_URL, &SERVER)),
            "Where it runs: URLs, or tables with a url and a weight.",
        )
        .required(),
        Key::new(
            "protocol",
            Kind::Choice(&["http1", "http2", "auto"]),
            "What is spoken with its servers: \"http2\" by prior knowledge or ALPN, \"auto\" what ALPN agrees on (http1 without TLS).",
        )
            .default(Default::Text("http1")),
        Key::new(
            "balance",
            Kind::Choice(&["round-robin", "least-requests", "peak-ewma", "hash"]),
            "How a server is chosen: in turns, the less busy of two random ones, the one of two that is probably quicker, or by `hash_key`.",
        )
        .default(Default::Text(BALANCE)),
        Key::new(
            "hash_key",
            Kind::OneOrList(&KEY_PART),
            "With balance = \"hash\": requests with this in common go to one server, such as \"header:x-user\" or \"client-ip\"; a list is one composite key.",
        ),
        Key::new(
            "hash_bound",
            Kind::Or("off", &BOUND),
            "With balance = \"hash\": a server that has more than this of its part of the requests in flight gives keys away. \"off\": a key stays with its server.",
        )
        .default(Default::Text(HASH_BOUND)),
        Key::new("slow_start", DURATION, "Time over which a server that came back gets its share; \"0s\": at once.")
            .default(Default::Text(SLOW_START)),
        Key::new(
            "cool_down",
            Kind::Flag,
            "After a 503 with Retry-After nothing is sent to that server until then (at most 60s), unless it is the last one.",
        )
        .default(Default::Flag(true)),
        Key::new("health_check", Kind::Table(&HEALTH_CHECK), "Ask each server in intervals; absent: no active checks."),
        Key::new("ejection", Kind::Table(&EJECTION), "Leave a server alone for a while that fails too often in a row."),
        Key::new(
            "concurrency",
            Kind::Table(&UPSTREAM_CAP),
            "Cap on requests in flight over all routes to it; absent: none.",
        ),
        Key::new("pool", Kind::Table(&POOL), "Connections to each server."),
        Key::new("tls", Kind::Table(&TLS), "For https servers. Absent: whom the system trusts."),
    ],
};

static TLS: Section = Section {
    path: "upstreams.tls",
    about: "TLS towards https servers. The files are watched: a change takes effect without a restart.",
    keys: &[
        Key::new(
            "ca",
            PEM_FILE,
            "Authorities that sign the servers' certificates, and certificates of servers that are trusted as they are. Absent: those that the system trusts.",
        ),
        Key::new(
            "server_name",
            Kind::Text(&SERVER_NAME),
            "The name that their certificates must stand for, also sent as SNI. Absent: the host of each URL.",
        ),
        Key::new(
            "client_cert",
            PEM_FILE,
            "The certificate that is shown to servers; needs `client_key`.",
        ),
        Key::new("client_key", PEM_FILE, "Its private key, not encrypted."),
    ],
};

/// Weights are shares; finer ones than a millionth make no difference.
const MOST_WEIGHT: u64 = 1_000_000;

pub(in crate::config) static SERVER: Section = Section {
    path: "upstreams.servers",
    about: "One server.",
    keys: &[
        Key::new(
            "url",
            Kind::Text(&SERVER_URL),
            "Scheme, host and port, such as \"http://10.0.0.1:9001\"; https:// for TLS.",
        )
        .required(),
        Key::new(
            "weight",
            Kind::Whole {
                least: 1,
                most: MOST_WEIGHT,
            },
            "Its share of the requests.",
        )
        .default(Default::Whole(1)),
    ],
};

/// A server that dies is noticed within a quarter of a minute, at the cost of one request in 5 s.
const CHECK_INTERVAL: &str = "5s";
/// What answers so late is not well.
const CHECK_TIMEOUT: &str = "1s";
/// One passed check may be luck.
const HEALTHY_AFTER: u64 = 2;
/// One failed check, or two, may be bad luck.
const UNHEALTHY_AFTER: u64 = 3;

static HEALTH_CHECK: Section = Section {
    path: "upstreams.health_check",
    about: "Active health checks: GET with the server's own host; 2xx and 3xx are healthy.",
    keys: &[
        Key::new(
            "path",
            CHECK_PATH,
            "Path that is asked for, such as \"/healthz\".",
        )
        .required(),
        Key::new(
            "interval",
            POSITIVE_DURATION,
            "Time between two checks of a server, give or take a tenth.",
        )
        .default(Default::Text(CHECK_INTERVAL)),
        Key::new(
            "timeout",
            POSITIVE_DURATION,
            "Longest time for one check, connecting included.",
        )
        .default(Default::Text(CHECK_TIMEOUT)),
        Key::new(
            "healthy_after",
            COUNT,
            "Checks in a row that bring a server back.",
        )
        .default(Default::Whole(HEALTHY_AFTER)),
        Key::new(
            "unhealthy_after",
            COUNT,
            "Failed checks in a row that take a server out.",
        )
        .default(Default::Whole(UNHEALTHY_AFTER)),
    ],
};

/// Something counted in a row.
const COUNT: Kind = Kind::Whole {
    least: 1,
    most: 1_000_000,
};

/// Envoy's number: fewer happen by chance.
const CONSECUTIVE_FAILURES: u64 = 5;
/// Long enough to restart, short enough to matter little.
const EJECTION_BASE: &str = "10s";
/// A server that stays broken is tried a few times an hour.
const EJECTION_MAX: &str = "5m";
/// The other half has to carry the load.
const MAX_PERCENT: u64 = 50;

static EJECTION: Section = Section {
    path: "upstreams.ejection",
    about: "Passive ejection: answers with 500, 502, 503 or 504, broken ones, resets, connect failures and timeouts.",
    keys: &[
        Key::new("consecutive_failures", COUNT, "Failures in a row.").default(Default::Whole(CONSECUTIVE_FAILURES)),
        Key::new("base", POSITIVE_DURATION, "Time of the first ejection; doubles with each of the same server.")
            .default(Default::Text(EJECTION_BASE)),
        Key::new("max", POSITIVE_DURATION, "Longest ejection.").default(Default::Text(EJECTION_MAX)),
        Key::new(
            "max_percent",
            Kind::Whole { least: 0, most: 100 },
            "Most servers ejected or cooling down at once; one of two or more may always be, the last one is never ejected. 0: none.",
        )
        .default(Default::Whole(MAX_PERCENT)),
    ],
};

/// Bounds memory and file descriptors; more requests at once to one server are better refused than sent.
const MAX_CONNECTIONS: u64 = 512;
/// Enough for a steady load, without holding what one burst opened.
const MAX_IDLE: u64 = 128;
/// Below the 60 s to 75 s after which common servers close: whoever closes first avoids the race.
const IDLE_TIMEOUT: &str = "60s";
/// Lets a change of DNS take effect in reasonable time.
const MAX_LIFETIME: &str = "10m";
/// Two lost SYN packets (1 s, then 2 s) are one too many for a machine nearby.
const CONNECT_TIMEOUT: &str = "2s";
/// A connection that is not free within a second will not be free in time.
const WAIT_TIMEOUT: &str = "1s";

static POOL: Section = Section {
    path: "upstreams.pool",
    about: "Connections to each server; the numbers are per server, over all workers.",
    keys: &[
        Key::new(
            "max_connections",
            Kind::Whole {
                least: 1,
                most: 1_000_000,
            },
            "Most open connections.",
        )
        .default(Default::Whole(MAX_CONNECTIONS)),
        Key::new(
            "max_idle",
            Kind::Whole {
                least: 0,
                most: 1_000_000,
            },
            "Connections kept while unused; 0 keeps none.",
        )
        .default(Default::Whole(MAX_IDLE)),
        Key::new(
            "idle_timeout",
            POSITIVE_DURATION,
            "Longest life of an unused connection.",
        )
        .default(Default::Text(IDLE_TIMEOUT)),
        Key::new(
            "max_lifetime",
            POSITIVE_DURATION,
            "Longest life of any connection.",
        )
        .default(Default::Text(MAX_LIFETIME)),
        Key::new(
            "connect_timeout",
            POSITIVE_DURATION,
            "Name, TCP and TLS together.",
        )
        .default(Default::Text(CONNECT_TIMEOUT)),
        Key::new(
            "wait_timeout",
            DURATION,
            "Longest wait for a connection while all max_connections are busy; then 503.",
        )
        .default(Default::Text(WAIT_TIMEOUT)),
    ],
};
