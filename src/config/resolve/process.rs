//! The sections about the process: `server`, `listeners`, `client_ip`, `admin`,
//! `log`, `shutdown`.

use std::net::SocketAddr;

use super::{
    super::{
        field::{Field, Given, section},
        include::Loading,
        problem::{Code, Problem},
        source::{self, Span},
        wire::{
            lists::Tables,
            numbers::Workers,
            process::{self as wire, ProxyProtocol, Underscores},
            syntaxes::FileName,
            text::Text,
        },
    },
    tls,
};
use crate::policy::{
    Admin, ClientIp, ConnectionLimits, HeadLimits, Listener, Log, Secret, Server, Shutdown,
};

/// Longest token file; a longer one is surely another file.
const LONGEST_TOKEN: u64 = 4096;

pub(super) fn server(entry: &Option<Field<wire::Server>>, loading: &Loading<'_>) -> Option<Server> {
    let field = section(entry);
    let server = field.value()?;
    let workers = match server.workers.value()? {
        Workers::Auto => None,
        Workers::Number(number) => Some(number.0),
    };
    let state_dir = server.state_dir.given().map(|name| {
        let at = server.state_dir.at();
        loading.sources.beside(at, &name.text)
    });
    Some(Server {
        workers,
        max_connections_per_client: server.max_connections_per_client.read(),
        state_dir,
        max_buffered: usize::try_from(server.max_buffered.read()?).unwrap_or(usize::MAX),
    })
}

pub(super) fn listeners(
    entry: &Option<Field<Tables<wire::Listener>>>,
    loading: &mut Loading<'_>,
) -> Option<Vec<Listener>> {
    if entry.is_broken() {
        return None;
    }
    let fields = entry.elements();
    let mut before: Vec<Bound> = Vec::new();
    for field in fields {
        let Some(bound) = Bound::of(field) else {
            continue;
        };
        if let Some(other) = before
            .iter()
            .find(|other| overlap(other.address, bound.address))
        {
            loading.problems.report(bound.taken_by(other));
        }
        before.push(bound);
    }
    let listeners: Vec<_> = fields
        .iter()
        .map(|field| listener(field, loading))
        .collect();
    listeners.into_iter().collect()
}

/// An address that a listener binds, and where it is written.
struct Bound {
    address: SocketAddr,
    at: Span,
}

impl Bound {
    fn of(field: &Field<wire::Listener>) -> Option<Self> {
        let bind = &field.value()?.bind;
        Some(Self {
            address: bind.read()?,
            at: bind.at(),
        })
    }

    fn taken_by(&self, other: &Self) -> Problem {
        let (bind, address) = (self.address, other.address);
        let (message, help) = if address == bind {
            (format!("two listeners bind {bind}"), "keep one of the two")
        } else {
            (
                format!("{bind} and {address} have an address in common"),
                "keep the one that has all addresses, or give the other one a port of its own",
            )
        };
        Problem::new(Code::Duplicate, self.at, message)
            .also(other.at, "first here")
            .help(help)
    }
}

/// Whether the system refuses the second of two sockets, as both would take
/// connections to one address. `[::]` takes those of IPv4 only where no
/// listener has an address of that kind.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_one = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && is_one
}

fn listener(field: &Field<wire::Listener>, loading: &mut Loading<'_>) -> Option<Listener> {
    let listener = field.value()?;
    let tls = tls::listener(&listener.tls, loading);
    let timeouts = section(&listener.timeouts);
    let timeouts = timeouts.value()?;
    Some(Listener {
        bind: listener.bind.read()?,
        max_connections: listener.max_connections.read(),
        limits: ConnectionLimits {
            head: HeadLimits {
                bytes: listener.max_header_bytes.read()?,
                headers: listener.max_headers.read()?,
                keeps_underscores: listener.underscores.value? == Underscores::Keep,
            },
            headers_timeout: timeouts.headers.read()?,
            keep_alive: timeouts.keep_alive.read()?,
            http2: listener.http2.value?,
        },
        tls_handshake: timeouts.tls_handshake.read()?,
        proxy_protocol: listener.proxy_protocol.value? == ProxyProtocol::Required,
        tls: tls?,
    })
}

pub(super) fn client_ip(entry: &Option<Field<wire::ClientIp>>) -> Option<ClientIp> {
    let field = section(entry);
    let client_ip = field.value()?;
    Some(ClientIp {
        trusted_proxies: client_ip.trusted_proxies.read()?,
        header: client_ip.header.value?,
    })
}

/// `Some(None)` is an admin listener that is off.
pub(super) fn admin(
    entry: &Option<Field<wire::Admin>>,
    listeners: Option<&[Listener]>,
    loading: &mut Loading<'_>,
) -> Option<Option<Admin>> {
    let field = section(entry);
    let admin = field.value()?;
    let token = match &admin.token_file {
        Some(file) => token(file, loading).map(Some),
        None => Some(None),
    };
    let Some(bind) = admin.bind.read()? else {
        return Some(None);
    };
    let taken = listeners
        .unwrap_or_default()
        .iter()
        .find(|listener| overlap(listener.bind, bind));
    if let Some(taken) = taken {
        let message = format!("a listener binds {} already", taken.bind);
        loading.problems.error(
            Code::Duplicate,
            admin.bind.at(),
            message,
            "give `[admin] bind` a port of its own",
        );
    }
    Some(Some(Admin {
        bind,
        hosts: admin.hosts.read()?,
        token: token?,
    }))
}

fn token(name: &Field<Text<FileName>>, loading: &mut Loading<'_>) -> Option<Secret> {
    let at = name.at();
    let file = loading.sources.beside(at, &name.value()?.text);
    loading.sources.watched.file(&file);
    let token = source::read(&file, LONGEST_TOKEN).map(|text| text.trim().to_owned());
    let wrong = match token {
        Ok(token) if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            return Some(Secret(token));
        }
        Ok(token) if token.is_empty() => "is empty".to_owned(),
        Ok(_) => "holds more than one word of printable ASCII characters".to_owned(),
        Err(why) => why,
    };
    let help = "the gateway has to be able to read one long random word there, such as that of `openssl rand -hex 32`";
    loading.problems.error(
        Code::Unreadable,
        at,
        format!("{} {wrong}", file.display()),
        help,
    );
    None
}

pub(super) fn log(entry: &Option<Field<wire::Log>>) -> Option<Log> {
    let field = section(entry);
    let log = field.value()?;
    Some(Log {
        level: log.level.value?,
        format: log.format.value().copied(),
        access: log.access.value?,
        query: log.query.value?,
    })
}

pub(super) fn shutdown(entry: &Option<Field<wire::Shutdown>>) -> Option<Shutdown> {
    let field = section(entry);
    let shutdown = field.value()?;
    Some(Shutdown {
        drain: shutdown.drain.read()?,
        delay: shutdown.delay.read()?,
    })
}
