//! The action of a location: `proxy_pass`, `return`, or something that a
//! gateway does not do.

use super::{
    locations::{Kind, Location, escaped},
    notes::{Note, Outcome},
    toml::{self, text},
    tree::Directive,
    upstreams::Destination,
    variables::{Known, Piece, pieces, redirect_template, without_variables},
};

/// Directives that answer with files, or through other protocols than HTTP.
const CONTENT: [&str; 13] = [
    "alias",
    "fastcgi_pass",
    "uwsgi_pass",
    "scgi_pass",
    "memcached_pass",
    "try_files",
    "stub_status",
    "empty_gif",
    "flv",
    "mp4",
    "random_index",
    "content_by_lua_block",
    "content_by_lua_file",
];

/// Whether a directive says what a location answers with.
pub(super) fn is_content(name: &str) -> bool {
    CONTENT.contains(&name)
}

/// The action of a route.
#[derive(Debug)]
pub(super) enum Action {
    /// To an upstream, with the keys of `request` that change the path.
    Pass { to: Destination, path: Vec<String> },
    /// `key = value` of a response or a redirect.
    Answer(String),
    /// It leads to nothing that the gateway does.
    Nothing,
}

/// Reads `return` of a place; `None` if it has none.
pub(super) fn returned(
    others: &[&Directive],
    known: Known<'_>,
    default_type: Option<&str>,
    notes: &mut Vec<Note>,
) -> Option<Action> {
    let directive = others.iter().find(|directive| directive.name == "return")?;
    directive.read();
    let (first, second) = (directive.argument(0), directive.argument(1));
    let (status, value) = match first.parse::<u16>() {
        Ok(status) => (status, second),
        Err(_) => (302, first),
    };
    let mut note = |outcome, why: &str| notes.push(Note::new(directive, outcome, why));
    match status {
        301 | 302 | 303 | 307 | 308 => match redirect_template(value, known) {
            Ok(to) => {
                let to = text(&to);
                Some(Action::Answer(format!(
                    "redirect = {{ to = {to}, status = {status} }}"
                )))
            }
            Err(variable) => {
                note(
                    Outcome::Lost,
                    &format!("${variable} has no place in a redirect"),
                );
                Some(Action::Nothing)
            }
        },
        444 => {
            note(
                Outcome::Differs,
                "the connection is not closed without a response; the status is 403",
            );
            Some(Action::Answer("respond = { status = 403 }".to_owned()))
        }
        200..600 => {
            let Some(body) = without_variables(value) else {
                note(Outcome::Lost, "the body of a response has no variables");
                return Some(Action::Nothing);
            };
            Some(Action::Answer(respond(status, &body, default_type)))
        }
        _ => {
            note(Outcome::Lost, "a response has a status from 200 to 599");
            Some(Action::Nothing)
        }
    }
}

/// A response of the gateway itself. NGINX has a page of its own for an error
/// without a text.
fn respond(status: u16, body: &str, default_type: Option<&str>) -> String {
    let mut keys = vec![format!("status = {status}")];
    if !body.is_empty() && !matches!(status, 204 | 205 | 304) {
        let kind = default_type.unwrap_or("text/plain");
        keys.push(format!("body = {}", text(body)));
        let kind = [("content-type".to_owned(), kind.to_owned())];
        keys.push(format!("headers = {}", toml::table(&kind)));
    }
    format!("respond = {{ {} }}", keys.join(", "))
}

/// Where a location leads. `within` has the directives of all places on the way,
/// and `set` of the server: these give variables their values.
pub(super) fn content(
    location: &Location<'_>,
    within: &[&Directive],
    notes: &mut Vec<Note>,
) -> Action {
    let passes =
        |directive: &&&Directive| matches!(directive.name.as_str(), "proxy_pass" | "grpc_pass");
    let mut others = location.others.iter();
    // A file that is there comes before the service.
    let tries = others.clone().find(|other| other.name == "try_files");
    let pass = others.clone().find(passes).filter(|_| tries.is_none());
    if let Some(directive) = pass {
        return passed(directive, location, within, notes);
    }
    let file = tries.or_else(|| others.find(|other| CONTENT.contains(&other.name.as_str())));
    let (directive, why) = match file {
        Some(directive) => match directive.name.as_str() {
            "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "memcached_pass" => {
                (*directive, "services speak HTTP")
            }
            "content_by_lua_block" | "content_by_lua_file" => (*directive, "there is no Lua"),
            "stub_status" => (*directive, "metrics are on the admin listener, at /metrics"),
            _ => (*directive, "files are served by a service"),
        },
        None => (
            location.directive,
            "it has no `proxy_pass`, `grpc_pass` or `return`, and files are served by a service",
        ),
    };
    notes.push(Note::new(directive, Outcome::Lost, why));
    Action::Nothing
}

