//! The action of a location, and the requests that may use it.

use std::collections::BTreeMap;

use super::{
    access::Access,
    actions::{self, Action},
    conditions::{self, Effect},
    headers,
    locations::{Kind, Location, escaped},
    notes::{Note, Outcome},
    pcre::Expression,
    rewrites::{self, Rewriting},
    scope::Scope,
    servers::Server,
    to_https,
    tree::Directive,
    variables::Known,
    whole,
};

/// Named locations that lead to one another.
const MOST_LINKS: usize = 8;

/// A location as it is read.
#[derive(Debug)]
pub(super) struct Reading<'l, 'a> {
    /// The location, and those that `try_files` leads to; never empty. The last
    /// one says where requests go, and all of them who may go there.
    pub(super) links: Vec<&'l Location<'a>>,
    pub(super) access: Access,
    pub(super) action: Action,
    /// NGINX answers before it looks at limits.
    pub(super) is_returned: bool,
    /// A guard of the server has no counterpart.
    pub(super) is_closed_by_server: bool,
    pub(super) notes: Vec<Note>,
}

/// Reads the locations of a server, which may get requests by https only.
///
/// A location that has a name only has no reading. The notes are about conditions
/// of the server, which come before all of its locations.
pub(super) fn all<'l, 'a>(
    server: &'l Server<'a>,
    known: Known<'_>,
    is_secure_only: bool,
    locations: &'l [Location<'a>],
) -> (Vec<Option<Reading<'l, 'a>>>, Vec<Note>) {
    let (guard, notes) = ServerGuard::of(server, is_secure_only, locations);
    let read = |location: &'l Location<'a>| {
        (location.kind != Kind::Named).then(|| guard.read(location, known))
    };
    (locations.iter().map(read).collect(), notes)
}

/// The conditions and rewrites of a server, which come before its locations.
struct ServerGuard<'l, 'a> {
    /// The requests that its conditions admit.
    access: Access,
    /// The paths that a `rewrite` changes.
    rewritten: Vec<regex::Regex>,
    /// The locations that have a name, by that; the first of several counts.
    named: BTreeMap<&'l str, &'l Location<'a>>,
    /// The directives that give variables their values.
    sets: Vec<&'a Directive>,
}

