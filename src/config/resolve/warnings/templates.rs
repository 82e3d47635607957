//! Templates in the language of another gateway: in texts that are filled in,
//! and in texts that are sent as they stand.
//!
//! Here `{name}` is the only sign for something that is filled in, and only
//! `rewrite`, the `to` of a redirection, `set_headers` and `add_headers` have
//! any. A `$host` from a file for NGINX would reach clients or servers as these
//! five characters.

use crate::config::{
    field::{Field, Given},
    problem::{Code, Problems},
    wire::{
        routes::Headers,
        scalar::{Scalar, Syntax},
        syntaxes::ChangeableHeader,
        tables::Pairs,
        transform::FilledHeaders,
    },
};
use crate::policy::RequestValue;

/// The beginnings of NGINX variables. A value may hold other dollar signs.
///
/// Some are whole names and others the beginning of many.
pub(super) const VARIABLES: [&str; 13] = [
    "$host", "$http_", "$remote_", "$proxy_", "$scheme", "$request", "$uri", "$args", "$server_",
    "$arg_", "$cookie_", "$is_args", "$realip_",
];

/// `:id`, the parameter of many routers.
pub(super) fn is_colon_parameter(segment: &str) -> bool {
    let name = segment.strip_prefix(':').unwrap_or_default();
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Reports `$host`, `$1` and the like in a text that is filled in for each
/// request.
///
/// `key` is `rewrite` or `to`. Only a redirection has `{host}` and `{path}` to
/// offer; a rewrite has the parameters of its path. The first finding is
/// reported.
pub(super) fn template<S: Syntax>(key: &str, field: &Field<Scalar<S>>, problems: &mut Problems) {
    let text = field.given().map_or("", |text| &text.text);
    let is_destination = key == "to";
    let at = field.at();
    let literal = |sign: &str| {
        format!("`{sign}` in `{key}` is sent as it stands: nothing is filled in there")
    };
    if let Some(name) = variable(text) {
        let help = match name {
            _ if !is_destination => "write a parameter of `match.path`, such as `{id}`",
            "host" | "http_host" | "server_name" => "write `{host}`",
            "request_uri" | "uri" => "write `{path}`, which holds the query too",
            _ => {
                "write `{host}`, `{path}` (with the query) or a parameter of `match.path` such as `{id}`"
            }
        };
        problems.warn(Code::Misleading, at, literal(&format!("${name}")), help);
        return;
    }
    let mut segments = text.split('/').skip(1);
    let colon = segments.find(|segment| is_colon_parameter(segment));
    let help = match colon {
        _ if !is_destination => return,
        Some(":path" | ":uri") => {
            "write `{path}`, which begins with `/` and holds the query".to_owned()
        }
        Some(colon) if colon != ":host" => {
            format!("write `{{{}}}`, a parameter of `match.path`", &colon[1..])
        }
        Some(_) => "write `{host}`".to_owned(),
        None if text.contains('*') => "write `{path}` for the path of the request".to_owned(),
        None if text.contains("/{path}") => {
            let message = "two slashes stand before the path that is filled in";
            let help = "write `{path}` alone, which begins with `/`";
            problems.warn(Code::Misleading, at, message, help);
            return;
        }
        None => return,
    };
    problems.warn(Code::Misleading, at, literal(colon.unwrap_or("*")), help);
}

/// The name after the first `$` that has one.
///
/// Names are letters, digits and `_`, so that `$1` of an expression is one,
/// too.
fn variable(text: &str) -> Option<&str> {
    let is_other = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let mut names = text
        .split('$')
        .skip(1)
        .filter_map(|after| after.split(is_other).next());
    names.find(|name| !name.is_empty())
}

/// Headers of a fixed response with places of templates: they are sent as they
/// stand.
pub(super) fn headers(entry: &Option<Field<Headers>>, problems: &mut Problems) {
    let help = "write it in `set_headers` of the route's `response`, whose values are filled in";
    values(entry, has_a_place, help, problems);
}

/// Values that are filled in with places in the language of another gateway.
pub(super) fn filled_headers(entry: &Option<Field<FilledHeaders>>, problems: &mut Problems) {
    let help = "write a placeholder such as `{client_ip}`, `{host}`, `{scheme}` or `{header:NAME}`";
    values(entry, has_a_foreign_place, help, problems);
}

/// Fields of which a message has one line (RFC 9110, 5.3): recipients refuse a
/// second one, or choose one of them.
const SINGLE: [&str; 14] = [
    "age",
    "authorization",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "location",
    "referer",
    "retry-after",
    "user-agent",
    "x-request-id",
];

/// Fields that are added and can only be set: those of which a message has one
/// line, and those with a value that a sender could choose in the gateway's
/// stead, as `can_be_forged` says.
pub(super) fn added(
    entry: &Option<Field<FilledHeaders>>,
    can_be_forged: fn(&RequestValue) -> bool,
    problems: &mut Problems,
) {
    let help = "write it in `set_headers`, which replaces the lines that are there";
    for pair in entry.elements() {
        let (Some(name), Some(text)) = (pair.name.read(), pair.field.value()) else {
            continue;
        };
        let message = if SINGLE.contains(&name.as_str()) {
            format!("a message has one `{name}`, and this may be the second")
        } else if let Some(value) = text.value.values().find(|value| can_be_forged(value)) {
            format!("a client can send a line `{name}` too, and choose its `{{{value}}}`")
        } else {
            continue;
        };
        problems.warn(Code::Misleading, pair.field.at(), message, help);
    }
}

/// Reports values in which nothing is filled in though they look like it.
fn values<V: Syntax>(
    entry: &Option<Field<Pairs<ChangeableHeader, V>>>,
    has_a_place: fn(&str) -> bool,
    help: &str,
    problems: &mut Problems,
) {
    for pair in entry.elements() {
        let (Some(name), Some(value)) = (pair.name.value(), pair.field.value()) else {
            continue;
        };
        let (name, text) = (&name.text, &value.text);
        if VARIABLES.into_iter().any(|sign| text.contains(sign)) || has_a_place(text) {
            let message =
                format!("the value of `{name}` is sent as it stands: nothing is filled in there");
            problems.warn(Code::Misleading, pair.field.at(), message, help);
        }
    }
}

/// `%[src]`, `%REQ(x)%`, `{{.Host}}`: places in the templates of other
/// gateways.
fn has_a_foreign_place(text: &str) -> bool {
    let begins = ["%[", "{{.", "%REQ(", "%DOWNSTREAM"];
    begins.into_iter().any(|begin| text.contains(begin))
}

/// `{client_ip}`, `%[src]`, `%REQ(x)%`, `{{.Host}}`: places in the templates of
/// other gateways.
///
/// Braces around a single word count; JSON in a header, which has quotes or
/// blanks between its braces, does not.
fn has_a_place(text: &str) -> bool {
    let is_of_word = |c: u8| c.is_ascii_alphanumeric() || b"_.>-".contains(&c);
    let mut after_braces = text.split('{').skip(1);
    let in_braces = after_braces.any(|after| {
        let word = after.split_once('}').map_or("", |(word, _)| word);
        !word.is_empty() && word.bytes().all(is_of_word)
    });
    let begins = ["%[", "{{", "%REQ(", "%DOWNSTREAM"];
    in_braces || begins.into_iter().any(|begin| text.contains(begin))
}
