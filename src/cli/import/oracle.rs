//! Routes against a model of NGINX, for random locations and requests: a
//! request that NGINX refuses is never passed on.
//!
//! Paths come from a tiny alphabet, so that locations overlap often. The model
//! looks for a location in the way of `ngx_http_core_find_location`.

use http::Method;
use proptest::{collection::vec, prelude::*, sample::select};

use super::imported;
use crate::{
    config::{Environment, parse},
    gateway::table::{Lookup, RouteTable},
    message::Headers,
    policy::Action,
    telemetry::FixedFields,
};

/// A location with those in it.
#[derive(Debug, Clone)]
struct Location {
    sign: &'static str,
    pattern: String,
    /// Its directives.
    inside: &'static str,
    inner: Vec<Location>,
}

/// Directives of a location: what it does, and who may use it.
const INSIDE: [&str; 11] = [
    "proxy_pass http://u;",
    "proxy_pass http://u;",
    "proxy_pass http://u; deny all;",
    "proxy_pass http://u; allow 10.0.0.0/8; deny all;",
    "proxy_pass http://u; deny 10.0.0.0/8;",
    "proxy_pass http://u; limit_except GET { deny all; }",
    "proxy_pass http://u; limit_except POST { deny all; } deny 10.0.0.0/8;",
    "proxy_pass http://u; auth_basic x;",
    "return 403;",
    "return 200 x;",
    "root /srv;",
];
const PREFIXES: [&str; 9] = [
    "/", "/a", "/a/", "/ab", "/a/b", "/a/b/", "/b", "/b/", "/b/a",
];
const EXPRESSIONS: [&str; 9] = [
    "^/a",
    "\\.x$",
    "^/a/(a|b)$",
    "b$",
    "/a",
    "^/b/a",
    "^/b(?!a)",
    "a(?!b)/",
    "^/(a)/\\1",
];

fn location(depth: usize) -> BoxedStrategy<Location> {
    let inner = match depth {
        0 => Just(Vec::new()).boxed(),
        depth => vec(location(depth - 1), 0..3).boxed(),
    };
    let sign = select(vec!["", "", "^~", "=", "~", "~"]);
    (
        sign,
        select(&PREFIXES[..]),
        select(&EXPRESSIONS[..]),
        select(&INSIDE[..]),
        inner,
    )
        .prop_map(|(sign, prefix, expression, inside, inner)| Location {
            sign,
            pattern: if sign == "~" { expression } else { prefix }.to_owned(),
            inside,
            inner: if sign == "=" { Vec::new() } else { inner },
        })
        .boxed()
}

/// Makes the locations ones that NGINX accepts.
fn settle(locations: &mut Vec<Location>, outer: Option<(&str, &str)>) {
    let mut seen = Vec::new();
    locations.retain(|location| {
        let is_within = match outer {
            Some(("~", _)) => location.sign == "~",
            Some((_, outer)) => location.sign == "~" || location.pattern.starts_with(outer),
            None => true,
        };
        let key = (location.sign.replace("^~", ""), location.pattern.clone());
        let is_new = !seen.contains(&key);
        seen.push(key);
        is_within && is_new
    });
    for location in locations {
        let (sign, pattern) = (location.sign, location.pattern.clone());
        settle(&mut location.inner, Some((sign, &pattern)));
    }
}

fn text(locations: &[Location]) -> String {
    let one = |location: &Location| {
        let (inside, inner) = (location.inside, text(&location.inner));
        format!(
            "location {} {} {{ {inside} {inner} }}\n",
            location.sign, location.pattern
        )
    };
    locations.iter().map(one).collect()
}

/// The outcome of a search in NGINX.
#[derive(Debug, Clone, Copy)]
enum Found<'l> {
    /// The end of the search, at a location.
    Done(&'l Location),
    /// A redirect to the path with a slash.
    Redirect,
    /// A prefix, or nothing: expressions are asked.
    Declined(Option<&'l Location>),
}

fn is_found(expression: &str, path: &str) -> bool {
    match expression {
        "^/b(?!a)" => path.starts_with("/b") && !path.starts_with("/ba"),
        "a(?!b)/" => path.contains("a/"),
        "^/(a)/\\1" => path.starts_with("/a/a"),
        expression => regex::Regex::new(expression).unwrap().is_match(path),
    }
}

fn find<'l>(level: &'l [Location], path: &str) -> Found<'l> {
    let has = |sign: &'static str| level.iter().filter(move |location| location.sign == sign);
    if let Some(exact) = has("=").find(|location| location.pattern == path) {
        return Found::Done(exact);
    }
    let prefixes = || has("").chain(has("^~"));
    let with_slash = format!("{path}/");
    let is_redirected = |location: &&Location| {
        location.pattern == with_slash && location.inside.contains("proxy_pass")
    };
    let is_exact = |location: &&Location| location.pattern == path;
    if prefixes().any(|one| is_redirected(&one)) && !prefixes().any(|one| is_exact(&one)) {
        return Found::Redirect;
    }
    let matching = prefixes().filter(|location| path.starts_with(&location.pattern));
    let longest = matching.max_by_key(|location| location.pattern.len());
    let mut found = longest;
    if let Some(longest) = longest {
        match find(&longest.inner, path) {
            Found::Declined(inner) => found = inner.or(found),
            other => return other,
        }
    }
    if longest.is_none_or(|longest| longest.sign != "^~") {
        let mut expressions = has("~");
        if let Some(first) = expressions.find(|location| is_found(&location.pattern, path)) {
            return match find(&first.inner, path) {
                Found::Declined(inner) => Found::Done(inner.unwrap_or(first)),
                other => other,
            };
        }
    }
    Found::Declined(found)
}

