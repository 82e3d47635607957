//! Protection against requests whose path a lenient service could take for a
//! path of another route.
//!
//! Routes are found by one normal form of the path, and a service behind them
//! may read the path in another way: an escaped slash, `..;`, letter case, a
//! slash at the end. Such a path must not give a request anything that the
//! other route would refuse, and through a route that rewrites, nothing outside
//! of the place that the route opens.
//!
//! Routes and patterns are prepared by a reload. A request costs more only if
//! its path contains a byte that can be read in two ways, or, where routes
//! differ in their policies, if the path is not in lower case.
//!
//! A path is treated in one of two ways. One that a service could only take for
//! another after decoding it in an unusual way is refused
//! ([`check`](Disguises::check)): no ordinary client sends it. One that differs
//! in letter case or a slash at the end is ordinary, and is served by the
//! stricter of the two routes ([`respell`](Disguises::respell)), or refused if
//! neither is stricter.

use std::{borrow::Cow, iter, sync::Arc};

use super::{
    compared_route::ComparedRoute,
    path_variants::{self, PathVariant},
    table::{Found, Lookup, RouteTable},
};
use crate::{
    error::Error,
    layer::after_prefix,
    policy::{Match, PathPattern, Rewrite, Route, Upstream},
};

/// Longest path, in bytes, whose variants are examined; a longer one is refused
/// wherever they could matter. Variants cost some nanoseconds for each byte,
/// and ordinary paths with escaped slashes are far shorter.
const MAX_BYTES: usize = 4096;

/// The refusal of a path that only unusual decoding could lead elsewhere.
const DISGUISED: Error = Error::AmbiguousPath(
    "a service may take it for a path of another route, or for one that no route opens; \
     write it without dot segments, escaped slashes, backslashes and `;`",
);
/// The refusal of a spelling of which neither route is the stricter one.
const SPELLED: Error = Error::AmbiguousPath(
    "a service may take it for a path of another route, whose policies differ; \
     write it in that route's letter case and without a slash at its end",
);

/// The routes of one configuration, prepared to detect disguised paths.
#[derive(Debug)]
pub(crate) struct Disguises {
    /// All routes, by the indices that the table of routes finds.
    routes: Vec<ComparedRoute>,
    /// The routes by the folded form of their patterns; `None` if no request
    /// could evade a route.
    folded: Option<RouteTable>,
    /// Some route has a policy that another one lacks.
    differ: bool,
    /// A pattern differs from its folded form, so that a request may differ
    /// from the pattern although it is folded itself.
    patterns_vary: bool,
    /// A pattern is a regular expression, whose folded form may still require a
    /// slash at the end.
    has_regexes: bool,
}

impl Disguises {
    /// Prepares the routes and patterns.
    ///
    /// # Errors
    /// If the regular expressions do not compile together.
    pub(crate) fn build(
        routes: &[Arc<Route>],
        upstreams: &[Arc<Upstream>],
    ) -> Result<Self, regex::Error> {
        let compared = ComparedRoute::all(routes, upstreams);
        let differ = match compared.split_first() {
            Some((first, others)) => others.iter().any(|other| other.differs_from(first)),
            None => false,
        };
        let matters = differ
            || compared
                .iter()
                .any(|route| route.forwards() && !route.place().is_empty());
        let folded = if matters {
            Some(RouteTable::build(&folded_matches(routes))?)
        } else {
            None
        };
        let mut patterns_vary = false;
        let mut has_regexes = false;
        for route in routes {
            let path = &route.matches.path;
            patterns_vary |= varies(path);
            has_regexes |= matches!(path, PathPattern::Regex(_));
        }
        Ok(Self {
            routes: compared,
            folded,
            differ,
            patterns_vary,
            has_regexes,
        })
    }

    /// Refuses a request that a lenient service could take for one of another
    /// route. `received` is its path as received.
    ///
    /// # Errors
    /// [`Error::AmbiguousPath`].
    pub(super) fn check(
        &self,
        found: &Found,
        lookup: &Lookup<'_>,
        received: &[u8],
    ) -> Result<(), Error> {
        let Some(own) = self.routes.get(found.index) else {
            return Ok(());
        };
        if !own.forwards() {
            return Ok(());
        }
        // A route that rewrites works on the normal form; others send the path
        // as received.
        let sent = if own.rewrites() {
            lookup.path
        } else {
            received
        };
        if path_variants::is_plain(sent) {
            return Ok(());
        }
        let is_refused = if sent.len() > MAX_BYTES {
            self.folded.is_some() || own.rewrites()
        } else {
            leaves_rewrite(own.rewrite(), found, sent)
                || (self.folded.is_some()
                    && path_variants::any(sent, |variant| {
                        self.evades(found.index, variant, lookup)
                    }))
        };
        if is_refused { Err(DISGUISED) } else { Ok(()) }
    }

