//! Texts with variables of NGINX, as templates and keys of tidegate.

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    /// The name of a variable, without `$` and braces.
    Variable(String),
}

/// The pieces of a text: `$name` and `${name}` are variables, and any other `$`
/// is itself.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        literal.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let in_braces = behind
            .strip_prefix('{')
            .and_then(|inside| inside.split_once('}'))
            .filter(|(name, _)| !name.is_empty() && name.chars().all(is_name));
        let (name, after) = match in_braces {
            Some(found) => found,
            None => behind.split_at(behind.find(|c| !is_name(c)).unwrap_or(behind.len())),
        };
        rest = after;
        if name.is_empty() {
            literal.push('$');
            continue;
        }
        if !literal.is_empty() {
            found.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        found.push(Piece::Variable(name.to_owned()));
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        found.push(Piece::Literal(literal));
    }
    found
}

/// The text if it has no variable.
pub(super) fn without_variables(text: &str) -> Option<String> {
    match pieces(text).as_slice() {
        [] => Some(String::new()),
        [Piece::Literal(text)] => Some(text.clone()),
        _ => None,
    }
}

/// The text with its variables in their short form, to compare it.
pub(super) fn canonical(text: &str) -> String {
    let short = |piece| match piece {
        Piece::Literal(text) => text,
        Piece::Variable(name) => format!("${name}"),
    };
    pieces(text).into_iter().map(short).collect()
}

/// The facts about a server and a location that variables stand for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// The first name of the server.
    pub(super) server_name: &'a str,
    /// `http` or `https` if all of its listeners speak one of them.
    pub(super) scheme: Option<&'a str>,
    /// The port if all of its listeners have one.
    pub(super) port: Option<u16>,
    /// All of its listeners have the port that clients leave out: 80, or 443
    /// with TLS.
    pub(super) has_usual_ports: bool,
    /// The host and port of `proxy_pass`.
    pub(super) proxy_host: &'a str,
}

impl Known<'_> {
    /// The value of a variable that is the same for all requests here.
    fn constant(&self, name: &str) -> Option<String> {
        match name {
            "server_name" => Some(self.server_name.to_owned()),
            "server_port" => self.port.map(|port| port.to_string()),
            "proxy_host" => Some(self.proxy_host.to_owned()).filter(|host| !host.is_empty()),
            _ => None,
        }
    }
}

/// A value of `set_headers`.
///
/// # Errors
/// The name of a variable that has no place there.
pub(super) fn header_template(text: &str, known: Known<'_>) -> Result<String, String> {
    let mut template = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Literal(text) => template += &doubled(&text),
            Piece::Variable(name) => match known.constant(&name) {
                Some(constant) => template += &doubled(&constant),
                None => template += &place(&name).ok_or(name)?,
            },
        }
    }
    Ok(template)
}

/// Braces that are meant.
fn doubled(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// The place of a template that stands for a variable.
fn place(name: &str) -> Option<String> {
    let place = match name {
        "remote_addr" => "{client_ip}",
        "realip_remote_addr" => "{peer}",
        "host" | "http_host" => "{host}",
        "scheme" => "{scheme}",
        "request_uri" => "{path}",
        "request_method" => "{method}",
        "request_id" => "{request_id}",
        "ssl_client_s_dn" => "{tls:subject}",
        _ => {
            let field = name.strip_prefix("http_").or_else(|| {
                let is_field = matches!(name, "content_type" | "content_length");
                is_field.then_some(name)
            })?;
            return Some(format!("{{header:{}}}", field.replace('_', "-")));
        }
    };
    Some(place.to_owned())
}

/// The target of a redirect.
///
/// # Errors
/// The name of a variable that has no place there.
pub(super) fn redirect_template(text: &str, known: Known<'_>) -> Result<String, String> {
    let mut found = pieces(text);
    // Both are the path with its query.
    let query = [
        Piece::Variable("is_args".into()),
        Piece::Variable("args".into()),
    ];
    if found.ends_with(&query) {
        found.truncate(found.len() - query.len());
        if found.last() != Some(&Piece::Variable("uri".into())) {
            return Err("args".to_owned());
        }
    }
    let mut template = String::new();
    for piece in found {
        match piece {
            Piece::Literal(text) => template += &text.replace('{', "%7B").replace('}', "%7D"),
            Piece::Variable(name) => match (name.as_str(), known.constant(&name)) {
                (_, Some(constant)) => template += &constant,
                ("host" | "http_host", _) => template += "{host}",
                ("request_uri" | "uri", _) => template += "{path}",
                ("scheme", _) => template += known.scheme.ok_or(name)?,
                _ => return Err(name),
            },
        }
    }
    Ok(template)
}

/// A key of a limit or of `hash`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Its parts; none for one bucket.
    pub(super) parts: Vec<String>,
    /// It has `$server_name`, so that each server has buckets of its own.
    pub(super) by_server: bool,
    /// NGINX does not count a request whose key is empty.
    pub(super) may_be_empty: bool,
    /// The differences between the parts here and there.
    pub(super) differences: Vec<&'static str>,
}

