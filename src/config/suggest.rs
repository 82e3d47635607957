//! "Did you mean": the nearest of some known names.
//!
//! Two things make a name near: its letters, measured by the distance of
//! Damerau and Levenshtein (insertions, deletions, substitutions and swaps of
//! neighbours) as a share of the longer name, and a table of the words that
//! other gateways have for the same thing. Capitals and joining signs do not
//! count: `PathPrefix`, `path-prefix` and `path_prefix` are one name.
//!
//! A near name is advice only: the file is refused all the same.

use std::fmt;

use super::characters::and_stranger;

/// Names further away than this (Damerau-Levenshtein, as a share of the longer
/// one) are no help.
const FURTHEST: f64 = 0.4;

/// A name this near is surely meant, such as the plural of a singular.
const CLOSE: f64 = 0.8;

/// Longest name that is compared, in bytes. Names from a file may be of any
/// length, and the distance takes quadratic time.
const LONGEST: usize = 128;

/// Words that other gateways and people have for keys and choices: each line
/// names one of the language, then the words that are meant to be it.
///
/// A word may stand on several lines, and means each of their names;
/// [`nearest`] takes the one that is known where it stands. Lines of keys and
/// of choices are not told apart, since the known names do that.
const WORDS: &str = "
upstream: backend service target proxy_pass cluster destination forward_to
upstreams: backends services clusters
servers: url urls backends address addresses targets endpoints nodes
bind: listen port address addr host
listeners: listen port frontend frontends
routes: location locations rules paths routers
limits: rate_limit rate_limits ratelimit ratelimits throttle limit_req limiters
rate: rps average requests_per_second requests
burst: capacity bucket
path_prefix: prefix location starts_with
path_regex: regex pattern
timeouts: request_timeout proxy_timeout
concurrency: max_concurrency max_concurrent max_in_flight
strip_prefix: strip strip_path
set_headers: headers add_headers add_header
log: logging logs log_level access_log
store: redis valkey
admin: metrics prometheus api
client_ip: trusted_proxy real_ip proxies
least-requests: least_conn leastconn least_connections random p2c random_two
round-robin: rr static_rr
peak-ewma: ewma fastest least_time
hash: ip_hash source consistent consistent_hash ring_hash maglev
http2: h2 h2c http/2.0 grpc
http1: h1 http/1.1 http1.1 http http/1
shadow: dry_run dryrun log report observe monitor audit test
enforce: on block live active
shared: global redis cluster distributed
local: memory process
keep: allow pass on true yes
drop: off remove deny ignore false no
pass: keep forward on true yes
required: on true v1 v2 yes enabled
off: false no none disabled never hide drop
text: plain console pretty human logfmt
json: jsonl ndjson structured
warn: warning
error: err fatal critical
info: notice
trace: all verbose
masked: mask hidden redacted
full: on true yes all
draft-11: draft ietf on true
1.3: tlsv1.3 tls1.3 tls13
1.2: tlsv1.2 tls1.2 tls12
allow: pass open
deny: refuse reject closed block
skip: pass allow none ignore
refuse: deny reject block fail
";

/// A name in small letters, with `_` for both joining signs: names that are the
/// same in this form differ in spelling only.
///
/// Letters of every script are put into lower case.
fn folded(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// The words of the language for a word of another gateway, likeliest first.
pub(super) fn meanings(word: &str) -> impl Iterator<Item = &'static str> {
    let word = folded(word);
    let meaning = move |line: &'static str| {
        let (right, words) = line.split_once(": ")?;
        words.split(' ').any(|known| known == word).then_some(right)
    };
    WORDS.lines().filter_map(meaning)
}

/// The nearest known name, if it is near at all: good enough to ask whether it
/// is meant.
///
/// `None` for an overlong name, and where all likenesses are below 0.6 and no
/// word is translated. Of two equally near names the later one is taken.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    within(name, known, 1.0 - FURTHEST)
}

/// The known name that is surely meant: it has nearly these letters, or the
/// word means the same. Good enough to take its value for that of the name.
pub(super) fn close<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    within(name, known, CLOSE)
}

/// The nearest name with a likeness of at least `least`, from 0 to 1. A
/// translated word is preferred to a name that only resembles it.
fn within<'a>(name: &str, known: &[&'a str], least: f64) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let is_meant = |known: &&str| meanings(name).any(|right| right == *known);
    let translated = known.iter().copied().find(is_meant);
    let name = folded(name);
    let mut nearest = None;
    let mut most = least;
    for known in known.iter().copied() {
        let likeness = strsim::normalized_damerau_levenshtein(&name, &folded(known));
        if likeness >= most {
            (nearest, most) = (Some(known), likeness);
        }
    }
    // A word that means something here is no slip of the finger, unless it is
    // nearly the other one.
    match translated {
        Some(_) if most < CLOSE => translated,
        _ => nearest.or(translated),
    }
}

/// "did you mean `x`?", or else the list of all known names; `none` if there
/// are none.
///
/// `none` is the whole help where there is nothing to choose from.
pub(super) fn help(name: &str, known: &[&str], none: &str) -> String {
    if let Some(nearest) = nearest(name, known) {
        return format!("did you mean `{nearest}`?{}", and_stranger(name));
    }
    match in_backticks(known, ", ") {
        list if list.is_empty() => none.to_owned(),
        list => format!("one of {list}"),
    }
}

/// Names as a message lists them: each in backticks, with `joint` between them.
pub(super) fn in_backticks(
    names: impl IntoIterator<Item = impl fmt::Display>,
    joint: &str,
) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(joint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(
            nearest("timout", &["total", "timeouts", "retry"]),
            Some("timeouts")
        );
        assert_eq!(
            nearest("pathprefix", &["path", "path_prefix"]),
            Some("path_prefix")
        );
    }

    #[test]
    fn a_word_of_another_gateway_is_translated() {
        assert_eq!(nearest("global", &["local", "shared"]), Some("shared"));
        assert_eq!(
            nearest("least_conn", &["round-robin", "least-requests", "hash"]),
            Some("least-requests")
        );
        assert_eq!(close("Backend", &["name", "upstream"]), Some("upstream"));
        assert_eq!(close("server", &["servers"]), Some("servers"));
        assert_eq!(close("timout", &["total", "timeouts"]), None);
    }

    #[test]
    fn a_foreign_word_gets_no_suggestion() {
        assert_eq!(nearest("banana", &["total", "timeouts", "retry"]), None);
    }
}
