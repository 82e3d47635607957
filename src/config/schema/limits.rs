//! `[limits.NAME]`: token buckets.

use super::{Default, Key, Kind, Section, values::*};

/// Who sends no key is still someone: leaving a header out must not free a client of its limit.
const MISSING_KEY: &str = "client-ip";
/// About 100 bytes a key: a hundred megabytes, and more clients than one gateway sees within a bucket's time.
const MAX_KEYS: u64 = 1_000_000;
/// Too Many Requests (RFC 6585).
const STATUS: u64 = 429;

pub(in crate::config) static LIMIT: Section = Section {
    path: "limits",
    about: "A token bucket for each key.",
    keys: &[
        Key::new(
            "key",
            Kind::OneOrList(&KEY_PART),
            "What tells one bucket from another: \"client-ip\", \"client-ip/56\" (IPv6 prefix), \"header:NAME\", \"route\", \"host\", \"path\", \"method\", \"tls:subject\"; a list is one composite key. Absent: one bucket for everyone.",
        ),
        Key::new("rate", RATE, "Sustained pace: \"100/s\", \"30/m\", \"1000/h\", \"10000/d\" or \"5/10s\".").required(),
        Key::new(
            "burst",
            Kind::Whole { least: 1, most: u32::MAX as u64 },
            "Size of the bucket, in requests. Absent: the number of the rate.",
        ),
        Key::new(
            "missing",
            MISSING,
            "For a part of the key that is absent or empty: another part, \"skip\" the limit or \"refuse\" with its status.",
        )
        .default(Default::Text(MISSING_KEY)),
        Key::new("max_keys", Kind::Whole { least: 1, most: 100_000_000 }, "Most buckets held at once: the memory bound.")
            .default(Default::Whole(MAX_KEYS)),
        Key::new("status", Kind::Whole { least: 400, most: 599 }, "Status of a refusal.").default(Default::Whole(STATUS)),
    ],
};
