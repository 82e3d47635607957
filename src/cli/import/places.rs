//! Locations as conditions on the path, in the order in which they are asked.
//!
//! NGINX takes an exact path first, then the longest prefix if it has `^~`,
//! then the first expression, then the longest prefix, where a prefix may end
//! within a segment. The gateway takes an exact path, then the first expression,
//! then the longest prefix of whole segments. So some prefixes are written as
//! expressions: those with `^~`, and those that have to take exactly the paths
//! of NGINX, because one of two locations refuses what the other one does not.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    guards::Guards,
    locations::{Kind, Location, escaped},
    notes::{Note, Outcome},
    pcre::{Expression, has_reserved, spelled},
    toml::text,
    whole::{beginning, whole_path, within},
};

/// Prefixes within a prefix that are looked at one by one.
const MOST_WITHIN: usize = 1000;

/// How the paths of a place are those of its location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Exact,
    /// It takes paths of others. Without it, these go where they go in NGINX.
    Wider,
    /// It takes paths of others, and others would take its own.
    Refusing,
    /// Others take all of its paths.
    Never,
}

/// A location as a condition on the path.
#[derive(Debug)]
pub(super) struct Place {
    /// The location, as an index.
    pub(super) at: usize,
    /// Such as `path_prefix = "/api"`; an empty text for every path.
    pub(super) condition: String,
    /// Its `path_regex`, if it has one.
    pub(super) expression: Option<String>,
    pub(super) fit: Fit,
    pub(super) notes: Vec<Note>,
}

/// All locations of a server, with their guards; a named one has none.
struct Places<'p, 'a> {
    locations: &'p [Location<'a>],
    guards: &'p [Option<Guards>],
    /// By their paths, as requests have them.
    prefixes: BTreeMap<String, usize>,
    exact: BTreeMap<String, usize>,
    has_regex: bool,
    /// Some expression refuses something.
    has_guarding_regex: bool,
}

