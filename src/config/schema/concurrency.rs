//! `[routes.concurrency]` and `[upstreams.NAME.concurrency]`: the same keys for a route's cap and an upstream's.

use super::{Default, Key, Kind, Section, values::*};

/// Who waits longer has usually left; and a queue that moves slower than this is a cap set too low.
const QUEUE_TIMEOUT: &str = "1s";
/// More than any gateway holds at once.
const MOST: u64 = 10_000_000;

const KEYS: &[Key] = &[
    Key::new(
        "max",
        Kind::Whole {
            least: 1,
            most: MOST,
        },
        "Requests in flight, until the end of the response's body. This or `adaptive` is required, here or in the defaults of routes.",
    ),
    Key::new(
        "adaptive",
        Kind::Table(&ADAPTIVE),
        "Instead of `max`: the cap follows the measured latency.",
    ),
    Key::new(
        "queue",
        Kind::Whole {
            least: 0,
            most: MOST,
        },
        "How many may wait.",
    )
    .default(Default::Whole(0)),
    Key::new(
        "queue_timeout",
        POSITIVE_DURATION,
        "How long they may wait; then 503.",
    )
    .default(Default::Text(QUEUE_TIMEOUT)),
    Key::new(
        "fair_by",
        Kind::OneOrList(&KEY_PART),
        "The queue takes turns between these keys; when it is full, the key that holds most of it gives up its newest place. Parts as in the key of a limit. Absent: first come, first served.",
    ),
];

pub(in crate::config) static ROUTE_CAP: Section = Section {
    path: "routes.concurrency",
    about: "Cap on requests in flight.",
    keys: KEYS,
};

pub(in crate::config) static UPSTREAM_CAP: Section = Section {
    path: "upstreams.concurrency",
    about: "Cap on requests in flight over all routes to this upstream.",
    keys: KEYS,
};

static ADAPTIVE: Section = Section {
    path: "concurrency.adaptive",
    about: "Bounds of a cap that follows the measured latency.",
    keys: &[
        Key::new(
            "min",
            Kind::Whole {
                least: 1,
                most: MOST,
            },
            "Never fewer: so few are always safe. Where it begins.",
        )
        .required(),
        Key::new(
            "max",
            Kind::Whole {
                least: 1,
                most: MOST,
            },
            "Never more.",
        )
        .required(),
    ],
};
