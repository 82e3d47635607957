//! `proxy_set_header`, `add_header` and the like as changes to requests and
//! responses.

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue};

use super::{
    notes::{Note, Outcome},
    scope::Scope,
    toml,
    tree::Directive,
    variables::{Known, canonical, header_template},
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

/// Fields in which a client says what it can take. A service trusts others that
/// clients cannot set.
const OF_CLIENTS: [&str; 11] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "range",
    "referer",
    "user-agent",
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
                let (outcome, why) = written(name, value, known);
                note(outcome, why);
            }
            name if OF_CONNECTION.contains(&name) => {
                note(
                    Outcome::Needless,
                    "the gateway writes it for each connection, also for WebSocket",
                );
            }
            _ if HeaderName::from_bytes(name.as_bytes()).is_err() => {
                note(Outcome::Lost, "it is not the name of a field");
            }
            _ if !known_names.insert(name.clone()) => note(Outcome::Lost, "a field is set once"),
            _ if value.is_empty() => fields.remove.push(name),
            _ => match template(&name, value, known) {
                Ok(template) => fields.set.push((name, template)),
                Err(why) if OF_CLIENTS.contains(&&*name) => note(Outcome::Lost, &why),
                Err(why) => {
                    let why = format!("{why}; services do not get the client's field either");
                    note(Outcome::Lost, &why);
                    fields.remove.push(name);
                }
            },
        }
    }
    fields
}

/// The fate of a field that the gateway writes itself.
fn written(name: &str, value: &str, known: Known<'_>) -> (Outcome, &'static str) {
    let value = canonical(value);
    let is_same = match name {
        "x-forwarded-for" => matches!(&*value, "$proxy_add_x_forwarded_for" | "$remote_addr"),
        "x-forwarded-proto" => value == "$scheme" || known.scheme == Some(&*value),
        "x-forwarded-host" => matches!(&*value, "$host" | "$http_host" | "$host:$server_port"),
        _ => false,
    };
    match is_same {
        true => {
            let why = "the gateway writes it from what it knows about the client";
            (Outcome::Needless, why)
        }
        false => {
            let why = "the gateway always writes it, from what it knows about the client; \
                the field of a proxy in front counts if the proxy is in `client_ip.trusted_proxies`";
            (Outcome::Differs, why)
        }
    }
}

/// Whether the service gets the host that the client has asked for.
fn host(value: &str, known: Known<'_>, note: &mut impl FnMut(Outcome, &str)) -> bool {
    const CLIENTS: &str = "the service gets the host that the client has asked for";
    let value = canonical(value);
    let is_of_server = known.proxy_host.split(':').next() == Some(&*value) && !value.is_empty();
    let (outcome, why, preserves) = match &*value {
        "$http_host" => (Outcome::Needless, CLIENTS, true),
        "$host" if known.has_usual_ports => (Outcome::Needless, CLIENTS, true),
        "$host" => {
            let why = "the service gets the port, too, which clients add to their host here; NGINX removes it";
            (Outcome::Differs, why, true)
        }
        "$host:$server_port" if !known.has_usual_ports => (Outcome::Needless, CLIENTS, true),
        "$host:$server_port" => {
            let why = "the service gets the host as the client sends it, without the port";
            (Outcome::Differs, why, true)
        }
        "$server_name" | "$server_name:$server_port" => (Outcome::Differs, CLIENTS, true),
        _ if is_of_server || value == "$proxy_host" || value == known.proxy_host => {
            (Outcome::Needless, "`preserve_host = false` says it", false)
        }
        _ => {
            let why = "the service gets the host of the client or, with `preserve_host = false`, its own, but no other";
            (Outcome::Lost, why, false)
        }
    };
    note(outcome, why);
    preserves
}

/// Changes to the fields of a response.
#[derive(Debug, Default)]
pub(super) struct ResponseFields {
    /// Names and templates.
    add: Vec<(String, String)>,
    /// The same for fields whose lines of the service are hidden.
    set: Vec<(String, String)>,
    remove: Vec<String>,
}

impl ResponseFields {
    /// The keys of `response`.
    pub(super) fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        if !self.set.is_empty() {
            keys.push(format!("set_headers = {}", toml::table(&self.set)));
        }
        if !self.add.is_empty() {
            keys.push(format!("add_headers = {}", toml::table(&self.add)));
        }
        if !self.remove.is_empty() {
            keys.push(format!("remove_headers = {}", toml::list(&self.remove)));
        }
        keys
    }
}

