//! Parts of keys as people see them: whether their values are secrets, and
//! which overrides name them.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;

use crate::{
    layer::named_value,
    limit::Part,
    policy::{KeyPart, ValuePattern, is_secret_name},
};

/// Whether the value of a part may be a credential, by the name of what it is
/// read from.
///
/// Parts without a name, such as the address of the client, are no secrets. The
/// decision is by the name alone and never by the value.
pub(super) fn is_secret(part: &KeyPart) -> bool {
    part.kind().name.is_some_and(is_secret_name)
}

/// Whether the displayed `part` of a key matches the pattern of an override.
///
/// A text is compared in the spelling that requests get. A network matches an
/// address or a network that lies in it as a whole; a displayed value that is
/// neither does not match.
pub(super) fn is_match(pattern: &ValuePattern, key: &KeyPart, part: &Part) -> bool {
    match pattern {
        ValuePattern::Any => true,
        ValuePattern::Text(text) => *named_value(key, text.as_bytes()) == *part.value.as_bytes(),
        ValuePattern::Network(network) => {
            let shown = IpNet::from_str(&part.value)
                .or_else(|_| part.value.parse::<IpAddr>().map(IpNet::from));
            shown.is_ok_and(|shown| network.contains(&shown))
        }
    }
}
