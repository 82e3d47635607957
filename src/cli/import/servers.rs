//! `server`: the names, the listeners, and the requests that are its own.

use std::{collections::BTreeMap, ptr};

use super::{
    conditions::{self, Effect},
    listeners::{self, Listen, Listener},
    notes::{Note, Outcome},
    reasons,
    scope::Scope,
    to_https::{ToHttps, of_plain, read_redirect, redirect},
    toml,
    tree::Directive,
};

/// A server, with what it inherits.
#[derive(Debug)]
pub(super) struct Server<'a> {
    pub(super) directive: &'a Directive,
    pub(super) scope: Scope<'a>,
    /// The directives that no scope has.
    pub(super) others: Vec<&'a Directive>,
    pub(super) listens: Vec<Listen>,
    /// Its names, as `hosts` has them.
    pub(super) hosts: Vec<String>,
    /// The first of its names as the source has it, also if it cannot be one
    /// of `hosts`.
    pub(super) first_name: String,
    /// Where all of its requests are redirected to, if they are.
    pub(super) redirect: Option<ToHttps>,
    /// Where `if ($scheme = http)` redirects the requests of its plain listeners
    /// to, if it has others, too.
    pub(super) plain_redirect: Option<ToHttps>,
    pub(super) notes: Vec<Note>,
}

/// Reads a server.
pub(super) fn server<'a>(directive: &'a Directive, outer: &Scope<'a>) -> Server<'a> {
    directive.read();
    let (scope, others) = outer.enter(directive.inside());
    let mut server = Server {
        directive,
        scope,
        others,
        listens: Vec::new(),
        hosts: Vec::new(),
        first_name: String::new(),
        redirect: None,
        plain_redirect: None,
        notes: Vec::new(),
    };
    let mut has_listen = false;
    for other in server.others.clone() {
        match other.name.as_str() {
            "listen" => {
                other.read();
                has_listen = true;
                server
                    .listens
                    .extend(listeners::listen(other, &mut server.notes));
            }
            "server_name" => {
                other.read();
                server.name(other);
            }
            _ => {}
        }
    }
    if !has_listen {
        server.listens.push(listeners::usual());
    }
    if let Some(ssl) = server.others.iter().find(|other| other.name == "ssl") {
        // Older forms of NGINX say so for all of its addresses.
        ssl.read();
        let is_on = ssl.argument(0) == "on";
        server
            .listens
            .iter_mut()
            .for_each(|one| one.is_secure |= is_on);
    }
    match server.listens.iter().any(|listen| listen.is_secure) {
        true => server.plain_redirect = server.others.iter().find_map(|other| of_plain(other)),
        false => server.redirect = server.redirected(),
    }
    server
}

impl Server<'_> {
    /// Adds the names of `server_name`.
    fn name(&mut self, directive: &Directive) {
        for name in &directive.arguments {
            if self.first_name.is_empty() && name != "_" {
                name.clone_into(&mut self.first_name);
            }
            let lower = name.to_ascii_lowercase();
            let hosts = match lower.strip_prefix('.') {
                Some(bare) => vec![bare.to_owned(), format!("*.{bare}")],
                None => vec![lower],
            };
            let why = match name.as_str() {
                // These are the usual names of a default server.
                "" | "_" | "--" => continue,
                name if name.starts_with('~') => "hosts are names or `*.name`, not expressions",
                name if name.contains('$') => "hosts have no variables",
                name if name.ends_with(".*") => "`*` stands for the first labels of a host only",
                name if name.trim_start_matches("*.").contains('*') => {
                    "`*` stands for whole labels"
                }
                _ => {
                    for host in hosts {
                        if !self.hosts.contains(&host) {
                            self.hosts.push(host);
                        }
                    }
                    continue;
                }
            };
            let text = format!("server_name {name}");
            let why = format!("{why}; the default server gets its requests");
            self.notes
                .push(Note::at(directive.place, &text, Outcome::Unguarded, &why));
        }
    }

    /// As names of routes have it.
    pub(super) fn label(&self) -> String {
        match self.first_name.as_str() {
            "" => "default".to_owned(),
            name => name.trim_start_matches('.').to_owned(),
        }
    }

    /// Whether its plain listeners all redirect, so that none of its requests
    /// comes by http.
    pub(super) fn is_secure_only(&self, listeners: &[Listener]) -> bool {
        self.plain_redirect.is_some()
            && self
                .own(listeners)
                .all(|listener| listener.is_secure || listener.redirects.is_some())
    }

    /// Its own among all listeners.
    pub(super) fn own<'l>(&self, listeners: &'l [Listener]) -> impl Iterator<Item = &'l Listener> {
        let binds = |one: &&Listener| self.listens.iter().any(|own| own.bind == one.bind);
        listeners.iter().filter(binds)
    }

    /// Whether the server redirects everything to https: by `return`, by
    /// `rewrite`, by its only location, or by the conditions of certbot.
    fn redirected(&mut self) -> Option<ToHttps> {
        if let Some(found) = self.others.iter().find_map(|other| read_redirect(other)) {
            return Some(found);
        }
        let conditions = || self.others.iter().filter(|other| other.name == "if");
        let by_certbot = conditions().all(|condition| {
            let is_about = matches!(condition.argument(0), "($host" | "($scheme");
            is_about && condition.argument(1) == "="
        });
        let found = conditions()
            .filter(|_| by_certbot)
            .find_map(|condition| condition.inside().iter().find_map(redirect));
        if found.is_some() {
            let why = "every request of the listener is redirected, whatever its host is";
            let note = |condition: &&Directive| Note::new(condition, Outcome::Differs, why);
            let mut notes: Vec<_> = conditions().map(note).collect();
            let returns = self.others.iter().filter(|other| other.name == "return");
            notes.extend(
                returns
                    .map(|other| Note::new(other, Outcome::Needless, "everything is redirected")),
            );
            self.notes.append(&mut notes);
            return found;
        }
        self.by_location()
    }

    /// A redirect of `location /`, if all other locations are for files, such
    /// as those of ACME.
    fn by_location(&mut self) -> Option<ToHttps> {
        let locations = || self.others.iter().filter(|other| other.name == "location");
        let root = locations().find(|location| location.arguments == ["/"])?;
        root.inside().iter().find_map(redirect)?;
        let acts = |other: &&Directive| {
            let names = ["proxy_pass", "grpc_pass", "return", "location"];
            other
                .inside()
                .iter()
                .any(|inner| names.contains(&inner.name.as_str()))
        };
        let others = || locations().filter(|location| !ptr::eq(**location, *root));
        if others().any(acts) {
            return None;
        }
        let why = "all requests are redirected; challenges of ACME are answered by the gateway, see `acme`";
        let note = |other: &&Directive| Note::new(other, Outcome::Lost, why);
        let notes: Vec<_> = others().map(note).collect();
        self.notes.extend(notes);
        root.read();
        root.inside().iter().find_map(read_redirect)
    }

    /// Notes about the directives that no route has.
    pub(super) fn rest(&self, listeners: &[Listener]) -> Vec<Note> {
        let mut notes = self.notes.clone();
        let is_secure_only = self.is_secure_only(listeners);
        for other in &self.others {
            let is_of_routes = matches!(
                other.name.as_str(),
                "listen" | "server_name" | "location" | "return" | "rewrite"
            );
            let is_done = other.name == "if"
                && (self.redirect.is_some()
                    || matches!(conditions::effect(other), Effect::Methods(_)));
            if is_secure_only && of_plain(other).is_some() {
                let why = "`redirect_https` of its listener says it";
                notes.push(Note::new(other, Outcome::Needless, why));
            } else if other.name == "set" {
                notes.push(reasons::of_set(other));
            } else if !is_of_routes && !is_done && !other.is_read() {
                notes.push(reasons::note(other));
            }
        }
        notes
    }
}

