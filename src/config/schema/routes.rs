//! `[[routes]]` and `[defaults]`: which requests go where, and under which policies.

use super::{Default, Key, Kind, Section, concurrency::ROUTE_CAP, values::*};

const LIMITS: Key = Key::new(
    "limits",
    Kind::Set(&Kind::Text(&NAME)),
    "Limits by name; all must admit.",
)
.default(Default::Texts(&[]));
const MIRROR_KEY: Key = Key::new(
    "mirror",
    Kind::Table(&MIRROR),
    "Send a copy of some requests to another upstream.",
);
const PRIORITY: Key = Key::new(
    "priority",
    Kind::Choice(&["high", "normal", "low"]),
    "Who goes first in the queue of an upstream's cap: strictly; `queue_timeout` bounds the others' wait.",
)
.default(Default::Text("normal"));
const MATCH_KEY: Key = Key::new(
    "match",
    Kind::Table(&MATCH),
    "Which requests it takes; absent: all.",
);
const CONCURRENCY_KEY: Key = Key::new(
    "concurrency",
    Kind::Table(&ROUTE_CAP),
    "Cap on requests in flight; absent: none.",
);
const TIMEOUTS_KEY: Key = Key::new("timeouts", Kind::Table(&TIMEOUTS), "Every wait has an end.");
const RETRY_KEY: Key = Key::new(
    "retry",
    Kind::Table(&RETRY),
    "When and how often to try again; `attempts = 1` is no retry.",
);
const REQUEST_KEY: Key = Key::new(
    "request",
    Kind::Table(&REQUEST),
    "Changes to the request on its way up.",
);
const RESPONSE_KEY: Key = Key::new(
    "response",
    Kind::Table(&RESPONSE),
    "Changes to the response on its way down.",
);

pub(in crate::config) static ROUTE: Section = Section {
    path: "routes",
    about: "Which requests go where. One of upstream, respond and redirect is required.",
    keys: &[
        Key::new(
            "name",
            Kind::Text(&NAME),
            "Unique; it stands in logs and metrics.",
        )
        .required(),
        Key::new(
            "upstream",
            Kind::TextOrTables(&NAME, &SHARE),
            "The upstream that requests are sent to; or a split: a list of tables with a name and a weight.",
        ),
        Key::new(
            "respond",
            Kind::Table(&RESPOND),
            "Answer by itself instead, behind the same limits and cap.",
        ),
        Key::new(
            "redirect",
            Kind::Table(&REDIRECTION),
            "Send the client elsewhere instead.",
        ),
        MIRROR_KEY,
        PRIORITY,
        Key::new(
            "grpc",
            Kind::Flag,
            "gRPC calls are told by grpc-statuses; `false`: they are requests like others.",
        )
        .default(Default::Flag(true)),
        LIMITS,
        MATCH_KEY,
        CONCURRENCY_KEY,
        TIMEOUTS_KEY,
        RETRY_KEY,
        REQUEST_KEY,
        RESPONSE_KEY,
    ],
};

pub(in crate::config) static SHARE: Section = Section {
    path: "routes.upstream",
    about: "One upstream of a split.",
    keys: &[
        Key::new("name", Kind::Text(&NAME), "The upstream.").required(),
        Key::new(
            "weight",
            Kind::Whole {
                least: 0,
                most: 1_000_000,
            },
            "Its share of the requests; 0: none for now.",
        )
        .default(Default::Whole(1)),
    ],
};

static MIRROR: Section = Section {
    path: "routes.mirror",
    about: "Copies of requests for another upstream; their answers are thrown away.",
    keys: &[
        Key::new(
            "upstream",
            Kind::Text(&NAME),
            "Where copies go. Required, here or in the defaults.",
        ),
        Key::new(
            "percent",
            Kind::Whole {
                least: 0,
                most: 100,
            },
            "How many of a hundred requests are copied.",
        )
        .default(Default::Whole(100)),
    ],
};

pub(in crate::config) static DEFAULTS: Section = Section {
    path: "defaults",
    about: "What routes start from; their own keys win, key by key.",
    keys: &[
        MIRROR_KEY,
        PRIORITY,
        LIMITS,
        MATCH_KEY,
        CONCURRENCY_KEY,
        TIMEOUTS_KEY,
        RETRY_KEY,
        REQUEST_KEY,
        RESPONSE_KEY,
    ],
};