/// The places of a server, in the order in which they are asked.
pub(super) fn of(locations: &[Location<'_>], guards: &[Option<Guards>]) -> Vec<Place> {
    let mut places = Places {
        locations,
        guards,
        prefixes: BTreeMap::new(),
        exact: BTreeMap::new(),
        has_regex: false,
        has_guarding_regex: false,
    };
    let shadowed = shadowed(locations);
    let reachable = locations
        .iter()
        .enumerate()
        .filter(|(at, _)| !shadowed[*at]);
    for (at, location) in reachable {
        let path = escaped(&location.pattern);
        match location.kind {
            Kind::Exact => drop(places.exact.entry(path).or_insert(at)),
            Kind::Prefix | Kind::FirstPrefix => drop(places.prefixes.insert(path, at)),
            Kind::Regex | Kind::AnyCase => {
                places.has_regex = true;
                let is_open = guards[at].as_ref().is_none_or(Guards::is_open);
                places.has_guarding_regex |= !is_open;
            }
            Kind::Named => {}
        }
    }
    let mut found = places.all(&shadowed);
    found.extend((0..locations.len()).filter(|at| shadowed[*at]).map(|at| {
        let mut place = places.place(at, String::new(), None);
        place.fit = Fit::Never;
        place
    }));
    found
}

/// Which locations never get a request: NGINX looks for a location within the
/// longest prefix of a level only, so that a longer prefix beside the outer one
/// hides those in it.
fn shadowed(locations: &[Location<'_>]) -> Vec<bool> {
    let mut levels: BTreeMap<Option<usize>, BTreeSet<&str>> = BTreeMap::new();
    let mut exact: BTreeSet<(Option<usize>, &str)> = BTreeSet::new();
    for location in locations {
        if location.is_prefix() {
            let level = levels.entry(location.outer).or_default();
            level.insert(&location.pattern);
        } else if location.kind == Kind::Exact {
            exact.insert((location.outer, &location.pattern));
        }
    }
    let mut shadowed: Vec<bool> = Vec::new();
    for location in locations {
        let mut is_hidden = location.outer.is_some_and(|outer| shadowed[outer]);
        let is_literal = location.is_prefix() || location.kind == Kind::Exact;
        let mut around = location.outer.filter(|_| is_literal);
        while let Some(outer) = around.map(|outer| &locations[outer]) {
            let path = &location.pattern;
            let level = levels.get(&outer.outer);
            let mut longer =
                (outer.pattern.len() + 1..=path.len()).filter_map(|end| path.get(..end));
            is_hidden |= longer.any(|prefix| level.is_some_and(|level| level.contains(prefix)));
            is_hidden |= location.kind == Kind::Exact && exact.contains(&(outer.outer, path));
            around = outer.outer;
        }
        shadowed.push(is_hidden);
    }
    shadowed
}

/// When a place is asked: a zone, and the order in it.
type Order = (u8, usize, usize);

impl Places<'_, '_> {
    fn all(&self, shadowed: &[bool]) -> Vec<Place> {
        let mut found: Vec<(Order, Place)> = Vec::new();
        let locations = self.locations.iter().enumerate();
        for (at, location) in locations.filter(|(at, _)| !shadowed[*at]) {
            match location.kind {
                Kind::Exact => found.push(self.exact_path(at)),
                Kind::Regex | Kind::AnyCase => found.push(self.regex(at)),
                Kind::Prefix | Kind::FirstPrefix | Kind::Named => {}
            }
        }
        // Behind a prefix come those that begin with it.
        let (mut first, mut exactly): (Option<&str>, Option<&str>) = (None, None);
        for (path, at) in &self.prefixes {
            let is_within =
                |outer: Option<&str>| outer.is_some_and(|outer| path.starts_with(outer));
            let longest = usize::MAX - path.len();
            let is_first = self.locations[*at].kind == Kind::FirstPrefix;
            if self.has_regex && (is_first || is_within(first)) {
                if !is_within(first) {
                    first = Some(path);
                }
                found.push(((1, longest, *at), self.first(*at, path, is_first)));
            } else if is_within(exactly) || self.is_exact(*at, path) {
                if !is_within(exactly) {
                    exactly = Some(path);
                }
                found.push(((3, longest, *at), self.exactly(*at, path)));
            } else {
                let place = self.segments(*at, path);
                found.push(((2, *at, 0), place));
            }
        }
        found.sort_by_key(|(order, _)| *order);
        found.into_iter().map(|(_, place)| place).collect()
    }

    /// An exact path. One that refuses something and has two spellings is an
    /// expression, before all others.
    fn exact_path(&self, at: usize) -> (Order, Place) {
        let path = escaped(&self.locations[at].pattern);
        match has_reserved(&path) && !self.is_open(at) {
            true => ((0, 0, at), self.by_expression(at, spelled(&path))),
            false => {
                let condition = format!("path = {}", text(&path));
                ((2, at, 0), self.place(at, condition, None))
            }
        }
    }

    fn is_open(&self, at: usize) -> bool {
        self.guard(at).is_none_or(Guards::is_open)
    }

    fn place(&self, at: usize, condition: String, expression: Option<String>) -> Place {
        Place {
            at,
            condition,
            expression,
            fit: Fit::Exact,
            notes: Vec::new(),
        }
    }

    fn by_expression(&self, at: usize, regex: String) -> Place {
        self.place(at, format!("path_regex = {}", text(&regex)), Some(regex))
    }

    fn guard(&self, at: usize) -> Option<&Guards> {
        self.guards.get(at)?.as_ref()
    }

    /// Whether one location refuses whatever the other one refuses.
    fn covers(&self, one: usize, other: usize) -> bool {
        match (self.guard(one), self.guard(other)) {
            (Some(one), Some(other)) => one.covers(other),
            _ => false,
        }
    }

    /// An expression. One within a prefix is for paths of the prefix, and is
    /// asked before those of the server.
    fn regex(&self, at: usize) -> (Order, Place) {
        let location = &self.locations[at];
        let is_any_case = location.kind == Kind::AnyCase;
        let expression = Expression::read(&location.pattern, is_any_case);
        let outer = location.outer.map(|outer| (outer, &self.locations[outer]));
        let (order, mut found) = match outer {
            Some((number, outer)) if outer.is_prefix() => {
                let prefix = escaped(&outer.pattern);
                let mut found = within(&prefix, &expression, is_any_case);
                found.is_exact &= !self.has_others_within(number, &prefix);
                ((0, usize::MAX - location.depth, at), found)
            }
            _ => {
                let is_nested = outer.is_some();
                // Before the expression that it stands in.
                let mut outermost = at;
                while let Some(outer) = self.locations[outermost].outer {
                    outermost = outer;
                }
                let regex = whole_path(&expression, is_any_case);
                let is_exact = expression.is_exact && !is_nested;
                let order = match is_nested {
                    true => (2, outermost, 0),
                    false => (2, at, 1),
                };
                (order, Expression { regex, is_exact })
            }
        };
        if crate::config::whole_path_regex(&found.regex).is_err() {
            // Too large: it takes everything.
            found = Expression {
                regex: ".*".to_owned(),
                is_exact: false,
            };
        }
        let mut place = self.by_expression(at, found.regex);
        if !found.is_exact {
            place.fit = Fit::Wider;
        }
        (order, place)
    }

    /// Whether NGINX takes some paths of a prefix for another location, before
    /// it asks the expressions in this one.
    fn has_others_within(&self, outer: usize, prefix: &str) -> bool {
        let range = self.prefixes.range(prefix.to_owned()..);
        let mut within = range.take_while(|(path, _)| path.starts_with(prefix));
        let is_of_outer = |at: usize| {
            let mut around = self.locations[at].outer;
            while let Some(other) = around.filter(|other| *other != outer) {
                around = self.locations[other].outer;
            }
            around.is_some() && !self.locations[at].is_first
        };
        let mut seen = 0;
        within.any(|(_, at)| {
            seen += 1;
            seen > MOST_WITHIN || *at != outer && !is_of_outer(*at)
        })
    }

    /// A prefix that comes before expressions.
    fn first(&self, at: usize, path: &str, is_first: bool) -> Place {
        let mut place = self.by_expression(at, beginning(path));
        if !is_first {
            let why = "no expression is asked for its paths here";
            let note = Note::new(self.locations[at].directive, Outcome::Differs, why);
            place.notes.push(note);
            if self.has_guarding_regex {
                place.fit = Fit::Refusing;
            }
        }
        place
    }

    /// A prefix that takes exactly the paths of NGINX.
    fn exactly(&self, at: usize, path: &str) -> Place {
        let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty());
        let is_redirected =
            |bare: &&str| self.is_redirected(at, bare) && !self.prefixes.contains_key(*bare);
        match bare.filter(is_redirected) {
            Some(bare) => {
                let mut place = self.by_expression(at, format!("{}(?:/.*)?", spelled(bare)));
                place.notes.extend(self.redirected(at, path, bare));
                place
            }
            None => self.by_expression(at, beginning(path)),
        }
    }

    /// Whether NGINX redirects the path of a prefix without its slash to the one
    /// with it. It looks within a location only for paths of that location.
    fn is_redirected(&self, at: usize, bare: &str) -> bool {
        let outer = self.locations[at].outer;
        let is_reached = outer.is_none_or(|outer| {
            let outer = &self.locations[outer];
            !outer.is_prefix() || bare.starts_with(&escaped(&outer.pattern))
        });
        is_reached && self.guard(at).is_some_and(|guards| guards.is_proxy)
    }

    /// Whether a prefix has to take exactly the paths of NGINX.
    fn is_exact(&self, at: usize, path: &str) -> bool {
        if path == "/" {
            return false;
        }
        // Whole segments have one spelling only.
        if has_reserved(path) && !self.is_open(at) {
            return true;
        }
        let Some(bare) = path.strip_suffix('/') else {
            // Paths that go on within the last segment would go to another
            // location.
            let with_slash = format!("{path}/");
            // It would be an exact path, which comes before expressions.
            let comes_first = self.has_regex || self.exact.contains_key(path);
            if comes_first && self.prefixes.contains_key(&with_slash) {
                return true;
            }
            let other = self.owner(path, |prefix| {
                let rest = &path[prefix.len()..];
                prefix.ends_with('/') || rest.starts_with('/')
            });
            return other.is_some_and(|other| !self.covers(other, at));
        };
        if self.is_redirected(at, bare)
            || self.exact.contains_key(bare)
            || self.prefixes.contains_key(bare)
        {
            return false;
        }
        // It would take its path without the slash, too.
        let refuses_all = self.guard(at).is_some_and(|guards| guards.refuses_all);
        match self.owner(bare, |_| true) {
            Some(other) => !self.covers(at, other),
            None => !refuses_all,
        }
    }

    /// The longest other prefix of a path that is one by this rule.
    fn owner(&self, path: &str, is_one: impl Fn(&str) -> bool) -> Option<usize> {
        let lengths = (1..path.len()).rev();
        let mut shorter = lengths.filter_map(|length| path.get(..length));
        shorter.find_map(|prefix| {
            self.prefixes
                .get(prefix)
                .copied()
                .filter(|_| is_one(prefix))
        })
    }

    /// A prefix of whole segments.
    fn segments(&self, at: usize, path: &str) -> Place {
        let directive = self.locations[at].directive;
        let differs = |why: &str| Note::new(directive, Outcome::Differs, why);
        if path == "/" {
            return self.place(at, String::new(), None);
        }
        let bare = path.strip_suffix('/').unwrap_or(path);
        if path == bare && self.prefixes.contains_key(&format!("{path}/")) {
            let why = "it takes this path alone here, in NGINX also those that begin with it";
            let mut place = self.place(at, format!("path = {}", text(path)), None);
            place.notes.push(differs(why));
            return place;
        }
        let mut place = self.place(at, format!("path_prefix = {}", text(bare)), None);
        if path == bare {
            let why = format!("it does not take {bare}x here, as prefixes are whole segments");
            place.notes.push(differs(&why));
        } else {
            place.notes.extend(self.redirected(at, path, bare));
        }
        place
    }

    /// A note that a prefix takes its path without the slash, too.
    fn redirected(&self, at: usize, path: &str, bare: &str) -> Option<Note> {
        let directive = self.locations[at].directive;
        let why = format!("it takes {bare} as well, which NGINX redirects to {path}");
        (!self.exact.contains_key(bare)).then(|| Note::new(directive, Outcome::Differs, why))
    }
}
