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
    /// `Authorization` (RFC 9110, 11.6.2).
    Authorization,
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
    /// `Origin` (RFC 6454, 7).
    Origin,
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
    /// `traceparent` (W3C Trace Context).
    TraceParent,
    /// `tracestate` (the same recommendation).
    TraceState,
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
    /// leave one name to compare it with, or none.
    #[inline(always)]
    pub fn of(name: &[u8]) -> Self {
        let first = name.first().map_or(0, |byte| byte | LOWER as u8);
        // Neither `Accept` nor `Sec-Fetch-Mode` and their like are looked up.
        match first {
            b'a' if name.len() == 13 => Self::Authorization.if_same(name, b"authorization"),
            b'c'..=b'h' | b'k' | b'm' | b'o' | b'p' | b'r' | b't'..=b'v' | b'x' => {
                Self::search(name, first)
            }
            _ => Self::Other,
        }
    }

    /// The name, whose first letter in lower case is `first`.
    #[inline(never)]
    fn search(name: &[u8], first: u8) -> Self {
        match (name.len(), first) {
            (2, b't') => Self::Te.if_same(name, b"te"),
            (3, b'v') => Self::Via.if_same(name, b"via"),
            (4, b'd') => Self::Date.if_same(name, b"date"),
            (4, b'h') => Self::Host.if_same(name, b"host"),
            (6, b'e') => Self::Expect.if_same(name, b"expect"),
            (6, b'o') => Self::Origin.if_same(name, b"origin"),
            (7, b't') => Self::Trailer.if_same(name, b"trailer"),
            (7, b'u') => Self::Upgrade.if_same(name, b"upgrade"),
            (9, b'f') => Self::Forwarded.if_same(name, b"forwarded"),
            (9, b'r') => Self::RateLimit.if_same(name, b"ratelimit"),
            (10, b'c') => Self::Connection.if_same(name, b"connection"),
            (10, b'k') => Self::KeepAlive.if_same(name, b"keep-alive"),
            (10, b't') => Self::TraceState.if_same(name, b"tracestate"),
            (10, b'u') => Self::UserAgent.if_same(name, b"user-agent"),
            (11, b't') => Self::TraceParent.if_same(name, b"traceparent"),
            (12, b'g') => Self::GrpcTimeout.if_same(name, b"grpc-timeout"),
            (12, b'm') => Self::MaxForwards.if_same(name, b"max-forwards"),
            (12, b'x') => Self::XRequestId.if_same(name, b"x-request-id"),
            (14, b'c') => Self::ContentLength.if_same(name, b"content-length"),
            (14, b'h') => Self::Http2Settings.if_same(name, b"http2-settings"),
            (15, b'x') => Self::XForwardedFor.if_same(name, b"x-forwarded-for"),
            (16, b'p') => Self::ProxyConnection.if_same(name, b"proxy-connection"),
            (16, b'r') => Self::RateLimitPolicy.if_same(name, b"ratelimit-policy"),
            (16, b'x') => Self::XForwardedHost.if_same(name, b"x-forwarded-host"),
            (17, b't') => Self::TransferEncoding.if_same(name, b"transfer-encoding"),
            (17, b'x') => Self::XForwardedProto.if_same(name, b"x-forwarded-proto"),
            (18, b'p') => Self::ProxyAuthenticate.if_same(name, b"proxy-authenticate"),
            (19, b'p') => Self::ProxyAuthorization.if_same(name, b"proxy-authorization"),
            (25, b'p') => Self::ProxyAuthenticationInfo.if_same(name, b"proxy-authentication-info"),
            _ => Self::Other,
        }
    }

    /// This name if `name` is the `known` one, which is in lower case and as
    /// long.
    #[inline(always)]
    fn if_same<const N: usize>(self, name: &[u8], known: &[u8; N]) -> Self {
        if is_same(known, name) {
            self
        } else {
            Self::Other
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

/// Whether a token is this `known` name, which is in lower case and as long.
///
/// One bit makes letters lower. It leaves digits and hyphens, and no other
/// character of a token becomes one of these. The compiler knows the length, so
/// that a name of 4 to 16 bytes costs two comparisons of numbers.
#[inline(always)]
fn is_same<const N: usize>(known: &[u8; N], name: &[u8]) -> bool {
    match N {
        // The second number overlaps the first one.
        4..8 => {
            let four =
                |four: Option<&[u8; 4]>| four.map(|four| u32::from_le_bytes(*four) | LOWER as u32);
            four(known.first_chunk()) == four(name.first_chunk())
                && four(known.last_chunk()) == four(name.last_chunk())
        }
        8..=16 => {
            let eight =
                |eight: Option<&[u8; 8]>| eight.map(|eight| u64::from_le_bytes(*eight) | LOWER);
            eight(known.first_chunk()) == eight(name.first_chunk())
                && eight(known.last_chunk()) == eight(name.last_chunk())
        }
        _ => name.eq_ignore_ascii_case(known),
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

    /// The same names but this one.
    #[inline]
    pub const fn without(self, name: FieldName) -> Self {
        Self(self.0 & !(1 << name as u32))
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

    const ALL: [(&[u8], FieldName); 30] = [
        (b"authorization", FieldName::Authorization),
        (b"connection", FieldName::Connection),
        (b"content-length", FieldName::ContentLength),
        (b"date", FieldName::Date),
        (b"expect", FieldName::Expect),
        (b"forwarded", FieldName::Forwarded),
        (b"grpc-timeout", FieldName::GrpcTimeout),
        (b"host", FieldName::Host),
        (b"http2-settings", FieldName::Http2Settings),
        (b"keep-alive", FieldName::KeepAlive),
        (b"max-forwards", FieldName::MaxForwards),
        (b"origin", FieldName::Origin),
        (b"proxy-authenticate", FieldName::ProxyAuthenticate),
        (
            b"proxy-authentication-info",
            FieldName::ProxyAuthenticationInfo,
        ),
        (b"proxy-authorization", FieldName::ProxyAuthorization),
        (b"proxy-connection", FieldName::ProxyConnection),
        (b"ratelimit", FieldName::RateLimit),
        (b"ratelimit-policy", FieldName::RateLimitPolicy),
        (b"te", FieldName::Te),
        (b"traceparent", FieldName::TraceParent),
        (b"tracestate", FieldName::TraceState),
        (b"trailer", FieldName::Trailer),
        (b"transfer-encoding", FieldName::TransferEncoding),
        (b"upgrade", FieldName::Upgrade),
        (b"user-agent", FieldName::UserAgent),
        (b"via", FieldName::Via),
        (b"x-forwarded-for", FieldName::XForwardedFor),
        (b"x-forwarded-host", FieldName::XForwardedHost),
        (b"x-forwarded-proto", FieldName::XForwardedProto),
        (b"x-request-id", FieldName::XRequestId),
    ];

    fn all() -> impl Iterator<Item = &'static (&'static [u8], FieldName)> {
        ALL.iter()
    }

    #[test]
    fn a_name_is_known_in_any_letter_case_and_at_its_own_length() {
        for (name, field) in all() {
            assert_eq!(FieldName::of(name), *field);
            assert_eq!(FieldName::of(&name.to_ascii_uppercase()), *field);
            assert_eq!(FieldName::of(&[name, &b"x"[..]].concat()), FieldName::Other);
        }
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
