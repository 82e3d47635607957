//! `listen` as listeners, with the certificates of their servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use super::{
    names::Names,
    notes::{Note, Outcome},
    paths::Paths,
    scope::Scope,
    toml::{Block, text},
    tree::Directive,
    units,
    variables::without_variables,
};

/// Words of `listen` that the gateway has no use for.
const NEEDLESS: [&str; 15] = [
    "bind",
    "http2",
    "spdy",
    "reuseport",
    "deferred",
    "setfib",
    "fastopen",
    "backlog",
    "rcvbuf",
    "sndbuf",
    "accept_filter",
    "so_keepalive",
    "ipv6only",
    "multipath",
    "default",
];

/// One `listen` of a server.
#[derive(Debug, Clone)]
pub(super) struct Listen {
    /// As `bind` has it.
    pub(super) bind: String,
    is_secure: bool,
    is_proxied: bool,
    is_default: bool,
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
            _ if NEEDLESS.contains(&name) => {}
            _ => note(Outcome::Lost, &format!("`{argument}` has no counterpart")),
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
    /// Indices of its servers; the first is the default one.
    pub(super) servers: Vec<usize>,
    /// All of its requests go to https: the value of `redirect_https`.
    pub(super) redirects: Option<String>,
}

impl Listener {
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
                    servers: Vec::new(),
                    redirects: None,
                });
            }
            let listener = &mut found[index];
            listener.is_secure |= listen.is_secure;
            listener.is_proxied |= listen.is_proxied;
            let ends = [listener.servers.first(), listener.servers.last()];
            match ends.contains(&Some(&at)) {
                true => {}
                false if listen.is_default => listener.servers.insert(0, at),
                false => listener.servers.push(at),
            }
        }
    }
    let mut names = Names::default();
    for listener in &mut found {
        listener.name = names.unique(&name(listener));
    }
    found
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
    if listener.is_proxied {
        block.set("proxy_protocol", "\"required\"");
    }
    let Some(scope) = scopes.first() else {
        return block;
    };
    heads(scope, &mut block);
    times(scope, &mut block);
    if listener.is_secure {
        tls(scopes, paths, &mut block);
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
            .push(Note::new(directive, Outcome::Lost, "it is no size")),
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
        match units::milliseconds(directive.argument(0)).filter(|time| *time > 0) {
            Some(time) => keys.push(format!("{key} = {}", text(&units::duration(time)))),
            None => block.notes.push(Note::new(
                directive,
                Outcome::Lost,
                "connections cannot be closed after each request",
            )),
        }
    }
    if !keys.is_empty() {
        block.set("timeouts", &format!("{{ {} }}", keys.join(", ")));
    }
}

/// `[listeners.tls]`: certificates of all servers, the default one's first.
fn tls(scopes: &[&Scope<'_>], paths: &Paths, block: &mut Block) {
    let mut certificates: Vec<String> = Vec::new();
    let mut known = BTreeSet::new();
    for scope in scopes {
        let files = scope.all("ssl_certificate");
        for (cert, key) in files.iter().zip(scope.all("ssl_certificate_key")) {
            let names = [cert, key].map(|file| without_variables(file.argument(0)));
            let [Some(cert_file), Some(key_file)] = names else {
                block.notes.push(Note::new(
                    cert,
                    Outcome::Lost,
                    "names of files have no variables",
                ));
                continue;
            };
            let [cert_file, key_file] = [cert_file, key_file].map(|file| text(&paths.name(&file)));
            let line = format!("  {{ cert = {cert_file}, key = {key_file} }},");
            if known.insert(line.clone()) {
                certificates.push(line);
            }
        }
    }
    if certificates.len() > 1 {
        block
            .title
            .push("a certificate is chosen by the names in it, not by `server_name`".to_owned());
    }
    block.lines.push(String::new());
    block.lines.push("[listeners.tls]".to_owned());
    block.lines.push("certificates = [".to_owned());
    block.lines.append(&mut certificates);
    block.lines.push("]".to_owned());
    versions(scopes, block);
    clients(scopes, paths, block);
}

/// The oldest version of TLS.
fn versions(scopes: &[&Scope<'_>], block: &mut Block) {
    let Some(directive) = scopes.first().and_then(|scope| scope.one("ssl_protocols")) else {
        return;
    };
    let has = |version: &str| directive.arguments.iter().any(|given| given == version);
    if has("TLSv1") || has("TLSv1.1") || has("SSLv3") {
        block.notes.push(Note::new(
            directive,
            Outcome::Lost,
            "the oldest version is 1.2",
        ));
    }
    if has("TLSv1.3") && directive.arguments.len() == 1 {
        block.set("min_version", "\"1.3\"");
    }
}

/// Certificates of clients.
fn clients(scopes: &[&Scope<'_>], paths: &Paths, block: &mut Block) {
    for scope in scopes {
        let Some(directive) = scope.one("ssl_verify_client") else {
            continue;
        };
        let file = scope
            .value("ssl_client_certificate")
            .and_then(without_variables);
        match (directive.argument(0), file) {
            ("on", Some(file)) => {
                let is_of_all = scopes.iter().all(|other| other.is_on("ssl_verify_client"));
                if !is_of_all {
                    let why =
                        "clients of all servers of the listener have to present a certificate";
                    block
                        .notes
                        .push(Note::new(directive, Outcome::Differs, why));
                }
                block.set("client_ca", &text(&paths.name(&file)));
                return;
            }
            ("off", _) => {}
            _ => {
                let why = "a certificate is required of all clients of a listener (`client_ca`), or of none";
                block
                    .notes
                    .push(Note::new(directive, Outcome::Unguarded, why));
            }
        }
    }
}
