//! Addresses: where to listen, where a server is, which networks are trusted.
//!
//! Nothing is looked up here. An address to listen on and a network are numbers;
//! the host of a server may be a name, which is looked up while the gateway
//! runs.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use ipnet::IpNet;
use rustls::pki_types::ServerName;

use super::{
    super::wrong::Wrong,
    host, in_quotes, name, pieces,
    socket::{is_socket, names_socket, no_socket},
};
use crate::policy::{ListenAddress, ServerAddress, UpstreamServer};

/// Ports where HTTP is expected when a URL names none.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
/// An address to listen on: `"0.0.0.0:8080"`, `"[::]:8080"`; port 0 lets the
/// system choose.
///
/// # Errors
/// Anything else, names included: where to listen is not looked up.
pub(in crate::config) fn bind(text: &str) -> Result<SocketAddr, Wrong> {
    let address: SocketAddr = text.parse().map_err(|_| no_bind(text))?;
    // A socket of IPv6 has it only where it takes connections over IPv4 too.
    if address.ip() != address.ip().to_canonical() {
        let right = SocketAddr::new(address.ip().to_canonical(), address.port());
        let why = "it is an IPv4 address in the form of IPv6";
        return Err(Wrong::new(why, format!("write \"{right}\"")));
    }
    Ok(address)
}

/// Where a listener listens: an address and a port, or `"unix:/path"` for a
/// socket in the file system.
///
/// # Errors
/// Anything else, and a path that could not stand as a name in logs and
/// metrics.
pub(in crate::config) fn listen_at(text: &str) -> Result<ListenAddress, Wrong> {
    match text.strip_prefix("unix:") {
        Some(path) if is_socket(path) => {
            name(text)?;
            Ok(ListenAddress::Unix(Path::new(path).into()))
        }
        _ if names_socket(text) => Err(no_socket(text)),
        _ => bind(text).map(ListenAddress::Ip),
    }
}

/// The refusal of an address to listen on. Help adds the part that is missing,
/// where only one is.
fn no_bind(text: &str) -> Wrong {
    let is_port = |port: &str| port.parse::<u16>().is_ok() && !port.starts_with('+');
    let port = match text.rsplit_once(':') {
        Some(("localhost", port)) => {
            let help = format!("write \"127.0.0.1:{port}\" or \"[::1]:{port}\"");
            return Wrong::new("a name is not an address", help);
        }
        Some(("" | "*", port)) => port,
        Some(_) => "",
        None => text,
    };
    if is_port(port) {
        let help = format!("write \"0.0.0.0:{port}\" to listen on all of them");
        return Wrong::new("the address is missing", help);
    }
    if let Ok(ip) = text.parse() {
        let right = SocketAddr::new(ip, 8080);
        let help = format!("write one behind it, such as \"{right}\"");
        return Wrong::new("the port is missing", help);
    }
    if let Some((_, rest)) = text.split_once("://") {
        let right = rest.trim_end_matches('/');
        if bind(right).is_ok() {
            return Wrong::new("it is a URL, not an address", format!("write \"{right}\""));
        }
    }
    let help = "write an IP address and a port, such as \"0.0.0.0:8080\" or \"[::1]:8080\"";
    Wrong::new("it is not an address with a port", help)
}

/// A network, or one address: `"10.0.0.0/8"`, `"::1"`. Bits behind the prefix
/// are cleared.
///
/// # Errors
/// Anything else.
pub(in crate::config) fn network(text: &str) -> Result<IpNet, Wrong> {
    let Some(network) = any_network(text) else {
        let help = "write a network such as \"10.0.0.0/8\" or \"fd00::/8\", or one address";
        let right = meant_networks(text).map(|right| format!("write {right}"));
        return Err(Wrong::new("it is not a network", help).or_advice(right));
    };
    Ok(network.trunc())
}

/// A network, or one address as the network that has only this address.
fn any_network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok();
    network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Networks in another form, as the list is to have them.
fn meant_networks(text: &str) -> Option<String> {
    let private = "\"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\" and \"fd00::/8\"";
    match text {
        "localhost" | "loopback" => return Some("\"127.0.0.1\" and \"::1\"".to_owned()),
        "private" | "private_ranges" | "internal" => return Some(private.to_owned()),
        _ => {}
    }
    let items = pieces(text);
    if items.len() > 1 && items.iter().all(|item| any_network(item).is_some()) {
        return Some(in_quotes(&items) + ", each in quotes of its own");
    }
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let with_port = bare.parse::<SocketAddr>().map(|address| address.ip());
    let in_brackets = bare.trim_matches(['[', ']']).parse::<Ipv6Addr>();
    let right = match (with_port, in_brackets) {
        (Ok(ip), _) => ip.to_string(),
        (_, Ok(ip)) => ip.to_string(),
        _ if bare != text && any_network(&bare).is_some() => bare,
        _ => with_netmask(&bare).or_else(|| with_stars(&bare))?,
    };
    Some(format!("\"{right}\""))
}

