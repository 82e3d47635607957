//! Configurations that are written from arguments: the text goes the way of every file, and mistakes found in it are
//! told in the words of the command line.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
};

use crate::{app::StartError, config::Diagnostics};

/// Where the admin listener is by default.
pub(super) const ADMIN_PORT: u16 = 9901;

/// TOML that knows which argument each of its lines is from.
#[derive(Debug, Default)]
pub(super) struct Text {
    toml: String,
    lines: usize,
    /// Argument and value, by line.
    arguments: BTreeMap<usize, (&'static str, String)>,
}

impl Text {
    /// Lines that come from no argument, such as headers of tables.
    pub(super) fn lines(&mut self, toml: &str) {
        for line in toml.lines() {
            self.toml.push_str(line);
            self.toml.push('\n');
            self.lines += 1;
        }
    }

    /// A line with the value of an argument.
    pub(super) fn argument(&mut self, argument: &'static str, value: &str, line: &str) {
        self.arguments
            .insert(self.lines + 1, (argument, value.to_owned()));
        self.lines(line);
    }

    /// The configuration.
    pub(super) fn toml(&self) -> &str {
        &self.toml
    }

    /// What is wrong with which argument; a paragraph for each mistake.
    pub(super) fn explain(&self, mistakes: &Diagnostics) -> String {
        let explained = mistakes.list.iter().map(|mistake| {
            let argument = mistake
                .place
                .as_ref()
                .and_then(|place| self.arguments.get(&place.line));
            let subject =
                argument.map(|(name, value)| format!("invalid value '{value}' for '{name}': "));
            let help = mistake.help.as_deref().map(|help| format!("\n  {help}"));
            format!(
                "{}{}{}",
                subject.unwrap_or_default(),
                reason(&mistake.message),
                help.unwrap_or_default()
            )
        });
        explained.collect::<Vec<_>>().join("\n")
    }
}

/// A message without its "`key` cannot be `value`", of which the command line has its own version.
fn reason(message: &str) -> &str {
    match message.split_once("` cannot be `") {
        Some((_, rest)) => rest.split_once("`: ").map_or(message, |(_, reason)| reason),
        None => message,
    }
}

/// A value as a TOML string that means exactly this: no escape and no `${` in it is replaced.
pub(super) fn quoted(value: &str) -> String {
    let literal = value.replace("${", "$${");
    // Strings of JSON are strings of TOML, but for DEL, which JSON leaves as it is.
    serde_json::Value::from(literal)
        .to_string()
        .replace('\u{7f}', "\\u007f")
}

/// Where the admin listener goes when no argument says it: to its usual port, so that what is written about it holds,
/// but a second gateway on this machine must start too.
pub(super) fn admin(listen: Option<SocketAddr>) -> SocketAddr {
    let ip = Ipv4Addr::LOCALHOST.into();
    let is_wanted = listen.is_some_and(|listen| listen.port() == ADMIN_PORT);
    if is_wanted {
        SocketAddr::new(ip, 0)
    } else {
        free(ip, ADMIN_PORT)
    }
}

/// The failure of a gateway that has no file, in words of the command line.
pub(super) fn in_arguments(error: StartError) -> StartError {
    match error {
        StartError::Other(why) => {
            let keys = [
                ("key listeners[0].bind", "--listen"),
                ("key admin.bind", "--admin"),
            ];
            StartError::Other(
                keys.iter()
                    .fold(why, |why, (key, argument)| why.replace(key, argument)),
            )
        }
        mistakes @ StartError::Mistakes(_) => mistakes,
    }
}

/// This address if nobody listens there, or else one with a port that the system is to choose.
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
