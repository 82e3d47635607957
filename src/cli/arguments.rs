//! Configurations that are made from arguments, for the commands that need no
//! file.
//!
//! Their text is parsed like that of a file, so that the command line has no
//! second set of rules. Mistakes are reported in the words of the command line:
//! each line of the text knows its argument.
//!
//! `demo` and `proxy` are the callers. Their gateways bind ports that they have
//! looked at before: between the look and the bind another process may take a
//! port, and the start then fails with the name of the argument
//! (`in_arguments`).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
};

use crate::{app::StartError, config::Diagnostics};

/// The default port of the admin listener.
pub(super) const ADMIN_PORT: u16 = 9901;

/// TOML text that knows the argument of each of its lines.
///
/// A diagnostic names the line of its mistake. A line comes from one argument
/// at most, so that the line leads to the argument.
#[derive(Debug, Default)]
pub(super) struct Text {
    toml: String,
    /// How many lines `toml` has.
    lines: usize,
    /// The argument and its value, by the number of the line, from 1.
    arguments: BTreeMap<usize, (&'static str, String)>,
}

impl Text {
    /// Adds lines without an argument, such as headers of tables.
    pub(super) fn lines(&mut self, toml: &str) {
        for line in toml.lines() {
            self.toml.push_str(line);
            self.toml.push('\n');
            self.lines += 1;
        }
    }

    /// Adds a line with the value of an argument. `argument` is its name as in
    /// `--help`.
    ///
    /// `line` must be a single line: the argument belongs to its first one
    /// only.
    pub(super) fn argument(&mut self, argument: &'static str, value: &str, line: &str) {
        self.arguments
            .insert(self.lines + 1, (argument, value.to_owned()));
        self.lines(line);
    }

    /// The whole text.
    pub(super) fn toml(&self) -> &str {
        &self.toml
    }

    /// Explains mistakes by their arguments, with a paragraph for each.
    ///
    /// A mistake on a line without an argument is shown with its message alone.
    /// The help of each mistake follows, indented by two blanks.
    pub(super) fn explain(&self, mistakes: &Diagnostics) -> String {
        let mut paragraphs = Vec::new();
        for mistake in &mistakes.list {
            let mut paragraph = String::new();
            if let Some(place) = &mistake.place
                && let Some((name, value)) = self.arguments.get(&place.line)
            {
                paragraph += &format!("invalid value '{value}' for '{name}': ");
            }
            paragraph += reason(&mistake.message);
            if let Some(help) = &mistake.help {
                paragraph += &format!("\n  {help}");
            }
            paragraphs.push(paragraph);
        }
        paragraphs.join("\n")
    }
}

/// A message without its "`key` cannot be `value`", since the command line
/// names the argument itself.
fn reason(message: &str) -> &str {
    match message.split_once("` cannot be `") {
        Some((_, rest)) => rest.split_once("`: ").map_or(message, |(_, reason)| reason),
        None => message,
    }
}

/// A value as a TOML string that means exactly this value: no escape and no
/// `${` in it is replaced.
///
/// `value` comes from the command line and may hold anything, so that without
/// this a quote in it could begin another key.
pub(super) fn quoted(value: &str) -> String {
    let literal = value.replace("${", "$${");
    // Strings of JSON are strings of TOML, but for DEL, which JSON leaves as it
    // is.
    serde_json::Value::from(literal)
        .to_string()
        .replace('\u{7f}', "\\u007f")
}

/// The address of the admin listener without an argument: the default port, as
/// documented, unless it is taken or `listen` wants it; a second gateway on
/// this machine has to start, too.
pub(super) fn admin(listen: Option<SocketAddr>) -> SocketAddr {
    let ip = Ipv4Addr::LOCALHOST.into();
    let is_wanted = listen.is_some_and(|listen| listen.port() == ADMIN_PORT);
    if is_wanted {
        SocketAddr::new(ip, 0)
    } else {
        free(ip, ADMIN_PORT)
    }
}

/// Translates the failure of a gateway without a file into the words of the
/// command line.
///
/// The keys of the two addresses are replaced, since binding them is what the
/// start may fail at. Mistakes stay as they are.
pub(super) fn in_arguments(error: StartError) -> StartError {
    match error {
        StartError::Other(why) => {
            let why = why.replace("key listeners[0].bind", "--listen");
            StartError::Other(why.replace("key admin.bind", "--admin"))
        }
        mistakes @ StartError::Mistakes(_) => mistakes,
    }
}

/// This address if it is free at the moment, or else one with a port that the
/// system chooses.
///
/// The look binds the port for a moment and releases it. Port 0 stands for one
/// that the system chooses, and is known only after the start.
pub(super) fn free(ip: IpAddr, port: u16) -> SocketAddr {
    let wanted = SocketAddr::new(ip, port);
    let is_free = TcpListener::bind(wanted).is_ok();
    SocketAddr::new(ip, if is_free { port } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn a_value_reads_back_as_it_was_given() {
        for value in [
            "a",
            "${HOME}",
            "$${x}",
            "$$$",
            "a\"b\\c",
            "line\nbreak\ttab\u{7f}\u{1}",
            "é ${",
            "${:-}",
        ] {
            let toml = format!(
                "[[routes]]\nname = \"r\"\nrespond = {{ status = 200, body = {} }}\n[admin]\nbind = \"off\"",
                quoted(value)
            );
            let config = crate::config::parse("test", &toml, &Environment::new()).unwrap();
            let crate::policy::Action::Respond { body, .. } = &config.routes[0].action else {
                panic!()
            };
            assert_eq!(body, value);
        }
    }

    #[test]
    fn a_port_that_is_taken_is_left_to_the_system() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(free(address.ip(), address.port()).port(), 0);
        drop(taken);
        assert_eq!(free(address.ip(), address.port()), address);
    }
}
