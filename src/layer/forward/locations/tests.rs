//! Promises of the way back, which is the inverse of the way there.

use proptest::prelude::*;

use super::*;
use crate::policy::ServerAddress;

/// `/orders` becomes `/v1` on its way to a plain server, or to one in TLS.
fn locations(strip: &str, add: &str) -> Locations {
    let server = |url: &str, is_tls: bool| UpstreamServer {
        url: url.into(),
        address: ServerAddress::Tcp {
            host: "unused".into(),
            port: 1,
        },
        secure_as: is_tls.then(|| "app.internal".try_into().unwrap()),
        weight: 1,
        tier: 0,
    };
    let rewrite = Rewrite::Prefix {
        strip: strip.to_owned(),
        add: add.to_owned(),
    };
    Locations::new(
        &rewrite,
        &[
            server("http://10.0.0.1:9001", false),
            server("https://app.internal", true),
            server("http://[fd00::1]:80", false),
        ],
    )
}

/// The URL as a client sees it that asked for `https://shop.example`.
fn seen(locations: &Locations, url: &str) -> String {
    let client = ClientOrigin {
        is_tls: true,
        authority: Cow::Borrowed(b"Shop.example"),
        prefix: b"",
    };
    let mapped = locations.url(url.as_bytes(), &client);
    mapped.map_or_else(|| url.to_owned(), |url| String::from_utf8(url).unwrap())
}

#[test]
fn a_url_of_the_service_comes_back_under_the_origin_and_the_prefix_of_the_client() {
    let locations = locations("/orders", "/v1");
    for (url, expected) in [
        ("/v1/7", "/orders/7"),
        ("/v1/7?next=/v1/8#/v1", "/orders/7?next=/v1/8#/v1"),
        ("/v1", "/orders"),
        ("/v1/", "/orders/"),
        ("/v1?q", "/orders?q"),
        ("http://10.0.0.1:9001/v1/7", "https://Shop.example/orders/7"),
        ("HTTP://10.0.0.1:9001/v1/7", "https://Shop.example/orders/7"),
        ("https://APP.internal/v1/", "https://Shop.example/orders/"),
        ("https://app.internal:443/v1", "https://Shop.example/orders"),
        ("http://[FD00::1]/v1/7", "https://Shop.example/orders/7"),
        ("//10.0.0.1:9001/v1/7", "//Shop.example/orders/7"),
        // The client's own host, in the scheme that the service knows.
        ("http://shop.example/v1/7", "https://shop.example/orders/7"),
        (
            "http://shop.example:80/v1/7",
            "https://shop.example:80/orders/7",
        ),
        (
            "https://shop.example:443/v1",
            "https://shop.example:443/orders",
        ),
        ("//shop.example/v1/7", "//shop.example/orders/7"),
        // Dot segments count as the client resolves them.
        ("/v1/a/../7", "/orders/7"),
        ("/v1/../login", "/v1/../login"),
        // A path of the service that no request of the route reaches.
        ("/login", "/login"),
        ("/v10", "/v10"),
        ("http://10.0.0.1:9001/login", "https://Shop.example/login"),
        ("http://10.0.0.1:9001", "https://Shop.example/"),
        ("http://10.0.0.1:9001?q", "https://Shop.example/?q"),
    ] {
        assert_eq!(seen(&locations, url), expected, "{url}");
    }
}

#[test]
fn urls_of_others_and_urls_that_could_be_read_differently_stay() {
    let locations = locations("/orders", "");
    for url in [
        "https://evil.example/x",
        "//evil.example/x",
        "http://10.0.0.1:9002/x",
        "https://10.0.0.1:9001/x",
        "http://app.internal/x",
        "http://10.0.0.1:9001@evil.example/x",
        "http://evil.example@10.0.0.1:9001/x",
        "http://u:p@10.0.0.1:9001/x",
        "http://shop.example.evil/x",
        "http:///x",
        "http://",
        "http:/x",
        "http:x",
        "ftp://10.0.0.1:9001/x",
        "javascript:alert(1)",
        "/\\evil.example",
        "\\\\evil.example",
        "http://10.0.0.1:9001\\@evil.example/",
        "/\t/evil.example",
        "next",
        "../up",
        "?q=/x",
        "#top",
        "",
    ] {
        assert_eq!(seen(&locations, url), url);
    }
}

#[test]
fn no_path_becomes_the_name_of_a_host() {
    let locations = locations("", "/v1");
    assert_eq!(seen(&locations, "/v1/7"), "/7");
    assert_eq!(seen(&locations, "/v1"), "/");
    assert_eq!(seen(&locations, "/v1//evil.example"), "/v1//evil.example");
    let of_server = "http://10.0.0.1:9001/v1//evil.example";
    let mapped = seen(&locations, of_server);
    assert_eq!(mapped, "https://Shop.example/v1//evil.example");
}

