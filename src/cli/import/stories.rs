//! Stories of locations that keep somebody out.

use super::imported;

/// The file of a server with these directives.
fn of_server(directives: &str) -> String {
    let text = format!("http {{ server {{ listen 80; {directives} }} }}");
    imported(text.as_bytes()).unwrap()
}

/// The lines of the route of this name.
fn route<'m>(made: &'m str, name: &str) -> &'m str {
    let mut routes = made.split("[[routes]]\n");
    let begin = format!("name = \"{name}\"\n");
    let found = routes.find(|route| route.contains(&begin));
    let found = found.unwrap_or_else(|| panic!("no route {name}\n{made}"));
    found.split("\n# ").next().unwrap()
}

/// The lines to look at first.
fn first(made: &str) -> &str {
    let head = made.split("LOOK AT THESE FIRST").nth(1).unwrap_or_default();
    head.split("# In general").next().unwrap()
}

#[test]
fn a_guarded_path_is_closed_in_both_spellings_of_its_reserved_characters() {
    let made = of_server(
        "location /@fs/ { deny all; } location = /e:x { return 403; } location /a@b/ { proxy_pass http://s; } location / { proxy_pass http://s; }",
    );
    for line in [
        "path_regex = \"/(?:@|%40)fs/.*\"",
        "path_regex = \"/e(?::|%3A)x\"",
        "path_prefix = \"/a@b\"",
    ] {
        assert!(made.contains(line), "{line}\n{made}");
    }
}