/// Whether the directives that count at a location refuse a request, or lead it
/// to files. `lists` are inherited.
fn refuses(locations: &[Location], found: &Location, method: &Method, is_ten: bool) -> bool {
    let mut around = Vec::new();
    assert!(path_to(locations, found, &mut around));
    let own = found.inside;
    let rules = around.iter().rev().map(|place| without_methods(place));
    let access = rules.into_iter().find(|rules| rules.contains("deny"));
    let is_denied = match access.unwrap_or_default() {
        text if text.contains("allow 10") => !is_ten,
        text if text.contains("deny all") => true,
        text => text.contains("deny 10") && is_ten,
    };
    let is_asked = around.iter().any(|place| place.contains("auth_basic"));
    let is_excepted = match own {
        text if text.contains("limit_except GET") => *method != Method::GET,
        text if text.contains("limit_except POST") => *method != Method::POST,
        _ => false,
    };
    // A `return` comes before the rules.
    match own {
        "return 200 x;" => false,
        "return 403;" | "root /srv;" => true,
        _ => is_denied || is_excepted || is_asked,
    }
}

/// Directives without `limit_except`, whose rules are for other methods.
fn without_methods(inside: &str) -> String {
    match inside.split_once("limit_except") {
        Some((before, rest)) => format!("{before}{}", rest.split_once('}').unwrap().1),
        None => inside.to_owned(),
    }
}

/// The directives around a location, outermost first, with its own.
fn path_to<'l>(level: &'l [Location], found: &Location, around: &mut Vec<&'l str>) -> bool {
    for location in level {
        around.push(location.inside);
        if std::ptr::eq(location, found) || path_to(&location.inner, found, around) {
            return true;
        }
        around.pop();
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_request_that_nginx_refuses_is_never_passed_on(
        mut locations in vec(location(1), 1..6),
        paths in vec("(/[ab]{1,2}){1,3}(/|\\.x)?", 1..24),
    ) {
        settle(&mut locations, None);
        let source = format!("http {{ upstream u {{ server 10.0.0.1; }} server {{ listen 80;\n{} }} }}", text(&locations));
        let made = imported(source.as_bytes()).unwrap();
        let config = parse("tidegate.toml", &made, &Environment::new());
        let config = config.map_err(|mistakes| mistakes.render(false)).unwrap();
        let matches = config.routes.iter().map(|route| &route.matches);
        let table = RouteTable::build(matches).unwrap();
        for path in &paths {
            for (method, client) in [
                (Method::GET, [10, 0, 0, 1]),
                (Method::POST, [10, 0, 0, 1]),
                (Method::GET, [192, 0, 2, 1]),
                (Method::POST, [192, 0, 2, 1]),
            ] {
                let is_refused = match find(&locations, path) {
                    Found::Redirect => continue,
                    Found::Done(found) | Found::Declined(Some(found)) => {
                        refuses(&locations, found, &method, client[0] == 10)
                    }
                    Found::Declined(None) => true,
                };
                let route = table.find(&Lookup {
                    host: "a.example",
                    path: path.as_bytes(),
                    method: &method,
                    headers: &Headers::default(),
                    query: None,
                    listener: &FixedFields::listener("web".into()),
                    client: client.into(),
                });
                let action = route.map(|found| &config.routes[found.index].action);
                let refuses = match action {
                    None => true,
                    Some(Action::Respond { status, .. }) => status.as_u16() >= 400,
                    Some(_) => false,
                };
                prop_assert!(
                    refuses || !is_refused,
                    "{} {} {:?}\n{}\n{}", method, path, client, source, made
                );
            }
        }
    }
}
