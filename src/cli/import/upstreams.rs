//! `upstream`, and the servers that `proxy_pass` names, as upstreams.
//!
//! In NGINX the place that names an upstream says how it is reached: by TLS, in
//! which time, with which certificate. Here the upstream says it, so that two
//! places that differ in it get two upstreams with the same servers.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    group,
    names::{Names, table_name},
    notes::{Note, Outcome},
    paths::Paths,
    scope::Scope,
    timing,
    toml::{self, Block},
    tree::{Directive, Tree},
    units,
    variables::without_variables,
};

/// How a place reaches an upstream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Destination {
    /// The name of an upstream, or a host with a port, or `unix:/path`.
    pub(super) authority: String,
    pub(super) is_secure: bool,
    /// The services speak HTTP/2, as those of `grpc_pass` do.
    pub(super) is_http2: bool,
}

/// Everything in which two upstreams with the same servers can differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Variant {
    destination: Destination,
    connect: Option<u64>,
    tls: Vec<String>,
}

/// The upstreams of a file, and those that routes name.
#[derive(Debug, Default)]
pub(super) struct Upstreams<'a> {
    defined: BTreeMap<&'a str, &'a Directive>,
    made: BTreeMap<Variant, String>,
    names: Names,
    /// The names of the groups and servers that have an upstream.
    seen: BTreeSet<String>,
    /// One for each upstream.
    pub(super) blocks: Vec<Block>,
}

impl<'a> Upstreams<'a> {
    /// Reads `upstream NAME { ... }`.
    pub(super) fn define(&mut self, directive: &'a Directive) {
        self.defined
            .entry(directive.argument(0))
            .or_insert(directive);
    }

    /// Whether a file defines an upstream of this name.
    pub(super) fn is_defined(&self, name: &str) -> bool {
        self.defined.contains_key(name)
    }

    /// How many servers an upstream has.
    pub(super) fn servers(&self, name: &str) -> usize {
        let is_server = |directive: &&Directive| directive.name == "server";
        self.defined.get(name).map_or(1, |defined| {
            defined.inside().iter().filter(is_server).count()
        })
    }

    /// Notes about upstreams that no route leads to.
    pub(super) fn unused(&self, tree: &Tree) -> Vec<Note> {
        let users = users(tree);
        let is_used = |name: &str| self.seen.contains(name);
        let unused = self.defined.iter().filter(|(name, _)| !is_used(name));
        let note = |(name, directive): (&&str, &&Directive)| match users.get(name) {
            Some(user) => {
                let (by, place) = (&user.name, tree.shown(user.place));
                let why = format!("`{by}` of {place} leads to it, and is not carried over");
                Note::new(directive, Outcome::Lost, why)
            }
            None => Note::new(directive, Outcome::Needless, "nothing leads to it"),
        };
        unused.map(note).collect()
    }

    /// The name of the upstream that a place of this scope leads to.
    pub(super) fn of(
        &mut self,
        to: &Destination,
        scope: &Scope<'a>,
        paths: &Paths,
        notes: &mut Vec<Note>,
    ) -> String {
        let variant = Variant {
            destination: to.clone(),
            connect: timing::time(scope, "proxy_connect_timeout", notes),
            tls: match to.is_secure {
                true => tls(scope, paths, notes),
                false => Vec::new(),
            },
        };
        if let Some(name) = self.made.get(&variant) {
            return name.clone();
        }
        let wanted = to.authority.trim_start_matches("unix:");
        let wanted = wanted.trim_matches(['/', '.', ':']).replace(':', "-");
        let name = self.names.unique(&wanted);
        let mut block = Block::default();
        let is_second = !self.seen.insert(to.authority.clone());
        if is_second {
            let told = "the same servers as those of another upstream, which are reached in another way; their health is judged apart";
            block.title.push(told.to_owned());
        }
        let defined = self.defined.get(to.authority.as_str());
        match defined {
            Some(defined) => group::write(defined, to.is_secure, &failures(scope), &mut block),
            None => {
                let port = to.is_secure.then_some("443").or(Some("80"));
                let url = group::url(&to.authority, to.is_secure, port);
                block.set("servers", &toml::list(&[url]));
            }
        }
        let table = table_name(&name);
        block.lines.insert(0, format!("[upstreams.{table}]"));
        if to.is_http2 {
            block.set("protocol", "\"http2\"");
        }
        if let Some(connect) = variant.connect {
            within_pool(&mut block, &units::duration(connect));
        }
        if !variant.tls.is_empty() {
            block.lines.push(String::new());
            block.lines.push(format!("[upstreams.{table}.tls]"));
            block.lines.extend(variant.tls.iter().cloned());
        }
        self.made.insert(variant, name.clone());
        self.blocks.push(block);
        name
    }
}