#[test]
fn a_named_location_brings_its_guards_limits_fields_and_longest_body() {
    let made = imported(
        b"http { limit_req_zone $binary_remote_addr zone=z:1m rate=1r/s; upstream sock { server unix:/s; }
        server { listen 80;
        location / { try_files $uri @app; }
        location @app { allow 10.0.0.0/8; deny all; limit_req zone=z; client_max_body_size 5k;
          proxy_set_header Host $http_host; proxy_set_header X-Tenant a; proxy_pass http://sock; } } }",
    )
    .unwrap();
    let app = route(&made, "default/");
    for line in [
        "clients = [\"10.0.0.0/8\"]",
        "limits = [\"z\"]",
        "max_body = \"5KiB\"",
        "\"x-tenant\" = \"a\"",
    ] {
        assert!(app.contains(line), "{line}\n{made}");
    }
    assert!(
        !app.contains("preserve_host") && !made.contains("Host: sock"),
        "{made}"
    );
    assert!(route(&made, "default/ refused").contains("status = 403"));
}

#[test]
fn a_condition_that_may_refuse_answers_501_and_is_listed_first() {
    for condition in [
        "if ($http_x = \"\") { return 401; }",
        "if ($cookie_session = \"\") { return 302 /login; }",
        "if ($arg_a) { return 410; }",
        "if ($http_x != a) { rewrite ^ /denied last; }",
        "if ($http_x != a) { return https://login.example/; }",
        "rewrite ^ /denied last;",
    ] {
        let made = of_server(&format!(
            "location / {{ {condition} proxy_pass http://a; }}"
        ));
        assert!(route(&made, "default/").contains("status = 501"), "{made}");
        assert!(
            first(&made).contains(condition.split(' ').next().unwrap()),
            "{made}"
        );
        if condition.starts_with("if") {
            let made = of_server(&format!(
                "{condition} location / {{ proxy_pass http://a; }}"
            ));
            assert!(route(&made, "default/").contains("status = 501"), "{made}");
            assert!(first(&made).contains("if "), "{made}");
        }
    }
    let made = of_server("location / { if ($arg_a) { set $b 1; } proxy_pass http://a; }");
    assert!(route(&made, "default/").contains("upstream ="), "{made}");
}

#[test]
fn a_condition_on_methods_is_one_of_the_route() {
    let made = of_server(
        "location / { if ($request_method !~ ^(GET|HEAD)$) { return 405; } proxy_pass http://a; }",
    );
    assert!(
        route(&made, "default/").contains("methods = [\"GET\", \"HEAD\"]"),
        "{made}"
    );
    assert!(route(&made, "default/ refused").contains("status = 403"));
}

#[test]
fn a_method_counts_once_and_trace_stays_refused_however_methods_are_listed() {
    for directive in [
        "if ($request_method !~ ^(GET|HEAD|GET|TRACE)$) { return 405; }",
        "limit_except GET GET TRACE { deny all; }",
    ] {
        let made = of_server(&format!(
            "location / {{ {directive} proxy_pass http://a; }}"
        ));
        assert!(
            route(&made, "default/").contains("methods = [\"GET\", \"HEAD\"]"),
            "{made}"
        );
    }
    let made = of_server(
        "location / { if ($request_method != TRACE) { return 405; } proxy_pass http://a; }",
    );
    assert!(
        route(&made, "default/").contains("status = 403"),
        "nobody is let in\n{made}"
    );
}

#[test]
fn a_condition_of_a_server_on_methods_is_told_once_and_counts_for_every_location() {
    let made = of_server(
        "if ($request_method != GET) { return 405; }
        location / { proxy_pass http://a; } location /b/ { proxy_pass http://a; }",
    );
    for name in ["default/", "default/b/"] {
        assert!(route(&made, name).contains("methods = [\"GET\"]"), "{made}");
    }
    assert_eq!(made.matches("others get 403").count(), 1, "{made}");
}

#[test]
fn links_of_this_machine_mean_nothing_to_the_output_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["a.conf", "b.conf"].map(|name| folder.path().join(name));
    std::fs::write(&one, "").unwrap();
    std::os::unix::fs::symlink(&one, &other).unwrap();
    let [one, other] = [one, other].map(|path| path.display().to_string());
    let made = imported(
        format!(
            "# configuration file /etc/nginx/nginx.conf:
            http {{ server {{ include {one}; }} }}
# configuration file {one}:
            include {other};
# configuration file {other}:
            location / {{ proxy_pass http://a; }}
"
        )
        .as_bytes(),
    )
    .unwrap();
    assert!(route(&made, "default/").contains("upstream = "), "{made}");
}

#[test]
fn a_prefix_that_refuses_takes_the_paths_of_nginx() {
    let made = of_server(
        "location / { proxy_pass http://a; } location /admin { deny all; } location /api { proxy_pass http://a; }",
    );
    assert!(
        route(&made, "default/admin").contains("path_regex = \"/admin.*\""),
        "{made}"
    );
    assert!(
        route(&made, "default/api").contains("path_prefix = \"/api\""),
        "{made}"
    );
    // The other location refuses the same.
    let made = of_server(
        "deny 10.0.0.1; location / { proxy_pass http://a; } location /b { proxy_pass http://b; }",
    );
    assert!(
        route(&made, "default/b").contains("path_prefix = \"/b\""),
        "{made}"
    );
}

#[test]
fn an_expression_comes_before_a_prefix_that_has_its_slash_elsewhere() {
    let made = of_server(
        "location ~ b$ { deny all; } location /b { proxy_pass http://a; } location /b/ { proxy_pass http://c; }",
    );
    assert!(
        route(&made, "default/b").contains("path_regex = \"/b.*\""),
        "{made}"
    );
}

#[test]
fn an_expression_with_look_around_refuses_at_least_its_paths() {
    let made = of_server(
        "location / { proxy_pass http://a; } location ~ ^/(?!public)secret { auth_basic x; proxy_pass http://a; }
         location ~ (?!x)y { proxy_pass http://a; }",
    );
    let secret = route(&made, "default ~ ^/(?!public)secret");
    assert!(
        secret.contains("status = 501") && secret.contains("path_regex = \"/secret.*\""),
        "{made}"
    );
    assert!(first(&made).contains("auth_basic x"), "{made}");
    assert!(made.contains("it guards nothing") && !made.contains("name = \"default ~ (?!x)y\""));
}

#[test]
fn an_earlier_expression_is_asked_before_one_with_conditions() {
    let made = of_server(
        "location ~ ^/private/ { deny all; }
         location ~ \\.php$ { allow 127.0.0.0/8; allow 127.0.0.0/8; deny all; proxy_pass http://a; }
         location ~ ^/other/ { limit_except GET { deny all; } proxy_pass http://a; }",
    );
    let private = route(&made, "default ~ ^/private/");
    assert!(
        private.contains("clients = [\"0.0.0.0/0\", \"::/0\"]"),
        "{made}"
    );
    let php = route(&made, "default ~ .php$");
    assert!(php.contains("clients = [\"127.0.0.0/8\"]"), "{made}");
    let copy = route(&made, "default ~ .php$ methods");
    assert!(copy.contains("methods = [\"GET\", \"HEAD\"]"), "{made}");
    assert!(!made.contains("other/ refused methods"), "{made}");
}

#[test]
fn an_expression_within_a_prefix_takes_paths_of_the_prefix_only() {
    let made = of_server(
        "location / { proxy_pass http://a; } location /api/ { proxy_pass http://a; location ~ \\.json$ { proxy_pass http://b; } }",
    );
    let json = route(&made, "default ~ .json$");
    assert!(
        json.contains("path_regex = '/api/.*\\.json'") || json.contains("/api/.*\\\\.json\""),
        "{made}"
    );
}

#[test]
fn a_rewrite_of_the_beginning_is_a_prefix_and_others_answer_501() {
    for (location, line) in [
        (
            "/rw/ { rewrite ^/rw/(.*)$ /new/$1 break;",
            "strip_prefix = \"/rw\"\nadd_prefix = \"/new\"",
        ),
        (
            "/rw/ { rewrite ^/rw/?(.*)$ /$1 break;",
            "strip_prefix = \"/rw\"",
        ),
        (
            "/ { rewrite ^/(.*)$ /app/$1 break;",
            "add_prefix = \"/app\"",
        ),
        ("/rw/ { rewrite ^ /one break;", "rewrite = \"/one\""),
        ("/rw/ { rewrite ^/rw/x/(.*)$ /y/$1 break;", "status = 501"),
        ("/ { rewrite ^/rw/(.*)$ /new/$1 break;", "status = 501"),
        (
            "/old/ { rewrite ^ https://new.example$request_uri? permanent;",
            "redirect = { to = \"https://new.example{path}\", status = 301 }",
        ),
        (
            "/old/ { rewrite ^/old/ /new redirect;",
            "redirect = { to = \"/new\", status = 302 }",
        ),
        (
            "/old/ { rewrite ^/old/(.*)$ /v1/$1 permanent;",
            "status = 501",
        ),
    ] {
        let made = of_server(&format!("location {location} proxy_pass http://a; }}"));
        assert!(made.contains(line), "{location}\n{made}");
    }
}

#[test]
fn the_password_that_a_location_switches_off_is_not_the_service_that_is_asked() {
    let made =
        of_server("auth_request /check; location / { auth_basic off; proxy_pass http://a; }");
    assert!(route(&made, "default/").contains("status = 501"), "{made}");
}

#[test]
fn servers_in_one_line_keep_their_locations() {
    let made = imported(
        b"http { server { listen 81; server_name c.x; return 301 https://www.c.x$request_uri; location /acme/ { root /w; } } \
        server { listen 81; server_name d.x; location / { return 301 https://$host$request_uri; } location /acme/ { root /w; } } }",
    )
    .unwrap();
    assert!(
        made.contains("`return` of the server comes before it"),
        "{made}"
    );
    assert!(
        made.contains("challenges of ACME are answered by the gateway"),
        "{made}"
    );
}

#[test]
fn plain_requests_are_redirected_by_their_listener() {
    let made = imported(
        b"http { server { listen 80; listen 443 ssl; server_name a.x; if ($scheme = http) { return 301 https://$host$request_uri; }
        location / { proxy_pass http://a; } } }",
    )
    .unwrap();
    assert!(made.contains("redirect_https = true"), "{made}");
    assert!(route(&made, "a.x/").contains("upstream ="), "{made}");
}
