//! Parts of keys in the form in which the layers take them.

use crate::{layer::KeyPart, policy};

pub(super) fn key_part(part: &policy::KeyPart) -> KeyPart {
    match part {
        policy::KeyPart::Route => KeyPart::Route,
        policy::KeyPart::ClientIp { v6_prefix } => KeyPart::ClientIp(*v6_prefix),
        policy::KeyPart::Header(name) => KeyPart::Header(name.clone()),
        policy::KeyPart::Cookie(name) => KeyPart::Cookie(name.clone()),
        policy::KeyPart::Query(name) => KeyPart::Query(name.clone()),
        policy::KeyPart::Param(name) => KeyPart::Param(name.clone()),
        policy::KeyPart::Host => KeyPart::Host,
        policy::KeyPart::Path => KeyPart::Path,
        policy::KeyPart::Method => KeyPart::Method,
        policy::KeyPart::TlsSubject => KeyPart::TlsSubject,
    }
}
