//! The file itself, and the sections about the process: `server`, `listeners`, `client_ip`, `admin`, `log`, `shutdown`.

use super::{Default, Key, Kind, Section, limits, routes, store, upstreams, values::*};

pub(in crate::config) static FILE_ITSELF: Section = Section {
    path: "",
    about: "The configuration of tidegate.",
    keys: &[
        Key::new(
            "include",
            Kind::Set(&FILE),
            "More files, relative to this one, read in name order as if written here; `*` stands for any characters of a file's name.",
        ),
        Key::new("server", Kind::Table(&SERVER), "The process itself."),
        Key::new(
            "listeners",
            Kind::Tables(&LISTENER),
            "Where clients connect; absent: one on 0.0.0.0:8080.",
        ),
        Key::new(
            "client_ip",
            Kind::Table(&CLIENT_IP),
            "Who counts as the client, for keys and logs.",
        ),
        Key::new(
            "admin",
            Kind::Table(&ADMIN),
            "The admin listener: metrics, health, views, reload.",
        ),
        Key::new(
            "store",
            Kind::Table(&store::STORE),
            "Redis or Valkey, for limits with scope = \"shared\"; absent: none.",
        ),
        Key::new("log", Kind::Table(&LOG), "What is logged and how."),
        Key::new(
            "shutdown",
            Kind::Table(&SHUTDOWN),
            "How long a drain may take.",
        ),
        Key::new(
            "upstreams",
            Kind::Named(&upstreams::UPSTREAM),
            "The services behind the gateway, by name.",
        ),
        Key::new(
            "limits",
            Kind::Named(&limits::LIMIT),
            "Token buckets by name, shared by every route that names them.",
        ),
        Key::new(
            "defaults",
            Kind::Table(&routes::DEFAULTS),
            "What routes start from; their own keys win, key by key.",
        ),
        Key::new(
            "routes",
            Kind::Tables(&routes::ROUTE),
            "Which requests go where; the most specific match wins.",
        ),
    ],
};

/// Far more than any machine has cores; each worker costs memory for its own pools.
const MOST_WORKERS: u64 = 1024;

/// Far more than a process may have open files.
const MOST_CONNECTIONS: u64 = 10_000_000;

/// Half of what a small container has; a quarter of a thousand uploads of 1 MiB at once.
const MAX_BUFFERED: &str = "256MiB";

static SERVER: Section = Section {
    path: "server",
    about: "The process itself.",
    keys: &[
        Key::new(
            "max_buffered",
            SIZE,
            "Memory for all bodies that routes buffer; beyond it, bodies stream.",
        )
        .default(Default::Text(MAX_BUFFERED)),
        Key::new(
            "workers",
            Kind::Or(
                "auto",
                &Kind::Whole {
                    least: 1,
                    most: MOST_WORKERS,
                },
            ),
            "Worker threads: \"auto\" is one per core this process may use. Needs a restart.",
        )
        .default(Default::Text("auto")),
        Key::new(
            "max_connections_per_client",
            Kind::Whole {
                least: 1,
                most: MOST_CONNECTIONS,
            },
            "Open connections of one client, over all listeners: of an IPv4 address, of an IPv6 network of 64 bits; more are closed at once. Absent: a tenth of the listener's max_connections, at least 10.",
        ),
        Key::new(
            "state_dir",
            FILE,
            "A folder of this process alone, for what `persist` of limits keeps over a restart; made when it is absent. Needs a restart.",
        ),
    ],
};

/// What "the smallest useful file" listens on: everywhere, as a gateway in a container has to, without privileges.
pub(in crate::config) const BIND_ADDRESS: &str = "0.0.0.0:8080";
/// What browsers and other gateways stay below, cookies included.
const MAX_HEADER_BYTES: &str = "32KiB";
/// Real requests have 10 to 40 header lines; the other gateways allow 100 too.
const MAX_HEADERS: u64 = 100;
/// A slow radio link sends a head in a second; who needs ten does it on purpose.
const HEADERS_TIMEOUT: &str = "10s";
/// NGINX's default: browsers come back within about a minute.
const KEEP_ALIVE: &str = "75s";
/// Two round trips and a signature; who needs longer is as slow as with a head.
const TLS_HANDSHAKE: &str = "10s";
/// What every client since about 2014 speaks.
const MIN_VERSION: &str = "1.2";

/// CGI and WSGI make one name of `X_Role` and `X-Role`, so that a line which nobody looked for passes as another.
const UNDERSCORES: &str = "drop";

static LISTENER: Section = Section {
    path: "listeners",
    about: "An address on which clients connect.",
    keys: &[
        Key::new("bind", BIND, "IP address and port; port 0 lets the system choose.").required(),
        Key::new(
            "max_connections",
            Kind::Whole { least: 1, most: MOST_CONNECTIONS },
            "Open connections; a further one closes the one that has idled longest, or waits. Absent: what the file limit allows.",
        ),
        Key::new("max_header_bytes", HEAD_SIZE, "Longest head of a request; more is 431.")
            .default(Default::Text(MAX_HEADER_BYTES)),
        Key::new("max_headers", Kind::Whole { least: 1, most: 10_000 }, "Most header lines of a request; more is 431.")
            .default(Default::Whole(MAX_HEADERS)),
        Key::new(
            "http2",
            Kind::Flag,
            "HTTP/2 is spoken, too: with TLS where ALPN agrees on it, without by prior knowledge.",
        )
        .default(Default::Flag(true)),
        Key::new(
            "underscores",
            Kind::Choice(&["drop", "keep"]),
            "Header names with `_`, which many services take for `-`: \"drop\" takes such lines out, \"keep\" passes them on.",
        )
        .default(Default::Text(UNDERSCORES)),
        Key::new("timeouts", Kind::Table(&LISTENER_TIMEOUTS), "How long clients may take."),
        Key::new(
            "proxy_protocol",
            Kind::Choice(&["off", "required"]),
            "\"required\": every connection begins with a PROXY protocol header (v1 or v2) that names the client. Only behind a balancer that writes it.",
        )
        .default(Default::Text("off")),
        Key::new("tls", Kind::Table(&LISTENER_TLS), "Present: clients speak TLS."),
    ],
};