/// Reads `proxy_pass http://backend/path/`.
fn passed(
    directive: &Directive,
    location: &Location<'_>,
    within: &[&Directive],
    notes: &mut Vec<Note>,
) -> Action {
    directive.read();
    let mut lost = |why: &str| {
        notes.push(Note::new(directive, Outcome::Lost, why));
        Action::Nothing
    };
    let url = substituted(directive.argument(0), within);
    let had_variables = url != directive.argument(0);
    let is_grpc = directive.name == "grpc_pass";
    let schemes = [
        ("https://", true),
        ("http://", false),
        ("grpcs://", true),
        ("grpc://", false),
    ];
    let found = schemes
        .iter()
        .find_map(|(scheme, is_secure)| Some((url.strip_prefix(scheme)?, *is_secure)));
    let (rest, is_secure) = match found {
        Some(found) => found,
        None if is_grpc => (url.as_str(), false),
        None => return lost("it leads to no URL of http or https"),
    };
    // The path as received is what is sent anyway.
    let rest = rest.strip_suffix("$request_uri").unwrap_or(rest);
    if without_variables(rest).is_none() {
        return lost("an upstream is chosen by the route, not by variables");
    }
    let (authority, uri) = split(rest);
    let to = Destination {
        authority: authority.to_owned(),
        is_secure,
        is_http2: is_grpc,
    };
    match uri {
        None => Action::Pass {
            to,
            path: Vec::new(),
        },
        Some(_) if had_variables => {
            lost("each request gets the same path, because there are variables")
        }
        Some(uri) => {
            let path = path(directive, location, uri, notes);
            Action::Pass { to, path }
        }
    }
}

/// The authority, and the path if there is one. That of a socket ends with a
/// colon.
fn split(rest: &str) -> (&str, Option<&str>) {
    if let Some(socket) = rest.strip_prefix("unix:") {
        return match socket.find(':') {
            Some(at) => {
                let uri = &socket[at + 1..];
                (
                    &rest[..at + "unix:".len()],
                    Some(uri).filter(|uri| !uri.is_empty()),
                )
            }
            None => (rest, None),
        };
    }
    match rest.find('/') {
        Some(at) => (&rest[..at], Some(&rest[at..])),
        None => (rest, None),
    }
}

/// The keys that replace the path of the location with that of `proxy_pass`.
fn path(
    directive: &Directive,
    location: &Location<'_>,
    uri: &str,
    notes: &mut Vec<Note>,
) -> Vec<String> {
    if uri.contains('?') {
        let why = "its query is not sent; requests keep the one of the client";
        notes.push(Note::new(directive, Outcome::Lost, why));
    }
    let uri = uri.split(['?', '#']).next().unwrap_or(uri);
    let from = escaped(&location.pattern);
    if location.kind == Kind::Exact {
        return match uri == from {
            true => Vec::new(),
            false => vec![format!("rewrite = {}", text(uri))],
        };
    }
    let is_whole = from.ends_with('/') == uri.ends_with('/');
    if !is_whole {
        let sent = format!("{uri}{}", if from.ends_with('/') { "x" } else { "/x" });
        let below = format!("{}/x", from.trim_end_matches('/'));
        let why = format!(
            "NGINX sends {below} as {sent}; here as {}/x",
            uri.trim_end_matches('/')
        );
        notes.push(Note::new(directive, Outcome::Differs, why));
    }
    prefixes(from.trim_end_matches('/'), uri.trim_end_matches('/'))
}

/// The keys that replace a prefix with another one, both without a slash at the
/// end.
pub(super) fn prefixes(from: &str, to: &str) -> Vec<String> {
    let mut keys = Vec::new();
    if from != to {
        keys.extend((!from.is_empty()).then(|| format!("strip_prefix = {}", text(from))));
        keys.extend((!to.is_empty()).then(|| format!("add_prefix = {}", text(to))));
    }
    keys
}

/// A text in which variables that `set` gives a fixed value are replaced.
fn substituted(text: &str, others: &[&Directive]) -> String {
    let replaced = |piece: Piece| match piece {
        Piece::Literal(text) => text,
        Piece::Variable(name) => fixed(&name, others).unwrap_or_else(|| format!("${name}")),
    };
    pieces(text).into_iter().map(replaced).collect()
}

/// The value that the last `set` of a variable gives it, if that is a fixed one.
fn fixed(name: &str, others: &[&Directive]) -> Option<String> {
    let sets_it = |other: &&&Directive| {
        other.name == "set" && other.argument(0).trim_start_matches('$') == name
    };
    without_variables(others.iter().rev().find(sets_it)?.argument(1))
}

#[cfg(test)]
mod tests {
    use super::super::imported;

    #[test]
    fn the_query_of_a_url_is_said_to_be_lost() {
        let text = "http { server { location /a/ { proxy_pass http://s/x?y=1; } } }";
        let made = imported(text.as_bytes()).unwrap();
        let comment = "proxy_pass http://s/x?y=1; -- not carried over: its query is not sent";
        assert!(made.contains(comment), "{made}");
    }
}
