//! The choice of a refusal's body by what the client accepts (RFC 9110, 12.5.1).
//!
//! Candidates are the route's own bodies for the status, and the problem body,
//! which every client gets that accepts none of these. A range for a type counts
//! before one for a group of types, and that before `*/*`. Of several candidates
//! that the client likes as much, the one wins that it names more precisely,
//! and then in this order: own bodies but HTML, in the order of the
//! configuration; the problem body; HTML. So programs, which accept everything,
//! get no page for people, and browsers, which name HTML, do.
//!
//! # Bounds
//!
//! The first [`MOST_RANGES`] ranges count. Each is compared with at most five
//! candidates.

use std::sync::Arc;

use http::header;

use crate::{
    message::Headers,
    policy::{BodyKind, RefusalBody},
};

/// Ranges of `Accept` that are looked at. Browsers send up to ten.
const MOST_RANGES: usize = 64;

/// The type of problem bodies.
const PROBLEM: &str = "application/problem+json";

/// How much a client likes a type; larger is better.
///
/// The first number is the weight in thousandths, and the second one says how
/// precisely the client names the type.
type Liking = (u16, u8);

/// How precisely a range names a type.
const EXACTLY: u8 = 3;
const AS_GROUP: u8 = 2;
const AS_ANY: u8 = 1;

/// The body of a refusal for a client with these `headers`; `None` for the
/// problem body, also if there are no others.
pub(super) fn choose<'b>(
    headers: &Headers,
    bodies: &'b [Arc<RefusalBody>],
) -> Option<&'b RefusalBody> {
    let is_html = |body: &&RefusalBody| body.kind == BodyKind::Html;
    let of_programs = bodies.iter().map(Arc::as_ref).filter(|body| !is_html(body));
    let of_people = bodies.iter().map(Arc::as_ref).filter(is_html);
    let candidates = of_programs
        .map(Some)
        .chain([None])
        .chain(of_people.map(Some));
    let mut best: Option<(Liking, Option<&RefusalBody>)> = None;
    for candidate in candidates {
        let liking = liking(headers, candidate.map(|body| body.kind));
        // The first of several that are liked as much stays.
        if best.is_none_or(|(most, _)| liking > most) {
            best = Some((liking, candidate));
        }
    }
    best.and_then(|(_, candidate)| candidate)
}

/// How much the client likes a body of this kind; `None` is the problem body.
///
/// A client without ranges likes every type. One that has none for this type
/// does not accept it.
fn liking(headers: &Headers, kind: Option<BodyKind>) -> Liking {
    let values = headers.all(&header::ACCEPT);
    let ranges = values.flat_map(|value| value.split(|byte| *byte == b','));
    let mut is_asked = false;
    // The most precise range decides, whatever its weight is.
    let mut most_precise = (0, 0);
    for range in ranges.take(MOST_RANGES).filter_map(Range::read) {
        is_asked = true;
        most_precise = most_precise.max((range.precision(kind), range.weight));
    }
    match (is_asked, most_precise) {
        (false, _) => (1000, AS_ANY),
        (true, (0, _) | (_, 0)) => (0, 0),
        (true, (precision, weight)) => (weight, precision),
    }
}

/// A range of `Accept`.
struct Range<'a> {
    kind: &'a [u8],
    subtype: &'a [u8],
    /// In thousandths, at most 1000.
    weight: u16,
}

impl<'a> Range<'a> {
    /// Reads a member of the list; `None` if it is malformed. Parameters but
    /// the weight are passed over: no body has another version.
    fn read(member: &'a [u8]) -> Option<Self> {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let range = parts.next()?;
        let slash = range.iter().position(|byte| *byte == b'/')?;
        let (kind, subtype) = (&range[..slash], &range[slash + 1..]);
        let mut weight = 1000;
        for parameter in parts {
            if let [b'q' | b'Q', b'=', value @ ..] = parameter {
                weight = thousandths(value)?;
            }
        }
        (!kind.is_empty() && !subtype.is_empty()).then_some(Self {
            kind,
            subtype,
            weight,
        })
    }

    /// How precisely it names a body of this kind; 0 if it does not. `None` is
    /// the problem body, which clients of JSON understand, too.
    fn precision(&self, kind: Option<BodyKind>) -> u8 {
        let own = kind.map_or(PROBLEM, BodyKind::media_type);
        let (group, name) = own.split_once('/').unwrap_or((own, ""));
        let is = |text: &[u8], known: &str| text.eq_ignore_ascii_case(known.as_bytes());
        let is_json = kind.is_none() && is(self.subtype, "json");
        match (self.kind, self.subtype) {
            (b"*", b"*") => AS_ANY,
            (of, _) if !is(of, group) => 0,
            (_, b"*") => AS_GROUP,
            (_, subtype) if is(subtype, name) || is_json => EXACTLY,
            _ => 0,
        }
    }
}

