//! How a path might be read by a service that is more lenient than RFC 3986: it takes an escaped slash for a slash, a
//! backslash for one too, decodes twice, drops what stands behind `;`, or accepts characters in overlong UTF-8.
//!
//! Routes are found by the one normal form. But a path is forwarded as it was received, so that a service which reads it as
//! one of another route, with limits of its own, would be reached around them: [`Lane::find`](super::snapshot::Lane) asks
//! here. The readings are those known from attacks (CAPEC-64, -71, -72, -79; `..;/` of Tomcat).

/// Escapes of the two characters that matter, longer than UTF-8 allows (RFC 3629, 3): what a careless decoder makes of them.
const OVERLONG: [(&[u8], u8); 6] = [
    (&[0xc0, 0xae], b'.'),
    (&[0xc0, 0xaf], b'/'),
    (&[0xc1, 0x9c], b'\\'),
    (&[0xe0, 0x80, 0xae], b'.'),
    (&[0xe0, 0x80, 0xaf], b'/'),
    (&[0xe0, 0x81, 0x9c], b'\\'),
];

/// Every lenient reading of a path, each in its normal form; none for nearly all paths, which can be read in one way only.
/// `normal` is the strict form.
pub(super) fn of(received: &[u8], normal: &[u8]) -> Vec<Vec<u8>> {
    // Whatever else was escaped is decoded there, and whatever is odd is escaped.
    if memchr::memchr2(b'%', b';', normal).is_none() {
        return Vec::new();
    }
    let once = decoded(received);
    let twice = decoded(&once);
    let mut readings = Vec::with_capacity(8);
    for path in [once, twice] {
        for path in [without_oddities(&path), path] {
            readings.push(resolved(&path, true));
            readings.push(resolved(&path, false));
        }
    }
    readings
}

fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        let escaped = match (byte, tail) {
            (b'%', [high, low, ..]) => digit(high).zip(digit(low)),
            _ => None,
        };
        out.push(escaped.map_or(*byte, |(high, low)| (high * 16 + low) as u8));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    out
}

/// Backslashes as slashes, overlong forms as what they stand for, nothing from the first NUL on.
fn without_oddities(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.split(|byte| *byte == 0).next().unwrap_or_default();
    while let [byte, tail @ ..] = rest {
        let overlong = OVERLONG.iter().find(|(form, _)| rest.starts_with(form));
        let meant = overlong.map_or(*byte, |(_, meant)| *meant);
        out.push(if meant == b'\\' { b'/' } else { meant });
        rest = overlong.map_or(tail, |(form, _)| &rest[form.len()..]);
    }
    out
}

/// Without repeated slashes and dot segments, and without parameters of segments if those are dropped.
fn resolved(path: &[u8], drops_parameters: bool) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        match if drops_parameters { name } else { segment } {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut out = vec![b'/'];
    out.extend_from_slice(&segments.join(&b'/'));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Target;

    fn readings(path: &'static [u8]) -> Vec<Vec<u8>> {
        let target = Target::parse(bytes::Bytes::from_static(path)).unwrap();
        of(target.path(), target.normal_path())
    }

    #[test]
    fn a_path_that_can_be_read_in_one_way_has_no_other_reading() {
        for path in [&b"/a/b"[..], b"/%61/../b", b"//a", b"/a/.b/c~d@e"] {
            let is_strict = |reading: &Vec<u8>| reading == Target::parse(path.into()).unwrap().normal_path();
            assert!(readings(path).iter().all(is_strict), "{path:?}");
        }
        assert!(readings(b"/a/b-c_d.e").is_empty());
    }

    #[test]
    fn every_known_disguise_is_seen_through() {
        for path in [
            &b"/x%2f..%2fadmin"[..],
            b"/%2fadmin",
            b"/x/..%5cadmin",
            b"/x/..\\admin",
            b"/x/%252e%252e/admin",
            b"/x%252f..%252fadmin",
            b"/x/%c0%ae%c0%ae/admin",
            b"/x/%e0%80%ae./admin",
            b"/x%c0%af..%c0%afadmin",
            b"/x/..;/admin",
            b"/x/..;a=b/admin;c",
            b"/x/..%3b/admin",
            b"/admin%00.png",
            b"/%2561dmin",
        ] {
            let seen = readings(path).iter().any(|reading| reading == b"/admin");
            assert!(seen, "{}", String::from_utf8_lossy(path));
        }
    }
}
