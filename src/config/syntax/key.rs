//! Key expressions: what tells one bucket of a limit from another.

use super::{
    super::{suggest, wrong::Wrong},
    header, path,
};
use crate::policy::{KeyPart, Missing};

/// Bits of an IPv6 address that count by default: a client usually owns a whole
/// /64 and can change addresses in it.
pub(in crate::config) const V6_PREFIX: u8 = 64;

const WORDS: [&str; 6] = [
    "route",
    "client-ip",
    "host",
    "path",
    "method",
    "tls:subject",
];

/// `"client-ip"`, `"client-ip/56"`, `"header:NAME"`, `"cookie:NAME"`,
/// `"query:NAME"`, `"param:NAME"`, `"route"`, `"host"`, `"path"`, `"method"`,
/// `"tls:subject"`.
pub(in crate::config) fn part(text: &str) -> Result<KeyPart, Wrong> {
    exact_part(text).map_err(|wrong| match meant(text) {
        Some(help) => Wrong::new(wrong.why, help),
        None => wrong,
    })
}

/// Beginnings that other gateways have for a kind of part.
const KINDS: [(&str, &str); 14] = [
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
    ("ip/", "client-ip/"),
    ("client_ip/", "client-ip/"),
    ("tls:", "tls:subject"),
    ("tls", "tls:subject"),
];

/// The part that another form is meant to be.
fn meant(text: &str) -> Option<String> {
    let parts: Vec<_> = text.split([',', ';', '+', '|']).map(str::trim).collect();
    let parts = if parts.len() > 1 {
        parts
    } else {
        text.split_whitespace().collect()
    };
    if parts.len() > 1 && parts.iter().all(|part| exact_part(part).is_ok()) {
        let quoted: Vec<_> = parts.iter().map(|part| format!("\"{part}\"")).collect();
        return Some(format!("several parts are a list: [{}]", quoted.join(", ")));
    }
    let lower = text.trim().trim_start_matches('$').to_ascii_lowercase();
    let is_meant = |right: &str| right != text && exact_part(right).is_ok();
    let write = |right: &str| Some(format!("write \"{right}\""));
    // Blanks beside a sign; names themselves have none.
    let joined: String = lower
        .split([':', '/'])
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(if lower.contains('/') { "/" } else { ":" });
    let with_colon = joined.replacen(['=', '.'], ":", 1);
    let bare = joined.replace(['{', '}'], "").replace("::", ":");
    let in_braces = lower
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .map(|name| format!("param:{name}"));
    let of_kind = KINDS.iter().find_map(|(begin, kind)| {
        let name = joined.strip_prefix(begin)?;
        let name = if *kind == "header:" {
            name.replace('_', "-")
        } else {
            name.to_owned()
        };
        let right = if kind.ends_with("subject") {
            (*kind).to_owned()
        } else {
            format!("{kind}{name}")
        };
        is_meant(&right).then_some(right)
    });
    let word = lower
        .split_once(':')
        .map(|(word, _)| word.trim().to_owned())
        .filter(|word| WORDS.contains(&word.as_str()));
    let candidates = [
        Some(joined.clone()),
        of_kind,
        Some(with_colon),
        Some(bare),
        in_braces,
        word,
    ];
    if let Some(right) = candidates
        .into_iter()
        .flatten()
        .find(|right| is_meant(right))
    {
        return write(&right);
    }
    match &*lower {
        "ip" | "clientip" | "remote_addr" | "binary_remote_addr" | "remote_ip" | "source_ip"
        | "source-ip" | "src" | "address" | "client" | "peer" => write("client-ip"),
        "uri" | "url" | "request_uri" => write("path"),
        "hostname" => write("host"),
        "" | "*" | "all" | "global" | "none" | "any" => {
            Some("leave `key` out for one bucket for everyone".to_owned())
        }
        "header" | "cookie" | "query" | "param" => Some(format!("name it: \"{lower}:NAME\"")),
        name if suggest::nearest(name, WORDS).is_none()
            && (name.contains(['-', '_']) || name == "authorization") =>
        {
            header::name(&name.replace('_', "-"))
                .ok()
                .map(|name| format!("write \"header:{name}\""))
        }
        _ => None,
    }
}

