//! Texts with `{name}` places that the gateway fills in for each request.
//!
//! Templates of URLs are `rewrite` of a request and `to` of a redirect, and
//! values of `set_headers` of a request are templates, too. The functions here
//! check what the text shows by itself: that its braces match and that it can
//! be sent. Whether a name in braces exists depends on the path of the route,
//! so that `resolve` asks for it.
//!
//! A template of a URL is kept as the text that the file has, and a brace that
//! is meant literally is written percent-encoded.

use http::HeaderValue;

use super::{
    super::{suggest, wrong::Wrong},
    header, identity,
};
use crate::policy::{HeaderText, RequestValue, TextPiece};

/// The names between braces, in order. Whether the route has such parameters is
/// checked where the route is known.
///
/// The names are slices of the text. A name that stands twice is twice in the
/// result, and a text without braces gives an empty one. An empty name, `{}`,
/// is a name here, and is refused where names are looked up.
///
/// # Errors
/// A brace without a partner, and a brace within braces.
pub(in crate::config) fn places(text: &str) -> Result<Vec<&str>, Wrong> {
    let help = "write `{name}` for what is filled in; braces that are meant are `%7B` and `%7D`";
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let inside = rest[at..].strip_prefix('{');
        let inside = inside.and_then(|rest| rest.split_once('}'));
        let Some((name, after)) = inside.filter(|(name, _)| !name.contains('{')) else {
            return Err(Wrong::new("a brace has no partner", help));
        };
        names.push(name);
        rest = after;
    }
    Ok(names)
}

/// A path that replaces that of the request.
///
/// The query of the request is kept beside the new path, so that the template
/// has none itself.
///
/// # Errors
/// A text without a leading `/`, with `?` or `#`, with a lone brace, or with a
/// character that a URL has to escape.
pub(in crate::config) fn rewrite(text: &str) -> Result<String, Wrong> {
    places(text)?;
    if !text.starts_with('/') {
        let help = format!("write \"/{text}\"");
        return Err(Wrong::new("a path begins with `/`", help));
    }
    if text.contains(['?', '#']) {
        let help = "the request keeps its own query";
        return Err(Wrong::new("a path has no query or fragment", help));
    }
    sendable(text)
}

/// Where a redirect leads: a URL or a path.
///
/// The schemes are `http` and `https`, in small letters. Other ones are
/// refused.
///
/// # Errors
/// A text that begins with neither `/` nor one of the schemes, a lone brace, or
/// a character that a URL has to escape. Line breaks are among those
/// characters: a template cannot add a header to the response.
pub(in crate::config) fn redirect(text: &str) -> Result<String, Wrong> {
    places(text)?;
    if !text.starts_with('/') && !text.starts_with("http://") && !text.starts_with("https://") {
        let help = "write one such as \"https://{host}{path}\" or \"/new{path}\"";
        return Err(Wrong::new("it is neither a URL nor a path", help));
    }
    sendable(text)
}

/// Checks that a URL can be sent as it is (RFC 3986): its characters need no
/// escape.
///
/// Braces pass, because `places` has looked at them before and they are gone
/// when the URL is sent. The text is returned unchanged: nothing is escaped
/// here, and a `%` may begin an escape of the user.
fn sendable(text: &str) -> Result<String, Wrong> {
    let is_odd = |c: &char| !c.is_ascii_graphic() || r#""<>\^`|"#.contains(*c);
    let Some(c) = text.chars().find(is_odd) else {
        return Ok(text.to_owned());
    };
    let why = format!("{c:?} cannot stand in a URL");
    Err(Wrong::new(why, "escape it, such as `%20` for a space"))
}

/// Names without a further part that a header value may have in braces.
const VALUES: [(&str, RequestValue); 12] = [
    ("client_ip", RequestValue::ClientIp),
    ("peer", RequestValue::Peer),
    ("host", RequestValue::Host),
    ("path", RequestValue::Path),
    ("method", RequestValue::Method),
    ("scheme", RequestValue::Scheme),
    ("request_id", RequestValue::RequestId),
    ("route", RequestValue::Route),
    ("listener", RequestValue::Listener),
    ("identity", RequestValue::Identity),
    ("plan", RequestValue::Plan),
    ("tls:subject", RequestValue::TlsSubject),
];