/// `10.0.0.0/255.0.0.0`
fn with_netmask(text: &str) -> Option<String> {
    let (address, mask) = text.split_once('/')?;
    let network = IpNet::with_netmask(address.parse().ok()?, mask.parse().ok()?);
    Some(network.ok()?.to_string())
}

/// `10.*` and `10.0.*.*`
fn with_stars(text: &str) -> Option<String> {
    let fixed: Vec<_> = text.split('.').take_while(|part| *part != "*").collect();
    let is_rest = text.split('.').skip(fixed.len()).all(|part| part == "*");
    let bits = 8 * fixed.len();
    let zeros = ".0".repeat(4_usize.saturating_sub(fixed.len()));
    let network = format!("{}{zeros}/{bits}", fixed.join("."));
    let is_meant = is_rest && text.contains('*') && (1..4).contains(&fixed.len());
    (is_meant && any_network(&network).is_some()).then_some(network)
}

/// A server of an upstream: its URL, `"unix:/path"` for a socket of this
/// machine, or `"srv+http://name"` for the servers that SRV records name.
///
/// # Errors
/// Anything else. A socket in the form of another program is written in the
/// help as it should be.
pub(in crate::config) fn server(text: &str) -> Result<UpstreamServer, Wrong> {
    let is_srv = |text: &str| text.to_ascii_lowercase().starts_with("srv+");
    if let Some((_, url)) = text.split_at_checked("srv+".len()).filter(|_| is_srv(text)) {
        return srv(url);
    }
    match text.strip_prefix("unix:") {
        Some(path) if is_socket(path) => Ok(UpstreamServer {
            url: text.into(),
            address: ServerAddress::Unix(Path::new(path).into()),
            secure_as: None,
            weight: 1,
            tier: 0,
        }),
        _ if names_socket(text) => Err(no_socket(text)),
        _ => server_url(text),
    }
}

/// The servers of a name, from the URL behind `srv+`. The name that their
/// certificates are to be valid for is that of their records.
fn srv(url: &str) -> Result<UpstreamServer, Wrong> {
    let help = "write a name of SRV records, such as \"srv+http://_api._tcp.example.internal\"";
    let server = server_url(url).map_err(|wrong| Wrong::new(wrong.why, help))?;
    let name = match &server.address {
        ServerAddress::Tcp { host, .. } if host.parse::<IpAddr>().is_err() => Arc::clone(host),
        _ => return Err(Wrong::new("an address has no SRV records", help)),
    };
    if server.authority().contains(':') {
        let why = "SRV records have the ports of the servers";
        return Err(Wrong::new(why, "leave the port out"));
    }
    Ok(UpstreamServer {
        url: format!("srv+{}", server.url).into(),
        address: ServerAddress::Srv {
            name,
            by_target: true,
        },
        ..server
    })
}

/// `"http://host:port"`, `"https://host:port"`; the path can only be `/`.
///
/// The URL of the server is what requests and logs name it by: without the dot
/// that ends a whole name. Its host, to be looked up, has that dot, which keeps
/// the system from searching its own domains for the name. Its weight is 1.
///
/// # Errors
/// Anything else. A text that is a server in another form is written in the
/// help as it should be.
pub(in crate::config) fn server_url(text: &str) -> Result<UpstreamServer, Wrong> {
    exact_server_url(text).map_err(|wrong| {
        let right = meant_servers(text);
        wrong.or_advice(right.map(|right| format!("write {right}")))
    })
}

/// Several servers in one text, or one with a weight or other options.
fn meant_servers(text: &str) -> Option<String> {
    let words: Vec<_> = pieces(text).into_iter().map(with_scheme).collect();
    let [server, options @ ..] = words.as_slice() else {
        return None;
    };
    let is_server = |text: &String| exact_server_url(text).is_ok() && !text.contains('=');
    if options.is_empty() || exact_server_url(server).is_err() {
        return None;
    }
    let weight = |word: &String| word.strip_prefix("http://weight=")?.parse::<u32>().ok();
    if let Some(weight) = options.iter().find_map(weight) {
        return Some(format!("`{{ url = \"{server}\", weight = {weight} }}`"));
    }
    if options.iter().all(is_server) {
        let servers = in_quotes(&words);
        return Some(format!("several as items of the list: {servers}"));
    }
    let alone = "alone: other settings are keys of the upstream";
    Some(format!("\"{server}\" {alone}"))
}

/// The text as a URL: `http://` is put before it if it has no scheme.
pub(in crate::config) fn with_scheme(text: &str) -> String {
    match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    }
}

