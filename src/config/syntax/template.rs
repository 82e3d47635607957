//! Texts with `{name}` places that the gateway fills in for each request.
//!
//! Templates are the values of `set_headers` and `add_headers`, the `rewrite` of
//! a request and the `to` of a redirect. The functions here take them apart and
//! check what the text shows by itself: that its braces match and that it can
//! be sent. Whether the route has a parameter of its path by that name is asked
//! by `resolve`.
//!
//! `{{` and `}}` are braces. A URL has none: there, a brace that is meant is
//! written percent-encoded.

use http::HeaderValue;

use super::{
    super::{suggest, wrong::Wrong},
    header, identity,
};
use crate::policy::{HeaderText, RequestValue, Template, TextPiece};

/// The pieces of a text, in order. `value_of` knows the names in braces.
///
/// # Errors
/// A brace that is not closed or not opened, and those of `value_of`.
fn pieces(
    text: &str,
    value_of: fn(&str) -> Result<RequestValue, Wrong>,
) -> Result<Vec<TextPiece>, Wrong> {
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
        let (name, after) = inside
            .filter(|(name, _)| !name.contains('{'))
            .ok_or_else(|| {
                let why = match brace {
                    "{" => "a `{` is not closed",
                    _ => "a `}` is not opened",
                };
                let help = "write `{name}` for what is filled in, and `{{` or `}}` for a brace";
                Wrong::new(why, help)
            })?;
        let value = value_of(name)?;
        flush(&mut literal, &mut pieces);
        pieces.push(TextPiece::Value(value));
        rest = after;
    }
    literal.push_str(rest);
    flush(&mut literal, &mut pieces);
    Ok(pieces)
}

/// Ends a literal, unless it is empty.
fn flush(literal: &mut String, pieces: &mut Vec<TextPiece>) {
    if !literal.is_empty() {
        pieces.push(TextPiece::Literal(std::mem::take(literal).into()));
    }
}

/// A path that replaces that of the request, made of parameters of the match.
///
/// The query of the request is kept beside the new path, so that the template
/// has none itself.
///
/// # Errors
/// A text without a leading `/`, with `?` or `#`, with a lone brace, or with a
/// character that a URL has to escape.
pub(in crate::config) fn rewrite(text: &str) -> Result<Template, Wrong> {
    let template = url(text, |name| Ok(RequestValue::Param(name.into())))?;
    if !text.starts_with('/') {
        let help = format!("write \"/{text}\"");
        return Err(Wrong::new("a path begins with `/`", help));
    }
    if text.contains(['?', '#']) {
        let help = "the request keeps its own query";
        return Err(Wrong::new("a path has no query or fragment", help));
    }
    sendable(template)
}

/// Where a redirect leads: a URL or a path, made of the host, the path and
/// parameters of the match.
///
/// The schemes are `http` and `https`, in small letters. Other ones are
/// refused.
///
/// # Errors
/// A text that begins with neither `/` nor one of the schemes, a lone brace, or
/// a character that a URL has to escape. Line breaks are among those
/// characters: a template cannot add a header to the response.
pub(in crate::config) fn redirect(text: &str) -> Result<Template, Wrong> {
    let template = url(text, |name| {
        Ok(match name {
            "host" => RequestValue::Host,
            "path" => RequestValue::Path,
            name => RequestValue::Param(name.into()),
        })
    })?;
    if !text.starts_with('/') && !text.starts_with("http://") && !text.starts_with("https://") {
        let help = "write one such as \"https://{host}{path}\" or \"/new{path}\"";
        return Err(Wrong::new("it is neither a URL nor a path", help));
    }
    sendable(template)
}

/// The template of a URL. Names that are unknown here are parameters, which
/// only the route has.
fn url(text: &str, value_of: fn(&str) -> Result<RequestValue, Wrong>) -> Result<Template, Wrong> {
    Ok(Template(pieces(text, value_of)?.into()))
}

