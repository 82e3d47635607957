//! Redirects of the same host and path to https.

use super::{
    rewrites,
    tree::Directive,
    variables::{Known, redirect_template},
};

/// A redirect of the same host and path to https.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ToHttps {
    pub(super) port: Option<u16>,
    pub(super) status: u16,
}

impl ToHttps {
    /// The value of `redirect_https`.
    pub(super) fn value(self) -> String {
        self.port.map_or("true".to_owned(), |port| port.to_string())
    }

    /// The target of a redirect.
    pub(super) fn target(self) -> String {
        match self.port {
            Some(port) => format!("https://{{host}}:{port}{{path}}"),
            None => "https://{host}{path}".to_owned(),
        }
    }
}

/// Reads `if ($scheme = http) { return 301 https://$host$request_uri; }`.
pub(super) fn of_plain(directive: &Directive) -> Option<ToHttps> {
    let condition = directive.arguments.join(" ");
    let is_plain = directive.name == "if"
        && matches!(
            condition.replace(' ', "").as_str(),
            "($scheme=http)" | "($scheme!=https)" | "($https=)" | "($https!=on)"
        );
    let found = directive.inside().iter().find_map(redirect);
    found.filter(|_| is_plain)
}

/// Reads a redirect to https that is carried over.
pub(super) fn read_redirect(directive: &Directive) -> Option<ToHttps> {
    let found = redirect(directive)?;
    directive.read();
    Some(found)
}

/// Reads a `return` or `rewrite` that leads to the same host and path by https.
pub(super) fn redirect(directive: &Directive) -> Option<ToHttps> {
    let (status, target) = match directive.name.as_str() {
        "return" => (
            directive.argument(0).parse().ok()?,
            directive.argument(1).to_owned(),
        ),
        "rewrite" => {
            let status = rewrites::status(directive)?;
            let target = directive.argument(1).trim_end_matches('?');
            let target = match directive.argument(0) {
                "^(.*)$" | "^(.*)" | "(.*)" | "^/(.*)$" | "^/(.*)" => target
                    .replace("/$1", "$request_uri")
                    .replace("$1", "$request_uri"),
                "^" | ".*" | "^.*$" | "^.*" | "^/.*$" => target.to_owned(),
                _ => return None,
            };
            (status, target)
        }
        _ => return None,
    };
    let to = redirect_template(&target, Known::default()).ok()?;
    let rest = to.strip_prefix("https://{host}")?.strip_suffix("{path}")?;
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port.parse().ok()?),
        None if rest.is_empty() => None,
        None => return None,
    };
    let is_status = matches!(status, 301 | 302 | 303 | 307 | 308);
    is_status.then_some(ToHttps {
        port: port.filter(|port| *port != 443),
        status,
    })
}