/// Reads `add_header` and `proxy_hide_header` of a place. A response of the
/// gateway itself may have its type already.
pub(super) fn response(
    scope: &Scope<'_>,
    known: Known<'_>,
    has_type: bool,
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
        if directive.argument(1).is_empty() {
            note(Outcome::Needless, "NGINX adds no field without a value");
            continue;
        }
        if name == "alt-svc" && directive.argument(1).contains("h3") {
            note(Outcome::Lost, "HTTP/3 is not supported");
            continue;
        }
        if has_type && name == "content-type" {
            note(Outcome::Differs, "there is one such line, NGINX sends two");
            continue;
        }
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

/// The Content-Type that `add_header` gives a response of the gateway itself.
/// NGINX adds it beside its own.
pub(super) fn content_type<'a>(scope: &Scope<'a>) -> Option<&'a str> {
    let mut added = scope.all("add_header").iter();
    let is_type =
        |directive: &&&Directive| directive.argument(0).eq_ignore_ascii_case("content-type");
    added.find(is_type).map(|directive| directive.argument(1))
}

/// A value that can be sent, with the places of its variables.
///
/// # Errors
/// Says why there is none.
fn template(name: &str, value: &str, known: Known<'_>) -> Result<String, String> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() || OF_CONNECTION.contains(&name) {
        return Err("it is not a field that can be set".to_owned());
    }
    let is_sendable = HeaderValue::from_str(value).is_ok() && value.is_ascii();
    if value.trim().is_empty() || value.trim() != value || !is_sendable {
        return Err("its value cannot be sent in a field".to_owned());
    }
    header_template(value, known).map_err(|variable| format!("tidegate cannot fill in ${variable}"))
}

fn passed(directives: &[&Directive]) -> Vec<Note> {
    let why = "all fields of responses are passed on";
    let note = |directive: &&Directive| Note::new(directive, Outcome::Needless, why);
    directives.iter().map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::super::imported;

    /// The file for a location of a server on this address.
    fn made(listen: &str, fields: &str) -> String {
        let text = format!(
            "http {{ server {{ listen {listen}; location / {{ proxy_pass http://s; {fields} }} }} }}"
        );
        imported(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_host_without_its_port_is_said_to_differ_where_clients_send_one() {
        let host = "proxy_set_header Host $host;";
        for (listen, fields, fate) in [
            ("80", host, "not needed: the service gets the host"),
            ("8080", host, "differs: the service gets the port, too"),
            ("8080", "proxy_set_header Host ${http_host};", "not needed"),
            (
                "8080",
                "proxy_set_header Host $host:$server_port;",
                "not needed",
            ),
            ("80", "proxy_set_header Host $host:$server_port;", "differs"),
        ] {
            let made = made(listen, fields);
            assert!(
                made.contains(&format!("{fields} -- {fate}")),
                "{fate}\n{made}"
            );
            assert!(!made.contains("preserve_host = false"), "{made}");
        }
    }

    #[test]
    fn a_forwarded_field_with_another_value_is_said_to_differ() {
        for (value, fate) in [
            ("X-Forwarded-Proto $scheme", "not needed"),
            ("X-Forwarded-Proto http", "not needed"),
            ("X-Forwarded-Proto https", "differs"),
            ("X-Forwarded-For \"\"", "differs"),
            ("X-Forwarded-For $proxy_add_x_forwarded_for", "not needed"),
        ] {
            let made = made("80", &format!("proxy_set_header {value};"));
            assert!(
                made.contains(&format!("{value}; -- {fate}")),
                "{fate}\n{made}"
            );
        }
    }

    #[test]
    fn clients_cannot_send_a_field_that_nginx_writes_and_the_gateway_cannot() {
        let made = made("80", "proxy_set_header X-Verified $ssl_client_verify;");
        assert!(made.contains("remove_headers = [\"x-verified\"]"), "{made}");
        let range = imported(
            b"http { server { location / { proxy_pass http://s; proxy_set_header Range $slice_range; } } }",
        );
        assert!(!range.unwrap().contains("remove_headers"));
    }

    #[test]
    fn clients_are_not_sent_to_a_protocol_that_the_gateway_does_not_speak() {
        let made = made("80", "add_header Alt-Svc 'h3=\":443\"';");
        assert!(
            made.contains("-- not carried over: HTTP/3 is not supported"),
            "{made}"
        );
        assert!(!made.contains("alt-svc"), "{made}");
    }

    #[test]
    fn a_response_of_the_gateway_has_one_content_type() {
        let text =
            "http { server { location / { return 200 ok; add_header Content-Type text/html; } } }";
        let made = imported(text.as_bytes()).unwrap();
        let answer = "respond = { status = 200, body = \"ok\", headers = { \"content-type\" = \"text/html\" } }";
        assert!(made.contains(answer), "{made}");
        assert!(!made.contains("add_headers"), "{made}");
    }

    #[test]
    fn calls_of_grpc_have_the_fields_and_times_of_grpc() {
        let text = "http { server { location / { grpc_pass grpc://s; grpc_set_header X-A a; proxy_set_header X-B b; grpc_read_timeout 7s; } } }";
        let made = imported(text.as_bytes()).unwrap();
        assert!(made.contains("set_headers = { \"x-a\" = \"a\" }"), "{made}");
        assert!(made.contains("total = \"7s\""), "{made}");
        assert!(
            made.contains("proxy_set_header X-B b; -- not needed"),
            "{made}"
        );
    }
}