/// The value of a header in which `{name}` is filled in for each request, and
/// `{{` and `}}` are braces.
///
/// Any other name counts as a parameter of the path; `resolve` checks that the
/// route has it.
///
/// # Errors
/// A brace without a partner, a name that can be none, and a text that no
/// header can hold.
pub(in crate::config) fn header_value(text: &str) -> Result<HeaderText, Wrong> {
    let (mut pieces, mut literal) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            literal.push_str(brace);
            rest = after;
            continue;
        }
        let inside = rest.split_once('}').filter(|_| brace == "{");
        let (name, after) = inside.ok_or_else(|| {
            Wrong::new(
                "a brace has no partner",
                "write `{name}` for what is filled in, and `{{` or `}}` for a brace",
            )
        })?;
        if !literal.is_empty() {
            pieces.push(TextPiece::Literal(std::mem::take(&mut literal).into()));
        }
        pieces.push(TextPiece::Value(request_value(name)?));
        rest = after;
    }
    literal.push_str(rest);
    if pieces.is_empty() {
        return header::value(&literal).map(HeaderText::Fixed);
    }
    if !literal.is_empty() {
        pieces.push(TextPiece::Literal(literal.into()));
    }
    for piece in &pieces {
        if let TextPiece::Literal(text) = piece {
            let value = HeaderValue::from_str(text);
            value.map_err(|_| {
                let help = "write visible characters and blanks";
                Wrong::new("there is a character that no header can hold", help)
            })?;
        }
    }
    Ok(HeaderText::Template(pieces.into()))
}

/// The value that a name in braces stands for.
fn request_value(name: &str) -> Result<RequestValue, Wrong> {
    if let Some((_, value)) = VALUES.iter().find(|(known, _)| *known == name) {
        return Ok(value.clone());
    }
    match name.split_once(':') {
        Some(("claim", claim)) => return identity::claim_name(claim).map(RequestValue::Claim),
        Some(("header", field)) => return header::name(field).map(RequestValue::Header),
        _ => {}
    }
    let is_parameter = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_parameter {
        return Ok(RequestValue::Param(name.into()));
    }
    let names = VALUES.map(|(known, _)| known);
    let help = match suggest::nearest(name, &names) {
        Some(near) => format!("did you mean `{{{near}}}`?"),
        None => format!(
            "write `{{{{` for a brace, or one of `{{{}}}`, `{{claim:NAME}}`, `{{header:NAME}}` or a parameter of the path",
            names.join("}`, `{")
        ),
    };
    Err(Wrong::new(format!("nothing fills in `{{{name}}}`"), help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_value_has_texts_and_places() {
        let text = |text| header_value(text).unwrap();
        assert_eq!(text("a"), HeaderText::Fixed(HeaderValue::from_static("a")));
        assert_eq!(
            text("{{\"a\":1}}"),
            HeaderText::Fixed(HeaderValue::from_static("{\"a\":1}"))
        );
        let pieces = [
            TextPiece::Literal("a{".into()),
            TextPiece::Value(RequestValue::Claim("org.id".into())),
            TextPiece::Literal(";".into()),
            TextPiece::Value(RequestValue::Param("id".into())),
        ];
        assert_eq!(
            text("a{{{claim:org.id};{id}"),
            HeaderText::Template(pieces.into())
        );
        for (wrong, help) in [
            ("{a", "`{{`"),
            ("a}", "`}}`"),
            ("{\"a\":1}", "`{{`"),
            ("{}", "`{{`"),
            ("{client-ip}", "`{client_ip}`"),
            ("{claim:}", "name of a claim"),
            ("{header:a b}", ""),
            ("{host}\n", ""),
        ] {
            let found = header_value(wrong).unwrap_err();
            assert!(found.help.contains(help), "{wrong}: {found:?}");
        }
    }

    #[test]
    fn places_are_found_in_order() {
        assert_eq!(
            places("https://{host}{path}?x={id}").unwrap(),
            ["host", "path", "id"]
        );
    }

    #[test]
    fn lone_braces_are_refused() {
        for text in ["/{a", "/a}", "/{a{b}", "/}{"] {
            assert!(places(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_redirect_leads_to_a_url_or_a_path() {
        assert!(redirect("https://{host}{path}").is_ok() && redirect("/login").is_ok());
        assert!(
            redirect("example.com").is_err()
                && redirect("/a b").is_err()
                && redirect("/a\r\nx: y").is_err()
        );
    }
}
