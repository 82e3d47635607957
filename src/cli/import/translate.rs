//! A tree of NGINX as a file of tidegate: first the process, then listeners,
//! then upstreams and limits, and routes last.

use std::path::Path;

use super::{
    limits::Limits,
    listeners::{self, Listener},
    names::Names,
    notes::{Note, Outcome},
    paths::Paths,
    reasons,
    routes::{self, Context},
    scope::Scope,
    servers::{self, Server},
    timing,
    toml::{Block, Document, TOO_LONG, text},
    tree::{Directive, Tree},
    trusted,
    upstreams::Upstreams,
};
use crate::config::LONGEST_FILE;

/// Directives that stand in `http` only. A file that begins with them is a part
/// of a configuration, as those in `sites-enabled` are.
const OF_HTTP: [&str; 6] = [
    "server",
    "upstream",
    "limit_req_zone",
    "limit_conn_zone",
    "map",
    "geo",
];

/// Listeners of a file. Each server is compared with each of them.
const MOST_LISTENERS: usize = 1024;

/// The file that came out, and mistakes that it has on this machine only, such
/// as certificates that are somewhere else.
#[derive(Debug)]
pub(super) struct Translation<'a> {
    pub(super) document: Document<'a>,
    pub(super) absent: Vec<String>,
}

/// Translates a tree. `name` is the file that is written.
///
/// # Errors
/// The result would be longer than a configuration can be.
pub(super) fn translate<'a>(
    tree: &'a Tree,
    paths: Paths,
    name: &Path,
) -> Result<Translation<'a>, String> {
    let mut document = Document::new(tree);
    let is_part = tree
        .directives
        .iter()
        .any(|directive| OF_HTTP.contains(&directive.name.as_str()));
    let http: &[Directive] = match is_part {
        true => &tree.directives,
        false => {
            let is_http = |directive: &&Directive| directive.name == "http";
            let (http, of_process): (Vec<_>, Vec<_>) = tree.directives.iter().partition(is_http);
            process(&of_process, &mut document)?;
            // NGINX accepts one.
            let http = http.first().inspect(|http| http.read());
            http.map(|http| http.inside()).unwrap_or_default()
        }
    };
    let without_files = tree.without_files.iter();
    let missing = without_files.map(|(place, pattern)| {
        let text = format!("include {pattern};");
        Note::at(*place, &text, Outcome::Lost, "no file has this name")
    });
    document.add(Block::of_notes("includes", missing.collect()))?;
    self::http(http, tree, paths, &mut document)?;
    let left = document.left().into_iter().map(reasons::unread).collect();
    document.add(Block::of_notes("everything else", left))?;
    let mut absent = document.mend(name);
    if document.blocks_of("[[routes]]") == 0 {
        document.add(nothing())?;
        absent = document.mend(name);
    }
    Ok(Translation { document, absent })
}

/// A file needs a route.
fn nothing() -> Block {
    let mut block = Block::default();
    block
        .title
        .push("nothing in the source leads anywhere".to_owned());
    block.lines.push("[[routes]]".to_owned());
    block.set("name", &text("nothing"));
    block.lines.push("respond = { status = 404 }".to_owned());
    block
}

/// The directives outside of `http`.
fn process(directives: &[&Directive], document: &mut Document<'_>) -> Result<(), String> {
    let mut block = Block::default();
    block.title.push("the process".to_owned());
    let mut notes = Vec::new();
    for directive in directives {
        match (directive.name.as_str(), directive.argument(0)) {
            ("worker_processes", "auto") => {
                notes.push(Note::new(directive, Outcome::Needless, "it is the default"));
            }
            ("worker_processes", number)
                if number.parse::<u16>().is_ok_and(|number| number > 0) =>
            {
                directive.read();
                block.lines.push("[server]".to_owned());
                block.set("workers", number);
            }
            ("events", _) => {
                directive.read();
                notes.extend(directive.inside().iter().map(reasons::note));
            }
            _ => notes.push(reasons::note(directive)),
        }
    }
    block.notes = notes;
    document.add(block)
}