static MATCH: Section = Section {
    path: "routes.match",
    about: "Which requests a route takes: all of what is given must match.",
    keys: &[
        Key::new(
            "hosts",
            Kind::List(&HOST_PATTERN),
            "Hosts; `*.` is one or more labels. Absent: any.",
        ),
        Key::new(
            "path_prefix",
            PATH_PREFIX,
            "Whole segments: \"/orders\" takes /orders and /orders/7, not /ordersx.",
        ),
        Key::new(
            "path",
            PATH,
            "The whole path, exact; {name} is one segment.",
        ),
        Key::new(
            "path_regex",
            PATH_REGEX,
            "A regular expression over the whole path.",
        ),
        Key::new("methods", Kind::List(&METHOD), "Methods. Absent: any."),
        Key::new(
            "headers",
            Kind::Map(&HEADER_NAME, &HEADER_VALUE),
            "Headers that must all be equal.",
        ),
        Key::new(
            "query",
            Kind::Map(&QUERY_NAME, &FREE_TEXT),
            "Query parameters that must all be equal.",
        ),
    ],
};

static RESPOND: Section = Section {
    path: "routes.respond",
    about: "An answer that the gateway makes itself.",
    keys: &[
        Key::new(
            "status",
            Kind::Whole {
                least: 200,
                most: 599,
            },
            "Its status.",
        )
        .default(Default::Whole(200)),
        Key::new("body", Kind::Text(&FREE_TEXT), "Its body.").default(Default::Text("")),
        Key::new(
            "headers",
            Kind::Map(&CHANGEABLE_HEADER, &HEADER_VALUE),
            "Its headers.",
        ),
    ],
};

/// Permanent Redirect: method and body stay (RFC 9110, section 15.4.9).
const REDIRECT_STATUS: u64 = 308;

static REDIRECTION: Section = Section {
    path: "routes.redirect",
    about: "Sends the client elsewhere.",
    keys: &[
        Key::new(
            "to",
            REDIRECT,
            "Where to; {host}, {path} (with the query) and the match's parameters are filled in.",
        )
        .required(),
        Key::new(
            "status",
            Kind::Whole {
                least: 301,
                most: 308,
            },
            "301, 302, 303, 307 or 308.",
        )
        .default(Default::Whole(REDIRECT_STATUS)),
    ],
};

/// Longer than sane answers take to begin, shorter than people wait.
const TOTAL: &str = "30s";
/// NGINX's default for the same.
const IDLE: &str = "60s";
/// Longer than the pings of any chat or ticker, short enough that forgotten tunnels end.
const TUNNEL: &str = "1h";

static TIMEOUTS: Section = Section {
    path: "routes.timeouts",
    about: "Every wait has an end.",
    keys: &[
        Key::new(
            "total",
            POSITIVE_DURATION,
            "From the request's head to the response's head: queue, attempts and back-off together, without the time in which the request's body flows; then 504.",
        )
        .default(Default::Text(TOTAL)),
        Key::new("attempt", POSITIVE_DURATION, "One attempt, to its response's head, without the time in which the request's body flows. Absent: total."),
        Key::new(
            "idle",
            POSITIVE_DURATION,
            "Longest time without a byte in either direction once bodies flow. Raise it for a service whose answers pause for longer.",
        )
        .default(Default::Text(IDLE)),
        Key::new(
            "tunnel",
            POSITIVE_DURATION,
            "The same for upgraded connections (WebSocket), gRPC, and streams of events such as text/event-stream and application/x-ndjson.",
        )
        .default(Default::Text(TUNNEL)),
        Key::new("body", Kind::Or("off", &POSITIVE_DURATION), "The whole exchange, bodies included.")
            .default(Default::Text("off")),
    ],
};

/// One retry removes most of what fails by chance; more multiply load in an outage.
const ATTEMPTS: u64 = 2;
/// With `connect` nothing of the request was processed, so that every method may be tried again. With `reset` the server
/// ended without a word, as one does that restarts: `methods` says what may be tried again then, and the budget how often.
/// NGINX does both by default.
const RETRY_ON: &[&str] = &["connect", "reset"];
/// The idempotent methods (RFC 9110, section 9.2.2): twice is as good as once.
const RETRY_METHODS: &[&str] = &["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"];
/// A server that restarts needs a moment; with jitter the tries spread over it.
const BACKOFF: &str = "25ms";
/// A longer wait is worse than an error.
const MAX_BACKOFF: &str = "1s";
/// In an outage retries add a fifth to the load and not a multiple.
const BUDGET: &str = "20%";
/// So that a route with few requests can retry at all.
const BUDGET_MIN: u64 = 10;
/// Most request bodies; each request in flight may hold as much.
const BUFFER: &str = "64KiB";

