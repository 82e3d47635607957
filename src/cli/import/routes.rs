//! Routes: a location of a server, with everything that counts there.

use super::{
    access::{Access, Conditions},
    actions::{self, Action},
    conditions::{self, Effect},
    guards::{self, Guards},
    headers, known, leftovers,
    limits::Limits,
    listeners::Listener,
    locations::{self, Location},
    names::Names,
    notes::{Note, Outcome},
    paths::Paths,
    places::{self, Fit, Place},
    ranks::{self, REFUSED, Rule},
    reading::{self, Reading},
    redirects::{self, Passed},
    rewrites, rewritten,
    servers::{Server, Share},
    timing,
    toml::{self, Block, NOT_DONE, text},
    tree::{Directive, Tree},
    upstreams::{Destination, Upstreams},
    variables::Known,
};

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
    let known = known::of(server, listeners);
    if let Some(redirect) = server.redirect {
        let to = text(&redirect.target());
        let action = format!("redirect = {{ to = {to}, status = {} }}", redirect.status);
        return vec![whole(server, share, "", &action, context)];
    }
    if let Some(block) = returned(server, share, known, context) {
        return vec![block];
    }
    let mut found = Vec::new();
    locations::of(&server.scope, &server.others, None, &mut found);
    let is_secure_only = server.is_secure_only(listeners);
    let (readings, mut of_server) = reading::all(server, known, is_secure_only, &found);
    let guards: Vec<_> = readings
        .iter()
        .map(|reading| reading.as_ref().map(Guards::of))
        .collect();
    let mut rules = rewritten::of_server(server, share, known, context.tree);
    for place in places::of(&found, &guards) {
        if let (Some(Some(reading)), Some(Some(guards))) =
            (readings.get(place.at), guards.get(place.at))
        {
            let part = Part {
                server,
                share,
                known,
                reading,
                guards,
                place: &place,
            };
            part.routes(context, &mut rules, &mut of_server);
        }
    }
    let mut blocks = ranks::ordered(rules, &mut context.names);
    let place = context.tree.shown(server.directive.place);
    blocks.extend(leftovers::unused(&found, &place));
    let is_rest = |location: &Location<'_>| location.is_prefix() && location.pattern == "/";
    if !found.iter().any(is_rest) && (!is_alone || blocks.is_empty()) {
        let action = "respond = { status = 404 }";
        let mut block = whole(server, share, " else", action, context);
        block.title.push("NGINX looks for files here".to_owned());
        blocks.push(block);
    }
    blocks
}

/// The route of a server that answers everything by `return`.
fn returned(
    server: &Server<'_>,
    share: &Share,
    known: Known<'_>,
    context: &mut Context<'_>,
) -> Option<Block> {
    let mut notes = Vec::new();
    let default_type = server.scope.value("default_type");
    let default_type = headers::content_type(&server.scope).or(default_type);
    let action = actions::returned(&server.others, known, default_type, &mut notes)?;
    let mut line = match action {
        Action::Answer(line) => line,
        _ => NOT_DONE.to_owned(),
    };
    let named = |name: &'static str| server.others.iter().filter(move |other| other.name == name);
    let rewrites = named("rewrite");
    let is_decided = rewrites.clone().count() > 0
        || named("if").any(|other| conditions::effect(other) != Effect::Nothing);
    if is_decided && !guards::is_refusal(&line) {
        NOT_DONE.clone_into(&mut line);
    }
    notes.extend(rewrites.map(|rewrite| rewrites::unknown(rewrite)));
    let why = "`return` of the server comes before it";
    let note = |location: &&Directive| Note::new(location, Outcome::Needless, why);
    notes.extend(named("location").map(note));
    let mut block = whole(server, share, "", &line, context);
    block.notes = notes;
    Some(block)
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
    reading: &'p Reading<'p, 'a>,
    guards: &'p Guards,
    place: &'p Place,
}

