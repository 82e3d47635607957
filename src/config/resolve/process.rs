//! The sections about the process: `server`, `listeners`, `client_ip`, `admin`,
//! `shutdown`.
//!
//! Most of their keys are independent of each other. Addresses are not: a
//! reload that opened one listener and failed at another would leave the
//! gateway between two configurations, so that addresses which the system gives
//! only once are compared here, before anything is opened.

use std::{num::NonZeroU16, sync::Arc};

use super::{
    checks::{GivenKey, Unique, every, exclude},
    files, tls,
};
use crate::config::{
    field::{Field, Given, Nested, section},
    include::Loading,
    problem::{Code, Problem, Problems},
    source::Span,
    wire::{
        lists::Tables,
        numbers::SwitchOrPort,
        process::{self as wire, HalfClosed, ProxyProtocol, Underscores},
    },
};
use crate::policy::{
    Admin, ClientIp, ConnectionLimits, HeadLimits, ListenAddress, Listener, Server, Shutdown,
};

/// The port of https (RFC 9110, 4.2.2).
const HTTPS_PORT: u16 = 443;

/// The permissions of the file of a socket: the user and the group of the
/// gateway may connect, and not everybody on the machine.
const SOCKET_MODE: u32 = 0o660;

/// `[server]`: threads, memory, and the folder for state.
///
/// `max_buffered` is in bytes, for all bodies in memory together; above the
/// address space, it is the largest `usize`. A relative `state_dir` starts at
/// the folder of the file that names it.
pub(super) fn server(entry: &Nested<wire::Server>, loading: &Loading<'_>) -> Option<Server> {
    let server = section(entry)?;
    let at = server.state_dir.at();
    let state_dir = server.state_dir.given();
    Some(Server {
        workers: server.workers.read()?,
        max_connections_per_client: server.max_connections_per_client.read(),
        state_dir: state_dir.map(|name| loading.sources.beside(at, &name.text)),
        max_buffered: usize::try_from(server.max_buffered.read()?).unwrap_or(usize::MAX),
    })
}

/// The addresses that clients connect to; at least one, as `defaults` adds one
/// to a file that has none.
///
/// All of the listeners' addresses are compared before the first is built, so
/// that a mistake in one listener does not hide a conflict of others.
pub(super) fn listeners(
    entry: &Option<Field<Tables<wire::Listener>>>,
    loading: &mut Loading<'_>,
) -> Option<Vec<Listener>> {
    unique_addresses(entry.values(), &mut loading.problems);
    unique_names(entry.values().collect(), &mut loading.problems);
    every(entry, |field| listener(field, loading))
}

/// Reports each listener whose address the system gives only to an earlier one.
///
/// Each pair is compared, which takes quadratic time in the number of
/// listeners; a file has few of them. A listener that overlaps with several
/// earlier ones is reported once.
fn unique_addresses<'a>(
    listeners: impl Iterator<Item = &'a wire::Listener>,
    problems: &mut Problems,
) {
    let mut earlier: Vec<(ListenAddress, ListenAddress, Span)> = Vec::new();
    for listener in listeners {
        let (Some(bind), at) = (listener.bind.read(), listener.bind.at()) else {
            continue;
        };
        let place = real(&bind);
        let taken = earlier.iter().find(|(_, other, _)| overlap(other, &place));
        if let Some((address, _, before)) = taken {
            let one = "keep one of the two";
            let (message, help) = match &bind {
                _ if *address == bind => (format!("two listeners bind {bind}"), one),
                ListenAddress::Unix(_) => (format!("{bind} and {address} are one socket"), one),
                ListenAddress::Ip(_) => (
                    format!("{bind} and {address} have an address in common"),
                    "keep the one that has all addresses, or give the other one a port of its own",
                ),
            };
            problems.report(Problem::twice(at, *before, message).help(help));
        }
        earlier.push((bind, place, at));
    }
}

/// Reports each name that an earlier listener has. Names of their own come
/// before those that listeners have by default, of which two are the same only
/// if their addresses are, which was reported.
fn unique_names(listeners: Vec<&wire::Listener>, problems: &mut Problems) {
    let mut names = Unique::new();
    let help = "a name is what routes, logs and metrics call a listener; give each its own";
    for listener in &listeners {
        if let Some(name) = listener.name.value() {
            let message = format!("two listeners are named `{}`", name.value);
            names.check(
                name.text.as_str(),
                listener.name.at(),
                message,
                help,
                problems,
            );
        }
    }
    for listener in listeners {
        if let (None, Some(name)) = (listener.name.entry(), name(listener))
            && let Some(other) = names.first(&name)
        {
            let message = format!("two listeners are named `{name}`, one of them for its `bind`");
            problems.report(Problem::twice(other, listener.bind.at(), message).help(help));
        }
    }
}

/// The name of a listener: its own, or its address as it is written. `None`
/// for port 0, whose address is known later, and after a mistake.
pub(super) fn name(listener: &wire::Listener) -> Option<&str> {
    if listener.name.is_present() {
        return Some(&listener.name.value()?.text);
    }
    let bind = listener.bind.value()?;
    (!bind.value.is_any_port()).then_some(&bind.text)
}

/// Whether the system refuses the second of two sockets, as both would take
/// connections to one address.
///
/// An unspecified address (`0.0.0.0`, `[::]`) has all addresses of its kind in
/// common with others. `[::]` takes connections over IPv4 only where no
/// listener has an address of that kind, so that addresses of different kinds
/// never overlap. Port 0 is a free one each time. Sockets in the file system
/// are compared as [`real`] has them.
fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    let (Some(one), Some(other)) = (one.ip(), other.ip()) else {
        return one == other;
    };
    let is_one = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && is_one
}

