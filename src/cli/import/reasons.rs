//! The outcome of the directives that are not translated: each with a reason,
//! of which `rows` has most.

use super::{
    conditions::{self, Effect},
    notes::{Note, Outcome},
    rows::{ROWS, Row, UNUSUAL, USUAL, Usual},
    scope::is_of_scope,
    tree::Directive,
    variables::without_variables,
};

/// The note about a directive that is not translated.
pub(super) fn note(directive: &Directive) -> Note {
    let (outcome, why) = outcome(directive);
    Note::new(directive, outcome, why)
}

fn outcome(directive: &Directive) -> (Outcome, &'static str) {
    let name = directive.name.as_str();
    let has = |names: &str, name: &str| names.split(' ').any(|known| known == name);
    let value = directive.argument(0);
    let valued = |rows: &[Usual]| {
        let is_row = |row: &&Usual| row.0 == value && has(row.2, name);
        rows.iter().find(is_row).map(|(_, why, _)| *why)
    };
    if let Some(why) = valued(USUAL) {
        return (Outcome::Needless, why);
    }
    if let Some(why) = valued(UNUSUAL) {
        return (Outcome::Differs, why);
    }
    // Those of gRPC mean the same.
    let by_proxy = name
        .strip_prefix("grpc_")
        .map(|rest| format!("proxy_{rest}"));
    let names = [Some(name), by_proxy.as_deref()];
    let is_row = |row: &&Row| names.iter().flatten().any(|name| has(row.2, name));
    match ROWS.iter().find(is_row) {
        // A condition that may refuse keeps somebody out.
        Some((Outcome::Lost, why, _)) if name == "if" => of_condition(directive, why),
        Some((outcome, why, _)) => (*outcome, *why),
        None => (Outcome::Lost, of_family(name)),
    }
}

/// The outcome of `if`.
fn of_condition(directive: &Directive, why: &'static str) -> (Outcome, &'static str) {
    if conditions::effect(directive) == Effect::Unknown {
        return (Outcome::Unguarded, why);
    }
    let is_about = |word: &str| {
        directive
            .arguments
            .iter()
            .any(|argument| argument.contains(word))
    };
    if is_about("$request_method") && is_about("OPTIONS") {
        return (
            Outcome::Lost,
            "use `cors` of a route, which answers such requests",
        );
    }
    (Outcome::Lost, why)
}

/// Why a directive that is in no row is lost.
fn of_family(name: &str) -> &'static str {
    let begins = |families: &[&str]| families.iter().any(|family| name.starts_with(family));
    match name {
        _ if name.contains("_by_lua") || begins(&["lua_", "init_by", "js_", "perl_"]) => {
            "tidegate runs no programs"
        }
        _ if begins(&["fastcgi_", "uwsgi_", "scgi_", "memcached_"]) => {
            "tidegate speaks HTTP with services, no other protocol"
        }
        _ if begins(&["otel_", "opentracing", "opentelemetry"]) => "use `[traces]`",
        _ if begins(&[
            "dav_",
            "xslt_",
            "image_filter",
            "ssi_",
            "mp4_",
            "hls",
            "secure_link",
        ]) =>
        {
            "a service does it"
        }
        _ => "tidegate does not know this directive",
    }
}

/// A note about a directive that has become nothing, and that no other note is
/// about.
pub(super) fn unread(directive: &Directive) -> Note {
    let lost = |why: &str| Note::new(directive, Outcome::Lost, why);
    match directive.name.as_str() {
        "client_header_timeout"
        | "keepalive_timeout"
        | "large_client_header_buffers"
        | "ssl_protocols"
        | "underscores_in_headers" => lost("a listener has one value, that of its default server"),
        "set_real_ip_from" | "real_ip_header" | "real_ip_recursive" => {
            lost("`client_ip` is for all routes, so that the lines of `http` and of servers count")
        }
        "http" | "server" | "upstream" | "location" | "limit_req_zone" | "limit_conn_zone" => {
            lost("no request reaches it: another one comes before it")
        }
        "return" => lost("another directive comes before it"),
        "proxy_pass" | "grpc_pass" => {
            let why = "its location answers without a service here";
            Note::new(directive, Outcome::Needless, why)
        }
        name if is_of_scope(name) => {
            let why = "no route or listener uses it here";
            Note::new(directive, Outcome::Needless, why)
        }
        _ => note(directive),
    }
}

/// A note about `set`: a fixed value is filled in.
pub(super) fn of_set(directive: &Directive) -> Note {
    match without_variables(directive.argument(1)) {
        Some(_) => Note::new(directive, Outcome::Needless, "its value is filled in"),
        None => note(directive),
    }
}

#[cfg(test)]
mod tests {
    use super::super::imported;

    #[test]
    fn the_value_of_a_directive_decides_whether_something_is_lost() {
        for (directive, fate) in [
            ("gzip on;", "not carried over: tidegate does not compress"),
            ("gzip off;", "not needed"),
            ("merge_slashes on;", "not needed"),
            ("merge_slashes off;", "differs: repeated slashes"),
            ("proxy_request_buffering off;", "not needed"),
            ("proxy_http_version 1.0;", "differs"),
            ("satisfy all;", "not needed"),
            ("satisfy any;", "NOT CARRIED OVER"),
            ("types_hash_max_size 2048;", "not needed: it is about files"),
            (
                "grpc_buffer_size 8k;",
                "not needed: responses are passed on",
            ),
            (
                "fastcgi_buffers 8 8k;",
                "not carried over: tidegate speaks HTTP",
            ),
            (
                "proxy_pas http://a;",
                "not carried over: tidegate does not know this directive",
            ),
            (
                "if ($request_method = OPTIONS) { return 204; }",
                "not carried over: use `cors`",
            ),
        ] {
            let text = format!(
                "http {{ server {{ {directive} location / {{ proxy_pass http://s; }} }} }}"
            );
            let made = imported(text.as_bytes()).unwrap();
            let written = format!("{} -- {fate}", directive.replace('\'', "\""));
            let head = format!(
                "{} {{...}} -- {fate}",
                directive.split(" {").next().unwrap()
            );
            assert!(
                made.contains(&written) || made.contains(&head),
                "{written}\n{made}"
            );
        }
    }

    #[test]
    fn directives_of_the_process_have_reasons_that_are_true() {
        let text = "load_module a.so; env B; user c; events { worker_connections 5; } http { server { return 204; } }";
        let made = imported(text.as_bytes()).unwrap();
        for comment in [
            "load_module a.so; -- not carried over: tidegate has no modules",
            "env B; -- not carried over: set it in the systemd unit",
            "user c; -- not needed: the systemd unit sets the user",
            "worker_connections 5; -- not needed: `max_connections` of a listener",
        ] {
            assert!(made.contains(comment), "{comment}\n{made}");
        }
    }
}
