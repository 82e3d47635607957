//! Tests of addresses, networks and URLs of servers.

use super::{super::socket::LONGEST_SOCKET, *};

fn host_of(server: &UpstreamServer) -> (String, u16) {
    let ServerAddress::Tcp { host, port } = &server.address else {
        panic!("it has a host")
    };
    (host.to_string(), *port)
}

#[test]
fn a_server_is_a_host_and_a_port() {
    let read = |text| host_of(&server_url(text).unwrap());
    assert_eq!(read("http://10.0.0.1:9001"), ("10.0.0.1".into(), 9001));
    assert_eq!(
        read("http://Orders.Internal/"),
        ("orders.internal".into(), 80)
    );
    assert_eq!(read("http://[::1]:9001"), ("::1".into(), 9001));
    assert_eq!(read("https://10.0.0.1"), ("10.0.0.1".into(), 443));
    assert_eq!(&*server_url("http://a:1/").unwrap().url, "http://a:1");
    assert_eq!(&*server_url("https://a:1/").unwrap().url, "https://a:1");
}

#[test]
fn a_final_dot_is_for_looking_up_and_a_scheme_has_any_case() {
    for (text, url, host) in [
        (
            "http://Orders.Internal.:9001",
            "http://Orders.Internal:9001",
            "orders.internal.",
        ),
        (
            "https://orders.internal./",
            "https://orders.internal",
            "orders.internal.",
        ),
        ("HTTP://a:1", "http://a:1", "a"),
        ("HttpS://a.", "https://a", "a."),
        ("http://10.0.0.1.:80", "http://10.0.0.1:80", "10.0.0.1"),
    ] {
        let read = server_url(text).unwrap();
        assert_eq!((&*read.url, &*host_of(&read).0), (url, host), "{text}");
        assert_eq!(read.authority(), &url[url.find("//").unwrap() + 2..]);
    }
    assert_eq!(
        server_name("orders.internal.").unwrap(),
        server_name("orders.internal").unwrap()
    );
}

#[test]
fn a_server_is_nothing_else() {
    for text in [
        "10.0.0.1:80",
        "http://",
        "http://a:0",
        "http://a:99999",
        "http://a/b",
        "http://u:p@a",
        "ftp://a",
        "http://a b",
        "http://[::1",
        "http://a:",
        "http://.",
        "http://a..",
        "http://a:+1",
        "http://[::1]x",
        "http://a?x",
        "",
    ] {
        assert!(server_url(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_advised_for_a_server_is_a_server() {
    for (text, advice) in [
        ("localhost:3000", "\"http://localhost:3000\""),
        ("tcp://10.0.0.1:9001", "\"http://10.0.0.1:9001\""),
        ("::1", "\"http://[::1]:9001\""),
        ("unix:///run/app.sock", "\"unix:/run/app.sock\""),
        ("/run/app.sock", "\"unix:/run/app.sock\""),
        ("UNIX:/run/app.sock", "\"unix:/run/app.sock\""),
        ("unix:/run/app.sock/", "\"unix:/run/app.sock\""),
        ("unix:/run/app.sock:/a/", "\"unix:/run/app.sock\""),
        ("unix:/run/app.sock weight=5", "\"unix:/run/app.sock\""),
        ("http://unix:/run/app.sock", "\"unix:/run/app.sock\""),
        ("http+unix://%2Frun%2Fapp.sock", "\"unix:/run/app.sock\""),
        ("unix:app.sock", "an absolute path"),
        ("unix:", "an absolute path"),
        ("unix:@app", "an absolute path"),
        ("http://::1", "\"http://[::1]\""),
        ("https://2001:db8::1/", "\"https://[2001:db8::1]\""),
        ("app/x", "such as \"http://10.0.0.1:9001\""),
        ("http:/app", "\"http://app\""),
        ("http//app:1", "\"http://app:1\""),
        ("//app", "\"http://app\""),
        ("httpd:80", "\"http://httpd:80\""),
        ("http://a:1,http://b:2", "\"http://a:1\", \"http://b:2\""),
        (
            "10.0.0.1:9000 weight=5",
            "`{ url = \"http://10.0.0.1:9000\", weight = 5 }`",
        ),
        (
            "10.0.0.1:9000 max_fails=3",
            "\"http://10.0.0.1:9000\" alone",
        ),
        ("a b c=d e", "\"http://a\" alone"),
    ] {
        let help = server(text).unwrap_err().help;
        assert!(help.contains(advice), "{text}: {help}");
    }
}

#[test]
fn a_server_is_also_the_path_of_a_socket_as_far_as_the_system_takes_it() {
    let read = server("unix:/run/app.sock").unwrap();
    let path = Path::new("/run/app.sock");
    assert_eq!(read.address, ServerAddress::Unix(path.into()));
    assert_eq!(
        (&*read.url, read.authority()),
        ("unix:/run/app.sock", "localhost")
    );
    let longest = format!("unix:/{}", "a".repeat(LONGEST_SOCKET - 1));
    assert!(server(&longest).is_ok());
    let why = server(&format!("{longest}a")).unwrap_err().why;
    assert!(why.contains("at most 107 bytes"), "{why}");
    let why = server_url("unix:/run/app.sock").unwrap_err().why;
    assert!(why.contains("only the servers of an upstream"), "{why}");
}

#[test]
fn an_address_without_a_host_is_completed_in_the_help() {
    assert!(bind("8080").unwrap_err().help.contains("\"0.0.0.0:8080\""));
    assert!(bind("::1").unwrap_err().help.contains("\"[::1]:8080\""));
    assert!(
        bind("http://0.0.0.0:80/")
            .unwrap_err()
            .help
            .contains("\"0.0.0.0:80\"")
    );
    assert!(
        network("10.0.0.1:80")
            .unwrap_err()
            .help
            .contains("\"10.0.0.1\"")
    );
    assert!(network("[::1]").unwrap_err().help.contains("\"::1\""));
    for (text, right) in [
        ("10.0.0.*", "\"10.0.0.0/24\""),
        ("10.*", "\"10.0.0.0/8\""),
        ("10.0.0.0/255.0.0.0", "\"10.0.0.0/8\""),
        ("10.0.0.0 /8", "\"10.0.0.0/8\""),
        ("10.0.0.0/8, fd00::/8", "\"10.0.0.0/8\", \"fd00::/8\""),
        ("loopback", "\"127.0.0.1\" and \"::1\""),
        ("private_ranges", "\"172.16.0.0/12\""),
    ] {
        let help = network(text).unwrap_err().help;
        assert!(help.contains(right), "{text}: {help}");
    }
    for text in [
        "*",
        "proxy.example.com",
        "10.0.0.0/33",
        "10.0.0",
        "*.*",
        "1.*.2.*",
    ] {
        assert!(
            network(text).unwrap_err().help.contains("such as"),
            "{text}"
        );
    }
    assert!(bind(":8080").unwrap_err().help.contains("\"0.0.0.0:8080\""));
    assert!(
        bind("localhost:80")
            .unwrap_err()
            .help
            .contains("\"127.0.0.1:80\"")
    );
    assert!(bind("0.0.0.0").is_err() && bind("[::]:0").is_ok());
}

#[test]
fn one_address_is_a_network_too() {
    assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
    assert_eq!(network("::1").unwrap().to_string(), "::1/128");
    assert!(network("10.0.0.0/33").is_err());
}