static LISTENER_TLS: Section = Section {
    path: "listeners.tls",
    about: "TLS towards clients. The files are watched: a change takes effect without a restart.",
    keys: &[
        Key::new(
            "certificates",
            Kind::Tables(&CERTIFICATE),
            "Certificates and their keys. The names inside choose by what the client asks for (SNI); the first is the default.",
        )
        .required(),
        Key::new("client_ca", PEM_FILE, "Present: clients must show a certificate that one of these authorities signed, or that is itself in the file."),
        Key::new("min_version", Kind::Choice(&["1.2", "1.3"]), "The oldest version of TLS that is spoken.")
            .default(Default::Text(MIN_VERSION)),
    ],
};

static CERTIFICATE: Section = Section {
    path: "listeners.tls.certificates",
    about: "A certificate and its key.",
    keys: &[
        Key::new(
            "cert",
            PEM_FILE,
            "PEM file: the certificate, then those that lead to its authority.",
        )
        .required(),
        Key::new("key", PEM_FILE, "PEM file: its private key, not encrypted.").required(),
    ],
};

static LISTENER_TIMEOUTS: Section = Section {
    path: "listeners.timeouts",
    about: "How long clients may take.",
    keys: &[
        Key::new(
            "headers",
            POSITIVE_DURATION,
            "The whole head of a request, from its first byte; of the first, from the accept. Then 408.",
        )
        .default(Default::Text(HEADERS_TIMEOUT)),
        Key::new("keep_alive", POSITIVE_DURATION, "Longest life of an idle connection.")
            .default(Default::Text(KEEP_ALIVE)),
        Key::new("tls_handshake", POSITIVE_DURATION, "Longest TLS handshake, once the PROXY protocol header is read.")
            .default(Default::Text(TLS_HANDSHAKE)),
    ],
};

/// What most proxies write.
const CLIENT_IP_HEADER: &str = "x-forwarded-for";

static CLIENT_IP: Section = Section {
    path: "client_ip",
    about: "Who counts as the client of a request.",
    keys: &[
        Key::new(
            "trusted_proxies",
            Kind::Set(&NETWORK),
            "Peers whose header is believed. Absent: nobody, the peer's address is the client.",
        )
        .default(Default::Texts(&[])),
        Key::new(
            "header",
            Kind::Choice(&["x-forwarded-for", "forwarded"]),
            "Where trusted proxies name the client; walked from the right, past trusted hops only.",
        )
        .default(Default::Text(CLIENT_IP_HEADER)),
    ],
};

/// Loopback: the admin listener shows much and can reload. The port is the one that Envoy uses for the same.
const ADMIN_BIND: &str = "127.0.0.1:9901";

static ADMIN: Section = Section {
    path: "admin",
    about: "The admin listener.",
    keys: &[
        Key::new(
            "bind",
            Kind::Or("off", &BIND),
            "Its address, or \"off\" for none.",
        )
        .default(Default::Text(ADMIN_BIND)),
        Key::new(
            "hosts",
            Kind::Set(&ADMIN_HOST),
            "Other names it may be called by; its addresses and localhost always work.",
        )
        .default(Default::Texts(&[])),
        Key::new(
            "token_file",
            FILE,
            "A file with a token; when given, every call that changes something needs it (Authorization: Bearer ...).",
        ),
    ],
};

/// What an operator wants to read when nothing is wrong.
const LOG_LEVEL: &str = "info";

static LOG: Section = Section {
    path: "log",
    about: "What is logged and how.",
    keys: &[
        Key::new(
            "level",
            Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
            "Least severity that is written.",
        )
        .default(Default::Text(LOG_LEVEL)),
        Key::new(
            "format",
            Kind::Choice(&["json", "text"]),
            "Shape of a line. Absent: text on a terminal, json elsewhere.",
        ),
        Key::new("access", Kind::Flag, "One line a request on stdout; everything else goes to stderr.")
            .default(Default::Flag(true)),
        Key::new(
            "query",
            Kind::Choice(&["masked", "off", "full"]),
            "How access lines tell the query: \"masked\" hides the values of parameters that are keys of the route's limits, or whose name is that of a secret; \"off\" leaves it out; \"full\" writes it as received.",
        )
        .default(Default::Text("masked")),
    ],
};

/// The default total timeout of a route: by then every request has its answer's head.
const DRAIN: &str = "30s";
/// Only balancers that poll `/readyz` need a delay.
const DRAIN_DELAY: &str = "0s";

static SHUTDOWN: Section = Section {
    path: "shutdown",
    about: "How the process ends.",
    keys: &[
        Key::new("drain", DURATION, "Longest wait for requests in flight.")
            .default(Default::Text(DRAIN)),
        Key::new(
            "delay",
            DURATION,
            "Keep accepting this long after /readyz turned 503.",
        )
        .default(Default::Text(DRAIN_DELAY)),
    ],
};