/// The first directive that leads to each name, also by a variable.
fn users(tree: &Tree) -> BTreeMap<&str, &Directive> {
    let mut users = BTreeMap::new();
    let mut add = |directive, url| {
        let url: &str = url;
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or(rest);
        users.entry(authority).or_insert(directive);
    };
    for directive in tree.every() {
        match directive.name.as_str() {
            "map" | "geo" | "split_clients" => {
                let values = directive.inside().iter().flat_map(|entry| &entry.arguments);
                values.for_each(|value| add(directive, value));
            }
            name if name == "set" || name.ends_with("_pass") => {
                directive
                    .arguments
                    .iter()
                    .for_each(|url| add(directive, url));
            }
            _ => {}
        }
    }
    users
}

/// Adds the time for a connection to `pool`, which may be there already.
fn within_pool(block: &mut Block, connect: &str) {
    let connect = format!("connect_timeout = \"{connect}\"");
    let mut lines = block.lines.iter_mut();
    match lines.find(|line| line.starts_with("pool = ")) {
        Some(line) => *line = line.replacen(" }", &format!(", {connect} }}"), 1),
        None => block.set("pool", &format!("{{ {connect} }}")),
    }
}

/// The keys of `[upstreams.NAME.tls]`.
fn tls(scope: &Scope<'_>, paths: &Paths, notes: &mut Vec<Note>) -> Vec<String> {
    let files = [
        ("ca", "proxy_ssl_trusted_certificate"),
        ("client_cert", "proxy_ssl_certificate"),
        ("client_key", "proxy_ssl_certificate_key"),
    ];
    let mut lines = Vec::new();
    for (key, name) in files {
        let Some(directive) = scope.one(name) else {
            continue;
        };
        match without_variables(directive.argument(0)) {
            Some(file) if file.is_empty() => {}
            Some(file) => lines.push(format!("{key} = {}", toml::text(&paths.name(&file)))),
            None => {
                let why = "names of files have no variables";
                notes.push(Note::new(directive, Outcome::Lost, why));
            }
        }
    }
    if let Some(directive) = scope.one("proxy_ssl_name") {
        match without_variables(directive.argument(0)) {
            Some(name) => lines.push(format!("server_name = {}", toml::text(&name))),
            None => notes.push(Note::new(directive, Outcome::Lost, "it has variables")),
        }
    }
    lines
}

/// The failures that NGINX counts against a server: those that it goes to the
/// next one for.
fn failures(scope: &Scope<'_>) -> Vec<String> {
    let directive = scope.one("proxy_next_upstream");
    let given = directive.map_or(&[][..], |directive| directive.arguments.as_slice());
    let mut found = Vec::new();
    for argument in given {
        match argument.as_str() {
            "error" => found.extend(["connect", "reset"]),
            "timeout" => found.push("timeout"),
            "http_500" => found.push("500"),
            "http_502" => found.push("502"),
            "http_503" => found.push("503"),
            "http_504" => found.push("504"),
            "http_429" => found.push("429"),
            _ => {}
        }
    }
    // NGINX counts these even if it goes to no other server.
    let always = ["connect", "reset", "timeout"];
    found.extend(
        always
            .iter()
            .filter(|reason| !found.contains(reason))
            .collect::<Vec<_>>(),
    );
    found.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::imported;

    #[test]
    fn an_upstream_of_another_protocol_is_lost_and_not_unused() {
        let text = "http { upstream php { server a; } upstream idle { server b; } upstream chosen { server c; }
            map $uri $to { default chosen; }
            server { location / { fastcgi_pass php; } location /a { proxy_pass http://$to; } } }";
        let made = imported(text.as_bytes()).unwrap();
        for comment in [
            "upstream php { server a; } -- not carried over: `fastcgi_pass` of nginx.conf:3 leads to it",
            "upstream idle {...} -- not needed: nothing leads to it",
            "upstream chosen { server c; } -- not carried over: `map` of nginx.conf:2 leads to it",
        ] {
            assert!(made.contains(comment), "{comment}\n{made}");
        }
    }
}
