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
    toml::{self, Block},
    tree::Directive,
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
    pub(super) fn unused(&self) -> Vec<Note> {
        let is_used = |name: &str| self.seen.contains(name);
        let unused = self.defined.iter().filter(|(name, _)| !is_used(name));
        unused
            .map(|(_, directive)| Note::new(directive, Outcome::Needless, "no route leads to it"))
            .collect()
    }

    /// The name of the upstream that a place of this scope leads to.
    pub(super) fn of(&mut self, to: &Destination, scope: &Scope<'a>, paths: &Paths) -> String {
        let connect = ["proxy_connect_timeout", "grpc_connect_timeout"];
        let connect = connect.iter().find_map(|name| scope.value(name));
        let mut notes = Vec::new();
        let variant = Variant {
            destination: to.clone(),
            connect: connect
                .and_then(units::milliseconds)
                .filter(|time| *time > 0),
            tls: match to.is_secure {
                true => tls(scope, paths, &mut notes),
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
        block.notes.append(&mut notes);
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
        let file = scope.value(name).and_then(without_variables);
        lines.extend(file.map(|file| format!("{key} = {}", toml::text(&paths.name(&file)))));
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