/// A weight in thousandths (RFC 9110, 12.4.2): 0 to 1 with at most three digits
/// behind the point. `None` for everything else, such as `1e999`.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, digits) = match text {
        [whole @ (b'0' | b'1')] => (*whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => (*whole, digits),
        _ => return None,
    };
    let mut thousandths = u16::from(whole - b'0');
    for at in 0..3 {
        let digit = digits.get(at).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths = thousandths * 10 + u16::from(digit - b'0');
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BROWSER: &str =
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

    /// The type that a client with these lines of `Accept` gets.
    fn chosen(lines: &[&str], kinds: &[BodyKind]) -> &'static str {
        let headers = lines.iter().map(|line| ("Accept", line)).collect();
        let body = |kind: &BodyKind| {
            let (kind, parts) = (*kind, Vec::new());
            Arc::new(RefusalBody { kind, parts })
        };
        let bodies: Vec<_> = kinds.iter().map(body).collect();
        choose(&headers, &bodies).map_or(PROBLEM, |body| body.kind.media_type())
    }

    #[test]
    fn browsers_get_a_page_and_programs_json() {
        use BodyKind::{Html, Json};
        for (accept, with_page, with_both) in [
            (BROWSER, "text/html", "text/html"),
            ("*/*", PROBLEM, "application/json"),
            ("application/json", PROBLEM, "application/json"),
            (
                "application/json, text/plain, */*",
                PROBLEM,
                "application/json",
            ),
            ("application/problem+json", PROBLEM, PROBLEM),
            ("application/*", PROBLEM, "application/json"),
            ("text/*", "text/html", "text/html"),
            ("text/html, */*", "text/html", "text/html"),
            ("text/html, application/json", PROBLEM, "application/json"),
            (
                "TEXT/HTML;Q=1, Application/Json;q=0.9",
                "text/html",
                "text/html",
            ),
            (
                "text/html;q=0.2, application/json;q=0.9",
                PROBLEM,
                "application/json",
            ),
            ("image/png", PROBLEM, "application/json"),
        ] {
            assert_eq!(chosen(&[accept], &[Html]), with_page, "{accept}");
            assert_eq!(chosen(&[accept], &[Html, Json]), with_both, "{accept}");
        }
        assert_eq!(chosen(&[], &[Html]), PROBLEM);
        assert_eq!(chosen(&[], &[Html, Json]), "application/json");
        assert_eq!(chosen(&[BROWSER], &[]), PROBLEM);
    }

    #[test]
    fn a_text_or_xml_of_the_route_is_for_clients_without_a_preference() {
        use BodyKind::{Text, Xml};
        assert_eq!(chosen(&["*/*"], &[Text]), "text/plain");
        assert_eq!(chosen(&[BROWSER], &[Text]), "text/plain");
        assert_eq!(chosen(&["application/json"], &[Text]), PROBLEM);
        assert_eq!(chosen(&["*/*"], &[Xml, Text]), "application/xml");
    }

    #[test]
    fn the_more_precise_range_decides_and_a_weight_of_zero_excludes() {
        use BodyKind::Html;
        for (accept, kind) in [
            ("text/html;q=0, */*", PROBLEM),
            ("*/*;q=0.1, text/html;q=0.2", "text/html"),
            ("text/*;q=1, text/html;q=0.1, */*;q=0.5", PROBLEM),
            ("text/html;level=1, application/json;q=0.5", "text/html"),
            ("*/*;q=0, text/html", "text/html"),
            ("*/*;q=0", PROBLEM),
            ("text/html;q=0, image/png", PROBLEM),
            ("text/html;q=0.9, image/png", "text/html"),
        ] {
            assert_eq!(chosen(&[accept], &[Html]), kind, "{accept}");
        }
        assert_eq!(
            chosen(&["text/html;q=0.5", "*/*;q=0.1"], &[Html]),
            "text/html"
        );
    }

    #[test]
    fn malformed_ranges_are_passed_over() {
        use BodyKind::Html;
        for accept in [
            "text/html;q=1e999",
            "text/html;q=2",
            "text/html;q=-1",
            "text/html;q=0.1234",
            "text/html;q=",
            "text/html;q=1.001",
            "html",
            "/html",
            "text/",
            ",,;=,",
            "",
        ] {
            assert_eq!(chosen(&[accept], &[Html]), PROBLEM, "{accept}");
        }
        assert_eq!(chosen(&["x/y;q=1e999, text/html"], &[Html]), "text/html");
    }

    #[test]
    fn ranges_beyond_the_bound_do_not_count() {
        let many = format!("{}text/html", "a/b,".repeat(1000));
        assert_eq!(chosen(&[&many], &[BodyKind::Html]), PROBLEM);
        let first = format!("text/html{}", ",a/b".repeat(1000));
        assert_eq!(chosen(&[&first], &[BodyKind::Html]), "text/html");
    }

    proptest! {
        #[test]
        fn any_text_chooses_one_of_the_candidates(accept in "[a-z*/;=q0-9., ]{0,60}") {
            let kind = chosen(&[&accept], &[BodyKind::Html]);
            prop_assert!([PROBLEM, "text/html"].contains(&kind));
        }

        #[test]
        fn a_weight_is_read_as_a_number_is(thousands in 0u16..=1000) {
            let text = format!("{:.3}", f64::from(thousands) / 1000.0);
            prop_assert_eq!(super::thousandths(text.as_bytes()), Some(thousands));
        }
    }
}
