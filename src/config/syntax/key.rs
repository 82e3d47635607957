//! Key expressions: the parts of a request that tell one bucket of a limit from
//! another.
//!
//! Every gateway has such expressions, and all write them in other ways:
//! `$binary_remote_addr`, `req.header:X-User`, `ip`. The advice on a part that
//! is none tries other spellings until one is a part of the language.
//!
//! # Order of the attempts
//!
//! A text is first read by the exact rules. Only if they refuse it, `meant`
//! looks for the form that is right, in this order:
//!
//! 1. several parts in one text become the items of a list;
//! 2. a known beginning or sign is replaced by that of the language;
//! 3. a word of another gateway is translated;
//! 4. a word for everyone means no key at all;
//! 5. a kind without a name gets one as an example;
//! 6. a word that looks like the name of a header becomes one.
//!
//! Each candidate of the first two steps has to pass the exact rules before it
//! is advised, so that the help never leads to a second mistake. A word that
//! step 6 would take for a header is left alone when it is near a word of the
//! language: `client-ipp` is a slip and no header.

use super::{
    super::{suggest, wrong::Wrong},
    header, identity, in_quotes, path,
};
use crate::policy::{KeyPart, Missing, Prefixes};

/// Bits of an address that count by default. A client usually has one IPv4
/// address; of IPv6 it owns a whole /64 and can change addresses in it.
const PREFIXES: Prefixes = Prefixes { v4: 32, v6: 64 };

/// Parts that need no name.
///
/// These are also the words that a misspelt part is compared with. Parts that
/// have a name are not among them, as their names are free.
const WORDS: [&str; 8] = [
    "route",
    "client-ip",
    "host",
    "path",
    "method",
    "tls:subject",
    "identity",
    "plan",
];

/// `"client-ip"`, `"client-ip/56"`, `"client-ip/24/56"`, `"header:NAME"`,
/// `"cookie:NAME"`, `"query:NAME"`, `"param:NAME"`, `"route"`, `"host"`,
/// `"path"`, `"method"`, `"tls:subject"`, `"identity"`, `"plan"`,
/// `"claim:NAME"`.
///
/// # Errors
/// Anything else. Where another gateway's form has one here, the help says so.
///
/// Names of headers are compared in lower case, those of cookies and of query
/// parameters with their case. The name of a query parameter is written
/// decoded, and may hold any character.
pub(in crate::config) fn part(text: &str) -> Result<KeyPart, Wrong> {
    exact_part(text).map_err(|wrong| wrong.or_advice(meant(text)))
}

/// Beginnings that other gateways have for a kind of part.
///
/// The first text of a pair is the beginning, in lower case and without `$`;
/// the second is the beginning that replaces it. `"tls:subject"` replaces the
/// whole text, because it is the only part that a certificate has.
const KINDS: [(&str, &str); 16] = [
    ("headers:", "header:"),
    ("http_", "header:"),
    ("http:", "header:"),
    ("req.header:", "header:"),
    ("cookies:", "cookie:"),
    ("cookie_", "cookie:"),
    ("arg:", "query:"),
    ("args:", "query:"),
    ("arg_", "query:"),
    ("params:", "param:"),
    ("claims:", "claim:"),
    ("jwt:", "claim:"),
    ("ip/", "client-ip/"),
    ("client_ip/", "client-ip/"),
    ("tls:", "tls:subject"),
    ("tls", "tls:subject"),
];

/// Help that names the part which another form is meant to be.
///
/// `None` if the text resembles nothing: the help of the strict reader, which
/// lists all parts, stays then.
fn meant(text: &str) -> Option<String> {
    if let Some(list) = several(text) {
        return Some(format!("several parts are a list: [{list}]"));
    }
    let lower = text.trim().trim_start_matches('$').to_ascii_lowercase();
    let right = respelt(text, &lower).or_else(|| translated(&lower).map(str::to_owned));
    if let Some(right) = right {
        return Some(format!("write \"{right}\""));
    }
    match &*lower {
        "" | "*" | "all" | "global" | "none" | "any" => {
            Some("leave `key` out for one bucket for everyone".to_owned())
        }
        "header" | "cookie" | "query" | "param" | "claim" => {
            Some(format!("name it: \"{lower}:NAME\""))
        }
        name if suggest::nearest(name, &WORDS).is_none()
            && (name.contains(['-', '_']) || name == "authorization") =>
        {
            let name = header::name(&name.replace('_', "-")).ok()?;
            Some(format!("write \"header:{name}\""))
        }
        _ => None,
    }
}