/// Everything in `http`.
fn http<'a>(
    directives: &'a [Directive],
    tree: &'a Tree,
    paths: Paths,
    document: &mut Document<'a>,
) -> Result<(), String> {
    let (scope, others) = Scope::default().enter(directives);
    let mut context = Context {
        tree,
        limits: Limits::default(),
        upstreams: Upstreams::default(),
        names: Names::default(),
        paths,
        defaults: timing::Defaults::new(&scope),
    };
    let (servers, notes) = defined(&others, &scope, &mut context);
    document.add(Block::of_notes("http", notes))?;
    let mut listeners = listeners(&servers);
    if listeners.len() > MOST_LISTENERS {
        return Err(format!("it has more than {MOST_LISTENERS} listeners"));
    }
    if listeners
        .iter()
        .all(|listener| listener.redirects.is_some())
    {
        // A file needs a route.
        listeners
            .iter_mut()
            .for_each(|listener| listener.redirects = None);
    }
    let is_named = listeners.len() > 1;
    for listener in &listeners {
        let of = |at: &usize| servers.get(*at).map(|server| &server.scope);
        let scopes: Vec<_> = listener.servers.iter().filter_map(of).collect();
        let block = listeners::write(listener, &scopes, &context.paths, is_named);
        document.add(block)?;
    }
    let scopes: Vec<_> = servers.iter().map(|server| &server.scope).collect();
    document.add(trusted::client_ip(&scopes))?;
    let routes = routes(&servers, &listeners, &mut context)?;
    let mut unused = context.limits.unused(tree);
    unused.append(&mut context.upstreams.unused(tree));
    document.add(Block::of_notes("no route uses these", unused))?;
    let upstreams = context.upstreams.blocks.into_iter();
    let made = upstreams.chain(context.limits.blocks);
    let mut blocks = made.chain([context.defaults.block()]).chain(routes);
    blocks.try_for_each(|block| document.add(block))
}

/// Reads the definitions in `http`: zones, upstreams, servers. The notes are
/// about everything else.
fn defined<'a>(
    others: &[&'a Directive],
    scope: &Scope<'a>,
    context: &mut Context<'a>,
) -> (Vec<Server<'a>>, Vec<Note>) {
    let (mut servers, mut notes) = (Vec::new(), Vec::new());
    for directive in others {
        match directive.name.as_str() {
            "limit_req_zone" | "limit_conn_zone" => context.limits.zone(directive),
            "map" | "geo" => context.limits.variables.add(directive),
            "upstream" => context.upstreams.define(directive),
            "server" => servers.push(servers::server(directive, scope)),
            _ => notes.push(reasons::note(directive)),
        }
    }
    context.limits.exempt();
    for directive in context.limits.variables.directives() {
        notes.push(match context.limits.carried.contains(&directive.place) {
            true => {
                let why = "its networks are `overrides` of a limit";
                Note::new(directive, Outcome::Needless, why)
            }
            false if is_for_websocket(directive) => {
                let why = "WebSocket works without it";
                Note::new(directive, Outcome::Needless, why)
            }
            false => reasons::note(directive),
        });
    }
    (servers, notes)
}

/// Whether a `map` is the usual one for `proxy_set_header Connection`.
fn is_for_websocket(directive: &Directive) -> bool {
    let is_usual = |value: &Directive| {
        matches!(
            value.argument(0).to_ascii_lowercase().as_str(),
            "upgrade" | "close" | "" | "keep-alive"
        )
    };
    directive.name == "map"
        && directive.argument(0) == "$http_upgrade"
        && directive.inside().iter().all(is_usual)
}

/// The routes of all servers, with the notes about each server.
fn routes<'a>(
    servers: &[Server<'a>],
    listeners: &[Listener],
    context: &mut Context<'a>,
) -> Result<Vec<Block>, String> {
    let shares = servers::shares(servers, listeners);
    let mut blocks = Vec::new();
    let mut bytes = 0;
    for (server, shares) in servers.iter().zip(shares) {
        let place = context.tree.shown(server.directive.place);
        let title = format!("server {} of {place}", server.label());
        blocks.push(Block::of_notes(&title, server.rest(listeners)));
        for share in shares {
            let is_alone = servers.len() == 1;
            let found = routes::of(server, &share, listeners, is_alone, context);
            let lines = found.iter().flat_map(|block| &block.lines);
            bytes += lines.map(String::len).sum::<usize>();
            if bytes as u64 > LONGEST_FILE {
                return Err(TOO_LONG.to_owned());
            }
            blocks.extend(found);
        }
    }
    Ok(blocks)
}

/// The listeners of all servers. One whose servers all lead to https has no
/// routes.
fn listeners(servers: &[Server<'_>]) -> Vec<Listener> {
    let listens: Vec<_> = servers
        .iter()
        .map(|server| server.listens.as_slice())
        .collect();
    let mut listeners = listeners::listeners(&listens);
    for listener in &mut listeners {
        let to = |at: &usize| {
            let server = servers.get(*at)?;
            server.redirect.or(server.plain_redirect)
        };
        let redirects: Option<Vec<_>> = listener.servers.iter().map(to).collect();
        let first = redirects.as_ref().and_then(|redirects| redirects.first());
        let is_one = redirects
            .iter()
            .flatten()
            .all(|to| Some(to.port) == first.map(|to| to.port));
        if let (Some(first), true, false) = (first, is_one, listener.is_secure) {
            listener.redirects = Some(first.value());
        }
    }
    listeners
}
