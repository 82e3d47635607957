//! Templates in the language of another gateway: in texts that are filled in,
//! and in texts that are sent as they stand.

use super::super::super::{
    field::{Field, Given},
    problem::{Code, Problems},
    wire::{
        routes::Headers,
        text::{Syntax, Text},
    },
};

/// The beginnings of NGINX variables. A value may hold other dollar signs.
pub(super) const VARIABLES: [&str; 13] = [
    "$host", "$http_", "$remote_", "$proxy_", "$scheme", "$request", "$uri", "$args", "$server_",
    "$arg_", "$cookie_", "$is_args", "$realip_",
];

/// `:id`, the parameter of many routers.
pub(super) fn is_colon_parameter(segment: &str) -> bool {
    segment
        .strip_prefix(':')
        .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

/// `$host` and `$1` in what is filled in for each request.
pub(super) fn template<S: Syntax>(key: &str, field: &Field<Text<S>>, problems: &mut Problems) {
    let Some(Text { text, .. }) = field.given() else {
        return;
    };
    let at = field.at();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let word = text
        .split('$')
        .skip(1)
        .map(|after| after.split(|c| !is_word(c)).next().unwrap_or_default());
    if let Some(word) = word.into_iter().find(|word| !word.is_empty()) {
        let message =
            format!("`${word}` in `{key}` is sent as it stands: nothing is filled in there");
        let help = match (key, word) {
            ("to", "host" | "http_host" | "server_name") => "write `{host}`",
            ("to", "request_uri" | "uri") => "write `{path}`, which holds the query too",
            ("to", _) => {
                "write `{host}`, `{path}` (with the query) or a parameter of `match.path` such as `{id}`"
            }
            _ => "write a parameter of `match.path`, such as `{id}`",
        };
        problems.warn(Code::Misleading, at, message, help);
        return;
    }
    if key != "to" {
        return;
    }
    let colon = text
        .split('/')
        .skip(1)
        .find(|segment| is_colon_parameter(segment));
    let (sign, help) = match colon {
        Some(":path" | ":uri") => (
            colon.unwrap_or_default(),
            "write `{path}`, which begins with `/` and holds the query".to_owned(),
        ),
        Some(":host") => (":host", "write `{host}`".to_owned()),
        Some(colon) => (
            colon,
            format!("write `{{{}}}`, a parameter of `match.path`", &colon[1..]),
        ),
        None if text.contains('*') => {
            ("*", "write `{path}` for the path of the request".to_owned())
        }
        None if text.contains("/{path}") => (
            "/{path}",
            "write `{path}` alone, which begins with `/`".to_owned(),
        ),
        None => return,
    };
    let message = match sign {
        "/{path}" => "two slashes stand before the path that is filled in".to_owned(),
        sign => format!("`{sign}` in `{key}` is sent as it stands: nothing is filled in there"),
    };
    problems.warn(Code::Misleading, at, message, help);
}

/// Values of headers with places of other templates: they are sent as they
/// stand.
pub(super) fn headers(entry: &Option<Field<Headers>>, problems: &mut Problems) {
    for pair in entry.elements() {
        let (Some(name), Some(value)) = (pair.name.value(), pair.value.value()) else {
            continue;
        };
        let (name, text) = (&name.text, &value.text);
        if VARIABLES.into_iter().any(|sign| text.contains(sign)) || has_a_place(text) {
            let message =
                format!("the value of `{name}` is sent as it stands: nothing is filled in there");
            let help = "leave it out: `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded` are written anyway, and `preserve_host` chooses the Host";
            let at = pair.value.at();
            problems.warn(Code::Misleading, at, message, help);
        }
    }
}

/// `{client_ip}`, `%[src]`, `%REQ(x)%`, `{{.Host}}`: what templates of other
/// gateways have.
fn has_a_place(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"_.>-".contains(&c))
    };
    let in_braces = text
        .split('{')
        .skip(1)
        .filter_map(|after| after.split_once('}'))
        .any(|(word, _)| is_word(word));
    in_braces
        || text.contains("%[")
        || text.contains("{{")
        || text.contains("%REQ(")
        || text.contains("%DOWNSTREAM")
}