/// [`server_url`] without advice on several servers.
fn exact_server_url(text: &str) -> Result<UpstreamServer, Wrong> {
    let help = "write a URL such as \"http://10.0.0.1:9001\"";
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (scheme, usual) = match &*scheme.to_ascii_lowercase() {
        "http" if !names_socket(text) => ("http", HTTP_PORT),
        "https" if !names_socket(text) => ("https", HTTPS_PORT),
        _ => return Err(not_http(text, help)),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if let Ok(address) = authority.parse::<Ipv6Addr>() {
        let help = format!("write \"{scheme}://[{address}]\"");
        return Err(Wrong::new("IPv6 addresses stand in brackets", help));
    }
    if authority.contains('@') {
        let why = "user and password cannot be in the URL of a server";
        return Err(Wrong::new(why, help));
    }
    if authority.contains(['/', '?', '#']) {
        let help = "leave the path out; a route can put one on with `request.add_prefix`";
        return Err(Wrong::new("the URL of a server has no path", help));
    }
    let (mut host, port) = host_and_port(authority, help)?;
    let secure_as = match scheme {
        "https" => Some(server_name(&host)?),
        _ => None,
    };
    let mut url = format!("{scheme}://{authority}");
    let name = authority.split(':').next().unwrap_or_default();
    if let Some(bare) = name.strip_suffix('.') {
        url = url.replacen(name, bare, 1);
        if host.parse::<IpAddr>().is_err() {
            host.push('.');
        }
    }
    Ok(UpstreamServer {
        url: url.into(),
        address: ServerAddress::Tcp {
            host: host.into(),
            port: port.unwrap_or(usual),
        },
        secure_as,
        weight: 1,
        tier: 0,
    })
}

/// A text that is no URL of HTTP: help puts the missing part before it, if
/// that makes a server of it.
fn not_http(text: &str, help: &str) -> Wrong {
    if names_socket(text) {
        let why = "only the servers of an upstream can be sockets, and this is no upstream";
        let help = "have the service listen on a port, and write \"http://127.0.0.1:9001\"";
        return Wrong::new(why, help);
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    if names_records(scheme, rest) {
        let https = if scheme.ends_with('s') { "s" } else { "" };
        let help = format!("write \"srv+http{https}://{rest}\" for the servers of SRV records");
        return Wrong::new("it does not begin with srv+http:// or srv+https://", help);
    }
    let right = match rest.parse::<Ipv6Addr>() {
        Ok(ip) => format!("http://[{ip}]:9001"),
        // Behind a scheme whose slashes are not right.
        Err(_) => {
            let is_slash = [':', '/'];
            let host = rest.strip_prefix("http").unwrap_or(rest);
            let host = host
                .strip_prefix(is_slash)
                .map_or(rest, |host| host.trim_start_matches(is_slash));
            format!("http://{host}")
        }
    };
    let is_meant = exact_server_url(&right).is_ok();
    let right = is_meant.then(|| format!("write \"{right}\""));
    Wrong::new("it does not begin with http:// or https://", help).or_advice(right)
}

/// Whether a URL is that of SRV records in the language of another gateway:
/// `srv://`, `dns+srv://`, `dnssrv+http://`, or a name such as `_api._tcp.x`.
fn names_records(scheme: &str, rest: &str) -> bool {
    let is_word = scheme
        .to_ascii_lowercase()
        .split(['+', '-'])
        .any(|word| matches!(word, "srv" | "srvs" | "dnssrv" | "dnssrvnoa"));
    let is_name = rest.starts_with('_') && (rest.contains("._tcp.") || rest.contains("._udp."));
    let is_host = |url: String| exact_server_url(&url).is_ok();
    (is_word || is_name) && is_host(format!("http://{rest}"))
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
    let help = "write a host and its port, such as \"tidegate.internal:9901\"";
    host_and_port(text, help)?;
    Ok(text.to_ascii_lowercase())
}

/// The host that a health check asks for, with a port or without, lower case.
pub(in crate::config) fn check_host(text: &str) -> Result<Box<str>, Wrong> {
    let help = "write a host, such as \"orders.internal\"";
    host_and_port(text, help)?;
    Ok(text.to_ascii_lowercase().into())
}

/// The host of `"host"`, `"host:port"`, `"[::1]"` or `"[::1]:port"` in lower
/// case and without brackets, and its port if there is one.
///
/// # Errors
/// Anything else, and port 0; `help` is the advice then.
pub(in crate::config) fn host_and_port(
    authority: &str,
    help: &str,
) -> Result<(String, Option<u16>), Wrong> {
    let wrong = |why: String| Wrong::new(why, help);
    let inside = authority.strip_prefix('[');
    let (host, behind) = match inside.and_then(|inside| inside.split_once(']')) {
        Some((host, behind)) if host.parse::<Ipv6Addr>().is_ok() => {
            (host.to_ascii_lowercase(), behind)
        }
        Some((host, _)) => return Err(wrong(format!("`{host}` is not an IPv6 address"))),
        None => {
            let (host, behind) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (host::name(host).map_err(|other| wrong(other.why))?, behind)
        }
    };
    match behind.strip_prefix(':').map(|port| (port, port.parse())) {
        None if behind.is_empty() => Ok((host, None)),
        None => Err(wrong("only a port can follow `]`".to_owned())),
        Some((text, Ok(port @ 1..))) if !text.starts_with('+') => Ok((host, Some(port))),
        Some(_) => Err(wrong("the port is a number from 1 to 65535".to_owned())),
    }
}

#[cfg(test)]
mod tests;
