//! Secrets, which diagnostics and views never show: the login of a URL, valid
//! or not, wherever it stands in a text, and text in the place of a store's
//! URL, unless it is plainly an address.
//!
//! A diagnostic shows lines of the file, so hiding works on two levels:
//!
//! - Where the file could be read, the spans of values that may be secrets are
//!   collected, by the name that they stand under ([`of_file`],
//!   [`of_free_name`]), and covered by `diagnostic` ([`covered`]).
//! - Where it could not, nothing is known of names and values, and the text
//!   itself is searched for what looks like a secret ([`named`], [`stores`],
//!   [`logins`], [`queries`]).
//!
//! The functions of the second kind return a text of the same length in bytes,
//! so that carets keep their places. All of them rather hide too much: a value
//! that was hidden without need is in the user's own file.

use std::{borrow::Cow, net::IpAddr, ops::Range};

use super::{
    characters::mask,
    source::Span,
    syntax::{address, key},
    tree::{Node, Table, Text, Value},
};
pub(super) use crate::policy::is_secret_name;

/// Keys of the language whose names have such a word, and whose values are
/// none.
pub(super) const NO_SECRETS: [&str; 10] = [
    "api_keys",
    "client_key",
    "credentials",
    "hash_key",
    "key",
    "keys",
    "max_keys",
    "password_file",
    "secret_file",
    "token_file",
];

/// In `overrides` of a limit: values of its key, which may be credentials.
pub(super) const KEY_VALUES: &str = "match";

/// Adds the places under a name that is not a key of the language, or that is
/// one of a table of free names, where there may be a secret. `${NAME}` alone
/// says where a secret comes from, and is shown.
pub(super) fn of_free_name(name: &str, node: &Node, covered: &mut Vec<Span>) {
    match &node.value {
        Value::Text(text) if is_one_variable(text) => {}
        _ if is_secret_name(name) => covered.push(node.span),
        Value::Table(table) => {
            for (name, entry) in &table.entries {
                of_free_name(name, &entry.node, covered);
            }
        }
        Value::List(items) => items
            .iter()
            .for_each(|one| of_free_name(name, one, covered)),
        _ => {}
    }
}

/// Adds the places in a whole file where there may be a secret under a key of
/// the language: in `[store]`, `[traces]` and overrides of limits. It looks at the tree
/// before anything else does, so that mistakes in these sections are shown
/// without secrets, too.
pub(super) fn of_file(file: &Table, covered: &mut Vec<Span>) {
    let entries = |section: &str| {
        let table = file.get(section).and_then(|entry| entry.node.table());
        table.into_iter().flat_map(|table| &table.entries)
    };
    for (name, entry) in entries("store") {
        of_store(name, &entry.node, covered);
    }
    for (name, entry) in entries("traces") {
        if name == "headers" {
            of_headers(&entry.node, covered);
        }
    }
    for (_, limit) in entries("limits") {
        if let Some(limit) = limit.node.table() {
            of_limit(limit, covered);
        }
    }
}

/// Adds the places of `match` in a limit's overrides, where a part of its key
/// is under the name of a secret.
fn of_limit(limit: &Table, covered: &mut Vec<Span>) {
    let items = |key: &str| limit.get(key).map_or(&[][..], |entry| entry.node.items());
    // As the file has it: `header:x-api-key`, or a slip for it.
    let mut parts = items("key").iter().filter_map(Node::text);
    if parts.any(is_secret_name) {
        for one in items("overrides").iter().filter_map(Node::table) {
            covered.extend(one.get(KEY_VALUES).map(|entry| entry.node.span));
        }
    }
}

/// Adds the values of headers for a collector of spans, many of which are
/// credentials by any name.
fn of_headers(headers: &Node, covered: &mut Vec<Span>) {
    match headers.table() {
        Some(table) => covered.extend(table.entries.values().map(|entry| entry.node.span)),
        None => covered.push(headers.span),
    }
}

