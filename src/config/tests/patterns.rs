//! Patterns, templates and values in the language of another gateway cause a
//! warning.

use super::{
    super::Code,
    warnings::{fine, fine_route, last_line, route},
};

#[test]
fn characters_without_a_meaning_in_a_path_are_reported() {
    route(
        "match = { path_prefix = \"/api/*\" }",
        Code::NeverMatches,
        "path_prefix = \"/api\"",
    );
    route(
        "match = { path = \"/api/*\" }",
        Code::NeverMatches,
        "path = \"/api/{name}\"",
    );
    route(
        "match = { path = \"/*\" }",
        Code::NeverMatches,
        "path_prefix = \"/\"",
    );
    route(
        "match = { path_prefix = \"/a/*/b\" }",
        Code::NeverMatches,
        "`path_regex`",
    );
    route(
        "match = { path_prefix = \"/api/.*\" }",
        Code::NeverMatches,
        "path_prefix = \"/api\"",
    );
    route(
        "match = { path = \"/orders/:id\" }",
        Code::NeverMatches,
        "write \"/orders/{id}\"",
    );
    route(
        "match = { path_prefix = \"/orders/:id/x\" }",
        Code::NeverMatches,
        "path = \"/orders/{id}/x\"",
    );
    route(
        "match = { path = \"/orders$\" }",
        Code::NeverMatches,
        "write \"/orders\"",
    );
    route(
        "request = { strip_prefix = \"/api/*\" }",
        Code::NeverMatches,
        "write \"/api\"",
    );
    route(
        "request = { rewrite = \"/v2/:id\" }",
        Code::NeverMatches,
        "/v2/{id}",
    );
    for path in [
        "/docs/a:b",
        "/v1/{name}",
        "/a:1",
        "/@scope/name",
        "/:",
        "/$metadata",
    ] {
        fine_route(&format!("match = {{ path = \"{path}\" }}"));
    }
}

#[test]
fn an_expression_that_no_path_matches_is_reported() {
    route(
        "match = { path_regex = '^api/.*' }",
        Code::NeverMatches,
        "write \"/api/.*\"",
    );
    route(
        "match = { path_regex = '/search\\?q=.*' }",
        Code::NeverMatches,
        "`match.query`",
    );
    route(
        "match = { path_regex = '/a//b' }",
        Code::NeverMatches,
        "normal form",
    );
    for regex in ["/a/.*", "^/a$", "(/a|b)", ".*\\.png"] {
        fine_route(&format!("match = {{ path_regex = '{regex}' }}"));
    }
}

#[test]
fn values_that_are_no_hosts_are_reported() {
    route(
        "match = { hosts = [\"https\"] }",
        Code::NeverMatches,
        "write the host alone",
    );
    route(
        "match = { hosts = [\"a.example\", \"HTTP\"] }",
        Code::NeverMatches,
        "write the host alone",
    );
    route(
        "match = { hosts = [\"8080\"] }",
        Code::NeverMatches,
        "ports stand in `bind`",
    );
    route(
        "match = { hosts = [\"0.0.0.0\"] }",
        Code::NeverMatches,
        "leave `hosts` out",
    );
    fine_route(
        "match = { hosts = [\"orders\", \"localhost\", \"*.example.com\", \"127.0.0.1\", \"[::1]\"] }",
    );
}

#[test]
fn variables_of_another_gateway_are_reported() {
    let redirect = |to: &str, says: &str| {
        last_line(
            &format!("[[routes]]\nname = \"a\"\nredirect = {{ to = \"{to}\" }}"),
            Code::Misleading,
            says,
        );
    };
    redirect("https://$host/", "write `{host}`");
    redirect("https://{host}$request_uri", "write `{path}`");
    redirect("/new/$1", "a parameter of `match.path`");
    route(
        "request = { rewrite = \"/v2/$1\" }",
        Code::Misleading,
        "`{id}`",
    );
    route(
        "request = { set_headers = { x-real-ip = \"$remote_addr\" } }",
        Code::Misleading,
        "sent as it stands",
    );
    fine_route("request = { set_headers = { x-price = \"$5\", x-secret = \"a$b\" } }");
    fine("[[routes]]\nname = \"a\"\nredirect = { to = \"https://{host}/a$/b{path}\" }");
}