static RETRY: Section = Section {
    path: "routes.retry",
    about: "When and how often to try again.",
    keys: &[
        Key::new("attempts", Kind::Whole { least: 1, most: 100 }, "Tries in all; 1 is no retry.")
            .default(Default::Whole(ATTEMPTS)),
        Key::new(
            "on",
            Kind::Set(&RETRY_REASON),
            "What is tried again: \"connect\", \"reset\", \"timeout\", and statuses such as \"503\".",
        )
        .default(Default::Texts(RETRY_ON)),
        Key::new("methods", Kind::Set(&METHOD), "Methods tried again when the request may have been seen upstream.")
            .default(Default::Texts(RETRY_METHODS)),
        Key::new("backoff", DURATION, "First wait; doubles each time, with full jitter.")
            .default(Default::Text(BACKOFF)),
        Key::new("max_backoff", DURATION, "Longest wait.").default(Default::Text(MAX_BACKOFF)),
        Key::new("budget", PERCENT, "Retries as a share of the route's requests of the last 10 s.")
            .default(Default::Text(BUDGET)),
        Key::new("budget_min", Kind::Whole { least: 0, most: 1_000_000 }, "Retries a second that are always allowed.")
            .default(Default::Whole(BUDGET_MIN)),
        Key::new(
            "buffer",
            BUFFER_SIZE,
            "Request body kept for a replay; once more of it was read, it is not tried again.",
        )
        .default(Default::Text(BUFFER)),
    ],
};

/// Uploads of documents and pictures; whoever takes more says so.
const MAX_BODY: &str = "10MiB";

/// Hardly any service asks for trailers, and some take them for fields of the head.
const TRAILERS: &str = "drop";

static REQUEST: Section = Section {
    path: "routes.request",
    about: "Changes to the request on its way up.",
    keys: &[
        Key::new("strip_prefix", PATH_PREFIX, "Taken off the path, whole segments."),
        Key::new("add_prefix", PATH_PREFIX, "Put before the path, after strip_prefix."),
        Key::new("rewrite", REWRITE, "Instead of the two: a path with the parameters of the match."),
        Key::new("set_headers", Kind::Map(&CHANGEABLE_HEADER, &HEADER_VALUE), "Headers set."),
        Key::new("remove_headers", Kind::Set(&Kind::Text(&CHANGEABLE_HEADER)), "Headers removed.")
            .default(Default::Texts(&[])),
        Key::new(
            "keep_headers",
            Kind::Set(&Kind::Text(&KEPT_HEADER)),
            "Headers such as X-Real-IP that are passed on though the peer is no trusted proxy.",
        )
        .default(Default::Texts(&[])),
        Key::new("preserve_host", Kind::Flag, "Send the client's Host up; otherwise the server's.")
            .default(Default::Flag(true)),
        Key::new(
            "trailers",
            Kind::Choice(&["drop", "pass"]),
            "What services that speak HTTP/1 get of a request's trailers: nothing, or those that the request announces.",
        )
        .default(Default::Text(TRAILERS)),
        Key::new("max_body", Kind::Or("off", &SIZE), "Longest request body; then 413.")
            .default(Default::Text(MAX_BODY)),
        Key::new(
            "buffer",
            Kind::Or("off", &BUFFER_SIZE),
            "Bytes of a body that are read before the request takes a permit and a server; longer bodies stream then.",
        )
        .default(Default::Text("off")),
    ],
};

/// The fields of the coming standard: draft-ietf-httpapi-ratelimit-headers-11.
const LIMIT_HEADERS: &str = "draft-11";

static RESPONSE: Section = Section {
    path: "routes.response",
    about: "Changes to the response on its way down.",
    keys: &[
        Key::new("set_headers", Kind::Map(&CHANGEABLE_HEADER, &HEADER_VALUE), "Headers set."),
        Key::new("remove_headers", Kind::Set(&Kind::Text(&CHANGEABLE_HEADER)), "Headers removed.")
            .default(Default::Texts(&[])),
        Key::new(
            "limit_headers",
            Kind::Choice(&["draft-11", "x-ratelimit", "both", "off"]),
            "How clients hear of the limit nearest to exhaustion: RateLimit-Policy and RateLimit, X-RateLimit-*, or both.",
        )
        .default(Default::Text(LIMIT_HEADERS)),
        Key::new(
            "buffer",
            Kind::Or("off", &BUFFER_SIZE),
            "Bytes of a response that are read ahead of a slow client, so that the server is free early.",
        )
        .default(Default::Text("off")),
    ],
};
