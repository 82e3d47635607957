//! Addresses: where to listen, where a server is, which networks are trusted.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use rustls::pki_types::ServerName;

use super::{super::wrong::Wrong, host};

/// Ports where HTTP is expected when a URL names none.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// An address to listen on: `"0.0.0.0:8080"`, `"[::]:8080"`; port 0 lets the
/// system choose.
pub(in crate::config) fn bind(text: &str) -> Result<SocketAddr, Wrong> {
    let help = "write an IP address and a port, such as \"0.0.0.0:8080\" or \"[::1]:8080\"";
    text.parse().map_err(|_| match text.rsplit_once(':') {
        Some(("" | "*", port)) if port.parse::<u16>().is_ok() => Wrong::new(
            "the address is missing",
            format!("write \"0.0.0.0:{port}\" to listen on all of them"),
        ),
        Some(("localhost", port)) => Wrong::new(
            "a name is not an address",
            format!("write \"127.0.0.1:{port}\" or \"[::1]:{port}\""),
        ),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok() => {
            Wrong::new(
                "the address is missing",
                format!("write \"0.0.0.0:{text}\" to listen on all of them"),
            )
        }
        _ if text.parse::<IpAddr>().is_ok() => {
            let port = text
                .parse()
                .map(|ip| SocketAddr::new(ip, 8080).to_string())
                .unwrap_or_default();
            Wrong::new(
                "the port is missing",
                format!("write one behind it, such as \"{port}\""),
            )
        }
        _ if text
            .split_once("://")
            .is_some_and(|(_, rest)| bind(rest.trim_end_matches('/')).is_ok()) =>
        {
            let (_, rest) = text.split_once("://").unwrap_or_default();
            Wrong::new(
                "it is a URL, not an address",
                format!("write \"{}\"", rest.trim_end_matches('/')),
            )
        }
        _ => Wrong::new("it is not an address with a port", help),
    })
}

/// A network, or one address: `"10.0.0.0/8"`, `"::1"`.
pub(in crate::config) fn network(text: &str) -> Result<IpNet, Wrong> {
    let help = "write a network such as \"10.0.0.0/8\" or \"fd00::/8\", or one address";
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map(|network| network.trunc()).map_err(|_| {
        let right = meant_networks(text).map(|right| format!("write {right}"));
        Wrong::new(
            "it is not a network",
            right.unwrap_or_else(|| help.to_owned()),
        )
    })
}

/// Networks in another form, as the list is to have them.
fn meant_networks(text: &str) -> Option<String> {
    let quoted = |text: &str| format!("\"{text}\"");
    let is_network = |text: &str| text.parse::<IpNet>().is_ok() || text.parse::<IpAddr>().is_ok();
    match text {
        "localhost" | "loopback" => return Some("\"127.0.0.1\" and \"::1\"".to_owned()),
        "private" | "private_ranges" | "internal" => {
            return Some(
                "\"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\" and \"fd00::/8\"".to_owned(),
            );
        }
        _ => {}
    }
    let items: Vec<_> = text
        .split([',', ';', ' '])
        .filter(|item| !item.is_empty())
        .collect();
    if items.len() > 1 && items.iter().all(|item| is_network(item)) {
        return Some(
            items.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
                + ", each in quotes of its own",
        );
    }
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let port = bare
        .parse::<SocketAddr>()
        .map(|address| address.ip().to_string())
        .ok();
    let brackets = || {
        bare.trim_matches(['[', ']'])
            .parse::<Ipv6Addr>()
            .map(|ip| ip.to_string())
            .ok()
    };
    let mask = || {
        let (address, mask) = bare.split_once('/')?;
        IpNet::with_netmask(address.parse().ok()?, mask.parse().ok()?)
            .ok()
            .map(|network| network.to_string())
    };
    let star = || {
        let fixed = bare.split('.').take_while(|part| *part != "*").count();
        let is_rest =
            bare.split('.').skip(fixed).all(|part| part == "*") && (1..4).contains(&fixed);
        let address = bare.replace('*', "0");
        let zeros = ".0".repeat(3_usize.saturating_sub(address.matches('.').count()));
        let network = format!("{address}{zeros}/{}", 8 * fixed);
        (is_rest && bare.contains('*') && is_network(&network)).then_some(network)
    };
    let right = port.or_else(brackets).or_else(mask).or_else(star);
    right
        .or_else(|| (bare != text && is_network(&bare)).then_some(bare))
        .as_deref()
        .map(quoted)
}