    /// Whether the path would evade the route of this variant, if that is
    /// another route.
    ///
    /// `index` is the route that the normal form of the path has found. A
    /// variant evades in two ways: it leads to a path that no route opens and
    /// that is outside of the place of the route, or it leads to a route whose
    /// policies are stricter or, outside of that place, whose server or rewrite
    /// is another one.
    fn evades(&self, index: usize, variant: &PathVariant, lookup: &Lookup<'_>) -> bool {
        let (Some(own), Some(table)) = (self.routes.get(index), &self.folded) else {
            return false;
        };
        let stays = after_prefix(&variant.path, own.place()).is_some();
        let mut is_opened = false;
        for folded in self.foldings(&variant.path) {
            let Some(found) = table.find_as(lookup, &folded) else {
                continue;
            };
            is_opened = true;
            let Some(other) = self.routes.get(found.index) else {
                continue;
            };
            let is_around = other.place().len() <= own.place().len();
            if found.index == index || (variant.keeps_dots && is_around) {
                continue;
            }
            if own.gives_more_than(other) || !(own.leads_as(other) || (stays && is_around)) {
                return true;
            }
        }
        // Within its own place, a route may have paths that its pattern does
        // not spell out.
        !is_opened && !stays && !variant.keeps_dots
    }

    /// The folded forms of a path: the one without a slash at its end and,
    /// where a regular expression may ask for it, the one with it.
    fn foldings<'p>(&self, path: &'p [u8]) -> impl Iterator<Item = Cow<'p, [u8]>> + use<'p> {
        let folded = fold(path);
        let with_slash = if self.has_regexes && !folded.ends_with(b"/") {
            Some(Cow::Owned([&folded[..], b"/"].concat()))
        } else {
            None
        };
        iter::once(folded).chain(with_slash)
    }

    /// Whether a path may be another spelling of one that another route takes:
    /// routes differ in their policies, and the path differs from its folded
    /// form, or a pattern does.
    pub(super) fn may_be_respelled(&self, path: &[u8]) -> bool {
        self.differ && (self.patterns_vary || is_varied(path))
    }

    /// The route that is meant if a path differs from its pattern only in
    /// letter case or a slash at the end, and it has a policy that the route at
    /// `index` lacks. Returns the route with the path in its spelling. Ask only
    /// for paths that [may be respelled](Self::may_be_respelled).
    ///
    /// # Errors
    /// [`Error::AmbiguousPath`] if neither of the two is stricter than the
    /// other.
    pub(super) fn respell(
        &self,
        index: usize,
        lookup: &Lookup<'_>,
    ) -> Result<Option<(Found, Vec<u8>)>, Error> {
        let Some(own) = self.routes.get(index) else {
            return Ok(None);
        };
        if !own.forwards() {
            return Ok(None);
        }
        let Some((found, folded)) = self.other_route(index, lookup) else {
            return Ok(None);
        };
        let Some(other) = self.routes.get(found.index) else {
            return Ok(None);
        };
        let was_meant = own.is_as_explicit_as(other) || other.redirects_to(lookup.path);
        if was_meant || !own.shares_server(other) || !own.gives_more_than(other) {
            return Ok(None);
        }
        // A rewrite would send the folded path.
        let rewrites = other.forwards() && (own.rewrites() || other.rewrites());
        if rewrites || other.gives_more_than(own) {
            return Err(SPELLED);
        }
        Ok(Some((found, folded.into_owned())))
    }

    /// The route that takes a folded form of the path and is not the one at
    /// `index`, with that form.
    fn other_route<'r>(&self, index: usize, lookup: &Lookup<'r>) -> Option<(Found, Cow<'r, [u8]>)> {
        let table = self.folded.as_ref()?;
        for folded in self.foldings(lookup.path) {
            if let Some(found) = table.find_as(lookup, &folded)
                && found.index != index
            {
                return Some((found, folded));
            }
        }
        None
    }
}