impl<'a> Part<'_, 'a> {
    /// The location itself.
    fn location(&self) -> &Location<'a> {
        self.reading.links[0]
    }

    /// The location that says where requests go.
    fn last(&self) -> &Location<'a> {
        self.reading.links[self.reading.links.len() - 1]
    }

    /// Adds its routes to `rules`. The first of the parts that has a route takes
    /// the notes about the server.
    fn routes(&self, context: &mut Context<'a>, rules: &mut Vec<Rule>, of_server: &mut Vec<Note>) {
        let location = self.location();
        let mut block = Block::default();
        let place = context.tree.shown(location.directive.place);
        let title = format!("location{} of {place}", spaced(&location.shown()));
        block.title.push(title);
        if self.place.fit == Fit::Never {
            let why = "a longer location beside the one that it stands in takes its requests";
            block
                .notes
                .push(Note::new(location.directive, Outcome::Needless, why));
            return rules.push(Rule {
                block,
                ..Rule::default()
            });
        }
        let mut notes = self.place.notes.clone();
        notes.append(of_server);
        notes.extend(self.reading.notes.iter().cloned());
        let is_done = self.is_done(&mut notes);
        let mut rule = Rule {
            block,
            tables: Vec::new(),
            name: format!("{}{}", self.server.label(), location.shown()),
            base: self.share.conditions(),
            own: Conditions::default(),
            expression: self.place.expression.clone(),
        };
        let condition = Some(&self.place.condition).filter(|condition| !condition.is_empty());
        rule.base.extend(condition.cloned());
        match &self.reading.access {
            Access::Nobody => rule.block.lines.push(REFUSED.to_owned()),
            Access::Some(own) if is_done => {
                rule.own = own.clone();
                self.action(&mut rule, &mut notes, context);
            }
            Access::Some(_) if self.is_open() => {
                rule.block.notes = notes;
                return rules.push(rule);
            }
            Access::Some(_) => rule.block.lines.push(NOT_DONE.to_owned()),
            Access::Unknown => {
                if self.reading.is_closed_by_server {
                    let told = "a condition of its server is not carried over: without that line in the source, the importer writes this route in full";
                    rule.block.title.push(told.to_owned());
                }
                rule.block.lines.push(NOT_DONE.to_owned());
            }
        }
        let links = self.reading.links.iter();
        links.for_each(|link| leftovers::of_location(link, &mut notes));
        rule.block.notes = notes;
        let refused = (rule.own != Conditions::default()).then(|| rule.refused());
        rules.push(rule);
        rules.extend(refused);
    }

    /// Whether a place that takes paths of others would open none of them.
    fn is_done(&self, notes: &mut Vec<Note>) -> bool {
        let directive = self.location().directive;
        let (outcome, why) = match self.place.fit {
            Fit::Exact | Fit::Never => return true,
            _ if self.guards.refuses_all => (
                Outcome::Differs,
                "more paths are refused here, as there is no look-around and no expression within another one",
            ),
            Fit::Wider if self.is_open() => (
                Outcome::Lost,
                "there is no look-around, no back-reference and no expression within another one; it guards nothing, and other locations get its requests",
            ),
            Fit::Wider => (
                Outcome::Unguarded,
                "there is no look-around, no back-reference and no expression within another one; the route takes more paths, and answers none",
            ),
            Fit::Refusing => (
                Outcome::Unguarded,
                "expressions that guard something come before it in NGINX, and behind the prefix with `^~` here",
            ),
        };
        notes.push(Note::new(directive, outcome, why));
        self.guards.refuses_all
    }

    fn is_open(&self) -> bool {
        self.place.fit == Fit::Wider && self.guards.is_open()
    }

    /// Writes what the route does.
    fn action(&self, rule: &mut Rule, notes: &mut Vec<Note>, context: &mut Context<'a>) {
        let links = &self.reading.links;
        let scope = &self.last().scope;
        let is_internal = links[0].others.iter().any(|other| other.name == "internal");
        let mut keys = Vec::new();
        let (mut has_type, mut is_grpc) = (false, false);
        match &self.reading.action {
            _ if is_internal => rule
                .block
                .lines
                .push("respond = { status = 404 }".to_owned()),
            Action::Answer(line) => {
                has_type = line.contains("\"content-type\" = ");
                rule.block.lines.push(line.clone());
            }
            Action::Nothing => rule.block.lines.push(NOT_DONE.to_owned()),
            Action::Pass { to, path } => {
                is_grpc = to.is_http2;
                keys.extend(self.pass(to, path.clone(), rule, notes, context));
            }
        }
        // NGINX answers a `return` before it looks at limits.
        let mut names: Vec<String> = Vec::new();
        let is_counted = !self.reading.is_returned && !is_internal;
        for link in links.iter().filter(|_| is_counted) {
            let found = context.limits.of(&link.scope, &self.server.label(), notes);
            let is_new = |name: &String| !names.contains(name);
            let found: Vec<_> = found.into_iter().filter(is_new).collect();
            names.extend(found);
        }
        if !names.is_empty() {
            rule.block.set("limits", &toml::list(&names));
        }
        let scope = &scope.of_pass(is_grpc);
        keys.extend(headers::response(scope, self.known, has_type, notes).keys());
        table(&mut rule.tables, "response", keys);
    }

    /// Writes a route to an upstream, and returns a key for its responses.
    fn pass(
        &self,
        to: &Destination,
        path: Vec<String>,
        rule: &mut Rule,
        notes: &mut Vec<Note>,
        context: &mut Context<'a>,
    ) -> Option<String> {
        let (location, scope) = (self.last(), &self.last().scope.of_pass(to.is_http2));
        let (block, tables) = (&mut rule.block, &mut rule.tables);
        let name = context.upstreams.of(to, scope, &context.paths, notes);
        block.set("upstream", &text(&name));
        let mut note = |why| notes.push(Note::new(location.directive, Outcome::Differs, why));
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
            notes.push(Note::new(location.directive, Outcome::Differs, why));
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
            location: location.directive,
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
        keys.extend(self.max_body(context, notes));
        table(tables, "request", keys);
        (locations != context.defaults.locations).then(|| format!("locations = {locations}"))
    }

    /// The longest body: the shortest of those of all links.
    fn max_body(&self, context: &Context<'a>, notes: &mut Vec<Note>) -> Option<String> {
        let links = self.reading.links.iter();
        let shortest = links.min_by_key(|link| guards::body(&link.scope))?;
        let (scope, shortest) = (&self.last().scope, &shortest.scope);
        let key = timing::max_body(shortest, &context.defaults, notes);
        let longer = scope.one("client_max_body_size");
        let longer = longer.filter(|_| guards::body(scope) > guards::body(shortest));
        let why = "the shorter one of the location that leads here counts, as in NGINX";
        notes.extend(longer.map(|one| Note::new(one, Outcome::Differs, why)));
        key
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
