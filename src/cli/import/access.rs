//! `allow`, `deny`, `limit_except`, `if` and the directives that ask who
//! somebody is, as conditions of a route. Others than those get 403 from a
//! second route.
//!
//! Nothing is opened: where the rules have no counterpart, the route leads
//! nowhere.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{
    conditions::{self, Effect},
    notes::{Note, Outcome},
    reasons,
    scope::{IDENTITIES, Scope},
    toml,
    tree::Directive,
};

/// The conditions of a route on methods and clients; an empty list takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    pub(super) methods: Vec<String>,
    pub(super) clients: Vec<IpNet>,
    pub(super) not_clients: Vec<IpNet>,
}

impl Conditions {
    /// As `match` has them.
    pub(super) fn lines(&self) -> Vec<String> {
        let texts = |networks: &[IpNet]| -> Vec<String> {
            let text = |network: &IpNet| match network.prefix_len() == network.max_prefix_len() {
                true => network.addr().to_string(),
                false => network.to_string(),
            };
            networks.iter().map(text).collect()
        };
        let lists = [
            ("methods", self.methods.clone()),
            ("clients", texts(&self.clients)),
            ("not_clients", texts(&self.not_clients)),
        ];
        let given = lists.into_iter().filter(|(_, values)| !values.is_empty());
        given
            .map(|(key, values)| format!("{key} = {}", toml::list(&values)))
            .collect()
    }

    /// Takes a request only if one of these methods does, too; `None` if none is
    /// left. NGINX itself refuses TRACE, and so does the gateway unless a route
    /// names it.
    fn and_methods(mut self, methods: Vec<String>) -> Option<Self> {
        let mut others: Vec<String> = Vec::new();
        for method in methods {
            if method != "TRACE" && !others.contains(&method) {
                others.push(method);
            }
        }
        match self.methods.is_empty() {
            true => self.methods = others,
            false => self.methods.retain(|method| others.contains(method)),
        }
        (!self.methods.is_empty()).then_some(self)
    }

    /// The same for clients.
    fn and_clients(mut self, clients: Vec<IpNet>) -> Option<Self> {
        if clients.is_empty() {
            return Some(self);
        }
        if self.clients.is_empty() {
            self.clients = clients;
            return Some(self);
        }
        let mut both = Vec::new();
        for one in &self.clients {
            for other in &clients {
                // Of two networks, one has the other or they have nothing in common.
                let common = match (one.contains(other), other.contains(one)) {
                    (true, _) => *other,
                    (false, true) => *one,
                    (false, false) => continue,
                };
                if !both.contains(&common) {
                    both.push(common);
                }
            }
        }
        self.clients = both;
        (!self.clients.is_empty()).then_some(self)
    }
}

/// The requests that may use a route.
#[derive(Debug, Clone)]
pub(super) enum Access {
    /// Those for which these conditions hold.
    Some(Conditions),
    Nobody,
    /// The rules have no counterpart.
    Unknown,
}

impl Access {
    /// Everybody.
    pub(super) fn all() -> Self {
        Self::Some(Conditions::default())
    }

    /// Those whom these conditions admit, too.
    fn narrowed(self, by: impl FnOnce(Conditions) -> Option<Conditions>) -> Self {
        match self {
            Self::Some(conditions) => by(conditions).map_or(Self::Nobody, Self::Some),
            other => other,
        }
    }

    /// Those whom the rules of a place admit, too.
    pub(super) fn and(
        self,
        scope: &Scope<'_>,
        others: &[&Directive],
        notes: &mut Vec<Note>,
    ) -> Self {
        let mut is_unknown = matches!(self, Self::Unknown);
        for directive in IDENTITIES.iter().flat_map(|name| scope.all(name)) {
            if directive.argument(0) != "off" {
                notes.push(reasons::note(directive));
                is_unknown = true;
            }
        }
        let mut access = match addresses(scope, notes) {
            Self::Some(found) => self.narrowed(|own| {
                let mut own = own.and_clients(found.clients)?;
                let known: BTreeSet<IpNet> = own.not_clients.iter().copied().collect();
                let is_new = |network: &IpNet| !known.contains(network);
                own.not_clients
                    .extend(found.not_clients.into_iter().filter(is_new));
                Some(own)
            }),
            other => other,
        };
        for directive in others {
            match directive.name.as_str() {
                "limit_except" => {
                    let methods = excepted(directive, notes);
                    access = access.narrowed(|own| own.and_methods(methods));
                }
                "if" => match conditions::effect(directive) {
                    Effect::Nothing => {}
                    Effect::Methods(methods) => {
                        access = access.narrowed(|own| own.and_methods(methods));
                        let why = "its methods are `methods` of the route, others get 403";
                        notes.push(Note::new(directive, Outcome::Differs, why));
                    }
                    Effect::Unknown => {
                        notes.push(reasons::note(directive));
                        is_unknown = true;
                    }
                },
                _ => {}
            }
        }
        match access {
            Self::Nobody => Self::Nobody,
            _ if is_unknown => Self::Unknown,
            access => access,
        }
    }
}

/// The methods that `limit_except` leaves to everybody.
fn excepted(directive: &Directive, notes: &mut Vec<Note>) -> Vec<String> {
    directive.read();
    let inside = directive.inside();
    let denies_all = matches!(inside, [one] if one.name == "deny" && one.argument(0) == "all");
    if !denies_all {
        let why = "other methods are refused to all clients here";
        notes.push(Note::new(directive, Outcome::Unguarded, why));
    }
    let mut methods: Vec<String> = Vec::new();
    for method in &directive.arguments {
        methods.push(method.clone());
        // NGINX counts HEAD as GET.
        if method == "GET" && !directive.arguments.iter().any(|other| other == "HEAD") {
            methods.push("HEAD".to_owned());
        }
    }
    methods
}

/// Reads `allow` and `deny`, of which the first that has the address counts.
fn addresses(scope: &Scope<'_>, notes: &mut Vec<Note>) -> Access {
    let (mut allowed, mut denied): (Vec<IpNet>, Vec<IpNet>) = (Vec::new(), Vec::new());
    let mut known = BTreeSet::new();
    for directive in scope.all("access") {
        let (address, allows) = (directive.argument(0), directive.name == "allow");
        if address == "all" {
            return match (allows, allowed.is_empty(), denied.is_empty()) {
                (false, true, _) => Access::Nobody,
                (false, false, _) => admitted(allowed, denied),
                // Those that are allowed before are among those denied.
                (true, false, false) => unknown(directive, notes),
                (true, ..) => admitted(Vec::new(), denied),
            };
        }
        let network = network(address).filter(|_| allows || allowed.is_empty());
        let Some(network) = network else {
            return unknown(directive, notes);
        };
        let list = if allows { &mut allowed } else { &mut denied };
        if known.insert((allows, network)) {
            list.push(network);
        }
    }
    // Nobody else is refused, so that `allow` changes nothing.
    admitted(Vec::new(), denied)
}

/// An address or a network, whose bits behind the prefix do not count.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse::<IpNet>());
    network.ok().map(|network| network.trunc())
}

fn unknown(directive: &Directive, notes: &mut Vec<Note>) -> Access {
    let why = "of the rules for addresses, those that deny have to come before those that allow";
    notes.push(Note::new(directive, Outcome::Unguarded, why));
    Access::Unknown
}

fn admitted(clients: Vec<IpNet>, not_clients: Vec<IpNet>) -> Access {
    Access::Some(Conditions {
        clients,
        not_clients,
        ..Conditions::default()
    })
}