/// `${NAME}` and nothing else says where a secret comes from, not what it is.
fn is_one_variable(text: &Text) -> bool {
    text.variable().is_some_and(|inside| !inside.contains(":-"))
}

/// The value under a name as a message may repeat it.
pub(super) fn value<'a>(name: &str, text: &'a Text) -> Cow<'a, str> {
    if is_secret_name(name) && !is_one_variable(text) {
        "***".into()
    } else {
        text.shown().into()
    }
}

/// A line of a file with `*` for the value behind the name of a secret and `=`
/// or `: `. For lines that could not be read: only then is nothing known of the
/// tables that the names stand in. Values of keys of the language that only
/// sound like secrets stay.
pub(super) fn named(line: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(line);
    for (at, sign) in line.match_indices(['=', ':']) {
        let after = &line[at + 1..];
        if sign == ":" && !after.starts_with([' ', '\t']) {
            continue;
        }
        let text = after.trim_start_matches([' ', '\t', '=', ':']);
        let name = name_before(&line[..at]);
        // In a route it is a table of conditions, each with a name of its own.
        let is_of_limit = name == KEY_VALUES && !text.starts_with('{');
        // Behind `:` a value without quotes may hold any other sign.
        let unquoted = text.find(['"', '\'', '\n']);
        let unquoted = unquoted.filter(|end| *end > 0 && sign == ":");
        let length = unquoted.unwrap_or_else(|| value_length(text));
        if (is_secret_name(name) || is_of_limit) && !is_of_language(name, &text[..length]) {
            let value = line.len() - text.len();
            mask(shown.to_mut(), value..value + length, '*', b"\"'\n");
        }
    }
    shown
}

/// The name that ends there, without its quotes and the tables before it.
fn name_before(text: &str) -> &str {
    let text = text.trim_end_matches([' ', '\t']);
    let text = text.trim_end_matches(['"', '\'']);
    let is_other = |c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_');
    text.rsplit(is_other).next().unwrap_or_default()
}

/// Bytes of the value that begins there: up to its closing quote or bracket, or
/// else to the next sign.
fn value_length(text: &str) -> usize {
    let close = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        Some('[') => ']',
        Some('{') => '}',
        _ => return text.find(AFTER_VALUES).unwrap_or(text.len()),
    };
    let inside = &text[1..];
    let end = inside.find(close).or_else(|| inside.find('\n'));
    end.map_or(text.len(), |end| 1 + end)
}

/// Signs that end a value without quotes.
const AFTER_VALUES: [char; 8] = [',', '}', ']', '&', '"', '\'', '#', '\n'];

/// A value as keys of the language have it that only sound like secrets.
fn is_of_language(name: &str, value: &str) -> bool {
    let text = value.trim_matches(['"', '\'', '[', ']']);
    match name {
        "key" | "hash_key" => {
            let part = |part: &str| key::part(part.trim_matches([' ', '"', '\''])).is_ok();
            text.split(',').all(part) || text.ends_with(".key") || text.ends_with(".pem")
        }
        name => NO_SECRETS.contains(&name) || text.starts_with("${") && !text.contains(":-"),
    }
}

/// The beginnings of store URLs.
const STORES: [&str; 4] = ["redis://", "rediss://", "valkey://", "valkeys://"];

/// The part of a store's URL that may be a secret, as a range of its bytes; it
/// is empty if there is none. If the host was forgotten or the login misspelt,
/// a password stands where the host belongs. So text there counts as a host
/// only if it has a port, is an IP address, or follows a login.
pub(super) fn secret_of_store(text: &str) -> Range<usize> {
    let scheme = STORES.into_iter().find(|scheme| text.starts_with(scheme));
    let Some(scheme) = scheme.map(str::len) else {
        return 0..text.len();
    };
    let login_end = text.rfind('@');
    let rest = &text[login_end.map_or(scheme, |at| at + 1)..];
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let is_address = address::host_and_port(authority, "").is_ok_and(|(host, port)| {
        login_end.is_some()
            || port.is_some()
            || host == "localhost"
            || host.parse::<IpAddr>().is_ok()
    });
    match is_address && database.bytes().all(|byte| byte.is_ascii_digit()) {
        true => scheme..login_end.unwrap_or(scheme),
        false => scheme..text.len(),
    }
}