/// Checks that a URL can be sent as it is (RFC 3986): its characters need no
/// escape.
///
/// The template is returned unchanged: nothing is escaped here, and a `%` may
/// begin an escape of the user.
fn sendable(template: Template) -> Result<Template, Wrong> {
    let is_odd = |c: &char| !c.is_ascii_graphic() || r#""<>\^`{|}"#.contains(*c);
    let literals = template.0.iter().filter_map(|piece| match piece {
        TextPiece::Literal(text) => Some(text),
        TextPiece::Value(_) => None,
    });
    let odd = literals.flat_map(|text| text.chars()).find(is_odd);
    let Some(c) = odd else {
        return Ok(template);
    };
    let why = format!("{c:?} cannot stand in a URL");
    let help = match c {
        '{' | '}' => "escape it: `%7B` or `%7D`",
        _ => "escape it, such as `%20` for a space",
    };
    Err(Wrong::new(why, help))
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
/// A brace that is not closed or not opened, a name that can be none, and a text that no
/// header can hold.
pub(in crate::config) fn header_value(text: &str) -> Result<HeaderText, Wrong> {
    let pieces = pieces(text, request_value)?;
    match &pieces[..] {
        [] => return header::value("").map(HeaderText::Fixed),
        [TextPiece::Literal(text)] => return header::value(text).map(HeaderText::Fixed),
        _ => {}
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
    Ok(HeaderText::Template(Template(pieces.into())))
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
    let help = help_for_header(name, &[]);
    Err(Wrong::new(format!("nothing fills in `{{{name}}}`"), help))
}

/// Help for a name that nothing in the value of a header fills in, on a route
/// whose path has these parameters: the nearest name, or all of them.
pub(in crate::config) fn help_for_header(name: &str, parameters: &[&str]) -> String {
    let of_path = name
        .split_once(':')
        .map_or((name, None), |(kind, name)| (kind, Some(name)));
    if let ("param" | "params" | "path_param" | "path", meant) = of_path {
        let parameter = parameters.first().copied();
        let known = parameters
            .iter()
            .copied()
            .find(|known| Some(*known) == meant);
        return match known.or(parameter).or(meant) {
            Some(name) => format!("write a parameter of the path by its name alone: `{{{name}}}`"),
            None => "write a parameter of `match.path` by its name, such as `{id}`".to_owned(),
        };
    }
    let names = [&VALUES.map(|(known, _)| known), parameters].concat();
    match suggest::nearest(name, &names) {
        Some(near) => format!("did you mean `{{{near}}}`?"),
        None => format!(
            "write `{{{{` for a brace, or one of `{{{}}}`, `{{claim:NAME}}`, `{{header:NAME}}` or a parameter of the path",
            names.join("}`, `{")
        ),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::{collection::vec, prelude::*, sample::select};

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
            HeaderText::Template(Template(pieces.into()))
        );
        for (wrong, help) in [
            ("{a", "`{{`"),
            ("a}", "`}}`"),
            ("{\"a\":1}", "`{{`"),
            ("{}", "`{{`"),
            ("{client-ip}", "`{client_ip}`"),
            ("{param:id}", "by its name alone: `{id}`"),
            ("{claim:}", "name of a claim"),
            ("{header:a b}", ""),
            ("{host}\n", ""),
        ] {
            let found = header_value(wrong).unwrap_err();
            assert!(found.help.contains(help), "{wrong}: {found:?}");
        }
    }

    #[test]
    fn the_places_of_a_url_are_the_host_the_path_and_parameters() {
        let to = redirect("https://{host}{path}?x={id}").unwrap();
        let values: Vec<_> = to.values().cloned().collect();
        let id = RequestValue::Param("id".into());
        assert_eq!(values, [RequestValue::Host, RequestValue::Path, id]);
        let path = rewrite("/v2/{host}").unwrap();
        let host = RequestValue::Param("host".into());
        assert_eq!(path.values().collect::<Vec<_>>(), [&host]);
    }

    #[test]
    fn lone_braces_are_refused() {
        for text in ["/{a", "/a}", "/{a{b}", "/}{"] {
            assert!(
                redirect(text).is_err() && header_value(text).is_err(),
                "{text}"
            );
        }
        let wrong = rewrite("/a{{b").unwrap_err();
        assert!(wrong.help.contains("%7B"), "{wrong:?}");
    }

    /// A piece that a parser may return.
    fn a_piece() -> impl Strategy<Value = TextPiece> {
        let words = VALUES.map(|(_, value)| value).to_vec();
        prop_oneof![
            "[ -~]{1,9}".prop_map(|text| TextPiece::Literal(text.into())),
            select(words).prop_map(TextPiece::Value),
            "[a-z_]{1,3}x".prop_map(|name| TextPiece::Value(RequestValue::Param(name.into()))),
            "[a-z]{1,5}(\\.[a-z]{1,5})?"
                .prop_map(|name| TextPiece::Value(RequestValue::Claim(name.into()))),
            "[a-z-]{1,9}".prop_map(|name| {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                TextPiece::Value(RequestValue::Header(name))
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_template_is_read_back_as_it_is_written(
            mut pieces in vec(a_piece(), 0..9),
            last in select(VALUES.map(|(_, value)| value).to_vec()),
        ) {
            pieces.push(TextPiece::Value(last));
            pieces.dedup_by(|next, one| {
                matches!((next, one), (TextPiece::Literal(_), TextPiece::Literal(_)))
            });
            let template = Template(pieces.into());
            let read = header_value(&template.to_string()).unwrap();
            prop_assert_eq!(read, HeaderText::Template(template));
        }

        #[test]
        fn no_text_is_read_as_another_one(text in "[a-z{}: \"]{0,12}") {
            match header_value(&text) {
                Ok(HeaderText::Template(template)) => prop_assert_eq!(template.to_string(), text),
                Ok(HeaderText::Fixed(value)) => {
                    let text = text.replace("{{", "{").replace("}}", "}");
                    prop_assert_eq!(value.as_bytes(), text.as_bytes());
                }
                Err(wrong) => prop_assert!(!wrong.help.is_empty()),
            }
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
