//! `listen` as listeners, with the certificates of their servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use super::{
    certificates,
    names::Names,
    notes::{Note, Outcome},
    paths::Paths,
    scope::Scope,
    toml::{Block, text},
    tree::Directive,
    units,
};

/// Words of `listen` that say what the gateway does anyway.
const NEEDLESS: [&str; 6] = ["bind", "http2", "spdy", "reuseport", "deferred", "default"];
/// Words of `listen` about options of its socket.
const OF_SOCKETS: [&str; 8] = [
    "setfib",
    "fastopen",
    "backlog",
    "rcvbuf",
    "sndbuf",
    "accept_filter",
    "so_keepalive",
    "multipath",
];

/// One `listen` of a server.
#[derive(Debug, Clone)]
pub(super) struct Listen {
    /// As `bind` has it.
    pub(super) bind: String,
    pub(super) is_secure: bool,
    is_proxied: bool,
    is_default: bool,
    /// An IPv6 address of all networks takes connections over IPv4, too.
    is_dual: bool,
}

/// Reads `listen`; `None` for an address that the gateway cannot listen on.
pub(super) fn listen(directive: &Directive, notes: &mut Vec<Note>) -> Option<Listen> {
    let mut note = |outcome, why: &str| notes.push(Note::new(directive, outcome, why));
    let Some(bind) = bind(directive.argument(0)) else {
        note(
            Outcome::Lost,
            "a listener has an IP address and a port, or unix:/path",
        );
        return None;
    };
    let mut listen = Listen {
        bind,
        is_secure: false,
        is_proxied: false,
        is_default: false,
        is_dual: false,
    };
    for argument in directive.arguments.iter().skip(1) {
        let name = argument.split('=').next().unwrap_or_default();
        match name {
            "ssl" => listen.is_secure = true,
            "proxy_protocol" => listen.is_proxied = true,
            "default_server" | "default" => listen.is_default = true,
            "quic" => {
                note(Outcome::Lost, "HTTP/3 is not supported");
                return None;
            }
            "ipv6only" => listen.is_dual = argument == "ipv6only=off",
            _ if NEEDLESS.contains(&name) => {}
            _ if OF_SOCKETS.contains(&name) => {
                let why = format!("the gateway chooses the options of sockets (`{argument}`)");
                note(Outcome::Needless, &why);
            }
            _ => note(
                Outcome::Lost,
                &format!("tidegate does not know `{argument}`"),
            ),
        }
    }
    Some(listen)
}

/// The listener of a server without `listen`.
pub(super) fn usual() -> Listen {
    Listen {
        bind: "0.0.0.0:80".to_owned(),
        is_secure: false,
        is_proxied: false,
        is_default: false,
        is_dual: false,
    }
}

/// An address as `bind` has it.
fn bind(address: &str) -> Option<String> {
    if let Some(path) = address.strip_prefix("unix:") {
        return path.starts_with('/').then(|| address.to_owned());
    }
    if let Ok(port) = address.parse::<u16>() {
        return Some(format!("0.0.0.0:{port}"));
    }
    let address = match address
        .strip_prefix("*")
        .or_else(|| address.strip_prefix("localhost"))
    {
        Some("") => "0.0.0.0".to_owned(),
        Some(port) if address.starts_with('*') => format!("0.0.0.0{port}"),
        Some(port) => format!("127.0.0.1{port}"),
        None => address.to_owned(),
    };
    if let Ok(bind) = address.parse::<SocketAddr>() {
        return Some(bind.to_string());
    }
    let ip = address.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = ip.parse().ok()?;
    Some(SocketAddr::new(ip, 80).to_string())
}

/// A listener with the servers that share it.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) bind: String,
    pub(super) name: String,
    pub(super) is_secure: bool,
    is_proxied: bool,
    /// It takes connections over IPv4, too, and NGINX does not.
    is_wider: bool,
    /// Indices of its servers; the first is the default one.
    pub(super) servers: Vec<usize>,
    /// All of its requests go to https: the value of `redirect_https`.
    pub(super) redirects: Option<String>,
}

impl Listener {
    /// Whether it has the port that clients leave out.
    pub(super) fn has_usual_port(&self) -> bool {
        let usual = if self.is_secure { 443 } else { 80 };
        self.port().is_none_or(|port| port == usual)
    }

    /// The port, if it has one.
    pub(super) fn port(&self) -> Option<u16> {
        self.bind.parse().ok().map(|bind: SocketAddr| bind.port())
    }
}

/// The listeners of all servers, by the `listen` of each, in the order of the
/// source.
pub(super) fn listeners(servers: &[&[Listen]]) -> Vec<Listener> {
    let mut found: Vec<Listener> = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, listens) in servers.iter().enumerate() {
        for listen in *listens {
            let index = *known.entry(&listen.bind).or_insert(found.len());
            if index == found.len() {
                found.push(Listener {
                    bind: listen.bind.clone(),
                    name: String::new(),
                    is_secure: false,
                    is_proxied: false,
                    is_wider: is_of_all_v6(&listen.bind),
                    servers: Vec::new(),
                    redirects: None,
                });
            }
            let listener = &mut found[index];
            listener.is_secure |= listen.is_secure;
            listener.is_proxied |= listen.is_proxied;
            listener.is_wider &= !listen.is_dual;
            let ends = [listener.servers.first(), listener.servers.last()];
            match ends.contains(&Some(&at)) {
                true => {}
                false if listen.is_default => listener.servers.insert(0, at),
                false => listener.servers.push(at),
            }
        }
    }
    let address = |listener: &Listener| listener.bind.parse::<SocketAddr>().ok();
    let over_v4 = found.iter().filter_map(address).filter(SocketAddr::is_ipv4);
    let over_v4: BTreeSet<u16> = over_v4.map(|bind| bind.port()).collect();
    let mut names = Names::default();
    for listener in &mut found {
        listener.is_wider &= listener.port().is_none_or(|port| !over_v4.contains(&port));
        listener.name = names.unique(&name(listener));
    }
    found
}