#[test]
fn a_service_that_sends_its_clients_to_https_is_obeyed() {
    let locations = locations("/orders", "");
    let client = ClientOrigin {
        is_tls: false,
        authority: Cow::Borrowed(b"shop.example"),
        prefix: b"",
    };
    let seen = |url: &str| {
        let url = locations.url(url.as_bytes(), &client).unwrap();
        String::from_utf8(url).unwrap()
    };
    assert_eq!(
        seen("https://shop.example/7"),
        "https://shop.example/orders/7"
    );
    assert_eq!(
        seen("http://shop.example/7"),
        "http://shop.example/orders/7"
    );
    assert_eq!(
        seen("https://app.internal/7"),
        "http://shop.example/orders/7"
    );
}

#[test]
fn a_client_without_a_host_gets_a_path() {
    let client = ClientOrigin {
        is_tls: false,
        authority: Cow::Borrowed(b""),
        prefix: b"",
    };
    let mapped = locations("/orders", "").url(b"http://10.0.0.1:9001/7", &client);
    assert_eq!(mapped.unwrap(), b"/orders/7");
}

#[test]
fn the_url_of_a_refresh_is_mapped() {
    let locations = locations("/orders", "");
    let client = ClientOrigin {
        is_tls: true,
        authority: Cow::Borrowed(b"shop.example"),
        prefix: b"",
    };
    for (value, expected) in [
        ("5; url=/7", "5; url=/orders/7"),
        ("0;URL='/7'", "0;URL='/orders/7'"),
        ("0, url= \"/7\" ", "0, url= \"/orders/7\" "),
        (
            "1.5;url=http://10.0.0.1:9001/7",
            "1.5;url=https://shop.example/orders/7",
        ),
        ("0;url='/7", "0;url='/orders/7"),
        ("0; url = /7", "0; url = /orders/7"),
        ("0;/7", "0;/orders/7"),
        ("0,/7", "0,/orders/7"),
        ("0 /7", "0 /orders/7"),
        (" .5 ; '/7' x", " .5 ; '/orders/7' x"),
        ("0;url/7", "0;url/7"),
        ("0/7", "0/7"),
        (";/7", ";/7"),
        ("0;", "0;"),
        ("5", "5"),
        ("5; url=", "5; url="),
        ("5; to=/7", "5; to=/7"),
        ("url", "url"),
        ("", ""),
        ("5; url=//evil.example", "5; url=//evil.example"),
    ] {
        let mapped = locations.refresh(value.as_bytes(), &client);
        let mapped = mapped.map_or(value.to_owned(), |url| String::from_utf8(url).unwrap());
        assert_eq!(mapped, expected, "{value}");
    }
}

#[track_caller]
fn cookies(locations: &Locations, pairs: &[(&str, &str)]) {
    for (value, expected) in pairs {
        let mapped = locations.cookie(value.as_bytes(), b"");
        let mapped = mapped.map_or((*value).to_owned(), |url| String::from_utf8(url).unwrap());
        assert_eq!(mapped, *expected, "{value}");
    }
}

#[test]
fn the_path_of_a_cookie_is_mapped() {
    let at_root = locations("/orders", "");
    let pairs = [
        ("a=1; Path=/", "a=1; Path=/orders"),
        ("a=1;path=/cart;Secure", "a=1; Path=/orders/cart;Secure"),
        (
            "a=1; Path = /cart/ ; HttpOnly",
            "a=1; Path=/orders/cart/; HttpOnly",
        ),
        (
            "a=1; Path=/a; Path=/b",
            "a=1; Path=/orders/a; Path=/orders/b",
        ),
        ("a=Path=/; Secure", "a=Path=/; Secure"),
        ("a=1", "a=1"),
        ("a=1; Path", "a=1; Path"),
        ("a=1; Path=", "a=1; Path="),
        ("a=1; Path=cart", "a=1; Path=cart"),
        ("", ""),
        // A browser takes it with this path only.
        ("__Host-a=1; Path=/; Secure", "__Host-a=1; Path=/; Secure"),
    ];
    cookies(&at_root, &pairs);
    let pairs = [
        ("a=1; Path=/v1", "a=1; Path=/orders"),
        ("a=1; Path=/v1/", "a=1; Path=/orders"),
        ("a=1; Path=/v1/cart", "a=1; Path=/orders/cart"),
        ("a=1; Path=/", "a=1; Path=/orders"),
        ("a=1; Path=/other", "a=1; Path=/other"),
    ];
    cookies(&locations("/orders", "/v1"), &pairs);
    let pairs = [
        ("a=1; Path=/v1", "a=1; Path=/"),
        ("a=1; Path=/v1/cart", "a=1; Path=/cart"),
        ("a=1; Path=/v1//cart", "a=1; Path=/v1//cart"),
    ];
    cookies(&locations("", "/v1"), &pairs);
}

