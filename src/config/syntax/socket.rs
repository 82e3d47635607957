//! Sockets of this machine: `"unix:/run/app.sock"`, to listen on or to reach a
//! server by.
//!
//! Other programs write such a path in other ways. A text in one of them is
//! refused, and the help says how it is written here.

use super::super::wrong::Wrong;

/// Bytes of the longest path of a socket: the system's form of it has 108, of
/// which the last is 0.
pub(super) const LONGEST_SOCKET: usize = 107;

/// Whether this is the absolute path of a socket. One with a space or with
/// `:/` is meant to say more than a path.
pub(super) fn is_socket(path: &str) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    path.starts_with('/')
        && !path.starts_with("//")
        && !path.ends_with('/')
        && !path.contains(is_odd)
        && !path.contains(":/")
        && path.len() <= LONGEST_SOCKET
}

/// The refusal of a socket. Help has the path, where it can be told from the
/// rest.
pub(super) fn no_socket(text: &str) -> Wrong {
    let help = "write \"unix:\" and an absolute path, such as \"unix:/run/app.sock\"";
    let lower = text.to_ascii_lowercase();
    let begin = match (lower.rfind("unix:"), text.find("%2F")) {
        (_, Some(encoded)) => encoded,
        (Some(at), None) => at + "unix:".len(),
        (None, None) => 0,
    };
    let path = text[begin..].replace("%2F", "/");
    let after = path
        .split_once(char::is_whitespace)
        .map_or("", |(_, after)| after);
    if path.starts_with('/') && after.contains('/') | after.ends_with(".sock") {
        let why = "the path of a socket has no blanks";
        return Wrong::new(why, "give the socket another path");
    }
    if path == "/" {
        return Wrong::new("the path of the socket is missing", help);
    }
    let path = path.split(char::is_whitespace).next().unwrap_or_default();
    let path = path.split(":/").next().unwrap_or_default();
    let path = path.trim_end_matches(['/', ':']);
    let path = match path.trim_start_matches('/') {
        rest if rest.len() < path.len() => format!("/{rest}"),
        relative => relative.to_owned(),
    };
    if path.len() > LONGEST_SOCKET {
        let why = "the path of a socket has at most 107 bytes";
        return Wrong::new(why, "give the socket a shorter path");
    }
    let why = match path.starts_with('/') {
        true => "it is not written like the path of a socket",
        false => "the path of a socket begins with /",
    };
    let right = is_socket(&path).then(|| format!("write \"unix:{path}\""));
    Wrong::new(why, help).or_advice(right)
}

/// Whether this is the path of a socket, in one of the ways in which others
/// write it: `/run/app.sock`, `unix:/run/app.sock`,
/// `http://unix:/run/app.sock`, `http+unix://...`.
pub(super) fn names_socket(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let is_path = text.starts_with('/') && !text.starts_with("//");
    is_path || text.starts_with("unix:") || text.contains("://unix:") || text.contains("+unix:")
}
