//! Texts with `{name}` places that the gateway fills in for each request.
//!
//! Two keys hold templates: `rewrite` of a request and `to` of a redirect. The
//! functions here check what the text shows by itself: that its braces match
//! and that it can be sent. Whether a name in braces exists depends on the path
//! of the route, so that `resolve` asks for it, through [`places`].
//!
//! A template is kept as the text that the file has. Braces have no escape of
//! their own; one that is meant literally is written percent-encoded.

use super::super::wrong::Wrong;

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

#[cfg(test)]
mod tests {
    use super::*;

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
