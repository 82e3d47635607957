//! "Did you mean": the nearest of some known names.

/// Names further away than this (Damerau-Levenshtein, as a share of the longer
/// one) are no help.
const FURTHEST: f64 = 0.4;

/// A name this near is surely meant, such as the plural of a singular.
const CLOSE: f64 = 0.8;

/// Words that other gateways and people have for keys and choices of the
/// language, each behind the one that it is here.
const WORDS: [(&str, &[&str]); 49] = [
    (
        "upstream",
        &[
            "backend",
            "service",
            "target",
            "proxy_pass",
            "cluster",
            "destination",
            "forward_to",
        ],
    ),
    ("upstreams", &["backends", "services", "clusters"]),
    (
        "servers",
        &[
            "url",
            "urls",
            "backends",
            "address",
            "addresses",
            "targets",
            "endpoints",
            "nodes",
        ],
    ),
    ("bind", &["listen", "port", "address", "addr", "host"]),
    ("listeners", &["listen", "port", "frontend", "frontends"]),
    (
        "routes",
        &["location", "locations", "rules", "paths", "routers"],
    ),
    (
        "limits",
        &[
            "rate_limit",
            "rate_limits",
            "ratelimit",
            "ratelimits",
            "throttle",
            "limit_req",
            "limiters",
        ],
    ),
    (
        "rate",
        &["rps", "average", "requests_per_second", "requests"],
    ),
    ("burst", &["capacity", "bucket"]),
    ("path_prefix", &["prefix", "location", "starts_with"]),
    ("path_regex", &["regex", "pattern"]),
    ("timeouts", &["request_timeout", "proxy_timeout"]),
    (
        "concurrency",
        &["max_concurrency", "max_concurrent", "max_in_flight"],
    ),
    ("strip_prefix", &["strip", "strip_path"]),
    ("set_headers", &["headers", "add_headers", "add_header"]),
    ("log", &["logging", "logs", "log_level", "access_log"]),
    ("store", &["redis", "valkey"]),
    ("admin", &["metrics", "prometheus", "api"]),
    ("client_ip", &["trusted_proxy", "real_ip", "proxies"]),
    (
        "least-requests",
        &[
            "least_conn",
            "leastconn",
            "least_connections",
            "random",
            "p2c",
            "random_two",
        ],
    ),
    ("round-robin", &["rr", "static_rr"]),
    ("peak-ewma", &["ewma", "fastest", "least_time"]),
    (
        "hash",
        &[
            "ip_hash",
            "source",
            "consistent",
            "consistent_hash",
            "ring_hash",
            "maglev",
        ],
    ),
    ("http2", &["h2", "h2c", "http/2.0", "grpc"]),
    ("http1", &["h1", "http/1.1", "http1.1", "http", "http/1"]),
    (
        "shadow",
        &[
            "dry_run", "dryrun", "log", "report", "observe", "monitor", "audit", "test",
        ],
    ),
    ("enforce", &["on", "block", "live", "active"]),
    ("shared", &["global", "redis", "cluster", "distributed"]),
    ("local", &["memory", "process"]),
    ("keep", &["allow", "pass", "on", "true", "yes"]),
    ("drop", &["off", "remove", "deny", "ignore", "false", "no"]),
    ("pass", &["keep", "forward", "on", "true", "yes"]),
    ("required", &["on", "true", "v1", "v2", "yes", "enabled"]),
    (
        "off",
        &["false", "no", "none", "disabled", "never", "hide", "drop"],
    ),
    ("text", &["plain", "console", "pretty", "human", "logfmt"]),
    ("json", &["jsonl", "ndjson", "structured"]),
    ("warn", &["warning"]),
    ("error", &["err", "fatal", "critical"]),
    ("info", &["notice"]),
    ("trace", &["all", "verbose"]),
    ("masked", &["mask", "hidden", "redacted"]),
    ("full", &["on", "true", "yes", "all"]),
    ("draft-11", &["draft", "ietf", "on", "true"]),
    ("1.3", &["tlsv1.3", "tls1.3", "tls13"]),
    ("1.2", &["tlsv1.2", "tls1.2", "tls12"]),
    ("allow", &["pass", "open"]),
    ("deny", &["refuse", "reject", "closed", "block"]),
    ("skip", &["pass", "allow", "none", "ignore"]),
    ("refuse", &["deny", "reject", "block", "fail"]),
];