impl<'l, 'a> ServerGuard<'l, 'a> {
    fn of(
        server: &'l Server<'a>,
        is_secure_only: bool,
        locations: &'l [Location<'a>],
    ) -> (Self, Vec<Note>) {
        let others = |name: &'static str| {
            let all = server.others.iter().copied();
            all.filter(move |other| other.name == name)
        };
        let decides = |directive: &&Directive| {
            let is_done = is_secure_only && to_https::of_plain(directive).is_some();
            !is_done && conditions::effect(directive) != Effect::Nothing
        };
        let rewritten = others("rewrite").filter_map(|rewrite| {
            let regex = whole::whole_path(&Expression::read(rewrite.argument(0), false), false);
            crate::config::whole_path_regex(&regex).ok()
        });
        let conditions: Vec<_> = others("if").filter(decides).collect();
        let mut notes = Vec::new();
        let access = Access::all().and(&Scope::default(), &conditions, &mut notes);
        // Those about conditions without a counterpart are notes of the server.
        notes.retain(|note| note.outcome == Outcome::Differs);
        let mut named = BTreeMap::new();
        for location in locations.iter().filter(|one| one.kind == Kind::Named) {
            named.entry(&*location.pattern).or_insert(location);
        }
        let guard = Self {
            access,
            rewritten: rewritten.collect(),
            named,
            sets: others("set").collect(),
        };
        (guard, notes)
    }

    fn read(&self, location: &'l Location<'a>, known: Known<'_>) -> Reading<'l, 'a> {
        let mut notes = Vec::new();
        let links = self.links(location, &mut notes);
        let mut access = self.access.clone();
        let is_rewritten = location.kind == Kind::Exact
            && (self.rewritten.iter()).any(|regex| regex.is_match(&escaped(&location.pattern)));
        let is_closed_by_server = is_rewritten || matches!(access, Access::Unknown);
        if is_rewritten {
            access = Access::Unknown;
        }
        for link in &links {
            access = access.and(&link.scope, &link.others, &mut notes);
        }
        let mut reading = Reading {
            links,
            access,
            action: Action::Nothing,
            is_returned: false,
            is_closed_by_server,
            notes,
        };
        self.act(&mut reading, known);
        reading
    }

    /// The location, and the named ones that `try_files` leads to: there are no
    /// files, so that each request goes to the last of its arguments.
    fn links(&self, location: &'l Location<'a>, notes: &mut Vec<Note>) -> Vec<&'l Location<'a>> {
        let mut links = vec![location];
        while let Some(last) = links.last()
            && links.len() <= MOST_LINKS
            && !last.others.iter().any(|other| other.name == "return")
        {
            let Some((tries, name)) = fallback(last) else {
                break;
            };
            match self.named.get(name) {
                Some(named) if links.len() < MOST_LINKS => {
                    let why = format!("there are no files: every request goes to {name}");
                    notes.push(Note::new(tries, Outcome::Differs, why));
                    links.push(named);
                }
                _ => break,
            }
        }
        links
    }

    /// Reads the action.
    fn act(&self, reading: &mut Reading<'l, 'a>, known: Known<'_>) {
        let Reading { links, notes, .. } = reading;
        let Some(last) = links.last() else { return };
        let within = links.iter().flat_map(|link| &link.others);
        let default_type = last.scope.value("default_type");
        let default_type = headers::content_type(&last.scope).or(default_type);
        let rewrites: Vec<&Directive> = within
            .clone()
            .copied()
            .filter(|directive| directive.name == "rewrite")
            .collect();
        if matches!(reading.access, Access::Nobody | Access::Unknown) {
            notes.extend(rewrites.iter().map(|rewrite| rewrites::unknown(rewrite)));
            return;
        }
        let returned = actions::returned(&last.others, known, default_type, notes);
        reading.is_returned = returned.is_some();
        let is_content =
            |other: &&Directive| other.name.ends_with("_pass") || actions::is_content(&other.name);
        let has_content = last.others.iter().any(is_content);
        reading.action = match returned {
            Some(action) => action,
            // A rewrite leads elsewhere.
            None if !rewrites.is_empty() && !has_content => Action::Nothing,
            None => {
                let all: Vec<_> = self.sets.iter().chain(within).copied().collect();
                actions::content(last, &all, notes)
            }
        };
        let refuses = matches!(&reading.action, Action::Answer(line) if line.starts_with("respond = { status = 4"));
        if rewrites.is_empty() || refuses {
            return;
        }
        let only = match rewrites.as_slice() {
            [one] if links.len() == 1 => rewrites::of(one, links[0], known, notes),
            _ => {
                notes.extend(rewrites.iter().map(|rewrite| rewrites::unknown(rewrite)));
                Rewriting::Unknown
            }
        };
        reading.action = match (only, &reading.action) {
            (Rewriting::Path(keys), Action::Pass { to, path }) if path.is_empty() => Action::Pass {
                to: to.clone(),
                path: keys,
            },
            (Rewriting::Answer(line), _) => {
                reading.is_returned = true;
                Action::Answer(line)
            }
            (Rewriting::Path(_), _) => {
                notes.extend(rewrites.iter().map(|rewrite| rewrites::unknown(rewrite)));
                Action::Nothing
            }
            (Rewriting::Unknown, _) => Action::Nothing,
        };
    }
}

/// The named location that `try_files` leads to.
pub(super) fn fallback<'a>(location: &Location<'a>) -> Option<(&'a Directive, &'a str)> {
    let mut others = location.others.iter();
    let tries = others.find(|other| other.name == "try_files")?;
    let last = tries.arguments.last()?;
    last.starts_with('@').then_some((*tries, last.as_str()))
}