/// The part that other gateways have this word for. The words are not those of
/// [`suggest`]: as the names of keys they would mean something else.
///
/// `word` is in lower case, without the `$` of nginx.
fn translated(word: &str) -> Option<&'static str> {
    match word {
        "ip" | "clientip" | "remote_addr" | "binary_remote_addr" | "remote_ip" | "source_ip"
        | "source-ip" | "src" | "address" | "client" | "peer" => Some("client-ip"),
        "uri" | "url" | "request_uri" => Some("path"),
        "hostname" => Some("host"),
        _ => None,
    }
}

/// Several parts in one text, as the items of a list.
///
/// The separators are comma, semicolon, plus and bar, or else blanks. `None`
/// unless all pieces are parts by the exact rules: advice with one wrong item
/// would be no help.
fn several(text: &str) -> Option<String> {
    let mut parts: Vec<_> = text.split([',', ';', '+', '|']).map(str::trim).collect();
    if parts.len() == 1 {
        parts = text.split_whitespace().collect();
    }
    let is_meant = parts.len() > 1 && parts.iter().all(|part| exact_part(part).is_ok());
    is_meant.then(|| in_quotes(&parts))
}

/// The part that this is with another sign, another beginning, or without what
/// stands around it.
///
/// `lower` is `text` in lower case, without blanks around it and without
/// leading `$`. The first candidate that the exact rules take is returned,
/// beginning with the text in which only blanks and capitals are changed.
/// `None` if none of them is a part.
fn respelt(text: &str, lower: &str) -> Option<String> {
    // Blanks beside a sign; names themselves have none.
    let pieces: Vec<_> = lower.split([':', '/']).map(str::trim).collect();
    let joined = pieces.join(if lower.contains('/') { "/" } else { ":" });
    let with_colon = joined.replacen(['=', '.'], ":", 1);
    let bare = joined.replace(['{', '}'], "").replace("::", ":");
    let mut candidates = vec![joined.clone()];
    for (begin, kind) in KINDS {
        candidates.extend(joined.strip_prefix(begin).map(|name| match kind {
            "tls:subject" => kind.to_owned(),
            "header:" => format!("{kind}{}", name.replace('_', "-")),
            _ => format!("{kind}{name}"),
        }));
    }
    candidates.extend([with_colon, bare]);
    let inside = lower.strip_prefix('{');
    let inside = inside.and_then(|rest| rest.strip_suffix('}'));
    candidates.extend(inside.map(|name| format!("param:{name}")));
    let word = lower.split_once(':').map(|(word, _)| word.trim());
    candidates.extend(word.filter(|word| WORDS.contains(word)).map(str::to_owned));
    let is_right = |right: &String| right != text && exact_part(right).is_ok();
    candidates.into_iter().find(is_right)
}

