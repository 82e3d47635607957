//! What the language has and this version has not: named as such, with its place, and never ignored.
//!
//! Building something means deleting its line here and declaring its key in `schema`.

use super::tree::Node;

/// Keys, by section.
pub(super) const KEYS: &[(&str, &[&str])] = &[];

/// Strings that begin like this, by section and key.
const VALUES: &[(&str, &str, &[&str])] = &[];

/// Whether the language has this key and this version has not.
pub(super) fn key(section: &str, key: &str) -> bool {
    KEYS.iter().any(|(known, keys)| *known == section && keys.contains(&key))
}

/// What of this value is not built, if anything: how to call it.
pub(super) fn value(section: &str, key: &str, node: &Node) -> Option<String> {
    let text = node.text()?;
    let (_, _, starts) = VALUES.iter().find(|(in_section, at_key, _)| (*in_section, *at_key) == (section, key))?;
    let start = starts.iter().find(|start| text.starts_with(**start))?;
    Some(format!("`{key} = \"{start}{}\"`", if start.ends_with([':', '/']) { "..." } else { "" }))
}
