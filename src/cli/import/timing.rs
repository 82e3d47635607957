//! Times, retries and the longest body of a route.
//!
//! NGINX waits a minute for a response by default, and takes bodies of a
//! mebibyte. Both are written as defaults of all routes, since those of tidegate
//! are others.

use super::{
    notes::{Note, Outcome},
    redirects,
    scope::Scope,
    toml::{Block, list, text},
    units,
};

/// `proxy_read_timeout` by default, in milliseconds.
const READ_TIMEOUT: u64 = 60_000;
/// `client_max_body_size` by default, in bytes.
pub(super) const MAX_BODY: u64 = 1 << 20;
/// `timeouts.tunnel` by default, in milliseconds.
const TUNNEL: u64 = 3_600_000;
/// Most attempts of a request.
const MOST_ATTEMPTS: u64 = 100;

/// The keys that all routes have, unless they have others.
#[derive(Debug)]
pub(super) struct Defaults {
    times: Vec<String>,
    max_body: String,
    /// URLs of services are mapped back in responses.
    pub(super) locations: bool,
}

impl Defaults {
    /// Those of `http`.
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        Self {
            times: keys(scope, 1, &mut Vec::new()),
            max_body: body(scope).unwrap_or_else(|| units::size(MAX_BODY)),
            locations: !redirects::is_off(scope),
        }
    }

    /// Writes them.
    pub(super) fn block(&self) -> Block {
        let mut block = Block::default();
        block.title.push("NGINX waits so long for a response (proxy_read_timeout), takes bodies of this size (client_max_body_size), and maps URLs of services back (proxy_redirect)".to_owned());
        block.lines.push("[defaults.timeouts]".to_owned());
        block.lines.extend(self.times.iter().cloned());
        block.lines.push(String::new());
        block.lines.push("[defaults.request]".to_owned());
        block.set("max_body", &text(&self.max_body));
        if self.locations {
            block.lines.push(String::new());
            block.lines.push("[defaults.response]".to_owned());
            block.set("locations", "true");
        }
        block
    }
}

/// The keys of `timeouts` of a route, if they are not the default ones.
pub(super) fn times(
    scope: &Scope<'_>,
    tries: u64,
    defaults: &Defaults,
    notes: &mut Vec<Note>,
) -> Vec<String> {
    let keys = keys(scope, tries, notes);
    match keys == defaults.times {
        true => Vec::new(),
        false => keys,
    }
}

/// The keys of `timeouts`, for so many attempts of which each may time out.
fn keys(scope: &Scope<'_>, tries: u64, notes: &mut Vec<Note>) -> Vec<String> {
    let read = time(scope, "proxy_read_timeout", notes).unwrap_or(READ_TIMEOUT);
    let connect = time(scope, "proxy_connect_timeout", notes).unwrap_or(0);
    let attempt = read.saturating_add(connect);
    let key = |name: &str, time| format!("{name} = {}", text(&units::duration(time)));
    let mut keys = vec![key("total", attempt.saturating_mul(tries))];
    if tries > 1 {
        keys.push(key("attempt", attempt));
    }
    keys.push(key("idle", read));
    if read > TUNNEL {
        keys.push(key("tunnel", read));
    }
    keys
}

/// The time of a directive in milliseconds, with a note if it cannot be used.
pub(super) fn time(scope: &Scope<'_>, name: &str, notes: &mut Vec<Note>) -> Option<u64> {
    let directive = scope.one(name)?;
    let time = units::milliseconds(directive.argument(0)).filter(|time| *time > 0);
    if time.is_none() {
        let why = "it is not a time that tidegate can wait";
        notes.push(Note::new(directive, Outcome::Lost, why));
    }
    time
}

/// The `max_body` of a route, if it is not the default one.
pub(super) fn max_body(
    scope: &Scope<'_>,
    defaults: &Defaults,
    notes: &mut Vec<Note>,
) -> Option<String> {
    let directive = scope.one("client_max_body_size")?;
    let Some(body) = body(scope) else {
        notes.push(Note::new(directive, Outcome::Lost, "it is not a size"));
        return None;
    };
    (body != defaults.max_body).then(|| format!("max_body = {}", text(&body)))
}

fn body(scope: &Scope<'_>) -> Option<String> {
    let bytes = units::bytes(scope.value("client_max_body_size")?)?;
    Some(match bytes {
        0 => "off".to_owned(),
        bytes => units::size(bytes),
    })
}

/// When requests are tried again.
#[derive(Debug)]
pub(super) struct Retry {
    /// The keys of `retry`; none for the default ones.
    pub(super) keys: Vec<String>,
    /// Attempts of which each may time out.
    pub(super) tries: u64,
}

/// Reads `proxy_next_upstream` and `proxy_next_upstream_tries` for an upstream
/// with so many servers.
pub(super) fn retry(scope: &Scope<'_>, servers: usize, notes: &mut Vec<Note>) -> Retry {
    let next = scope.one("proxy_next_upstream");
    let tries = scope.value("proxy_next_upstream_tries");
    let mut retry = Retry {
        keys: Vec::new(),
        tries: 1,
    };
    if let Some(directive) = scope.one("proxy_next_upstream_timeout") {
        let why = "`timeouts.total` ends a request with all of its attempts";
        notes.push(Note::new(directive, Outcome::Lost, why));
    }
    let Some(directive) = next.or(scope.one("proxy_next_upstream_tries")) else {
        return retry;
    };
    let tries = tries
        .and_then(|text| text.parse::<u64>().ok())
        .filter(|tries| *tries > 0);
    let attempts = tries.unwrap_or(servers as u64).clamp(1, MOST_ATTEMPTS);
    let given = next.map_or(&[][..], |next| next.arguments.as_slice());
    if attempts == 1 || given.iter().any(|argument| argument == "off") {
        retry.keys.push("attempts = 1".to_owned());
        return retry;
    }
    retry.keys.push(format!("attempts = {attempts}"));
    let mut on: Vec<String> = Vec::new();
    for argument in given {
        let reasons: &[&str] = match argument.as_str() {
            "error" => &["connect", "reset"],
            "timeout" => &["timeout"],
            "non_idempotent" => {
                let methods = [
                    "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "POST", "PATCH", "LOCK",
                ];
                retry
                    .keys
                    .push(format!("methods = {}", list(&methods.map(str::to_owned))));
                continue;
            }
            status => match status.strip_prefix("http_") {
                Some(status) => &[status],
                None => {
                    let why = format!("a retry has no reason `{argument}`");
                    notes.push(Note::new(directive, Outcome::Lost, why));
                    continue;
                }
            },
        };
        on.extend(reasons.iter().map(|reason| (*reason).to_owned()));
    }
    if on.iter().any(|reason| reason == "timeout") {
        retry.tries = attempts;
    }
    if !on.is_empty() {
        retry.keys.insert(1, format!("on = {}", list(&on)));
    }
    let why = "retries are bounded by `retry.budget`, and one with a reset is made once";
    notes.push(Note::new(directive, Outcome::Differs, why));
    retry
}
