//! `proxy_set_header`, `add_header` and the like as changes to requests and
//! responses.

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue};

use super::{
    notes::{Note, Outcome},
    scope::Scope,
    tree::Directive,
    variables::{Known, header_template},
};

/// Fields that the gateway writes itself, from what it knows about the client.
const WRITTEN: [&str; 4] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "forwarded",
];
/// Fields about the connection, which the gateway writes for each connection.
const OF_CONNECTION: [&str; 9] = [
    "connection",
    "upgrade",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "proxy-connection",
    "http2-settings",
];

/// Changes to the fields of a request.
#[derive(Debug, Default)]
pub(super) struct RequestFields {
    /// Names and templates.
    pub(super) set: Vec<(String, String)>,
    pub(super) remove: Vec<String>,
    /// The service gets the host that the client has asked for.
    pub(super) preserves_host: bool,
}

/// Reads `proxy_set_header` of a place.
pub(super) fn request(scope: &Scope<'_>, known: Known<'_>, notes: &mut Vec<Note>) -> RequestFields {
    let mut fields = RequestFields::default();
    let mut known_names = BTreeSet::new();
    for directive in scope.all("proxy_set_header") {
        let mut note = |outcome, why: &str| notes.push(Note::new(directive, outcome, why));
        let (name, value) = (
            directive.argument(0).to_ascii_lowercase(),
            directive.argument(1),
        );
        match name.as_str() {
            "host" => fields.preserves_host |= host(value, known, &mut note),
            name if WRITTEN.contains(&name) => {
                note(
                    Outcome::Needless,
                    "the gateway writes it from what it knows about the client",
                );
            }
            name if OF_CONNECTION.contains(&name) => {
                note(
                    Outcome::Needless,
                    "the gateway writes it for each connection, also for WebSocket",
                );
            }
            _ if value.is_empty() => {
                if known_names.insert(name.clone()) {
                    fields.remove.push(name);
                }
            }
            _ => match template(&name, value, known) {
                Ok(_) if !known_names.insert(name.clone()) => {
                    note(Outcome::Lost, "a field is set once");
                }
                Ok(template) => fields.set.push((name, template)),
                Err(why) => note(Outcome::Lost, &why),
            },
        }
    }
    fields
}

/// Whether the service gets the host that the client has asked for.
fn host(value: &str, known: Known<'_>, note: &mut impl FnMut(Outcome, &str)) -> bool {
    let is_of_server = known.proxy_host.split(':').next() == Some(value) && !value.is_empty();
    let (outcome, why, preserves) = match value {
        "$host" | "$http_host" | "$host:$server_port" => (
            Outcome::Needless,
            "the service gets the host that the client has asked for",
            true,
        ),
        "$server_name" | "$server_name:$server_port" => (
            Outcome::Differs,
            "the service gets the host that the client has asked for",
            true,
        ),
        _ if is_of_server || value == "$proxy_host" || value == known.proxy_host => {
            (Outcome::Needless, "`preserve_host = false` says it", false)
        }
        _ => (
            Outcome::Lost,
            "Host is that of the client or, with `preserve_host = false`, that of the server",
            false,
        ),
    };
    note(outcome, why);
    preserves
}

/// Changes to the fields of a response.
#[derive(Debug, Default)]
pub(super) struct ResponseFields {
    /// Names and templates.
    pub(super) add: Vec<(String, String)>,
    /// The same for fields whose lines of the service are hidden.
    pub(super) set: Vec<(String, String)>,
    pub(super) remove: Vec<String>,
}

/// Reads `add_header` and `proxy_hide_header` of a place.
pub(super) fn response(
    scope: &Scope<'_>,
    known: Known<'_>,
    notes: &mut Vec<Note>,
) -> ResponseFields {
    let mut fields = ResponseFields::default();
    let hidden: BTreeSet<String> = scope
        .all("proxy_hide_header")
        .iter()
        .map(|directive| directive.argument(0).to_ascii_lowercase())
        .collect();
    let mut known_names = BTreeSet::new();
    for directive in scope.all("add_header") {
        let mut note = |outcome, why: &str| notes.push(Note::new(directive, outcome, why));
        let name = directive.argument(0).to_ascii_lowercase();
        let value = match template(&name, directive.argument(1), known) {
            Ok(value) => value,
            Err(why) => {
                note(Outcome::Lost, &why);
                continue;
            }
        };
        if !known_names.insert(name.clone()) {
            note(Outcome::Lost, "a field is added once");
            continue;
        }
        if directive.argument(2) != "always" {
            note(
                Outcome::Differs,
                "responses with an error have it, too (`always`)",
            );
        }
        match hidden.contains(&name) {
            true => fields.set.push((name, value)),
            false => fields.add.push((name, value)),
        }
    }
    let removed = hidden
        .into_iter()
        .filter(|name| !known_names.contains(name));
    fields.remove = removed.collect();
    notes.extend(passed(scope.all("proxy_pass_header")));
    fields
}

/// A value that can be sent, with the places of its variables.
///
/// # Errors
/// Says why there is none.
fn template(name: &str, value: &str, known: Known<'_>) -> Result<String, String> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() || OF_CONNECTION.contains(&name) {
        return Err("it is no field that can be set".to_owned());
    }
    let is_sendable = HeaderValue::from_str(value).is_ok() && value.is_ascii();
    if value.trim().is_empty() || value.trim() != value || !is_sendable {
        return Err("its value cannot be sent in a field".to_owned());
    }
    header_template(value, known).map_err(|variable| format!("${variable} has no place in a field"))
}

fn passed(directives: &[&Directive]) -> Vec<Note> {
    let why = "all fields of responses are passed on";
    let note = |directive: &&Directive| Note::new(directive, Outcome::Needless, why);
    directives.iter().map(note).collect()
}
