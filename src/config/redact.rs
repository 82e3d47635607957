//! What diagnostics never show: the login of a URL, right or wrong, wherever it stands in a text.

use std::borrow::Cow;

/// The text with `*` for what may be a user and a password: what stands before an `@`, from the scheme of its URL or,
/// where that is missing, from the quote, if there is a colon in it. As long as before, so that places in it stay.
///
/// What else follows on the line of a URL may be covered too: a password may hold quotes.
pub(super) fn logins(text: &str) -> Cow<'_, str> {
    if !text.contains('@') {
        return Cow::Borrowed(text);
    }
    let mut shown = text.as_bytes().to_vec();
    let (mut start, mut is_url, mut has_colon) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\n' => (start, is_url, has_colon) = (at + 1, false, false),
            b'"' | b'\'' | b'`' if !is_url => (start, has_colon) = (at + 1, false),
            b'/' if text.as_bytes()[..at].ends_with(b":/") => (start, is_url) = (at + 1, true),
            b':' => has_colon = true,
            b'@' if is_url || has_colon => {
                shown[start..at].fill(b'*');
                (start, is_url) = (at + 1, true);
            }
            _ => {}
        }
    }
    Cow::Owned(String::from_utf8_lossy(&shown).into_owned())
}

#[cfg(test)]
mod tests {
    use super::logins;

    #[test]
    fn a_login_is_covered_and_nothing_moves() {
        for (text, shown) in [
            ("url = \"redis://gate:p\u{e9}t@store\"", "url = \"redis://*********@store\""),
            ("url = \"redis://gate:p@ss@store:1\" # ours", "url = \"redis://******@**@store:1\" # ours"),
            ("url = \"redis:gate:pet@store\"", "url = \"**************@store\""),
            ("url = 'redis://a:\"b\"@store'\nmail = \"a@b\"", "url = 'redis://*****@store'\nmail = \"a@b\""),
            ("`url` cannot be `:pet@store`", "`url` cannot be `****@store`"),
            ("url = \"redis://store\"", "url = \"redis://store\""),
        ] {
            assert_eq!(logins(text), shown);
            assert_eq!(logins(text).len(), text.len());
        }
    }
}
