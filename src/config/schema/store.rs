//! `[store]`: where limits that several gateways share are counted.

use super::{Default, Key, Kind, Section, values::*};

/// Twenty times what a store in the same network takes; no user notices it.
const TIMEOUT: &str = "20ms";
/// Neither everything nor nothing passes while the store is away.
const ON_ERROR: &str = "local";
/// Ten gateways then hold at most half of a burst that the others cannot use.
const LEASE: &str = "5%";

pub(in crate::config) static STORE: Section = Section {
    path: "store",
    about: "Redis or Valkey, for limits with scope = \"shared\".",
    keys: &[
        Key::new(
            "url",
            Kind::OneOrList(&STORE_URL),
            "\"redis://host:port\", or \"rediss://\" for TLS under the system's roots; a list of urls is a cluster.",
        )
        .required(),
        Key::new("password_file", FILE, "A file with the password; it is watched, and a change is used at once."),
        Key::new("timeout", POSITIVE_DURATION, "Longest wait of one request for the store.")
            .default(Default::Text(TIMEOUT)),
        Key::new(
            "on_error",
            Kind::Choice(&["local", "allow", "deny"]),
            "While the store does not answer: \"local\" (this gateway counts alone), \"allow\", or \"deny\" with 503.",
        )
        .default(Default::Text(ON_ERROR)),
        Key::new(
            "lease",
            SHARE,
            "Share of a burst that one gateway may take ahead for each key; \"0%\": every request asks the store.",
        )
        .default(Default::Text(LEASE)),
    ],
};
