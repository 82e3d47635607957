//! Parts of keys that count something else than they seem to, or nothing: of
//! limits, of upstreams that hash, and of queues that take turns. Also values of
//! a request elsewhere that it never has: in headers that are filled in, in conditions of routes,
//! in fields of access lines.
//!
//! Some of them depend on the listeners. A header with `_` in its name is dropped
//! unless a listener keeps it, and the subject of a certificate needs a
//! listener that asks clients for one.
//!
//! All keys of a file are looked at in one walk, after it was found out what
//! the listeners let through. One listener is enough: a key may be meant for
//! its clients alone.

use super::{identities::filled_headers, overrides};
use crate::config::{
    configuration::Config,
    field::{Field, Given, Nested},
    problem::{Code, Problems},
    source::Span,
    wire::{
        File, limits as wire,
        lists::OneOrList,
        routes::{Concurrency, Route},
        scalar::Scalar,
        syntaxes::Part,
        tables::Either,
    },
};
use crate::policy::{
    BanAt, ClientIpHeader, HeaderText, KeyPart, Limit, LogField, Missing, RequestValue,
};

/// An IPv6 network as wide as this belongs to a provider; a smaller number is
/// that of an IPv4 network.
///
/// In bits, from the left. A wider network has a shorter prefix.
const WIDEST_V6: u8 = 32;
/// An IPv4 network as wide as this belongs to a provider or a large company.
const WIDEST_V4: u8 = 16;
/// Headers in which proxies name the client. They are taken from trusted
/// proxies only, and of these many pass on the words of the client itself.
const NAMES_OF_CLIENTS: [&str; 13] = [
    "x-forwarded-for",
    "x-original-forwarded-for",
    "forwarded",
    "forwarded-for",
    "x-real-ip",
    "client-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-remote-ip",
    "x-remote-addr",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// Reports parts of keys wherever the file has keys.
///
/// Keys are in limits, in the queues of routes and upstreams, and in upstreams
/// that hash.
pub(super) fn report(file: &File, config: &Config, problems: &mut Problems) {
    let mut parts = Parts {
        underscores: false,
        certificates: false,
        problems,
    };
    for listener in &config.listeners {
        let tls = listener.tls.as_ref();
        parts.underscores |= listener.limits.head.keeps_underscores;
        parts.certificates |= tls.is_some_and(|tls| tls.client_ca.is_some());
    }
    if let ClientIpHeader::Single(name) = &config.client_ip.header
        && let Some(table) = file.client_ip.value()
    {
        parts.check_header(name.as_str(), table.header.at());
    }
    for (entry, limit) in file.limits.elements().iter().zip(&config.limits) {
        if let Some(table) = entry.field.value() {
            parts.check_limit(table, entry.field.at(), limit);
        }
    }
    for route in file.routes.values() {
        parts.check_queue(&route.concurrency);
        parts.check_route(route);
    }
    for field in file
        .log
        .value()
        .into_iter()
        .flat_map(|log| log.fields.elements())
    {
        if let Some(LogField::Request(name)) = field.read() {
            parts.check_header(name.as_str(), field.at());
        }
    }
    for entry in file.upstreams.elements() {
        if let Some(upstream) = entry.field.value() {
            parts.check_key(&upstream.hash_key);
            parts.check_queue(&upstream.concurrency);
        }
    }
}

/// The parts that a request can have here.
struct Parts<'a> {
    /// Headers whose name holds `_`.
    underscores: bool,
    /// Certificates of clients.
    certificates: bool,
    problems: &'a mut Problems,
}