/// [`part`] without advice on other forms.
///
/// Whether a route has the parameter of `"param:NAME"` is not known here:
/// `resolve` checks it for each route that names the limit. It also warns of
/// `"tls:subject"` where no listener asks clients for a certificate.
fn exact_part(text: &str) -> Result<KeyPart, Wrong> {
    if let Some(bits) = text.strip_prefix("client-ip/") {
        return prefixes(bits).map(KeyPart::ClientIp);
    }
    let parts = text.split_once(':');
    let (kind, name) = parts.map_or((text, None), |(kind, name)| (kind, Some(name)));
    match (kind, name) {
        ("route", None) => Ok(KeyPart::Route),
        ("client-ip", None) => Ok(KeyPart::ClientIp(PREFIXES)),
        ("host", None) => Ok(KeyPart::Host),
        ("path", None) => Ok(KeyPart::Path),
        ("method", None) => Ok(KeyPart::Method),
        ("tls", Some("subject")) => Ok(KeyPart::TlsSubject),
        ("identity", None) => Ok(KeyPart::Identity),
        ("plan", None) => Ok(KeyPart::Plan),
        ("claim", Some(name)) => identity::claim_name(name).map(KeyPart::Claim),
        ("header", Some(name)) => {
            let help = "write letters, digits and `-`, such as \"header:x-user\"";
            let name = header::name(name).map_err(|wrong| Wrong::new(wrong.why, help))?;
            Ok(KeyPart::Header(name))
        }
        ("cookie", Some(name)) => {
            let help = "write letters, digits and `-`, such as \"cookie:session\"";
            // Both names are tokens of HTTP (RFC 9110, 5.6.2).
            let token = header::name(name);
            token.map_err(|_| Wrong::new("it is not the name of a cookie", help))?;
            Ok(KeyPart::Cookie(name.into()))
        }
        ("query", Some("")) => {
            let help = "write it decoded, such as \"query:user\"";
            Err(Wrong::new("it is not the name of a query parameter", help))
        }
        ("query", Some(name)) => Ok(KeyPart::Query(name.into())),
        ("param", Some(name)) => {
            path::parameter_name(name)?;
            Ok(KeyPart::Param(name.into()))
        }
        _ => Err(no_part(text)),
    }
}

/// The bits behind `client-ip/`: those of IPv6 alone, or those of IPv4 before
/// those of IPv6.
fn prefixes(text: &str) -> Result<Prefixes, Wrong> {
    let (v4, v6) = match text.split_once('/') {
        Some((v4, v6)) => (Some(v4), v6),
        None => (None, text),
    };
    let bits = |text: &str, most: u8| match text.parse() {
        Ok(bits) if (1..=most).contains(&bits) && !text.starts_with('+') => Some(bits),
        _ => None,
    };
    let help = "write \"client-ip\", \"client-ip/56\" (bits of IPv6) or \"client-ip/24/56\" (bits of IPv4, then of IPv6)";
    let v4 = v4.map_or(Some(PREFIXES.v4), |v4| bits(v4, 32));
    let v4 = v4.ok_or_else(|| Wrong::new("the IPv4 prefix is 1 to 32 bits", help))?;
    let v6 = bits(v6, 128).ok_or_else(|| Wrong::new("the IPv6 prefix is 1 to 128 bits", help))?;
    Ok(Prefixes { v4, v6 })
}

/// The refusal of a text that begins like no part of a key.
///
/// The help is the nearest word without a name, if one is near, or else all
/// parts of the language.
fn no_part(text: &str) -> Wrong {
    let near = suggest::nearest(text, &WORDS);
    let help = "write \"client-ip\", \"header:NAME\", \"cookie:NAME\", \"query:NAME\", \"param:NAME\", \"route\", \"host\", \"path\", \"method\", \"tls:subject\", \"identity\", \"plan\" or \"claim:NAME\"";
    Wrong::new("it is not part of a key", help).or_meant(near)
}