/// The address; that of a socket in the file system without links on the way
/// and `..`, as far as its folder is there.
fn real(bind: &ListenAddress) -> ListenAddress {
    let ListenAddress::Unix(path) = bind else {
        return bind.clone();
    };
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => ListenAddress::Unix(folder.join(name).into()),
        _ => bind.clone(),
    }
}

/// One listener, with the files that its `tls` names.
///
/// Certificates and keys are read here, which blocks. `None` after a mistake in
/// any key of it, or in one of its files.
fn listener(field: &Field<wire::Listener>, loading: &mut Loading<'_>) -> Option<Listener> {
    let listener = field.value()?;
    let tls = listener.tls.as_ref();
    let tls = tls.map(|field| tls::listener(field, loading));
    let timeouts = section(&listener.timeouts)?;
    mode_has_effect(listener, &mut loading.problems);
    let keys = [
        GivenKey::given("tls", &listener.tls),
        redirects(listener)
            .and_then(|_| GivenKey::given("redirect_https", &listener.redirect_https)),
    ];
    let help = "leave `redirect_https` to the listener that speaks plain HTTP";
    let is_both = exclude(
        &keys,
        ": its clients speak https already",
        help,
        &mut loading.problems,
    );
    if is_both || listener.name.is_broken() {
        return None;
    }
    Some(Listener {
        name: name(listener).map(Arc::from),
        bind: listener.bind.read()?,
        mode: listener.mode.optional()?.unwrap_or(SOCKET_MODE),
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
            serves_half_closed: listener.half_closed.value? == HalfClosed::Serve,
        },
        tls_handshake: timeouts.tls_handshake.read()?,
        proxy_protocol: listener.proxy_protocol.value? == ProxyProtocol::Required,
        tls: tls.map_or(Some(None), |tls| tls.map(Some))?,
        redirect_https: listener.redirect_https.value.and(redirects(listener)),
    })
}

/// Reports permissions without a file.
fn mode_has_effect(listener: &wire::Listener, problems: &mut Problems) {
    if let Some(ListenAddress::Ip(bind)) = listener.bind.read()
        && listener.mode.is_present()
    {
        let message =
            format!("`mode` works only with `bind = \"unix:...\"`, and this listener has {bind}");
        let help = "leave `mode` out, or write a `bind` such as \"unix:/run/tidegate/web.sock\"";
        problems.error(Code::Conflict, listener.mode.at(), message, help);
    }
}

/// The port to which a listener redirects every request; `None` if it serves
/// them.
pub(super) fn redirects(listener: &wire::Listener) -> Option<NonZeroU16> {
    match listener.redirect_https.value? {
        SwitchOrPort::Off => None,
        SwitchOrPort::On => NonZeroU16::new(HTTPS_PORT),
        SwitchOrPort::Port(port) => Some(port),
    }
}

/// Peers whose word about the client's address counts, and the header that has
/// it.
///
/// Without trusted proxies, the address of the peer is that of the client, and
/// the header is not looked at.
pub(super) fn client_ip(entry: &Nested<wire::ClientIp>) -> Option<ClientIp> {
    let client_ip = section(entry)?;
    Some(ClientIp {
        trusted_proxies: client_ip.trusted_proxies.read()?,
        header: client_ip.header.read()?,
    })
}

/// The admin listener; `Some(None)` if it is off. `listeners` are those for
/// clients, `None` if they have a mistake.
///
/// The token is resolved even if the listener is off, so that a wrong file is
/// told before the listener is turned on. Its address may overlap with that of
/// a listener for clients as little as two of those with each other.
pub(super) fn admin(
    entry: &Nested<wire::Admin>,
    listeners: Option<&[Listener]>,
    loading: &mut Loading<'_>,
) -> Option<Option<Admin>> {
    let admin = section(entry)?;
    let help = "the gateway has to be able to read one long random word there, such as that of `openssl rand -hex 32`";
    let name = admin.token_file.as_ref();
    let token = name.map(|name| files::secret(name, one_word, help, loading));
    let Some(bind) = admin.bind.read()? else {
        return Some(None);
    };
    let mut listeners = listeners.unwrap_or_default().iter();
    if let Some(taken) =
        listeners.find(|listener| overlap(&listener.bind, &ListenAddress::Ip(bind)))
    {
        let message = format!("a listener binds {} already", taken.bind);
        let help = "give `[admin] bind` a port of its own";
        let at = admin.bind.at();
        loading.problems.error(Code::Duplicate, at, message, help);
    }
    Some(Some(Admin {
        bind,
        hosts: admin.hosts.read()?,
        // A token that was asked for has to be there.
        token: token.map_or(Some(None), |token| token.map(Some))?,
    }))
}

/// The token in a file: one word, as it is compared with a header field. Blanks
/// around it are dropped, because editors end files with a line break.
fn one_word(text: &str) -> Result<&str, &'static str> {
    let word = text.trim();
    match word.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(word),
        false => Err("holds more than one word of printable ASCII characters"),
    }
}

/// How the process ends: how long it waits before and while it drains.
pub(super) fn shutdown(entry: &Nested<wire::Shutdown>) -> Option<Shutdown> {
    let shutdown = section(entry)?;
    Some(Shutdown {
        drain: shutdown.drain.read()?,
        delay: shutdown.delay.read()?,
    })
}