/// A name with one spelling for capitals and both joining signs.
fn folded(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// The known name that another word is meant for.
pub(super) fn translated<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = folded(word);
    let means = |known: &&str| {
        WORDS
            .iter()
            .any(|(right, words)| right == known && words.contains(&word.as_str()))
    };
    known.into_iter().find(means)
}

/// The words of the language for a word of people.
pub(super) fn meanings(word: &str) -> impl Iterator<Item = &'static str> {
    let word = folded(word);
    WORDS
        .into_iter()
        .filter(move |(_, words)| words.contains(&word.as_str()))
        .map(|(right, _)| right)
}

/// The nearest known name, if it is near at all.
pub(super) fn nearest<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    within(name, known, 1.0 - FURTHEST)
}

/// The known name that is surely meant: it has nearly these letters, or the
/// word means the same.
pub(super) fn close<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    within(name, known, CLOSE)
}

fn within<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    least: f64,
) -> Option<&'a str> {
    // Names from outside may be of any length; the distance takes quadratic
    // time.
    if name.len() > 128 {
        return None;
    }
    let translated = translated(name, known.clone());
    let name = folded(name);
    let near = |known: &'a str| {
        (
            strsim::normalized_damerau_levenshtein(&name, &folded(known)),
            known,
        )
    };
    let all = known
        .into_iter()
        .map(near)
        .filter(|(likeness, _)| *likeness >= least);
    let nearest = all.max_by(|(one, _), (other, _)| one.total_cmp(other));
    // A word that means something here is no slip of the finger, unless it is
    // nearly the other one.
    nearest
        .filter(|(likeness, _)| *likeness >= CLOSE)
        .map(|(_, known)| known)
        .or(translated)
        .or(nearest.map(|(_, known)| known))
}

/// "did you mean `x`?", or else the list of what there is.
pub(super) fn help<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    none: &str,
) -> String {
    if let Some(nearest) = nearest(name, known.clone()) {
        return format!("did you mean `{nearest}`?{}", and_stranger(name));
    }
    let known: Vec<_> = known
        .into_iter()
        .map(|known| format!("`{known}`"))
        .collect();
    if known.is_empty() {
        none.to_owned()
    } else {
        format!("one of {}", known.join(", "))
    }
}

/// Quotes of print, and what is taken for one.
pub(super) const QUOTES: [char; 16] = [
    '\u{201c}', '\u{201d}', '\u{201e}', '\u{201f}', '\u{2018}', '\u{2019}', '\u{201a}', '\u{201b}',
    '\u{ab}', '\u{bb}', '\u{2039}', '\u{203a}', '\u{2032}', '\u{2033}', '\u{b4}', '`',
];

/// Letters and signs that look like another one.
const LOOK_ALIKES: [(&str, char); 47] = [
    ("\u{430}\u{3b1}\u{251}", 'a'),
    ("\u{435}\u{450}\u{451}", 'e'),
    ("\u{43e}\u{3bf}\u{585}", 'o'),
    ("\u{440}\u{3c1}", 'p'),
    ("\u{441}\u{3f2}", 'c'),
    ("\u{443}\u{3b3}", 'y'),
    ("\u{445}\u{3c7}", 'x'),
    ("\u{456}\u{3b9}\u{131}\u{2170}", 'i'),
    ("\u{455}", 's'),
    ("\u{458}", 'j'),
    ("\u{4bb}\u{43d}", 'h'),
    ("\u{501}", 'd'),
    ("\u{3bd}\u{475}", 'v'),
    ("\u{43a}\u{3ba}", 'k'),
    ("\u{43c}", 'm'),
    ("\u{442}\u{3c4}", 't'),
    ("\u{432}", 'b'),
    ("\u{433}", 'r'),
    ("\u{578}\u{3b7}\u{43f}", 'n'),
    ("\u{57d}\u{3c5}", 'u'),
    ("\u{261}\u{581}", 'g'),
    ("\u{51b}", 'q'),
    ("\u{461}\u{51d}\u{3c9}", 'w'),
    ("\u{217c}\u{4cf}", 'l'),
    ("\u{410}\u{391}", 'A'),
    ("\u{412}\u{392}", 'B'),
    ("\u{415}\u{395}", 'E'),
    ("\u{41d}\u{397}", 'H'),
    ("\u{406}\u{399}", 'I'),
    ("\u{408}", 'J'),
    ("\u{41a}\u{39a}", 'K'),
    ("\u{41c}\u{39c}", 'M'),
    ("\u{39d}", 'N'),
    ("\u{41e}\u{39f}", 'O'),
    ("\u{420}\u{3a1}", 'P'),
    ("\u{421}\u{3f9}", 'C'),
    ("\u{405}", 'S'),
    ("\u{422}\u{3a4}", 'T'),
    ("\u{425}\u{3a7}", 'X'),
    ("\u{423}\u{3a5}", 'Y'),
    ("\u{396}", 'Z'),
    ("\u{3002}\u{2024}\u{b7}", '.'),
    ("\u{60c}\u{3001}", ','),
    ("\u{2044}\u{2215}", '/'),
    ("\u{2236}\u{5c3}", ':'),
    ("\u{a78a}\u{2550}", '='),
    ("\u{2217}\u{66d}", '*'),
];

