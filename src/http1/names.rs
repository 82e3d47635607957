//! The names of fields that the gateway itself looks for, as numbers.
//!
//! A name is classified once, where its line is read. From then on framing,
//! hop-by-hop fields, forwarding and the log compare a number, and all other
//! lines are passed on without another look at their names.

use super::claims::is_claim;

/// The name of a field, as far as the gateway itself looks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FieldName {
    /// Any other name.
    Other,
    /// A [claim](is_claim) that none of the names below stands for.
    Claim,
    /// `Connection` (RFC 9110, 7.6.1).
    Connection,
    /// `Content-Length` (RFC 9110, 8.6).
    ContentLength,
    /// `Date` (RFC 9110, 6.6.1).
    Date,
    /// `Expect` (RFC 9110, 10.1.1).
    Expect,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `grpc-timeout` of a gRPC call.
    GrpcTimeout,
    /// `Host` (RFC 9110, 7.2).
    Host,
    /// `HTTP2-Settings` (RFC 7540, 3.2.1).
    Http2Settings,
    /// `Keep-Alive` (RFC 2068, 19.7.1).
    KeepAlive,
    /// `Max-Forwards` (RFC 9110, 7.6.2).
    MaxForwards,
    /// `Proxy-Authenticate` (RFC 9110, 11.7.1).
    ProxyAuthenticate,
    /// `Proxy-Authentication-Info` (RFC 9110, 11.7.3).
    ProxyAuthenticationInfo,
    /// `Proxy-Authorization` (RFC 9110, 11.7.2).
    ProxyAuthorization,
    /// `Proxy-Connection`, which is in no RFC.
    ProxyConnection,
    /// `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
    RateLimit,
    /// `RateLimit-Policy` (the same draft).
    RateLimitPolicy,
    /// `TE` (RFC 9110, 10.1.4).
    Te,
    /// `Trailer` (RFC 9110, 6.6.2).
    Trailer,
    /// `Transfer-Encoding` (RFC 9112, 6.1).
    TransferEncoding,
    /// `Upgrade` (RFC 9110, 7.8).
    Upgrade,
    /// `User-Agent` (RFC 9110, 10.1.5).
    UserAgent,
    /// `Via` (RFC 9110, 7.6.3).
    Via,
    /// `X-Forwarded-For`, in no registry but everywhere, as are the next two.
    XForwardedFor,
    /// `X-Forwarded-Host`.
    XForwardedHost,
    /// `X-Forwarded-Proto`.
    XForwardedProto,
    /// `X-Request-Id`, in no registry either.
    XRequestId,
}