/// Where a server is: what `"http://host:port"` or `"https://host:port"` says.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(in crate::config) struct ServerUrl {
    /// As requests and logs name it: without the dot that ends a whole name.
    pub(in crate::config) url: Arc<str>,
    /// To be looked up: with that dot, which keeps the system from searching
    /// its own domains for the name.
    pub(in crate::config) host: Arc<str>,
    pub(in crate::config) port: u16,
    pub(in crate::config) is_tls: bool,
}

/// `"http://host:port"`, `"https://host:port"`; the path can only be `/`.
pub(in crate::config) fn server_url(text: &str) -> Result<ServerUrl, Wrong> {
    exact_server_url(text).map_err(|wrong| match meant_servers(text) {
        Some(right) => Wrong::new(wrong.why, format!("write {right}")),
        None => wrong,
    })
}

/// Several servers in one text, one with a weight, or one whose slashes are not
/// right.
fn meant_servers(text: &str) -> Option<String> {
    let is_server = |text: &str| exact_server_url(text).is_ok();
    let with_scheme = |text: &str| {
        if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        }
    };
    let words: Vec<_> = text
        .split([',', ';', ' '])
        .filter(|word| !word.is_empty())
        .collect();
    if let [server, options @ ..] = words.as_slice()
        && !options.is_empty()
    {
        let server = with_scheme(server);
        let others: Vec<_> = options.iter().map(|word| with_scheme(word)).collect();
        let weight = options
            .iter()
            .find_map(|word| word.strip_prefix("weight=")?.parse::<u32>().ok());
        return match weight {
            _ if !is_server(&server) => None,
            Some(weight) => Some(format!("`{{ url = \"{server}\", weight = {weight} }}`")),
            None if others
                .iter()
                .all(|other| is_server(other) && !other.contains('=')) =>
            {
                let list = std::iter::once(&server)
                    .chain(&others)
                    .map(|one| format!("\"{one}\""));
                Some(format!(
                    "several as items of the list: {}",
                    list.collect::<Vec<_>>().join(", ")
                ))
            }
            None => Some(format!(
                "\"{server}\" alone: other settings are keys of the upstream"
            )),
        };
    }
    let rest = text
        .strip_prefix("http")
        .unwrap_or(text)
        .trim_start_matches(':')
        .trim_start_matches('/');
    let has_few_slashes =
        text.starts_with("//") || text.starts_with("http") && !text.contains("://");
    let right = format!("http://{rest}");
    (has_few_slashes && is_server(&right)).then(|| format!("\"{right}\""))
}