/// The URL of a store with `*` for [that part](secret_of_store), but for ends of
/// lines. As long as before.
pub(super) fn store_url(text: &str) -> String {
    let mut shown = text.to_owned();
    mask(&mut shown, secret_of_store(text), '*', b"\n");
    shown
}

/// A line of a file with `*` for a possible secret in a text that looks like
/// the URL of a store. For lines that could not be read.
pub(super) fn stores(line: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(line);
    for scheme in STORES {
        for (at, _) in line.match_indices(scheme) {
            let url = line[at..].split(['"', '\'', '\n']).next().unwrap_or("");
            // A login may hold quotes: `logins` sees to it.
            if !url.contains('@') {
                let secret = secret_of_store(url);
                mask(shown.to_mut(), at + secret.start..at + secret.end, '*', b"");
            }
        }
    }
    shown
}

/// Adds the places in `[store]` where there may be a secret: a `url` with more
/// than an address in it, and every value under an unknown name, such as
/// `password`.
fn of_store(name: &str, node: &Node, covered: &mut Vec<Span>) {
    match (name, &node.value) {
        ("url", Value::List(items)) => items.iter().for_each(|item| of_store(name, item, covered)),
        ("url", Value::Text(text)) if secret_of_store(text.shown()).is_empty() => {}
        ("password_file" | "timeout" | "on_error" | "lease", _) => {}
        _ => covered.push(node.span),
    }
}

/// The bytes of a value as they stand in the file, covered: `*` for each, but
/// for quotes around it, ends of lines, and the address of a store.
pub(super) fn covered(raw: &str) -> String {
    let inside = raw.trim_matches(['"', '\'']);
    raw.replacen(inside, &store_url(inside), 1)
}

/// Longest part of a value that a message repeats, in characters.
const LONGEST_QUOTE: usize = 60;

/// A value as a message repeats it: the beginning, without control characters.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}...", text[..end].escape_debug()),
        None => {
            let escaped = text.escape_debug().to_string();
            escaped.replace("\\\"", "\"").replace("\\\\", "\\")
        }
    }
}

/// A message, or lines of a file, without what is never shown: logins, and
/// secrets in queries. As long as before.
pub(super) fn text(text: &str) -> String {
    queries(&logins(text)).into_owned()
}

/// The text with `*` for the values of parameters, in queries, whose names are
/// those of secrets. As long as before.
pub(super) fn queries(text: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(text);
    if !text.contains('?') {
        return shown;
    }
    for (at, _) in text.match_indices(['?', '&']) {
        let mut parts = text[at + 1..].split(['&', '#', '"', '\'', '`', ' ', '\n']);
        let parameter = parts.next().unwrap_or_default();
        if let Some((name, value)) = parameter.split_once('=')
            && is_secret_name(name)
        {
            let end = at + 1 + parameter.len();
            mask(shown.to_mut(), end - value.len()..end, '*', b"");
        }
    }
    shown
}

/// The text with `*` for a possible user and password: the text before an `@`,
/// from the scheme of its URL or, where that is missing, from the quote, if
/// there is a colon in it. As long as before, so that places in it stay.
///
/// Text after a URL on the same line may be covered too, because a password may
/// contain quotes.
pub(super) fn logins(text: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(text);
    let (mut start, mut is_url, mut has_colon) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\n' => (start, is_url, has_colon) = (at + 1, false, false),
            b'"' | b'\'' | b'`' if !is_url => (start, has_colon) = (at + 1, false),
            b'/' if text[..at].ends_with(":/") => (start, is_url) = (at + 1, true),
            b':' => has_colon = true,
            b'@' if is_url || has_colon => {
                mask(shown.to_mut(), start..at, '*', b"");
                (start, is_url) = (at + 1, true);
            }
            _ => {}
        }
    }
    shown
}

#[cfg(test)]
mod tests;
