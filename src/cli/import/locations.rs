//! `location`: how it is compared, and with what.

use super::{scope::Scope, tree::Directive};

/// How a location is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Exact,
    Prefix,
    /// `^~`
    FirstPrefix,
    Regex,
    /// `~*`
    AnyCase,
    /// `@name`, to which other directives lead.
    Named,
}

/// A location, with what it inherits.
#[derive(Debug)]
pub(super) struct Location<'a> {
    pub(super) kind: Kind,
    pub(super) pattern: String,
    pub(super) directive: &'a Directive,
    pub(super) scope: Scope<'a>,
    /// The directives that no scope has.
    pub(super) others: Vec<&'a Directive>,
    /// The location that it stands in, as an index.
    pub(super) outer: Option<usize>,
    /// Locations that it stands in.
    pub(super) depth: usize,
    /// It is written with `^~`.
    pub(super) is_first: bool,
}

/// The locations of a server, those within others too, in the order of the
/// source.
///
/// Of a prefix within a prefix, `^~` of the outermost one decides whether
/// expressions of the server are asked.
pub(super) fn of<'a>(
    scope: &Scope<'a>,
    others: &[&'a Directive],
    outer: Option<usize>,
    found: &mut Vec<Location<'a>>,
) {
    for directive in others
        .iter()
        .filter(|directive| directive.name == "location")
    {
        directive.read();
        let (mut kind, pattern) = kind(directive);
        let is_first = kind == Kind::FirstPrefix;
        let (inner, inside) = scope.enter(directive.inside());
        let at = found.len();
        let around = outer.map(|outer| &found[outer]);
        if let Some(around) = around.filter(|around| around.is_prefix())
            && matches!(kind, Kind::Prefix | Kind::FirstPrefix)
        {
            kind = around.kind;
        }
        let depth = around.map_or(0, |around| around.depth + 1);
        found.push(Location {
            kind,
            pattern,
            directive,
            scope: inner.clone(),
            others: Vec::new(),
            outer,
            depth,
            is_first,
        });
        of(&inner, &inside, Some(at), found);
        found[at].others = inside;
    }
}

/// Reads `location ~* \.png$`, also without a blank behind the sign.
fn kind(directive: &Directive) -> (Kind, String) {
    let signs = [
        ("=", Kind::Exact),
        ("^~", Kind::FirstPrefix),
        ("~*", Kind::AnyCase),
        ("~", Kind::Regex),
    ];
    let (first, second) = (directive.argument(0), directive.arguments.get(1));
    if let Some(pattern) = second {
        let sign = signs.iter().find(|(sign, _)| *sign == first);
        return (
            sign.map_or(Kind::Prefix, |(_, kind)| *kind),
            pattern.clone(),
        );
    }
    let joined = signs
        .iter()
        .find_map(|(sign, kind)| Some((*kind, first.strip_prefix(sign)?)));
    match joined {
        Some((kind, pattern)) => (kind, pattern.to_owned()),
        None if first.starts_with('@') => (Kind::Named, first.to_owned()),
        // An empty prefix takes every path, too.
        None if first.is_empty() => (Kind::Prefix, "/".to_owned()),
        None => (Kind::Prefix, first.to_owned()),
    }
}

impl Location<'_> {
    /// As names of routes have it.
    pub(super) fn shown(&self) -> String {
        match self.kind {
            Kind::Exact => format!(" = {}", self.pattern),
            Kind::Regex | Kind::AnyCase => format!(" ~ {}", self.pattern),
            _ => self.pattern.clone(),
        }
    }

    pub(super) fn is_prefix(&self) -> bool {
        matches!(self.kind, Kind::Prefix | Kind::FirstPrefix)
    }
}

/// A path as requests have it: NGINX compares decoded ones.
pub(super) fn escaped(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        let is_plain = byte.is_ascii_graphic() && !br#"%"<>\^`{|}[]?#"#.contains(&byte);
        match is_plain {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
