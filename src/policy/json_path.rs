//! A path into a JSON document.

/// The place of one value in a JSON document: the names of the members that
/// lead to it, from the root.
///
/// A number leads to the element of an array with this index, counted from 0,
/// as well as to a member of this name. Names that contain a dot have no path.
///
/// ```
/// use tidegate::policy::JsonPath;
///
/// let path = JsonPath::parse("usage.total_tokens").unwrap();
/// assert_eq!(path.members().len(), 2);
/// assert_eq!(path.to_string(), "usage.total_tokens");
/// assert!(JsonPath::parse("usage..total_tokens").is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath {
    members: Box<[Box<str>]>,
}

impl JsonPath {
    /// The most members of a path.
    pub const MOST_MEMBERS: usize = 16;

    /// The path that is written with a dot between its members; `None` for one
    /// without a member, with an empty member, or with more than
    /// [`Self::MOST_MEMBERS`].
    pub fn parse(text: &str) -> Option<Self> {
        let members: Box<[Box<str>]> = text.split('.').map(Box::from).collect();
        let is_whole = members.iter().all(|member| !member.is_empty());
        (is_whole && members.len() <= Self::MOST_MEMBERS).then_some(Self { members })
    }

    /// Its members, from the root on: 1 to [`Self::MOST_MEMBERS`].
    pub fn members(&self) -> &[Box<str>] {
        &self.members
    }
}

impl std::fmt::Display for JsonPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.members.join("."))
    }
}