#[test]
fn values_that_never_match_are_reported() {
    route(
        "match = { methods = [\"*\"] }",
        Code::NeverMatches,
        "leave `methods` out",
    );
    route(
        "match = { headers = { x-a = \"*\" } }",
        Code::NeverMatches,
        "write a whole value",
    );
    route(
        "match = { query = { a = \"^b$\" } }",
        Code::NeverMatches,
        "write a whole value",
    );
    route(
        "match = { hosts = [\"_\"] }",
        Code::NeverMatches,
        "leave `hosts` out",
    );
    route(
        "match = { hosts = [\"10.0.0.300\"] }",
        Code::NeverMatches,
        "four numbers",
    );
    route(
        "match = { path_prefix = \"/$host\" }",
        Code::NeverMatches,
        "nothing is filled in",
    );
    route(
        "match = { path_regex = '~ ^/a' }",
        Code::NeverMatches,
        "write '^/a'",
    );
    route(
        "match = { path_regex = 'https://a/b.*' }",
        Code::NeverMatches,
        "write '/b.*'",
    );
    route(
        "match = { path_regex = '/a b' }",
        Code::NeverMatches,
        "write '/a%20b'",
    );
    fine_route("match = { headers = { accept = \"*/*\" }, query = { q = \"a*b\" } }");
}

#[test]
fn placeholders_of_other_template_languages_are_reported() {
    let redirect = |to: &str, says: &str| {
        last_line(
            &format!("[[routes]]\nname = \"a\"\nredirect = {{ to = \"{to}\" }}"),
            Code::Misleading,
            says,
        );
    };
    redirect("https://a.example/:path", "write `{path}`");
    redirect("https://a.example/*", "write `{path}`");
    redirect("https://{host}/{path}", "write `{path}` alone");
    for value in ["$host", "%[src]", "%REQ(x-a)%", "{{.Host}}"] {
        let keys = format!("request = {{ set_headers = {{ x-a = \"{value}\" }} }}");
        route(&keys, Code::Misleading, "sent as it stands");
    }
    fine_route("response = { set_headers = { nel = '{{\"group\":\"a\",\"max_age\":1}}' } }");
    route(
        "response = { add_headers = { x-a = \"$host\" } }",
        Code::Misleading,
        "`{host}`",
    );
    last_line(
        "[[routes]]\nname = \"a\"\nrespond = { headers = { x-a = \"{host}\" } }",
        Code::Misleading,
        "`set_headers` of the route's `response`",
    );
}

#[test]
fn a_word_that_is_a_parameter_of_the_path_too_is_reported() {
    let keys = "match = { path = \"/{peer}/{id}\" }\n";
    route(
        &format!("{keys}request = {{ set_headers = {{ x-a = \"{{peer}}/{{id}}\" }} }}"),
        Code::Misleading,
        "not the parameter of the path",
    );
    fine_route(&format!("{keys}request = {{ rewrite = \"/{{peer}}\" }}"));
}

#[test]
fn an_added_field_that_can_only_be_set_is_reported() {
    route(
        "request = { add_headers = { x-ip = \"{client_ip}\" } }",
        Code::Misleading,
        "`set_headers`",
    );
    route(
        "response = { add_headers = { content-type = \"a/b\" } }",
        Code::Misleading,
        "`set_headers`",
    );
    fine_route(
        "request = { add_headers = { x-a = \"{host}\" } }\nresponse = { add_headers = { link = \"</a>\", set-cookie = \"a=1\" } }",
    );
}

#[test]
fn a_prefix_that_no_path_of_the_route_has_is_reported() {
    route(
        "match = { path_prefix = \"/api\" }\nrequest = { strip_prefix = \"/apo\" }",
        Code::NoEffect,
        "begins with `/apo`",
    );
    route(
        "match = { path = \"/api\" }\nrequest = { strip_prefix = \"/api/v1\" }",
        Code::NoEffect,
        "those of `/api`",
    );
    fine_route("match = { path_prefix = \"/api\" }\nrequest = { strip_prefix = \"/api/v1\" }");
    fine_route("match = { path_prefix = \"/api/v1\" }\nrequest = { strip_prefix = \"/api\" }");
}