fn exact_part(text: &str) -> Result<KeyPart, Wrong> {
    match text {
        "route" => return Ok(KeyPart::Route),
        "client-ip" => {
            return Ok(KeyPart::ClientIp {
                v6_prefix: V6_PREFIX,
            });
        }
        "host" => return Ok(KeyPart::Host),
        "path" => return Ok(KeyPart::Path),
        "method" => return Ok(KeyPart::Method),
        "tls:subject" => return Ok(KeyPart::TlsSubject),
        _ => {}
    }
    if let Some(prefix) = text.strip_prefix("client-ip/") {
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        return match prefix.parse() {
            Ok(v6_prefix @ 1..=128) if digits => Ok(KeyPart::ClientIp { v6_prefix }),
            _ => Err(Wrong::new(
                "the IPv6 prefix is 1 to 128 bits",
                "write \"client-ip\" or one such as \"client-ip/56\"",
            )),
        };
    }
    if let Some(name) = text.strip_prefix("header:") {
        let wrong = |wrong: Wrong| {
            Wrong::new(
                wrong.why,
                "write letters, digits and `-`, such as \"header:x-user\"",
            )
        };
        return header::name(name).map(KeyPart::Header).map_err(wrong);
    }
    if let Some(name) = text.strip_prefix("cookie:") {
        let help = "write letters, digits and `-`, such as \"cookie:session\"";
        let name = header::token(name)
            .ok_or_else(|| Wrong::new("it is not the name of a cookie", help))?;
        return Ok(KeyPart::Cookie(name.into()));
    }
    if let Some(name) = text.strip_prefix("query:") {
        let help = "write it decoded, such as \"query:user\"";
        return if name.is_empty() {
            Err(Wrong::new("it is not the name of a query parameter", help))
        } else {
            Ok(KeyPart::Query(name.into()))
        };
    }
    if let Some(name) = text.strip_prefix("param:") {
        path::parameter_name(name)?;
        return Ok(KeyPart::Param(name.into()));
    }
    let help = match suggest::nearest(text, WORDS) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "write \"client-ip\", \"header:NAME\", \"cookie:NAME\", \"query:NAME\", \"param:NAME\", \"route\", \"host\", \"path\", \"method\" or \"tls:subject\"".to_owned(),
    };
    Err(Wrong::new("it is not part of a key", help))
}

/// `"skip"`, `"refuse"`, or another part of a key.
pub(in crate::config) fn missing(text: &str) -> Result<Missing, Wrong> {
    match text {
        "skip" => Ok(Missing::Skip),
        "refuse" => Ok(Missing::Refuse),
        _ => part(text).map(Missing::Use).map_err(|wrong| {
            let why = "it is not what can be done without the key";
            if let Some(word) = suggest::close(text.trim(), ["skip", "refuse"]) {
                return Wrong::new(why, format!("did you mean \"{word}\"?"));
            }
            let is_of_part = meant(text).is_some_and(|help| help.starts_with("write"))
                || wrong.help.starts_with("did");
            let help = "write \"skip\", \"refuse\" or another part of a key such as \"client-ip\"";
            Wrong::new(why, if is_of_part { wrong.help } else { help.into() })
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
        assert_eq!(
            part("client-ip").unwrap(),
            KeyPart::ClientIp { v6_prefix: 64 }
        );
        assert_eq!(
            part("client-ip/48").unwrap(),
            KeyPart::ClientIp { v6_prefix: 48 }
        );
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
            "ip",
            "header:a b",
            "cookie:",
            "cookie:a=b",
            "query:",
            "param:",
            "param:{id}",
            "param:a-b",
        ] {
            assert!(part(text).is_err(), "{text}");
        }
    }
}
