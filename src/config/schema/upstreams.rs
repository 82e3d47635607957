//! `[upstreams.NAME]`: the services behind the gateway.

use super::{Default, Key, Kind, Section, values::*};

/// Two random choices adapt to slow servers by themselves and need no knowledge of them.
const BALANCE: &str = "least-requests";

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
            Kind::Choice(&["round-robin", "least-requests"]),
            "How a server is chosen: in turns, or the less busy of two random ones.",
        )
        .default(Default::Text(BALANCE)),
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
            "Authorities that sign the servers' certificates. Absent: those that the system trusts.",
        ),
        Key::new(
            "server_name",
            Kind::Text(&SERVER_NAME),
            "The name that their certificates must stand for, also sent as SNI. Absent: the host of each URL.",
        ),
        Key::new("client_cert", PEM_FILE, "The certificate that is shown to servers; needs `client_key`."),
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
        Key::new("weight", Kind::Whole { least: 1, most: MOST_WEIGHT }, "Its share of the requests.")
            .default(Default::Whole(1)),
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
        Key::new("max_connections", Kind::Whole { least: 1, most: 1_000_000 }, "Most open connections.")
            .default(Default::Whole(MAX_CONNECTIONS)),
        Key::new("max_idle", Kind::Whole { least: 0, most: 1_000_000 }, "Connections kept while unused; 0 keeps none.")
            .default(Default::Whole(MAX_IDLE)),
        Key::new("idle_timeout", POSITIVE_DURATION, "Longest life of an unused connection.")
            .default(Default::Text(IDLE_TIMEOUT)),
        Key::new("max_lifetime", POSITIVE_DURATION, "Longest life of any connection.")
            .default(Default::Text(MAX_LIFETIME)),
        Key::new("connect_timeout", POSITIVE_DURATION, "Name, TCP and TLS together.")
            .default(Default::Text(CONNECT_TIMEOUT)),
        Key::new(
            "wait_timeout",
            DURATION,
            "Longest wait for a connection while all max_connections are busy; then 503.",
        )
        .default(Default::Text(WAIT_TIMEOUT)),
    ],
};