impl FieldName {
    /// The name in any letter case; [`Other`](Self::Other) for claims, too,
    /// unless they have a number of their own.
    ///
    /// The name is a token (RFC 9110, 5.6.2). Its length and its first letter
    /// rule out nearly all names that are not looked for.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        let letters = LETTERS.get(name.len()).copied().unwrap_or_default();
        match name.first() {
            Some(first) if letters & letter(*first) != 0 => Self::search(name),
            _ => Self::Other,
        }
    }

    /// The name of a request's field in any letter case.
    #[inline]
    pub fn of_request(name: &[u8]) -> Self {
        match Self::of(name) {
            Self::Other if is_claim(name) => Self::Claim,
            field => field,
        }
    }

    /// The name, found among those of its length.
    fn search(name: &[u8]) -> Self {
        let first = name.first().map_or(0, |byte| byte | 0x20);
        Self::with_length(name.len())
            .iter()
            .find(|(known, _)| known[0] == first && is_same(known, name))
            .map_or(Self::Other, |(_, field)| *field)
    }

    /// The names of this length, in lower case.
    const fn with_length(bytes: usize) -> &'static [(&'static [u8], Self)] {
        match bytes {
            2 => &[(b"te", Self::Te)],
            3 => &[(b"via", Self::Via)],
            4 => &[(b"host", Self::Host), (b"date", Self::Date)],
            6 => &[(b"expect", Self::Expect)],
            7 => &[(b"trailer", Self::Trailer), (b"upgrade", Self::Upgrade)],
            9 => &[
                (b"forwarded", Self::Forwarded),
                (b"ratelimit", Self::RateLimit),
            ],
            10 => &[
                (b"connection", Self::Connection),
                (b"keep-alive", Self::KeepAlive),
                (b"user-agent", Self::UserAgent),
            ],
            12 => &[
                (b"grpc-timeout", Self::GrpcTimeout),
                (b"max-forwards", Self::MaxForwards),
                (b"x-request-id", Self::XRequestId),
            ],
            14 => &[
                (b"content-length", Self::ContentLength),
                (b"http2-settings", Self::Http2Settings),
            ],
            15 => &[(b"x-forwarded-for", Self::XForwardedFor)],
            16 => &[
                (b"x-forwarded-host", Self::XForwardedHost),
                (b"ratelimit-policy", Self::RateLimitPolicy),
                (b"proxy-connection", Self::ProxyConnection),
            ],
            17 => &[
                (b"transfer-encoding", Self::TransferEncoding),
                (b"x-forwarded-proto", Self::XForwardedProto),
            ],
            18 => &[(b"proxy-authenticate", Self::ProxyAuthenticate)],
            19 => &[(b"proxy-authorization", Self::ProxyAuthorization)],
            25 => &[(b"proxy-authentication-info", Self::ProxyAuthenticationInfo)],
            _ => &[],
        }
    }

    /// Whether the field is hop-by-hop: it concerns one connection only and is
    /// never passed on (RFC 9110, 7.6.1). Fields that `Connection` names are
    /// hop-by-hop besides: see [`Hops`](super::Hops).
    #[inline]
    pub fn is_hop_by_hop(self) -> bool {
        NameSet::HOP_BY_HOP.has(self)
    }

    /// Whether a request's field is a [claim](is_claim) that only a trusted
    /// proxy may make.
    #[inline]
    pub fn is_claim(self) -> bool {
        NameSet::CLAIMS.has(self)
    }
}

/// For each length of a name, the first letters of the names that are looked
/// for.
const LETTERS: [u32; 26] = {
    let mut letters = [0; 26];
    let mut length = 0;
    while length < letters.len() {
        let names = FieldName::with_length(length);
        let mut at = 0;
        while at < names.len() {
            letters[length] |= letter(names[at].0[0]);
            at += 1;
        }
        length += 1;
    }
    letters
};

/// A bit for the letter, the same in both cases.
const fn letter(byte: u8) -> u32 {
    1 << (byte & 0x1f)
}

/// Whether a token is this `known` name, which is in lower case and as long.
///
/// One bit makes letters lower. It leaves digits and hyphens, and no other
/// character of a token becomes one of these.
#[inline]
fn is_same(known: &[u8], name: &[u8]) -> bool {
    let same = |known: &[u8; 8], name: &[u8; 8]| {
        u64::from_le_bytes(*known) == u64::from_le_bytes(*name) | LOWER
    };
    match (known.split_first_chunk(), name.split_first_chunk()) {
        // The last eight bytes overlap the first ones of short names.
        (Some((known_first, _)), Some((first, _))) => {
            same(known_first, first)
                && matches!((known.last_chunk(), name.last_chunk()), (Some(known), Some(name)) if same(known, name))
                && (name.len() <= 16 || known.eq_ignore_ascii_case(name))
        }
        _ => known
            .iter()
            .zip(name)
            .all(|(known, byte)| *known == byte | 0x20),
    }
}

/// The bit of lower case, for each of eight letters.
const LOWER: u64 = 0x2020_2020_2020_2020;

/// A set of names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NameSet(u32);

