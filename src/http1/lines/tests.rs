//! Tests of lines, beside an independent parser.

use proptest::prelude::*;

use super::*;

/// Names and values, and the length of the head; `None` for a head that is
/// not complete.
type Split<'h> = Option<(Vec<(&'h [u8], &'h [u8])>, usize)>;

/// The lines as `httparse` splits them.
fn split_by_httparse(text: &[u8]) -> Result<Split<'_>, ()> {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    match httparse::parse_headers(text, &mut lines) {
        Ok(httparse::Status::Complete((length, lines))) => Ok(Some((
            lines
                .iter()
                .map(|line| (line.name.as_bytes(), line.value))
                .collect(),
            length,
        ))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(()),
    }
}

fn split(text: &[u8]) -> Result<Split<'_>, ()> {
    let mut fields = Vec::new();
    let mut lines = HeadLines::of(text, 0, BeforeColon::Nothing);
    loop {
        match lines.next().map_err(drop)? {
            NextLine::Line(line) => {
                let RawLine { name, value, .. } = line;
                assert!(text[line.start..].starts_with(name));
                assert!(text[line.value_start..].starts_with(value));
                assert_eq!(line.has_underscore, name.contains(&b'_'));
                let written = [name, b": ", value, b"\r\n"].concat();
                let read = &text[line.start..lines.position()];
                assert_eq!(line.is_usual, read == written);
                fields.push((name, value));
            }
            NextLine::End => return Ok(Some((fields, lines.position()))),
            NextLine::More => return Ok(None),
        }
    }
}

/// The line that a text begins with, and where the next one begins.
fn first(text: &[u8], before_colon: BeforeColon) -> Result<(NextLine<'_>, usize), LineFault> {
    let mut lines = HeadLines::of(text, 0, before_colon);
    Ok((lines.next()?, lines.position()))
}

fn has_bare_line_feed(text: &[u8]) -> bool {
    let pairs = text
        .windows(2)
        .any(|pair| pair[1] == b'\n' && pair[0] != b'\r');
    pairs || text.first() == Some(&b'\n')
}

proptest! {
    #[test]
    fn lines_are_split_as_by_an_independent_parser(
        text in proptest::collection::vec(
            prop_oneof![
                Just(&b"a: b\r\n"[..]), Just(&b"Name:"[..]), Just(&b"x_y"[..]), Just(&b": "[..]), Just(&b"\r\n"[..]), Just(&b"\r"[..]), Just(&b"\n"[..]),
                Just(&b" "[..]), Just(&b"\t"[..]), Just(&b":"[..]), Just(&b"\0"[..]), Just(&b"\x7f"[..]), Just(&b"\x80\xff"[..]), Just(&b"value"[..]), Just(&b"@"[..]),
            ],
            0..14,
        ),
        is_ended: bool,
    ) {
        let mut text = text.concat();
        if is_ended {
            text.extend_from_slice(b"\r\n\r\n");
        }
        let (found, expected) = (split(&text), split_by_httparse(&text));
        // Lines that end in LF alone are malformed here and not there.
        match &found {
            Err(()) if has_bare_line_feed(&text) => {}
            // A fault in a head that is not complete is found at once by
            // one of them, and by the other when the head is complete.
            Ok(None) => prop_assert!(!matches!(expected, Ok(Some(_)))),
            _ => prop_assert_eq!(found, expected),
        }
    }
}

#[test]
fn blanks_before_a_colon_are_taken_in_responses_only() {
    let text = b"a : b\r\n";
    assert_eq!(first(text, BeforeColon::Nothing), Err(BAD_NAME));
    let Ok((NextLine::Line(taken), 7)) = first(text, BeforeColon::Blanks) else {
        panic!("a line");
    };
    assert_eq!((taken.name, taken.value), (&b"a"[..], &b"b"[..]));
    assert!(taken.value_start == 4 && !taken.is_usual);
}

/// Each byte behind up to two and a half blocks of `before`, and then `behind`,
/// at the end of the text as well as before another block.
fn each_byte_wherever_it_stands(
    begin: &[u8],
    before: u8,
    behind: &[u8],
    check: impl Fn(&[u8], usize, u8),
) {
    for (length, byte) in (0..40).flat_map(|length| (0..=255).map(move |byte| (length, byte))) {
        let text = [begin, &vec![before; length], &[byte], behind].concat();
        check(&text, length, byte);
        check(&[&text, &[b'x'; BLOCK][..]].concat(), length, byte);
    }
}

#[test]
fn a_value_holds_no_control_character_but_tabs_wherever_it_stands() {
    each_byte_wherever_it_stands(b"a: ", b'x', b"\x80y\r\n", |text, length, byte| {
        let is_control = byte < b' ' && byte != b'\t' || byte == 0x7f;
        let line = first(text, BeforeColon::Nothing);
        assert_eq!(line.is_err(), is_control, "{byte} at {length}: {line:?}");
    });
}

#[test]
fn a_name_ends_at_the_first_byte_that_is_no_token_wherever_it_stands() {
    each_byte_wherever_it_stands(b"X", b'X', b"-9z: value\r\n", |text, length, byte| {
        let is_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        match first(text, BeforeColon::Nothing) {
            Ok((NextLine::Line(line), _)) if byte == b':' => {
                assert_eq!(line.name.len(), length + 1)
            }
            Ok((NextLine::Line(line), next)) => {
                assert!(is_token, "{byte}");
                assert_eq!((line.name.len(), next), (length + 5, length + 14));
                assert_eq!(line.has_underscore, byte == b'_');
            }
            other => assert!(!is_token, "{byte}: {other:?}"),
        }
    });
}

proptest! {
    #[test]
    fn a_line_of_the_usual_form_is_read_as_any_other(
        text in "[a-zA-Z0-9_-]{1,40}:[ a-z\t]{0,40}\r\n[a-z]{0,40}",
    ) {
        if let Some((line, behind)) = usual_line(text.as_bytes(), 0) {
            let length = text.len() - behind.len();
            let any = any_line(text.as_bytes(), 0, BeforeColon::Nothing);
            prop_assert_eq!(any, Ok(Some((line, length))));
        }
    }
}