#[test]
fn a_cookie_for_the_host_of_a_server_becomes_one_of_the_host_that_was_asked_for() {
    let pairs = [
        ("a=1; Domain=App.Internal; Secure", "a=1; Secure"),
        ("a=1; domain=.app.internal", "a=1"),
        ("a=1; Domain=10.0.0.1", "a=1"),
        ("a=1; Domain=shop.example", "a=1; Domain=shop.example"),
        ("a=1; Domain=internal", "a=1; Domain=internal"),
        ("a=1; Domain=", "a=1; Domain="),
    ];
    cookies(&locations("", ""), &pairs);
}

#[test]
fn what_trusted_proxies_have_stripped_comes_back_before_the_prefix_of_the_route() {
    let client = ClientOrigin {
        is_tls: true,
        authority: Cow::Borrowed(b"shop.example"),
        prefix: b"/outer",
    };
    let url = |locations: &Locations, url: &str| {
        let mapped = locations.url(url.as_bytes(), &client);
        mapped.map_or_else(|| url.to_owned(), |url| String::from_utf8(url).unwrap())
    };
    let own = locations("/orders", "/v1");
    assert_eq!(url(&own, "/v1/7"), "/outer/orders/7");
    assert_eq!(
        url(&own, "http://10.0.0.1:9001/v1"),
        "https://shop.example/outer/orders"
    );
    assert_eq!(url(&own, "/login"), "/login", "no path of the route");
    assert_eq!(
        url(&own, "https://evil.example/v1"),
        "https://evil.example/v1"
    );
    let none = locations("", "");
    assert_eq!(url(&none, "/7"), "/outer/7");
    let cookie = |locations: &Locations, value: &str| {
        String::from_utf8(locations.cookie(value.as_bytes(), b"/outer").unwrap()).unwrap()
    };
    assert_eq!(cookie(&own, "a=1; Path=/"), "a=1; Path=/outer/orders");
    assert_eq!(cookie(&none, "a=1; Path=/"), "a=1; Path=/outer");
    assert_eq!(cookie(&none, "a=1; Path=/cart"), "a=1; Path=/outer/cart");
}

#[test]
fn a_path_that_a_template_made_stays_also_below_another_prefix() {
    let template = Rewrite::Template(crate::policy::Template([].into()));
    let locations = Locations::new(&template, &[]);
    assert_eq!(locations.path(b"/7", b"/outer"), None);
    assert_eq!(locations.cookie(b"a=1; Path=/7", b"/outer"), None);
}

/// The path of a request on its way to the service, written plainly.
fn there(strip: &str, add: &str, path: &str) -> String {
    let rest = path.strip_prefix(strip).unwrap();
    let slash = if rest.starts_with('/') { "" } else { "/" };
    format!("{add}{slash}{rest}")
}

proptest! {
    #[test]
    fn a_path_that_is_mapped_back_leads_there_again(
        strip in "(/[a-c]{1,2}){0,2}",
        add in "(/[a-c]{1,2}){0,2}",
        rest in "(/[a-c.%]{1,3}){0,4}/?",
    ) {
        let path = format!("{add}{rest}");
        prop_assume!(path.starts_with('/'));
        let path = path::normal_form(path.as_bytes()).unwrap_or(path);
        if let Some(back) = locations(&strip, &add).path(path.as_bytes(), b"") {
            let back = String::from_utf8(back).unwrap();
            let there = there(&strip, &add, &back);
            // The root of the service has a slash.
            prop_assert!(there == path || there == format!("{path}/") && path == add, "{back} {there}");
        } else {
            prop_assert!(after_prefix(path.as_bytes(), &add).is_none());
        }
    }

    #[test]
    fn no_value_is_mapped_to_another_host(url in "(https?:)?/{0,3}[a-c.:@\\\\/%?#]{0,12}", strip in "(/a)?", add in "(/b)?") {
        let mapped = seen(&locations(&strip, &add), &url);
        if mapped != url {
            prop_assert!(mapped.starts_with('/') && !mapped.starts_with("//"), "{url} {mapped}");
        }
    }

    #[test]
    fn any_bytes_pass_without_a_line_end(value in "[ -~]{0,40}") {
        let locations = locations("/orders", "/v1");
        let _ = locations.cookie(value.as_bytes(), b"");
        let client = ClientOrigin { is_tls: true, authority: Cow::Borrowed(b"a"), prefix: b"" };
        let _ = locations.refresh(value.as_bytes(), &client);
    }
}
