//! `[limits.NAME]`: token buckets.

use super::{Default, Key, Kind, Section, values::*};

/// Who sends no key is still someone: leaving a header out must not free a client of its limit.
const MISSING_KEY: &str = "client-ip";
/// 72 MB when they are all there, and more clients than one gateway sees within a bucket's time.
const MAX_KEYS: u64 = 1_000_000;
/// What needs nothing else to be installed.
const SCOPE: &str = "local";
/// Too Many Requests (RFC 6585).
const STATUS: u64 = 429;

/// Most limits count requests.
const COST_OF_A_REQUEST: u64 = 1;
const BURST: Kind = Kind::Whole {
    least: 1,
    most: u32::MAX as u64,
};
const RATE_HELP: &str = "Sustained pace, such as \"400/s\".";
const BURST_HELP: &str = "Size of the bucket, in tokens. Absent: the number of the rate.";

pub(in crate::config) static LIMIT: Section = Section {
    path: "limits",
    about: "A token bucket for each key.",
    keys: &[
        Key::new(
            "key",
            Kind::OneOrList(&KEY_PART),
            "What tells one bucket from another: \"client-ip\", \"client-ip/56\" (IPv6 prefix), \"header:NAME\", \"cookie:NAME\", \"query:NAME\", \"param:NAME\" (of the route's path), \"route\", \"host\", \"path\", \"method\", \"tls:subject\"; a list is one composite key. Absent: one bucket for everyone.",
        ),
        Key::new("rate", RATE, "Sustained pace: \"100/s\", \"30/m\", \"1000/h\", \"10000/d\" or \"5/10s\".").required(),
        Key::new("burst", BURST, BURST_HELP),
        Key::new(
            "missing",
            Kind::TextOrTable(&MISSING, &STAND_INS),
            "For a part of the key that is absent or empty: another part, \"skip\" the limit or \"refuse\" with its status; or a table: another part, with numbers of its own.",
        )
        .default(Default::Text(MISSING_KEY)),
        Key::new(
            "scope",
            Kind::Choice(&["local", "shared"]),
            "Who counts together: \"local\" is this gateway alone, \"shared\" all that use the same [store].",
        )
        .default(Default::Text(SCOPE)),
        Key::new(
            "cost",
            Kind::WholeOrTable { least: 0, most: u32::MAX as u64, table: &COST },
            "Tokens that a request takes: a number, or what a header says.",
        )
        .default(Default::Whole(COST_OF_A_REQUEST)),
        Key::new("mode", Kind::Choice(&["enforce", "shadow"]), "\"shadow\" decides, counts and logs, and refuses nothing.")
            .default(Default::Text("enforce")),
        Key::new(
            "candidate",
            Kind::Table(&CANDIDATE),
            "Other numbers, decided beside the live ones on the same keys; they refuse nothing and are counted.",
        ),
        Key::new(
            "count",
            Kind::List(&STATUSES),
            "Only answers with these statuses use up tokens: \"401\", \"5xx\"; of others they come back. Absent: every request does.",
        ),
        Key::new("overrides", Kind::Tables(&OVERRIDE), "Other numbers for some keys; the first that matches wins."),
        Key::new(
            "tiers",
            Kind::Tables(&TIER),
            "With client-ip: wider IPv6 networks, each with a bound of its own. They decide together with the limit.",
        ),
        Key::new("max_keys", Kind::Whole { least: 1, most: 100_000_000 }, "Most buckets held at once: the memory bound.")
            .default(Default::Whole(MAX_KEYS)),
        Key::new(
            "persist",
            Kind::Flag,
            "Keys in debt are written to `state_dir` of `[server]` every few seconds and at the end, and read at the start.",
        )
        .default(Default::Flag(false)),
        Key::new("status", Kind::Whole { least: 400, most: 599 }, "Status of a refusal.").default(Default::Whole(STATUS)),
    ],
};

static STAND_INS: Section = Section {
    path: "limits.missing",
    about: "Requests without the key are counted by another part, under other numbers.",
    keys: &[
        Key::new(
            "key",
            KEY_PART,
            "The part that stands in for the one that is absent.",
        )
        .required(),
        Key::new("rate", RATE, RATE_HELP).required(),
        Key::new("burst", BURST, BURST_HELP),
    ],
};

static COST: Section = Section {
    path: "limits.cost",
    about: "A cost that a header tells. Who can set the header chooses its cost: take it from a proxy of yours.",
    keys: &[
        Key::new(
            "header",
            Kind::Text(&HEADER_NAME),
            "The header; it holds a whole number from 0.",
        )
        .required(),
        Key::new(
            "default",
            Kind::Whole {
                least: 0,
                most: u32::MAX as u64,
            },
            "For a request without it, or with something else in it.",
        )
        .default(Default::Whole(COST_OF_A_REQUEST)),
        Key::new(
            "max",
            BURST,
            "What says more counts as this; at most the burst.",
        )
        .required(),
    ],
};

static CANDIDATE: Section = Section {
    path: "limits.candidate",
    about: "Numbers to try.",
    keys: &[
        Key::new("rate", RATE, RATE_HELP).required(),
        Key::new("burst", BURST, BURST_HELP),
    ],
};

static OVERRIDE: Section = Section {
    path: "limits.overrides",
    about: "Other numbers for some keys.",
    keys: &[
        Key::new(
            "match",
            Kind::OneOrList(&Kind::OneOrMany(&KEY_VALUE)),
            "Whom: values of the key; for a composite key lists with a value for each part, \"*\" for any. A part that is the client's address takes networks, too.",
        )
        .required(),
        Key::new("rate", Kind::Or("unlimited", &RATE), "Sustained pace; \"unlimited\" passes everything, tiers too.")
            .required(),
        Key::new("burst", BURST, BURST_HELP),
    ],
};

static TIER: Section = Section {
    path: "limits.tiers",
    about: "A wider network of IPv6 clients.",
    keys: &[
        Key::new(
            "prefix",
            Kind::Whole {
                least: 1,
                most: 127,
            },
            "Bits of the address that count; fewer than the key's.",
        )
        .required(),
        Key::new("rate", RATE, RATE_HELP).required(),
        Key::new("burst", BURST, BURST_HELP),
    ],
};
