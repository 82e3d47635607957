//! Parts of keys as people see them: what they are called, whether their values are secrets, and what overrides name.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::key_part::key_part;
use crate::{
    layer::named_value,
    limit::Part,
    policy::{KeyPart, ValuePattern, is_secret_name},
};

/// Whether the value of a part may be a credential, by the name of what it is read from.
pub(super) fn is_secret(part: &KeyPart) -> bool {
    match part {
        KeyPart::Header(name) => is_secret_name(name.as_str()),
        KeyPart::Cookie(name) | KeyPart::Query(name) | KeyPart::Param(name) => is_secret_name(name),
        KeyPart::Route
        | KeyPart::ClientIp { .. }
        | KeyPart::Host
        | KeyPart::Path
        | KeyPart::Method
        | KeyPart::TlsSubject => false,
    }
}

/// Whether a part that is shown is what a pattern of an override names.
pub(super) fn is_match(pattern: &ValuePattern, key: &KeyPart, part: &Part) -> bool {
    match pattern {
        ValuePattern::Any => true,
        ValuePattern::Text(text) => {
            let text = named_value(&key_part(key), text.as_bytes());
            *text == *part.value.as_bytes()
        }
        ValuePattern::Network(network) => {
            let shown = IpNet::from_str(&part.value)
                .or_else(|_| part.value.parse::<IpAddr>().map(IpNet::from));
            shown.is_ok_and(|shown| network.contains(&shown))
        }
    }
}

/// As the configuration calls it.
pub(super) fn named(part: &KeyPart) -> String {
    match part {
        KeyPart::Route => "route".to_owned(),
        KeyPart::ClientIp { .. } => "client-ip".to_owned(),
        KeyPart::Header(name) => format!("header:{name}"),
        KeyPart::Cookie(name) => format!("cookie:{name}"),
        KeyPart::Query(name) => format!("query:{name}"),
        KeyPart::Param(name) => format!("param:{name}"),
        KeyPart::Host => "host".to_owned(),
        KeyPart::Path => "path".to_owned(),
        KeyPart::Method => "method".to_owned(),
        KeyPart::TlsSubject => "tls:subject".to_owned(),
    }
}