impl Parts<'_> {
    /// Everything in a limit that names a part of a key or a header. `at` is
    /// the place of the limit.
    ///
    /// The header of a cost is looked at as well, as an absent one makes every
    /// request cost the default.
    fn check_limit(&mut self, table: &wire::Limit, at: Span, limit: &Limit) {
        if limit.key.is_empty() {
            self.check_one_bucket(table, at, &limit.name);
        }
        self.check_zero(table, limit);
        self.check_ban(table, limit);
        self.check_key(&table.key);
        if let Some(Either::Short(missing)) = table.missing.given()
            && let Missing::Use(part) = &missing.value
        {
            self.check_part(part, table.missing.at());
        }
        for tier in table.tiers.values() {
            if let Some(prefix) = tier.prefix.read() {
                self.check_v6(prefix, tier.prefix.place(at));
            }
            if let Some(prefix) = tier.prefix4.read() {
                self.check_v4(prefix, tier.prefix4.place(at));
            }
        }
        overrides::report(table, limit, self.problems);
        if let Some(Either::Long(cost)) = table.cost.value()
            && let Some(name) = cost.header.read()
        {
            self.check_header(name.as_str(), cost.header.at());
        }
    }

    /// A limit without a key: one bucket, though its name or its other keys say
    /// that there is one for each of something.
    fn check_one_bucket(&mut self, table: &wire::Limit, at: Span, name: &str) {
        if name.starts_with("per-") || name.starts_with("per_") {
            let message = format!("`{name}` has no `key`: it is one bucket for everyone together");
            let help = "add `key = \"client-ip\"` or another part; or call it by another name, such as \"overall\"";
            self.problems.warn(Code::Misleading, at, message, help);
        }
        if table.missing.is_present() {
            let message = "without a `key` no part of it can be missing";
            let help = "add `key`, or leave `missing` out";
            let at = table.missing.at();
            self.problems.warn(Code::NoEffect, at, message, help);
        }
    }

    /// A limit of zero that has no exception: its routes serve nobody.
    fn check_zero(&mut self, table: &wire::Limit, limit: &Limit) {
        let is_zero = limit
            .allowance
            .rate()
            .is_some_and(|quota| quota.burst() == 0);
        let has_exception =
            !limit.overrides.is_empty() || !limit.plans.is_empty() || limit.stand_ins.is_some();
        if is_zero && !has_exception && !limit.shadow && limit.cost.most() > 0 {
            let message = "a rate of 0 without an override refuses every request of its routes";
            let help = "add `overrides` for those that may pass; or answer by `respond = { status = 503 }` on the route";
            self.problems
                .warn(Code::Misleading, table.rate.at(), message, help);
        }
    }

    /// A ban that concerns everyone, or nobody.
    fn check_ban(&mut self, table: &wire::Limit, limit: &Limit) {
        let (Some(ban), at) = (table.ban.value(), table.ban.at()) else {
            return;
        };
        if limit.key.is_empty() {
            let message = "without a `key` a ban refuses everyone, for what some of them have done";
            let help = "add `key = \"client-ip\"` or another part, or leave `ban` out";
            self.problems.warn(Code::Misleading, at, message, help);
        }
        if limit.shadow && ban.at.value == Some(BanAt::Connection) {
            let message = "a limit in shadow mode bans nobody, so that it closes no connection";
            let help = "leave `at` out until `mode` is \"enforce\"";
            self.problems
                .warn(Code::NoEffect, ban.at.at(), message, help);
        }
    }

    /// The key by which a queue takes turns.
    fn check_queue(&mut self, concurrency: &Nested<Concurrency>) {
        if let Some(concurrency) = concurrency.value() {
            self.check_key(&concurrency.fair_by);
        }
    }

    /// Each part of a key that may be absent.
    fn check_key(&mut self, key: &Option<Field<OneOrList<Scalar<Part>>>>) {
        for field in key.elements() {
            if let Some(part) = field.value() {
                self.check_part(&part.value, field.at());
            }
        }
    }

    /// Everything in a route that names a header or the client's certificate.
    fn check_route(&mut self, route: &Route) {
        let conditions = route.r#match.value().map(|matches| &matches.headers);
        for pair in conditions.into_iter().flat_map(Given::elements) {
            if let Some(name) = pair.name.read() {
                self.check_header(name.as_str(), pair.name.at());
            }
        }
        for pair in filled_headers(route) {
            if let Some(text) = pair.field.value() {
                self.check_text(&text.value, pair.field.at());
            }
        }
    }

    /// The values that fill in a header.
    fn check_text(&mut self, text: &HeaderText, at: Span) {
        for value in text.values() {
            match value {
                RequestValue::Header(name) => self.check_header(name.as_str(), at),
                RequestValue::TlsSubject if !self.certificates => {
                    let message = "`{tls:subject}` never has a value: no listener asks clients for a certificate";
                    let help = "set `client_ca` in `[listeners.tls]`, or leave the placeholder out";
                    self.problems.warn(Code::NeverMatches, at, message, help);
                }
                _ => {}
            }
        }
    }

    /// A part that no request has, or that each client chooses itself.
    ///
    /// Parts of other kinds are never reported here.
    fn check_part(&mut self, part: &KeyPart, at: Span) {
        match part {
            KeyPart::ClientIp(prefixes) => {
                self.check_v4(prefixes.v4, at);
                self.check_v6(prefixes.v6, at);
            }
            KeyPart::Header(name) if NAMES_OF_CLIENTS.contains(&name.as_str()) => {
                let message = format!(
                    "`{name}` is missing unless a trusted proxy sends it, and many pass on what their client wrote there"
                );
                let help = "write \"client-ip\", and name your proxies in `trusted_proxies` of `[client_ip]`";
                self.problems.warn(Code::Exposed, at, message, help);
            }
            KeyPart::Header(name) => self.check_header(name.as_str(), at),
            KeyPart::TlsSubject if !self.certificates => {
                let message =
                    "`tls:subject` is always missing: no listener asks clients for a certificate";
                let help = "set `client_ca` in `[listeners.tls]`, or choose another key";
                self.problems.warn(Code::NeverMatches, at, message, help);
            }
            _ => {}
        }
    }

    /// A header that no request has: lines whose name holds `_` are dropped by
    /// default, because some services take `x_a` and `x-a` for one header.
    fn check_header(&mut self, name: &str, at: Span) {
        if name.contains('_') && !self.underscores {
            let message = format!(
                "`{name}` is always missing: header lines whose name holds `_` are dropped"
            );
            let hyphens = name.replace('_', "-");
            let help = format!(
                "have it sent as `{hyphens}`, or set `underscores = \"keep\"` on the listener"
            );
            self.problems.warn(Code::NeverMatches, at, message, help);
        }
    }

    /// An IPv6 network so wide that its clients have nothing in common. A
    /// number alone is that of IPv6 bits, and `client-ip/24` is written with
    /// IPv4 in mind.
    fn check_v6(&mut self, bits: u8, at: Span) {
        if bits < WIDEST_V6 {
            let message =
                format!("/{bits} is a number of IPv6 bits, and as many hold whole providers");
            let help = "write a prefix such as \"client-ip/56\"; bits of IPv4 stand before those of IPv6, as in \"client-ip/24/56\", and are `prefix4` of a tier";
            self.problems.warn(Code::Misleading, at, message, help);
        }
    }

    /// An IPv4 network so wide that its clients have nothing in common.
    fn check_v4(&mut self, bits: u8, at: Span) {
        if bits < WIDEST_V4 {
            let message = format!("an IPv4 /{bits} holds the clients of whole providers");
            let help =
                "write 24 bits, the smallest network that is routed, or another number from 16 on";
            self.problems.warn(Code::Misleading, at, message, help);
        }
    }
}