impl Key {
    /// Reads the first argument of `limit_req_zone` and the like.
    ///
    /// # Errors
    /// The name of a variable that is no part of a key.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut key = Self::default();
        let mut is_fixed = false;
        for piece in pieces(text) {
            let name = match piece {
                // A literal is the same in every key.
                Piece::Literal(_) => {
                    is_fixed = true;
                    continue;
                }
                Piece::Variable(name) => name,
            };
            if name == "server_name" {
                key.by_server = true;
                is_fixed = true;
                continue;
            }
            let (part, difference) = part(&name).ok_or(name)?;
            is_fixed |= !part.contains(':');
            if !key.parts.contains(&part) {
                key.parts.push(part);
            }
            key.differences.extend(difference);
        }
        key.may_be_empty = !is_fixed && !key.parts.is_empty();
        Ok(key)
    }

    /// The parts as `key` has them.
    pub(super) fn parts_toml(&self) -> String {
        match self.parts.as_slice() {
            [one] => super::toml::text(one),
            parts => super::toml::list(parts),
        }
    }
}

/// The part of a key for a variable, and how it differs.
fn part(name: &str) -> Option<(String, Option<&'static str>)> {
    let simple = |part: &str, difference| Some((part.to_owned(), difference));
    match name {
        "binary_remote_addr" | "remote_addr" => simple(
            "client-ip",
            Some("an IPv6 address counts by its /64 here, whole in NGINX (\"client-ip/128\")"),
        ),
        "host" | "http_host" => simple("host", None),
        "uri" | "document_uri" => simple("path", None),
        "request_uri" => simple("path", Some("the query is no part of the key here")),
        "request_method" => simple("method", None),
        "ssl_client_s_dn" => simple("tls:subject", None),
        _ => {
            let kinds = [
                ("http_", "header"),
                ("arg_", "query"),
                ("cookie_", "cookie"),
            ];
            let found = kinds
                .iter()
                .find_map(|(begin, kind)| Some((*kind, name.strip_prefix(begin)?)));
            let (kind, name) = found?;
            let name = match kind {
                "header" => name.replace('_', "-"),
                _ => name.to_owned(),
            };
            Some((format!("{kind}:{name}"), None))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: Known<'static> = Known {
        server_name: "a.example",
        scheme: Some("https"),
        port: Some(443),
        has_usual_ports: true,
        proxy_host: "app",
    };

    #[test]
    fn variables_of_fields_become_places() {
        let filled = |text| header_template(text, KNOWN);
        assert_eq!(
            filled("a $remote_addr ${http_x_user}{}$").unwrap(),
            "a {client_ip} {header:x-user}{{}}$"
        );
        assert_eq!(
            filled("$server_name:$server_port").unwrap(),
            "a.example:443"
        );
        assert_eq!(filled("$geoip_country"), Err("geoip_country".to_owned()));
    }

    #[test]
    fn variables_of_redirects_become_places() {
        let filled = |text| redirect_template(text, KNOWN);
        assert_eq!(
            filled("https://$host$request_uri").unwrap(),
            "https://{host}{path}"
        );
        assert_eq!(
            filled("$scheme://www.$server_name$uri$is_args$args").unwrap(),
            "https://www.a.example{path}"
        );
        assert_eq!(filled("/x?$args"), Err("args".to_owned()));
        assert!(filled("/new/$is_args$args").is_err() && filled("/$1").is_err());
    }

    #[test]
    fn a_key_has_parts_and_says_when_it_is_empty() {
        let key = |text| Key::read(text).unwrap();
        assert_eq!(key("$binary_remote_addr").parts, ["client-ip"]);
        assert!(!key("$binary_remote_addr").may_be_empty);
        assert_eq!(key("$http_x_api_key").parts, ["header:x-api-key"]);
        assert!(key("$http_x_api_key").may_be_empty);
        assert!(key("all").parts.is_empty() && !key("all").may_be_empty);
        assert!(key("$server_name").by_server);
        assert_eq!(key("$cookie_Sid:$arg_q").parts, ["cookie:Sid", "query:q"]);
        assert_eq!(Key::read("$limit"), Err("limit".to_owned()));
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_text_are_the_text(text in "[a${} _é]*") {
            let mut again = String::new();
            for piece in pieces(&text) {
                match piece {
                    Piece::Literal(text) => again += &text,
                    Piece::Variable(name) => again += &name,
                }
            }
            let bare = |text: &str| text.replace(['$', '{', '}'], "");
            prop_assert_eq!(bare(&again), bare(&text));
        }
    }
}