/// The first character of a text that looks like another one or like nothing,
/// by its number: "U+0430, which looks like `a`".
pub(super) fn stranger(text: &str) -> Option<String> {
    text.chars().find_map(|c| {
        let like = LOOK_ALIKES
            .iter()
            .find(|(letters, _)| letters.contains(c))
            .map(|(_, like)| *like);
        let wide = matches!(c, '\u{ff01}'..='\u{ff5e}')
            .then(|| u8::try_from(u32::from(c) - 0xfee0).ok().map(char::from));
        let code = u32::from(c);
        match (like.or(wide.flatten()), c) {
            (Some(like), _) => Some(format!("U+{code:04X}, which looks like `{like}`")),
            (_, c) if !c.is_ascii() && QUOTES.contains(&c) => {
                Some(format!("U+{code:04X}, a typographic quote"))
            }
            (_, '\u{a0}' | '\u{2007}' | '\u{202f}') => {
                Some(format!("U+{code:04X}, a no-break space"))
            }
            (
                _,
                '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{ad}',
            ) => Some(format!("U+{code:04X}, which nobody sees")),
            (_, '\u{2010}'..='\u{2015}' | '\u{2212}') => {
                Some(format!("U+{code:04X}, which looks like `-`"))
            }
            (_, '\u{2028}' | '\u{2029}' | '\u{85}') => {
                Some(format!("U+{code:04X}, which ends no line in TOML"))
            }
            (_, c) if !c.is_ascii() && c.is_whitespace() => {
                Some(format!("U+{code:04X}, which looks like a space"))
            }
            (_, c) if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => {
                Some(format!("U+{code:04X}, a control character"))
            }
            _ => None,
        }
    })
}

/// The first character that is not ASCII, where only ASCII can be.
pub(super) fn not_ascii(text: &str) -> Option<String> {
    let c = text.chars().find(|c| !c.is_ascii())?;
    Some(format!(
        "`{c}` (U+{:04X}), and keys have ASCII letters only",
        u32::from(c)
    ))
}

/// The same as a part of help; empty where there is none.
pub(super) fn and_stranger(text: &str) -> String {
    stranger(text)
        .map(|stranger| format!(" (there is {stranger})"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(
            nearest("timout", ["total", "timeouts", "retry"]),
            Some("timeouts")
        );
        assert_eq!(
            nearest("pathprefix", ["path", "path_prefix"]),
            Some("path_prefix")
        );
    }

    #[test]
    fn a_word_of_another_gateway_is_translated() {
        assert_eq!(nearest("global", ["local", "shared"]), Some("shared"));
        assert_eq!(
            nearest("least_conn", ["round-robin", "least-requests", "hash"]),
            Some("least-requests")
        );
        assert_eq!(close("Backend", ["name", "upstream"]), Some("upstream"));
        assert_eq!(close("server", ["servers"]), Some("servers"));
        assert_eq!(close("timout", ["total", "timeouts"]), None);
    }

    #[test]
    fn a_foreign_word_gets_no_suggestion() {
        assert_eq!(nearest("banana", ["total", "timeouts", "retry"]), None);
    }
}