/// Whether a variant of the part that a rewrite appends leads above the place
/// that it is appended to.
///
/// A template is checked parameter by parameter, since each of them is put
/// between fixed parts.
fn leaves_rewrite(rewrite: &Rewrite, found: &Found, sent: &[u8]) -> bool {
    match rewrite {
        Rewrite::None => false,
        Rewrite::Prefix { strip, .. } => climbs(after_prefix(sent, strip).unwrap_or(sent)),
        Rewrite::Template(_) => found
            .parameters
            .iter()
            .any(|(_, value)| climbs(value.as_bytes())),
    }
}

/// Whether a variant of this part of a path leads above the part's beginning.
fn climbs(part: &[u8]) -> bool {
    path_variants::any(part, |variant| variant.climbs)
}

/// A path in lower case and without a slash at its end.
///
/// The root keeps its slash. A path that is folded already is not copied.
fn fold(path: &[u8]) -> Cow<'_, [u8]> {
    if !is_varied(path) {
        return Cow::Borrowed(path);
    }
    let path = match path {
        [rest @ .., b'/'] if !rest.is_empty() => rest,
        _ => path,
    };
    Cow::Owned(path.to_ascii_lowercase())
}

/// Whether a path may differ from its folded form.
fn is_varied(path: &[u8]) -> bool {
    (path.len() > 1 && path.ends_with(b"/")) || has_capital(path)
}

/// Whether a path contains a capital ASCII letter. Letter case beyond ASCII is
/// escaped in the normal form, and services compare escapes byte by byte.
fn has_capital(path: &[u8]) -> bool {
    // Without an early end, so that the compiler can process many bytes at
    // once.
    let mut has_capital = false;
    for byte in path {
        has_capital |= byte.is_ascii_uppercase();
    }
    has_capital
}

/// Whether a path that is folded itself may differ from what this pattern
/// takes.
fn varies(pattern: &PathPattern) -> bool {
    match pattern {
        PathPattern::Any => false,
        PathPattern::Regex(pattern) => {
            pattern.trim_end_matches(['$', ')']).ends_with('/') || has_capital(pattern.as_bytes())
        }
        // Escapes are in upper case in the normal form of requests too.
        PathPattern::Exact(path) | PathPattern::Prefix(path) | PathPattern::Parameters(path) => {
            upper_escapes(&folded(path)) != *path
        }
    }
}

/// The path with its escapes in upper case, as the normal form has them.
fn upper_escapes(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (escape, rest) = piece.split_at_checked(2).unwrap_or((piece, ""));
        out.push('%');
        out.push_str(&escape.to_ascii_uppercase());
        out.push_str(rest);
    }
    out
}

/// The conditions of all routes, with folded patterns.
fn folded_matches(routes: &[Arc<Route>]) -> Vec<Match> {
    let mut matches = Vec::with_capacity(routes.len());
    for route in routes {
        matches.push(Match {
            path: folded_pattern(&route.matches.path),
            ..route.matches.clone()
        });
    }
    matches
}

/// A pattern that takes the folded form of whatever `pattern` takes.
///
/// An expression ignores case instead of being rewritten.
fn folded_pattern(pattern: &PathPattern) -> PathPattern {
    match pattern {
        PathPattern::Any => PathPattern::Any,
        PathPattern::Prefix(path) => PathPattern::Prefix(folded(path)),
        PathPattern::Exact(path) => PathPattern::Exact(folded(path)),
        PathPattern::Parameters(path) => PathPattern::Parameters(folded(path)),
        PathPattern::Regex(pattern) => PathPattern::Regex(format!("(?i){pattern}")),
    }
}

/// The path of a pattern in lower case and without a slash at its end.
///
/// The names of parameters keep their case, as they are no part of a path.
fn folded(path: &str) -> String {
    let path = match path.strip_suffix('/') {
        Some(rest) if !rest.is_empty() => rest,
        _ => path,
    };
    let mut segments = Vec::new();
    for segment in path.split('/') {
        segments.push(if segment.starts_with('{') {
            segment.to_owned()
        } else {
            segment.to_ascii_lowercase()
        });
    }
    segments.join("/")
}
