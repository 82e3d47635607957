//! Routes: a location of a server, with everything that counts there.

use super::{
    access::{self, Access},
    actions::{self, Action},
    headers,
    limits::Limits,
    listeners::Listener,
    locations::{self, Among, Kind, Location},
    names::Names,
    notes::{Note, Outcome},
    paths::Paths,
    reasons,
    redirects::{self, Passed},
    servers::{Server, Share},
    timing,
    toml::{self, Block, NOT_DONE, text},
    tree::Tree,
    upstreams::{Destination, Upstreams},
    variables::Known,
};

/// The response to clients whom the rules of a location keep out.
const REFUSED: &str = "respond = { status = 403 }";

/// Everything that routes refer to.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) tree: &'a Tree,
    pub(super) limits: Limits<'a>,
    pub(super) upstreams: Upstreams<'a>,
    pub(super) names: Names,
    pub(super) paths: Paths,
    /// The times and the longest body that all routes have by default.
    pub(super) defaults: timing::Defaults,
}

/// The routes of a server for a share of the requests.
pub(super) fn of<'a>(
    server: &Server<'a>,
    share: &Share,
    listeners: &[Listener],
    is_alone: bool,
    context: &mut Context<'a>,
) -> Vec<Block> {
    let known = known(server, listeners);
    if let Some(redirect) = server.redirect {
        let to = text(&redirect.target());
        let action = format!("redirect = {{ to = {to}, status = {} }}", redirect.status);
        return vec![whole(server, share, "", &action, context)];
    }
    let mut notes = Vec::new();
    let default_type = server.scope.value("default_type");
    if let Some(action) = actions::returned(&server.others, known, default_type, &mut notes) {
        let line = match action {
            Action::Answer(line) => line,
            _ => NOT_DONE.to_owned(),
        };
        let mut block = whole(server, share, "", &line, context);
        block.notes = notes;
        return vec![block];
    }
    let mut found = Vec::new();
    locations::of(&server.scope, &server.others, &mut found);
    let among = Among::new(&found);
    let mut blocks = Vec::new();
    for at in order(&found) {
        let one = Part {
            server,
            share,
            known,
            location: &found[at],
            all: &found,
            among: &among,
        };
        one.routes(context, &mut blocks);
    }
    let has_rest = found.iter().any(|location| {
        matches!(location.kind, Kind::Prefix | Kind::FirstPrefix) && location.pattern == "/"
    });
    if !has_rest && (!is_alone || blocks.is_empty()) {
        let mut block = whole(
            server,
            share,
            " else",
            "respond = { status = 404 }",
            context,
        );
        block.title.push("NGINX looks for files here".to_owned());
        blocks.push(block);
    }
    blocks
}

/// Locations in the order of routes. Expressions are tried in the order of the
/// file, so that prefixes before which no expression comes are first.
fn order(locations: &[Location<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..locations.len()).collect();
    order.sort_by_key(|at| {
        let location = &locations[*at];
        match location.kind {
            Kind::FirstPrefix => (0, usize::MAX - location.pattern.len(), 0),
            _ => (1, 0, *at),
        }
    });
    order
}

/// The facts about a server that variables stand for.
fn known<'s>(server: &'s Server<'_>, listeners: &[Listener]) -> Known<'s> {
    let own = || {
        let binds = |listener: &&Listener| {
            server
                .listens
                .iter()
                .any(|listen| listen.bind == listener.bind)
        };
        listeners.iter().filter(binds)
    };
    let first = own().next();
    let port = first.and_then(Listener::port);
    let is_secure = first.is_some_and(|listener| listener.is_secure);
    Known {
        server_name: &server.first_name,
        scheme: own()
            .all(|listener| listener.is_secure == is_secure)
            .then_some(if is_secure { "https" } else { "http" }),
        port: port.filter(|_| own().all(|listener| listener.port() == port)),
        has_usual_ports: own().all(Listener::has_usual_port),
        proxy_host: "",
    }
}

