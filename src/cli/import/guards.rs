//! Whether a location may refuse a request that another one would not.

use std::{collections::BTreeSet, ptr};

use super::{
    access::Access,
    actions::Action,
    conditions::{self, Effect},
    locations::Location,
    reading::Reading,
    scope::{IDENTITIES, Scope},
    timing,
    tree::Directive,
    units,
};

/// The guards of a location, as far as two locations are compared
/// by it.
#[derive(Debug, Default)]
pub(super) struct Guards {
    /// It answers every request itself, with a refusal.
    pub(super) refuses_all: bool,
    /// It has a guard that no other location has.
    own: bool,
    /// The directives of its lists that refuse, by their addresses: locations
    /// inherit the same ones.
    listed: BTreeSet<usize>,
    /// The longest body.
    body: u64,
    /// NGINX redirects its path without a slash to the one with it.
    pub(super) is_proxy: bool,
    /// It passes requests on, or answers them with success.
    leads_on: bool,
}

impl Guards {
    /// Those of a location.
    pub(super) fn of(reading: &Reading<'_, '_>) -> Self {
        let mut guards = Self {
            body: u64::MAX,
            ..Self::default()
        };
        let refuses = match &reading.action {
            Action::Nothing => true,
            Action::Answer(line) => is_refusal(line),
            Action::Pass { .. } => false,
        };
        let is_closed = matches!(reading.access, Access::Nobody | Access::Unknown);
        guards.refuses_all = refuses || is_closed;
        guards.leads_on = match &reading.action {
            Action::Answer(line) => !line.starts_with("redirect"),
            _ => true,
        };
        guards.own = !guards.leads_on;
        for link in &reading.links {
            guards.add(&link.scope, &link.others);
        }
        guards.is_proxy = is_proxy(reading.links[0]);
        guards
    }

    fn add(&mut self, scope: &Scope<'_>, others: &[&Directive]) {
        let is_guard = |directive: &&&Directive| match directive.name.as_str() {
            "limit_except" | "internal" | "rewrite" => true,
            "if" => conditions::effect(directive) != Effect::Nothing,
            _ => false,
        };
        self.own |= others.iter().any(|other| is_guard(&other));
        let access = scope.peek("access");
        let denies = access.iter().any(|directive| directive.name == "deny");
        let identities = IDENTITIES.iter().flat_map(|name| scope.peek(name));
        let asked = identities.filter(|directive| directive.argument(0) != "off");
        let limits = ["limit_req", "limit_conn"];
        let limits = limits.iter().flat_map(|name| scope.peek(name));
        let listed = access.iter().filter(|_| denies).chain(asked).chain(limits);
        self.listed
            .extend(listed.map(|directive| ptr::from_ref::<Directive>(directive).addr()));
        self.body = self.body.min(body(scope));
    }

    /// Whether this location refuses whatever the other one refuses.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.refuses_all
            || !other.refuses_all
                && !other.own
                && other.listed.is_subset(&self.listed)
                && self.body <= other.body
    }

    /// Whether it refuses nothing, but long bodies.
    pub(super) fn is_open(&self) -> bool {
        self.leads_on && !self.own && !self.refuses_all && self.listed.is_empty()
    }
}

/// The longest body that a place takes, in bytes.
pub(super) fn body(scope: &Scope<'_>) -> u64 {
    let given = scope.peek_value("client_max_body_size");
    match given.and_then(units::bytes) {
        Some(0) => u64::MAX,
        Some(bytes) => bytes,
        None => timing::MAX_BODY,
    }
}

/// Whether an action of the gateway itself is a refusal.
pub(super) fn is_refusal(line: &str) -> bool {
    let status = line.strip_prefix("respond = { status = ");
    status.is_some_and(|status| status.starts_with(['4', '5']))
}

fn is_proxy(location: &Location<'_>) -> bool {
    let is_pass = |directive: &&Directive| {
        let name = directive.name.as_str();
        name.ends_with("_pass") && name != "memcached_pass"
    };
    location.others.iter().any(is_pass)
}