fn exact_server_url(text: &str) -> Result<ServerUrl, Wrong> {
    let help = "write a URL such as \"http://10.0.0.1:9001\"";
    let given = text
        .split_once("://")
        .map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    let (is_tls, rest) = match &given {
        Some((scheme, rest)) if scheme == "http" => (false, Some(*rest)),
        Some((scheme, rest)) if scheme == "https" => (true, Some(*rest)),
        _ => (false, None),
    };
    let Some(rest) = rest else {
        return Err(not_http(text, help));
    };
    if names_socket(text) {
        return Err(not_http(text, help));
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if let Ok(address) = authority.parse::<Ipv6Addr>() {
        let scheme = if is_tls { "https" } else { "http" };
        return Err(Wrong::new(
            "IPv6 addresses stand in brackets",
            format!("write \"{scheme}://[{address}]\""),
        ));
    }
    if authority.contains('@') {
        return Err(Wrong::new(
            "user and password cannot be in the URL of a server",
            help,
        ));
    }
    if authority.contains(['/', '?', '#']) {
        let help = "leave the path out; a route can put one on with `request.add_prefix`";
        return Err(Wrong::new("the URL of a server has no path", help));
    }
    let (mut host, port) = host_and_port(authority, help)?;
    if is_tls {
        server_name(&host)?;
    }
    let (name, behind) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    let called = match name.strip_suffix('.') {
        Some(name) if host.parse::<IpAddr>().is_err() => {
            host.push('.');
            format!("{name}{behind}")
        }
        Some(address) => format!("{address}{behind}"),
        None => authority.to_owned(),
    };
    let (scheme, usual) = if is_tls {
        ("https", HTTPS_PORT)
    } else {
        ("http", HTTP_PORT)
    };
    let url = format!("{scheme}://{called}").into();
    Ok(ServerUrl {
        url,
        host: host.into(),
        port: port.unwrap_or(usual),
        is_tls,
    })
}

/// Whether this is the path of a socket, in one of the ways in which others
/// write it: `/run/app.sock`, `unix:/run/app.sock`,
/// `http://unix:/run/app.sock`, `http+unix://...`.
fn names_socket(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let is_path = text.starts_with('/') && !text.starts_with("//");
    is_path || text.starts_with("unix:") || text.contains("://unix:") || text.contains("+unix:")
}

/// Puts the missing part before it, if that makes a server of it.
fn not_http(text: &str, help: &str) -> Wrong {
    if names_socket(text) {
        let help = "have the service listen on a port, and write \"http://127.0.0.1:9001\"";
        return Wrong::new(
            "a server is reached over TCP, and this names a socket in a folder",
            help,
        );
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let url = format!("http://{rest}");
    let address = rest
        .parse::<Ipv6Addr>()
        .map(|ip| format!("http://[{ip}]:9001"));
    let help = match address {
        Ok(url) => format!("write \"{url}\""),
        Err(_) if !rest.starts_with("http") && exact_server_url(&url).is_ok() => {
            format!("write \"{url}\"")
        }
        Err(_) => help.to_owned(),
    };
    Wrong::new("it does not begin with http:// or https://", help)
}

/// A name or an address that a server's certificate stands for.
pub(in crate::config) fn server_name(text: &str) -> Result<ServerName<'static>, Wrong> {
    let help = "write a host name such as \"orders.internal\", or an IP address";
    // A certificate's names have no final dot, and neither has what is asked
    // for (RFC 6066, 3).
    let name = text.strip_suffix('.').unwrap_or(text).to_owned();
    ServerName::try_from(name)
        .map_err(|_| Wrong::new("it is not what a certificate can stand for", help))
}

/// A name that the admin listener may be called by: a host, with a port or
/// without, lower case.
pub(in crate::config) fn admin_host(text: &str) -> Result<String, Wrong> {
    host_and_port(
        text,
        "write a host and its port, such as \"tidegate.internal:9901\"",
    )?;
    Ok(text.to_ascii_lowercase())
}

pub(in crate::config) fn host_and_port(
    authority: &str,
    help: &str,
) -> Result<(String, Option<u16>), Wrong> {
    let (host, port) = match authority
        .strip_prefix('[')
        .and_then(|inside| inside.split_once(']'))
    {
        Some((host, port)) => {
            host.parse::<Ipv6Addr>()
                .map_err(|_| Wrong::new(format!("`{host}` is not an IPv6 address"), help))?;
            match port.strip_prefix(':') {
                None if !port.is_empty() => {
                    return Err(Wrong::new("only a port can follow `]`", help));
                }
                port => (host.to_ascii_lowercase(), port),
            }
        }
        None => {
            let (host, port) = authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port)));
            (
                host::name(host).map_err(|wrong| Wrong::new(wrong.why, help))?,
                port,
            )
        }
    };
    let port = port.map(|port| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse::<u16>().ok().filter(|port| digits && *port > 0)
    });
    match port {
        Some(None) => Err(Wrong::new("the port is a number from 1 to 65535", help)),
        port => Ok((host, port.flatten())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        let read = |text| {
            server_url(text)
                .map(|url| (url.host.to_string(), url.port))
                .unwrap()
        };
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
            assert_eq!((&*read.url, &*read.host), (url, host), "{text}");
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
            ("unix:/run/app.sock", "listen on a port"),
            ("unix:///run/app.sock", "listen on a port"),
            ("/run/app.sock", "listen on a port"),
            ("http://unix:/run/app.sock", "listen on a port"),
            ("http+unix://%2Frun%2Fapp.sock", "listen on a port"),
            ("http://::1", "\"http://[::1]\""),
            ("https://2001:db8::1/", "\"https://[2001:db8::1]\""),
            ("app/x", "such as \"http://10.0.0.1:9001\""),
            ("http:/app", "\"http://app\""),
            ("http//app:1", "\"http://app:1\""),
            ("//app", "\"http://app\""),
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
            let help = server_url(text).unwrap_err().help;
            assert!(help.contains(advice), "{text}: {help}");
        }
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
}