/// `"skip"`, `"refuse"`, or another part of a key.
///
/// A part of a key here is a stand-in: a request without the first part is
/// counted under this one. `"skip"` does not count the request, and `"refuse"`
/// refuses it.
///
/// # Errors
/// Anything else. The advice on a part is kept where it corrects the text;
/// otherwise the help lists the two words, as a text that resembles no part is
/// more often a word.
pub(in crate::config) fn missing(text: &str) -> Result<Missing, Wrong> {
    match text {
        "skip" => Ok(Missing::Skip),
        "refuse" => Ok(Missing::Refuse),
        _ => part(text).map(Missing::Use).map_err(|wrong| {
            let why = "it is not what can be done without the key";
            let word = suggest::close(text.trim(), &["skip", "refuse"]);
            let is_of_part = meant(text).is_some_and(|help| help.starts_with("write"))
                || wrong.help.starts_with("did");
            let help = "write \"skip\", \"refuse\" or another part of a key such as \"client-ip\"";
            let of_part = is_of_part.then_some(wrong.help);
            Wrong::new(why, help).or_advice(of_part).or_meant(word)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_forms_of_a_part_are_corrected() {
        for (text, right) in [
            ("X-API-Key", "\"header:x-api-key\""),
            ("header: x", "\"header:x\""),
            ("header=X-User", "\"header:x-user\""),
            ("header:a, client-ip", "[\"header:a\", \"client-ip\"]"),
            ("$binary_remote_addr", "\"client-ip\""),
            ("client_ip", "\"client-ip\""),
            ("client-ipp", "\"client-ip\""),
            ("client-ip /56", "\"client-ip/56\""),
            ("ip/24/56", "\"client-ip/24/56\""),
            ("client-ip/56/24", "bits of IPv4, then of IPv6"),
            ("Host", "\"host\""),
            ("headers:X-User", "\"header:x-user\""),
            ("$http_x_user", "\"header:x-user\""),
            ("$arg_user", "\"query:user\""),
            ("param:{id}", "\"param:id\""),
            ("{id}", "\"param:id\""),
            ("ip/56", "\"client-ip/56\""),
            ("tls:cn", "\"tls:subject\""),
            ("path:/a", "write \"path\""),
            ("X_API_Key", "\"header:x-api-key\""),
            ("client-ip + route", "[\"client-ip\", \"route\"]"),
            ("client-ip route", "[\"client-ip\", \"route\"]"),
            ("cookie", "\"cookie:NAME\""),
            ("*", "leave `key` out"),
        ] {
            let help = part(text).unwrap_err().help;
            assert!(help.contains(right), "{text}: {help}");
        }
    }

    #[test]
    fn every_part_of_the_language_is_read() {
        for (text, v4, v6) in [
            ("client-ip", 32, 64),
            ("client-ip/48", 32, 48),
            ("client-ip/24/56", 24, 56),
            ("client-ip/32/128", 32, 128),
        ] {
            let networks = KeyPart::ClientIp(Prefixes { v4, v6 });
            assert_eq!(part(text).unwrap(), networks, "{text}");
        }
        assert_eq!(
            part("header:X-Api-Key").unwrap(),
            KeyPart::Header(http::HeaderName::from_static("x-api-key"))
        );
        assert_eq!(part("cookie:sid").unwrap(), KeyPart::Cookie("sid".into()));
        assert_eq!(part("query:a b").unwrap(), KeyPart::Query("a b".into()));
        assert_eq!(part("param:id_2").unwrap(), KeyPart::Param("id_2".into()));
        assert_eq!(
            missing("param:id").unwrap(),
            Missing::Use(KeyPart::Param("id".into()))
        );
        assert_eq!(part("tls:subject").unwrap(), KeyPart::TlsSubject);
        assert_eq!(missing("skip").unwrap(), Missing::Skip);
        assert_eq!(part("identity").unwrap(), KeyPart::Identity);
        assert_eq!(part("plan").unwrap(), KeyPart::Plan);
        assert_eq!(part("claim:org").unwrap(), KeyPart::Claim("org".into()));
        assert_eq!(missing("host").unwrap(), Missing::Use(KeyPart::Host));
    }

    #[test]
    fn nonsense_is_refused_with_the_nearest_word() {
        assert_eq!(
            part("clientip2").unwrap_err().help,
            "did you mean \"client-ip\"?"
        );
        assert!(missing("deny").unwrap_err().help.contains("\"refuse\""));
        for text in [
            "",
            "header:",
            "client-ip/0",
            "client-ip/129",
            "client-ip/+8",
            "client-ip/0/64",
            "client-ip/33/64",
            "client-ip/24/",
            "client-ip//56",
            "client-ip/24/56/8",
            "client-ip/24/+56",
            "ip",
            "header:a b",
            "cookie:",
            "cookie:a=b",
            "query:",
            "param:",
            "param:{id}",
            "param:a-b",
            "claim:",
        ] {
            assert!(part(text).is_err(), "{text}");
        }
    }
}