impl NameSet {
    /// Fields that concern one connection only.
    pub const HOP_BY_HOP: Self = Self::of(&[
        FieldName::Connection,
        FieldName::Http2Settings,
        FieldName::KeepAlive,
        FieldName::ProxyAuthenticate,
        FieldName::ProxyAuthenticationInfo,
        FieldName::ProxyAuthorization,
        FieldName::ProxyConnection,
        FieldName::Te,
        FieldName::TransferEncoding,
        FieldName::Upgrade,
    ]);
    /// Fields by which a proxy gives account of the client.
    pub const FORWARDING: Self = Self::of(&[
        FieldName::Forwarded,
        FieldName::XForwardedFor,
        FieldName::XForwardedHost,
        FieldName::XForwardedProto,
    ]);
    /// Fields that only a trusted proxy may send.
    pub const CLAIMS: Self = Self::FORWARDING.and(FieldName::Claim);
    /// Fields that say how a message is read.
    pub(super) const FRAMING: Self = Self::of(&[
        FieldName::Connection,
        FieldName::ContentLength,
        FieldName::Expect,
        FieldName::TransferEncoding,
    ]);

    /// The set of these names.
    pub const fn of(names: &[FieldName]) -> Self {
        let (mut set, mut at) = (Self(0), 0);
        while at < names.len() {
            set = set.and(names[at]);
            at += 1;
        }
        set
    }

    /// The same names and this one.
    #[inline]
    pub const fn and(self, name: FieldName) -> Self {
        Self(self.0 | 1 << name as u32)
    }

    /// The names of both sets.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the name is in the set.
    #[inline]
    pub const fn has(self, name: FieldName) -> bool {
        self.0 & (1 << name as u32) != 0
    }

    /// Whether any name is in both sets.
    #[inline]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = &'static (&'static [u8], FieldName)> {
        (0..64).flat_map(FieldName::with_length)
    }

    #[test]
    fn a_name_is_known_in_any_letter_case_and_at_its_own_length() {
        for (name, field) in all() {
            assert_eq!(FieldName::of(name), *field);
            assert_eq!(FieldName::of(&name.to_ascii_uppercase()), *field);
            assert_eq!(FieldName::of(&[name, &b"x"[..]].concat()), FieldName::Other);
        }
        assert_eq!(all().count(), 26);
        assert_eq!(FieldName::of(b""), FieldName::Other);
    }

    #[test]
    fn a_name_with_one_other_character_is_another_name() {
        for (name, field) in all() {
            for at in 0..name.len() {
                let mut other = name.to_vec();
                other[at] = if other[at] == b'q' { b'9' } else { b'q' };
                assert_ne!(FieldName::of(&other), *field, "{at} of {field:?}");
            }
        }
    }

    #[test]
    fn every_field_of_one_hop_is_known() {
        let hops = all().filter(|(_, field)| field.is_hop_by_hop());
        assert_eq!(hops.count(), 10);
        for name in [&b"user-agent"[..], b"te2", b"host", b"trailer", b""] {
            assert!(!FieldName::of(name).is_hop_by_hop());
        }
    }

    #[test]
    fn claims_are_those_of_the_list_whether_they_have_a_number_or_not() {
        for (name, field) in all() {
            assert_eq!(field.is_claim(), is_claim(name), "{field:?}");
        }
        assert_eq!(FieldName::of_request(b"X-Real_IP"), FieldName::Claim);
        assert_eq!(FieldName::of_request(b"accept"), FieldName::Other);
    }

    #[test]
    fn a_set_has_its_names_and_no_others() {
        let set = NameSet::of(&[FieldName::XRequestId]).and(FieldName::Other);
        let found: Vec<_> = all().filter(|(_, name)| set.has(*name)).collect();
        assert_eq!(found, [&(&b"x-request-id"[..], FieldName::XRequestId)]);
        assert!(set.has(FieldName::Other) && !set.has(FieldName::Claim));
    }
}