/// Whether an address is that of all networks of IPv6.
fn is_of_all_v6(bind: &str) -> bool {
    let bind = bind.parse::<SocketAddr>();
    bind.is_ok_and(|bind| bind.is_ipv6() && bind.ip().is_unspecified())
}

/// `http`, `https-8443`, `https-v6`.
fn name(listener: &Listener) -> String {
    let scheme = if listener.is_secure { "https" } else { "http" };
    let Ok(bind) = listener.bind.parse::<SocketAddr>() else {
        return format!("{scheme}-unix");
    };
    let mut name = scheme.to_owned();
    if !matches!(bind.port(), 80 | 443) {
        name += &format!("-{}", bind.port());
    }
    if bind.is_ipv6() {
        name += "-v6";
    }
    name
}

/// Writes a listener. `scopes` are those of its servers, the default one first.
pub(super) fn write(
    listener: &Listener,
    scopes: &[&Scope<'_>],
    paths: &Paths,
    is_named: bool,
) -> Block {
    let mut block = Block::default();
    block.lines.push("[[listeners]]".to_owned());
    if is_named {
        block.set("name", &text(&listener.name));
    }
    block.set("bind", &text(&listener.bind));
    if let Some(redirects) = &listener.redirects {
        block.set("redirect_https", redirects);
        block.title.push(
            "all of its requests go to https, with 308; NGINX sends the status of `return`"
                .to_owned(),
        );
    }
    if listener.is_wider {
        let told = "it takes connections over IPv4, too, as no other listener has this port; NGINX takes those over IPv6 only, unless `ipv6only=off`";
        block.title.push(told.to_owned());
    }
    if listener.is_proxied {
        block.set("proxy_protocol", "\"required\"");
    }
    let Some(scope) = scopes.first() else {
        return block;
    };
    heads(scope, &mut block);
    if let Some(directive) = scope.one("underscores_in_headers") {
        match directive.argument(0) {
            "on" => block.set("underscores", "\"keep\""),
            _ => {
                let note = Note::new(directive, Outcome::Needless, "it is the default");
                block.notes.push(note);
            }
        }
    }
    times(scope, &mut block);
    if listener.is_secure {
        certificates::write(scopes, paths, &mut block);
    }
    block
}

/// `large_client_header_buffers 4 16k` as the longest head.
fn heads(scope: &Scope<'_>, block: &mut Block) {
    let Some(directive) = scope.one("large_client_header_buffers") else {
        return;
    };
    let number = directive.argument(0).parse::<u64>().ok();
    let size = units::bytes(directive.argument(1));
    match number
        .zip(size)
        .and_then(|(number, size)| number.checked_mul(size))
    {
        Some(size) => block.set("max_header_bytes", &text(&units::size(size))),
        None => block
            .notes
            .push(Note::new(directive, Outcome::Lost, "it is not a size")),
    }
}

/// How long clients may take.
fn times(scope: &Scope<'_>, block: &mut Block) {
    let mut keys = Vec::new();
    for (key, name) in [
        ("headers", "client_header_timeout"),
        ("keep_alive", "keepalive_timeout"),
    ] {
        let Some(directive) = scope.one(name) else {
            continue;
        };
        if name == "keepalive_timeout" && !directive.argument(1).is_empty() {
            let why = "clients get no `Keep-Alive` field";
            let note = Note::new(directive, Outcome::Differs, why);
            block.notes.push(note);
        }
        match units::milliseconds(directive.argument(0)).filter(|time| *time > 0) {
            Some(time) => keys.push(format!("{key} = {}", text(&units::duration(time)))),
            None => block.notes.push(Note::new(
                directive,
                Outcome::Lost,
                "it is not a time that tidegate can wait",
            )),
        }
    }
    if !keys.is_empty() {
        block.set("timeouts", &format!("{{ {} }}", keys.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::super::imported;

    #[test]
    fn an_address_of_ipv6_that_takes_ipv4_too_is_told() {
        for (listens, is_told) in [
            ("listen [::]:81;", true),
            ("listen [::]:81; listen 81;", false),
            ("listen [::]:81 ipv6only=off;", false),
            ("listen [::1]:81;", false),
        ] {
            let text = format!("http {{ server {{ {listens} return 204; }} }}");
            let made = imported(text.as_bytes()).unwrap();
            let told = made.contains("connections over IPv4, too");
            assert_eq!(told, is_told, "{made}");
        }
    }

    #[test]
    fn an_old_form_of_a_server_with_tls_has_tls() {
        let text = "http { server { listen 443; ssl on; ssl_certificate a.pem; ssl_certificate_key a.key; return 204; } }";
        let made = imported(text.as_bytes()).unwrap();
        assert!(made.contains("[listeners.tls]"), "{made}");
        assert!(!made.contains("ssl on"), "{made}");
    }

    #[test]
    fn names_with_underscores_are_kept_where_nginx_keeps_them() {
        let text = "http { server { listen 81; underscores_in_headers on; return 204; } }";
        let made = imported(text.as_bytes()).unwrap();
        assert!(made.contains("underscores = \"keep\""), "{made}");
    }
}