/// The requests of a server: a list of hosts, or all of them, on some
/// listeners.
#[derive(Debug, Clone)]
pub(super) struct Share {
    /// `None`: every host, as the server is the default one there.
    pub(super) hosts: Option<Vec<String>>,
    /// Names of listeners; empty for all.
    pub(super) listeners: Vec<String>,
}

impl Share {
    /// The conditions of a route.
    pub(super) fn conditions(&self) -> Vec<String> {
        let mut conditions = Vec::new();
        if let Some(hosts) = &self.hosts {
            conditions.push(format!("hosts = {}", toml::list(hosts)));
        }
        if !self.listeners.is_empty() {
            conditions.push(format!("listeners = {}", toml::list(&self.listeners)));
        }
        conditions
    }
}

/// The requests of each server. A default server gets those of every host, and
/// those of its own names where another server has a wildcard.
///
/// Listeners that redirect everything have no routes, and routes name listeners
/// only where servers differ in them.
pub(super) fn shares(servers: &[Server<'_>], listeners: &[Listener]) -> Vec<Vec<Share>> {
    let serving: Vec<&Listener> = listeners
        .iter()
        .filter(|one| one.redirects.is_none())
        .collect();
    // The listeners of each server, and those where it is the default one.
    let mut own: Vec<(Vec<&str>, Vec<&str>)> = vec![Default::default(); servers.len()];
    for listener in &serving {
        for (order, at) in listener.servers.iter().enumerate() {
            own[*at].0.push(&listener.name);
            if order == 0 {
                own[*at].1.push(&listener.name);
            }
        }
    }
    let is_whole = |names: &[&str]| names.is_empty() || names.len() == serving.len();
    let is_everywhere = own
        .iter()
        .all(|(all, default)| is_whole(all) && is_whole(default));
    let names = |names: &[&str]| match is_everywhere {
        true => Vec::new(),
        false => names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let wildcards = Wildcards::of(servers);
    let mut shares = Vec::new();
    for ((at, server), (all, default)) in servers.iter().enumerate().zip(&own) {
        let mut found = Vec::new();
        let is_default = default.len() == all.len();
        if !server.hosts.is_empty() && (!is_default || wildcards.have_one_of(server, at)) {
            found.push(Share {
                hosts: Some(server.hosts.clone()),
                listeners: names(all),
            });
        }
        if !default.is_empty() {
            found.push(Share {
                hosts: None,
                listeners: names(default),
            });
        }
        shares.push(found);
    }
    shares
}

/// The wildcards of all servers, without `*.`, each with the servers that have
/// it.
struct Wildcards<'s> {
    owners: BTreeMap<&'s str, Vec<usize>>,
}

impl<'s> Wildcards<'s> {
    fn of(servers: &'s [Server<'_>]) -> Self {
        let mut owners: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, server) in servers.iter().enumerate() {
            for end in server
                .hosts
                .iter()
                .filter_map(|host| host.strip_prefix("*."))
            {
                owners.entry(end).or_default().push(at);
            }
        }
        Self { owners }
    }

    /// Whether a wildcard of another server has a name of this one.
    fn have_one_of(&self, server: &Server<'_>, at: usize) -> bool {
        let is_of_others = |end: &str| {
            let owners = self.owners.get(end);
            owners.is_some_and(|owners| owners.iter().any(|owner| *owner != at))
        };
        let is_covered = |host: &String| {
            let mut dots = host.match_indices('.');
            dots.any(|(dot, _)| is_of_others(&host[dot + 1..]))
        };
        server.hosts.iter().any(is_covered)
    }
}
