//! Listeners that serve nobody, or send clients where nobody serves them.

use std::{fs, io, path::Path};

use crate::config::{
    configuration::Config,
    field::Given,
    problem::{Code, Problems},
    wire::{File, numbers::SwitchOrPort, process as wire},
};
use crate::policy::{ListenAddress, Listener};

/// Folders that are made when the service or the machine starts. `check` may
/// run before that.
const MADE_AT_THE_START: [&str; 2] = ["/run", "/var/run"];

/// Reports redirects that lead nowhere, and sockets in folders that are not
/// there.
pub(super) fn report(file: &File, config: &Config, problems: &mut Problems) {
    unreached(file, config, problems);
    for (table, listener) in file.listeners.values().zip(&config.listeners) {
        destination(table, listener, config, problems);
        folder(table, listener, problems);
    }
}

/// Routes in a file in which every listener redirects: no request gets to them.
fn unreached(file: &File, config: &Config, problems: &mut Problems) {
    let is_redirecting = |listener: &Listener| listener.redirect_https.is_some();
    if config.routes.is_empty() || !config.listeners.iter().all(is_redirecting) {
        return;
    }
    if let Some(first) = file.listeners.values().next() {
        let message = "no request reaches a route: every listener redirects to https";
        let help = "add a listener with `[listeners.tls]`, which serves them; or take the routes out, if another process speaks https here";
        let at = first.redirect_https.at();
        problems.warn(Code::NeverMatches, at, message, help);
    }
}

/// A redirect to the port of a listener that speaks plain HTTP: https fails
/// there.
///
/// The usual port is not looked for among other listeners: a balancer may end
/// TLS on the port of the same number.
fn destination(
    table: &wire::Listener,
    listener: &Listener,
    config: &Config,
    problems: &mut Problems,
) {
    let Some(port) = listener.redirect_https else {
        return;
    };
    let is_there = |other: &&Listener| {
        let bind = other.bind.ip();
        bind.is_some_and(|bind| bind.port() == port.get())
    };
    let mut there = config.listeners.iter().filter(is_there).peekable();
    let message = if is_there(&listener) {
        format!("it redirects to its own port {port}, where clients that speak https fail")
    } else if matches!(table.redirect_https.value, Some(SwitchOrPort::Port(_)))
        && there.peek().is_some()
        && there.all(|other| other.tls.is_none())
    {
        format!("it redirects to port {port}, where a listener speaks plain HTTP")
    } else {
        return;
    };
    let help = "name the port of the listener with `tls`; `true` is port 443";
    let at = table.redirect_https.at();
    problems.warn(Code::Misleading, at, message, help);
}

/// A socket in a folder that is not there, which cannot be bound.
///
/// A folder that this user may not look at is none of these: the gateway may run
/// as another user.
fn folder(table: &wire::Listener, listener: &Listener, problems: &mut Problems) {
    let ListenAddress::Unix(path) = &listener.bind else {
        return;
    };
    let made = |folder: &Path| {
        MADE_AT_THE_START
            .iter()
            .any(|made| folder.starts_with(made))
    };
    let is_missing = |folder: &&Path| match fs::metadata(folder) {
        Ok(there) => !there.is_dir(),
        Err(error) => matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        ),
    };
    let missing = path.parent().filter(is_missing);
    if let Some(folder) = missing.filter(|folder| !made(folder)) {
        let folder = folder.display();
        let message = format!("the folder {folder} does not exist: no socket can be bound there");
        let help = "create it, with the right for the user of the gateway to write there; or write a path below /run, such as \"unix:/run/tidegate/web.sock\" with `RuntimeDirectory=tidegate` in the unit";
        problems.warn(Code::Misleading, table.bind.at(), message, help);
    }
}