/// A route for all paths of a server.
fn whole(
    server: &Server<'_>,
    share: &Share,
    suffix: &str,
    action: &str,
    context: &mut Context<'_>,
) -> Block {
    let mut block = Block::default();
    let place = context.tree.shown(server.directive.place);
    block
        .title
        .push(format!("server {} of {place}", server.label()));
    let name = context.names.unique(&format!("{}{suffix}", server.label()));
    block.lines.push("[[routes]]".to_owned());
    block.set("name", &text(&name));
    block.lines.push(action.to_owned());
    matched(&mut block, &share.conditions());
    block
}

fn matched(block: &mut Block, conditions: &[String]) {
    if !conditions.is_empty() {
        block.set("match", &format!("{{ {} }}", conditions.join(", ")));
    }
}

/// A location of a server, for a share of the requests.
#[derive(Debug)]
struct Part<'p, 'a> {
    server: &'p Server<'a>,
    share: &'p Share,
    known: Known<'p>,
    location: &'p Location<'a>,
    all: &'p [Location<'a>],
    among: &'p Among,
}

impl<'a> Part<'_, 'a> {
    fn routes(&self, context: &mut Context<'a>, blocks: &mut Vec<Block>) {
        let location = self.location;
        let mut block = Block::default();
        let place = context.tree.shown(location.directive.place);
        block
            .title
            .push(format!("location{} of {place}", spaced(&location.shown())));
        let mut notes = Vec::new();
        let condition = match location.condition(self.among, &mut notes) {
            Ok(condition) => condition,
            Err(why) => {
                notes.push(Note::new(location.directive, Outcome::Lost, why));
                block.notes = notes;
                blocks.push(block);
                return;
            }
        };
        let mut conditions = self.share.conditions();
        conditions.extend(Some(condition).filter(|condition| !condition.is_empty()));
        let name = format!("{}{}", self.server.label(), location.shown());
        block.lines.push("[[routes]]".to_owned());
        block.set("name", &text(&context.names.unique(&name)));
        let access = access::of(&location.scope, &location.others, &mut notes);
        let mut narrowed = conditions.clone();
        let mut tables = Vec::new();
        match access {
            Access::Nobody => block.lines.push(REFUSED.to_owned()),
            Access::Unknown => block.lines.push(NOT_DONE.to_owned()),
            Access::Some(ref own) => {
                narrowed.extend(own.iter().cloned());
                self.action(&mut block, &mut tables, &mut notes, context);
            }
        }
        matched(&mut block, &narrowed);
        block.lines.append(&mut tables);
        self.rest(&mut notes);
        block.notes = notes;
        blocks.push(block);
        if narrowed.len() > conditions.len() {
            let mut refused = Block::default();
            refused.title.push("all others of this location".to_owned());
            refused.lines.push("[[routes]]".to_owned());
            refused.set(
                "name",
                &text(&context.names.unique(&format!("{name} refused"))),
            );
            refused.lines.push(REFUSED.to_owned());
            matched(&mut refused, &conditions);
            blocks.push(refused);
        }
    }

    /// Writes what the route does, and into `tables` what comes behind its
    /// match.
    fn action(
        &self,
        block: &mut Block,
        tables: &mut Vec<String>,
        notes: &mut Vec<Note>,
        context: &mut Context<'a>,
    ) {
        let location = self.location;
        let scope = &location.scope;
        let default_type = headers::content_type(scope).or_else(|| scope.value("default_type"));
        let returned = actions::returned(&location.others, self.known, default_type, notes);
        let is_returned = returned.is_some();
        let action = returned.unwrap_or_else(|| {
            let sets: Vec<_> = self
                .server
                .others
                .iter()
                .chain(&location.others)
                .copied()
                .collect();
            actions::content(location, self.all, &actions::sets(&sets), notes)
        });
        let is_internal = location.others.iter().any(|other| other.name == "internal");
        let mut keys = Vec::new();
        let (mut has_type, mut is_grpc) = (false, false);
        match action {
            _ if is_internal => block.lines.push("respond = { status = 404 }".to_owned()),
            Action::Answer(line) => {
                has_type = line.contains("\"content-type\" = ");
                block.lines.push(line);
            }
            Action::Nothing => block.lines.push(NOT_DONE.to_owned()),
            Action::Pass { to, path } => {
                is_grpc = to.is_http2;
                keys.extend(self.pass(&to, path, block, tables, notes, context));
            }
        }
        // NGINX answers a `return` before it looks at limits.
        let names = match is_returned || is_internal {
            true => Vec::new(),
            false => context.limits.of(scope, &self.server.label(), notes),
        };
        if !names.is_empty() {
            block.set("limits", &toml::list(&names));
        }
        let scope = &scope.of_pass(is_grpc);
        keys.extend(headers::response(scope, self.known, has_type, notes).keys());
        table(tables, "response", keys);
    }

    /// Writes a route to an upstream, and returns a key for its responses.
    fn pass(
        &self,
        to: &Destination,
        path: Vec<String>,
        block: &mut Block,
        tables: &mut Vec<String>,
        notes: &mut Vec<Note>,
        context: &mut Context<'a>,
    ) -> Option<String> {
        let scope = &self.location.scope.of_pass(to.is_http2);
        let name = context.upstreams.of(to, scope, &context.paths, notes);
        block.set("upstream", &text(&name));
        let mut note = |why| notes.push(Note::new(self.location.directive, Outcome::Differs, why));
        if to.is_secure && !scope.is_on("proxy_ssl_verify") {
            note(
                "NGINX does not verify the certificates of services, the gateway always does: name their authority in `tls.ca` of the upstream",
            );
        }
        let known = Known {
            proxy_host: &to.authority,
            ..self.known
        };
        let fields = headers::request(scope, known, notes);
        let is_group = context.upstreams.is_defined(&to.authority);
        if !fields.preserves_host && is_group {
            let why = format!(
                "services get their own host; NGINX sends `Host: {}`",
                to.authority
            );
            notes.push(Note::new(self.location.directive, Outcome::Differs, why));
        }
        let servers = context.upstreams.servers(&to.authority);
        let retry = timing::retry(scope, servers, notes);
        table(
            tables,
            "timeouts",
            timing::times(scope, retry.tries, &context.defaults, notes),
        );
        table(tables, "retry", retry.keys);
        let passed = Passed {
            location: self.location.directive,
            changes_path: !path.is_empty(),
            preserves_host: fields.preserves_host,
        };
        let locations = redirects::locations(scope, passed, notes);
        let mut keys = path;
        if !fields.preserves_host {
            keys.push("preserve_host = false".to_owned());
        }
        if !fields.set.is_empty() {
            keys.push(format!("set_headers = {}", toml::table(&fields.set)));
        }
        if !fields.remove.is_empty() {
            keys.push(format!("remove_headers = {}", toml::list(&fields.remove)));
        }
        keys.extend(timing::max_body(scope, &context.defaults, notes));
        table(tables, "request", keys);
        (locations != context.defaults.locations).then(|| format!("locations = {locations}"))
    }

    /// Notes about the directives that have become nothing.
    fn rest(&self, notes: &mut Vec<Note>) {
        let location = self.location;
        let returns = location.others.iter().any(|other| other.name == "return");
        let passes = location
            .others
            .iter()
            .any(|other| other.name.ends_with("_pass"));
        for other in &location.others {
            match other.name.as_str() {
                "location" | "return" | "limit_except" => {}
                "proxy_pass" | "grpc_pass" if !returns => {}
                "proxy_pass" | "grpc_pass" => {
                    notes.push(Note::new(
                        other,
                        Outcome::Needless,
                        "`return` comes before it",
                    ));
                }
                "internal" => {
                    let why = "the location is for NGINX itself; clients get 404 as there";
                    notes.push(Note::new(other, Outcome::Needless, why));
                }
                "root" | "index" | "autoindex" if !passes => {
                    let why = "files are served by a service";
                    notes.push(Note::new(other, Outcome::Lost, why));
                }
                "set" => notes.push(reasons::of_set(other)),
                // `content` has said what becomes of them.
                name if notes.iter().any(|note| note.is_about(other))
                    || actions::is_content(name) => {}
                _ => notes.push(reasons::note(other)),
            }
        }
    }
}

/// Adds `[routes.NAME]` with its keys, if it has any.
fn table(tables: &mut Vec<String>, name: &str, keys: Vec<String>) {
    if !keys.is_empty() {
        tables.push(String::new());
        tables.push(format!("[routes.{name}]"));
        tables.extend(keys);
    }
}

fn spaced(shown: &str) -> String {
    format!(" {}", shown.trim_start())
}
