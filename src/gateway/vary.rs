//! `Vary` (RFC 9110, 12.5.5) of responses that the gateway chooses or changes
//! by a field of the request.

use http::header::VARY;

use crate::message::Fields;

/// Adds the name of a request field to `Vary`, unless it is in it.
///
/// A service may have sent the field in several lines; they become one. `*`
/// says already that nothing can be reused.
pub(super) fn add(fields: &mut Fields, name: &str) {
    let mut merged = Vec::new();
    for value in fields.all(&VARY) {
        let mut members = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        if members.any(|member| member == b"*" || member.eq_ignore_ascii_case(name.as_bytes())) {
            return;
        }
        merged.extend_from_slice(value);
        merged.extend_from_slice(b", ");
    }
    if !merged.is_empty() {
        fields.remove(&VARY);
    }
    merged.extend_from_slice(name.as_bytes());
    fields.push(VARY.as_str(), &merged);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_added_once_to_the_list_of_the_service() {
        for (lines, merged) in [
            (&[][..], &["Origin"][..]),
            (&["Accept"], &["Accept, Origin"]),
            (&["Accept", "Cookie"], &["Accept, Cookie, Origin"]),
            (&["accept, origin"], &["accept, origin"]),
            (&["*"], &["*"]),
            (&["origins"], &["origins, Origin"]),
        ] {
            let mut fields = Fields::default();
            lines
                .iter()
                .for_each(|line| fields.push("Vary", line.as_bytes()));
            add(&mut fields, "Origin");
            let merged = merged.iter().map(|line| line.as_bytes());
            assert!(fields.all(&VARY).eq(merged), "{lines:?}");
        }
    }
}
