//! The choice of a refusal's body by `Accept`, compared with a plain reading of
//! RFC 9110, 12.5.1.
//!
//! Input: a byte whose pairs of bits are the kinds of the route's bodies, a byte
//! for their number, then the lines of `Accept`.

#![no_main]

use std::collections::BTreeMap;

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use tidegate::{gateway::fuzzing::refusal_kind, policy::BodyKind};

/// Maximum number of ranges that the gateway reads.
const MOST_RANGES: usize = 64;
const KINDS: [BodyKind; 4] = [BodyKind::Html, BodyKind::Json, BodyKind::Text, BodyKind::Xml];

fuzz_target!(|bytes: &[u8]| {
    let [kinds, number, lines @ ..] = bytes else { return };
    let kinds: Vec<_> = (0..*number % 5).map(|at| KINDS[usize::from(*kinds >> (2 * at) & 3)]).collect();
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    let lines: Vec<&[u8]> = lines.into_iter().filter(|line| HeaderValue::from_bytes(line).is_ok()).collect();
    let headers = lines.iter().map(|line| ("accept", line)).collect();
    let found = refusal_kind(&headers, &kinds);
    assert!(found.is_none_or(|kind| kinds.contains(&kind)));

    let text = lines.join(&b',');
    let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
    let members = text.split(',').take(MOST_RANGES);
    let ranges: Vec<(String, u32)> = if lines.is_empty() { Vec::new() } else { members.filter_map(range).collect() };
    // The weight of a type, and how precisely it is named.
    let liked = |names: &[&str]| {
        if ranges.is_empty() {
            return (1000, 1);
        }
        let group = names[0].split_once('/').map(|(group, _)| format!("{group}/*"));
        let mut weights = BTreeMap::new();
        for (name, weight) in &ranges {
            let precision = match &**name {
                name if names.contains(&name) => 3,
                name if Some(name) == group.as_deref() => 2,
                "*/*" => 1,
                _ => continue,
            };
            let most = weights.entry(precision).or_insert(0);
            *most = (*weight).max(*most);
        }
        match weights.last_key_value() {
            Some((precision, weight)) if *weight > 0 => (*weight, *precision),
            _ => (0, 0),
        }
    };
    let (pages, others): (Vec<_>, Vec<_>) = kinds.iter().partition(|kind| **kind == BodyKind::Html);
    let problem: &[&str] = &["application/problem+json", "application/json"];
    let own = |kind: BodyKind| (liked(&[kind.media_type()]), Some(kind));
    let mut candidates: Vec<_> = others.into_iter().map(own).collect();
    candidates.push((liked(problem), None));
    candidates.extend(pages.into_iter().map(own));
    let most = candidates.iter().map(|(liking, _)| *liking).max().expect("the problem body");
    let expected = candidates.iter().find(|(liking, _)| *liking == most).expect("one of them");
    assert_eq!(found, expected.1, "{text:?} {kinds:?}");
});

/// A range without its parameters, and its weight in thousandths; `None` for a
/// malformed one.
fn range(member: &str) -> Option<(String, u32)> {
    let mut parts = member.split(';').map(|part| part.trim_matches([' ', '\t']));
    let name = parts.next()?;
    let (kind, subtype) = name.split_once('/')?;
    let mut weight = 1000;
    for value in parts.filter_map(|part| part.strip_prefix("q=")) {
        let (whole, digits) = value.split_once('.').unwrap_or((value, ""));
        let is_number = ["0", "1"].contains(&whole) && digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        weight = is_number.then(|| format!("{whole}{digits:0<3}").parse().expect("digits"))?;
        if weight > 1000 {
            return None;
        }
    }
    (!kind.is_empty() && !subtype.is_empty()).then(|| (name.to_owned(), weight))
}
