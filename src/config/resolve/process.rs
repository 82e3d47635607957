//! The sections about the process: `server`, `listeners`, `client_ip`, `admin`, `log`, `shutdown`.

use std::net::SocketAddr;

use super::{
    super::{
        include::Loading,
        problem::{Code, Problem},
        source,
        syntax::address,
        units,
    },
    reader::Reader,
    tls,
};
use crate::policy::{
    Admin, ClientIp, ClientIpHeader, ConnectionLimits, HeadLimits, Listener, Log, LogFormat,
    LogLevel, LogQuery, Secret, Server, Shutdown,
};

/// Longest token file; a longer one is surely another file.
const LONGEST_TOKEN: u64 = 4096;

pub(super) fn server(server: Reader<'_>, loading: &Loading<'_>) -> Option<Server> {
    let workers = match server.text("workers") {
        Some(_auto) => None,
        None => Some(server.at_least_one("workers")?),
    };
    let state_dir = server
        .text("state_dir")
        .map(|text| loading.sources.beside(server.place("state_dir"), text));
    let max_connections_per_client = server.at_least_one("max_connections_per_client");
    let max_buffered =
        usize::try_from(server.parsed("max_buffered", units::size)?).unwrap_or(usize::MAX);
    Some(Server {
        workers,
        max_connections_per_client,
        state_dir,
        max_buffered,
    })
}

pub(super) fn listeners(
    readers: Vec<Reader<'_>>,
    loading: &mut Loading<'_>,
) -> Option<Vec<Listener>> {
    let mut first: Vec<(SocketAddr, Reader<'_>)> = Vec::new();
    for reader in &readers {
        let Some(bind) = reader.parsed("bind", address::bind) else {
            continue;
        };
        if let Some((address, other)) = first.iter().find(|(other, _)| overlap(*other, bind)) {
            let (message, help) = if *address == bind {
                (format!("two listeners bind {bind}"), "keep one of the two")
            } else {
                let help =
                    "keep the one that has all addresses, or give the other one a port of its own";
                (
                    format!("{bind} and {address} have an address in common"),
                    help,
                )
            };
            let problem = Problem::new(Code::Duplicate, reader.place("bind"), message);
            loading
                .problems
                .report(problem.also(other.place("bind"), "first here").help(help));
        }
        first.push((bind, *reader));
    }
    let listeners: Vec<_> = readers
        .into_iter()
        .map(|reader| listener(reader, loading))
        .collect();
    listeners.into_iter().collect()
}

/// Whether the system refuses the second of two sockets, as both would take connections to one address. `[::]` takes those
/// of IPv4 only where no listener has an address of that kind.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_one = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && is_one
}

fn listener(listener: Reader<'_>, loading: &mut Loading<'_>) -> Option<Listener> {
    let tls = tls::listener(listener, loading);
    let timeouts = listener.table("timeouts");
    let max_connections = listener.at_least_one("max_connections");
    Some(Listener {
        bind: listener.parsed("bind", address::bind)?,
        max_connections,
        limits: ConnectionLimits {
            head: HeadLimits {
                bytes: usize::try_from(listener.parsed("max_header_bytes", units::size)?).ok()?,
                headers: listener.count("max_headers")?,
                keeps_underscores: listener.text("underscores")? == "keep",
            },
            headers_timeout: timeouts.parsed("headers", units::duration)?,
            keep_alive: timeouts.parsed("keep_alive", units::duration)?,
            http2: listener.flag("http2")?,
        },
        tls_handshake: timeouts.parsed("tls_handshake", units::duration)?,
        proxy_protocol: listener.text("proxy_protocol")? == "required",
        tls: tls?,
    })
}

pub(super) fn client_ip(client_ip: Reader<'_>) -> Option<ClientIp> {
    let header = match client_ip.text("header")? {
        "forwarded" => ClientIpHeader::Forwarded,
        _ => ClientIpHeader::XForwardedFor,
    };
    Some(ClientIp {
        trusted_proxies: client_ip.list("trusted_proxies", address::network),
        header,
    })
}

/// `Some(None)` is an admin listener that is off.
pub(super) fn admin(
    admin: Reader<'_>,
    listeners: Option<&[Listener]>,
    loading: &mut Loading<'_>,
) -> Option<Option<Admin>> {
    let token = match admin.given("token_file") {
        Some(_) => token(admin, loading).map(Some),
        None => Some(None),
    };
    let Some(bind) = admin.unless_off("bind", address::bind)? else {
        return Some(None);
    };
    if let Some(taken) = listeners
        .unwrap_or_default()
        .iter()
        .find(|listener| overlap(listener.bind, bind))
    {
        let problem = Problem::new(
            Code::Duplicate,
            admin.place("bind"),
            format!("a listener binds {} already", taken.bind),
        );
        loading
            .problems
            .report(problem.help("give `[admin] bind` a port of its own"));
    }
    Some(Some(Admin {
        bind,
        hosts: admin.list("hosts", address::admin_host),
        token: token?,
    }))
}

fn token(admin: Reader<'_>, loading: &mut Loading<'_>) -> Option<Secret> {
    let at = admin.place("token_file");
    let file = loading.sources.beside(at, admin.text("token_file")?);
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
    let problem = Problem::new(Code::Unreadable, at, format!("{} {wrong}", file.display()));
    let help = "the gateway has to be able to read one long random word there, such as that of `openssl rand -hex 32`";
    loading.problems.report(problem.help(help));
    None
}

pub(super) fn log(log: Reader<'_>) -> Option<Log> {
    let level = match log.text("level")? {
        "error" => LogLevel::Error,
        "warn" => LogLevel::Warn,
        "debug" => LogLevel::Debug,
        "trace" => LogLevel::Trace,
        _ => LogLevel::Info,
    };
    let format = log.text("format").map(|format| {
        if format == "json" {
            LogFormat::Json
        } else {
            LogFormat::Text
        }
    });
    let query = match log.text("query")? {
        "off" => LogQuery::Off,
        "full" => LogQuery::Full,
        _ => LogQuery::Masked,
    };
    Some(Log {
        level,
        format,
        access: log.flag("access")?,
        query,
    })
}

pub(super) fn shutdown(shutdown: Reader<'_>) -> Option<Shutdown> {
    Some(Shutdown {
        drain: shutdown.parsed("drain", units::duration)?,
        delay: shutdown.parsed("delay", units::duration)?,
    })
}
