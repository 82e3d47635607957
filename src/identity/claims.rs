//! An identified client, and what is claimed of it.

use std::{borrow::Cow, sync::Arc};

use serde_json::{Map, Value};

use crate::policy::is_exact_in_field;

/// Bytes of the longest claim that is kept. Claims go into header fields and
/// keys; a longer one counts as absent, as a part of it could be the value of
/// somebody else.
const LONGEST_CLAIM: usize = 1024;

/// Items of a list that are kept of a claim; the others are left out.
const MOST_ITEMS: usize = 256;

/// A client that has been identified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// The name of the identity by which it is known.
    pub identity: Arc<str>,
    /// `IDENTITY:ID`, which no client of another identity has.
    full_id: Box<str>,
    /// The plan of the client; `None` for none.
    pub plan: Option<Box<str>>,
    /// The claims that some route asks for.
    pub claims: Claims,
}

/// Claims by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims(Box<[(Box<str>, Claim)]>);

/// The claims that are kept of the clients of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptClaims {
    /// The name of the identity.
    pub identity: Arc<str>,
    /// The claim whose value is the plan; `None` for none.
    pub plan: Option<Box<str>>,
    /// The claims that keys, headers or conditions of some route ask for.
    pub names: Arc<[Box<str>]>,
}

/// The value of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// One text, or a number or flag as text.
    Scalar(Box<str>),
    /// A list of these.
    List(Box<[Box<str>]>),
}

impl Identified {
    /// The client `id` of an identity, of whose `claims` some are `kept`. The id
    /// is exact in a field, or empty.
    ///
    /// A `plan` counts before the claim that the identity has for it.
    pub(super) fn new(
        kept: &KeptClaims,
        id: &str,
        plan: Option<String>,
        claims: &Map<String, Value>,
    ) -> Self {
        let of_claim = || single(find(claims, kept.plan.as_deref()?)?);
        let claim = |name: &str| Some((name.into(), Claim::of(claims, name)?));
        let names = kept.names.iter().map(|name| &**name);
        Self {
            identity: Arc::clone(&kept.identity),
            full_id: format!("{}:{id}", kept.identity).into(),
            plan: plan.map(Into::into).or_else(of_claim),
            claims: Claims(names.filter_map(claim).collect()),
        }
    }

    /// The id of the client within its identity; `None` if a service has vouched
    /// for it without a name.
    pub fn id(&self) -> Option<&str> {
        Some(&self.full_id[self.identity.len() + 1..]).filter(|id| !id.is_empty())
    }

    /// `IDENTITY:ID`, which no client of another identity has; `None` for one
    /// without an id.
    pub fn full_id(&self) -> Option<&str> {
        self.id().map(|_| &*self.full_id)
    }
}

impl Claims {
    /// The claim of this name; `None` if the client has none.
    pub fn get(&self, name: &str) -> Option<&Claim> {
        let (_, claim) = self.0.iter().find(|(known, _)| **known == *name)?;
        Some(claim)
    }
}

impl Claim {
    /// The claim of this name; `None` if there is none, and for an object, null,
    /// a text that is not exact in a field, and a value that is too long.
    fn of(claims: &Map<String, Value>, name: &str) -> Option<Self> {
        let value = find(claims, name)?;
        let Value::Array(items) = value else {
            return scalar(value).map(Self::Scalar);
        };
        let items: Box<[_]> = items.iter().filter_map(scalar).take(MOST_ITEMS).collect();
        let length: usize = items.iter().map(|item| item.len()).sum();
        let is_kept = !items.is_empty() && length <= LONGEST_CLAIM;
        is_kept.then_some(Self::List(items))
    }

    /// The claim as one text: the items of a list with a blank between them.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Scalar(text) => Cow::Borrowed(text),
            Self::List(items) => Cow::Owned(items.join(" ")),
        }
    }

    /// Whether the claim contains a value: as the whole, as an item of the
    /// list, or as a word of a text with blanks, as `scope` has them (RFC 8693,
    /// 4.2).
    pub fn contains(&self, value: &str) -> bool {
        match self {
            Self::Scalar(text) => **text == *value || text.split(' ').any(|word| word == value),
            Self::List(items) => items.iter().any(|item| **item == *value),
        }
    }
}

/// The value of the claim of this name: a member, or else a path of members
/// with dots between them, as in `realm_access.roles`.
pub(super) fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    claims.get(name).or_else(|| {
        let mut steps = name.split('.');
        let first = claims.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.get(step))
    })
}

/// The one text of a value that is one, or a list of one. `None` where
/// [`scalar`] has none.
pub(super) fn single(value: &Value) -> Option<Box<str>> {
    match value {
        Value::Array(items) => match &items[..] {
            [item] => scalar(item),
            _ => None,
        },
        value => scalar(value),
    }
}

/// A text, number or flag as text. `None` for other values, for a text that is
/// not exact in a field, and for one that is too long.
fn scalar(value: &Value) -> Option<Box<str>> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let is_kept = text.len() <= LONGEST_CLAIM && is_exact_in_field(&text);
    is_kept.then(|| text.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(value: Value) -> Option<Claim> {
        let Value::Object(claims) = json!({ "c": value, "a": { "b": ["x"] }, "d.e": 1 }) else {
            return None;
        };
        Claim::of(&claims, "c")
    }

    #[test]
    fn a_claim_is_a_text_a_number_a_flag_or_a_list_of_these() {
        for (value, text) in [
            (json!("one"), Some("one")),
            (json!(7), Some("7")),
            (json!(true), Some("true")),
            (json!(["one", 2, null, {}]), Some("one 2")),
            (json!([]), None),
            (json!([{}]), None),
            (json!(""), None),
            (json!(null), None),
            (json!({ "one": 1 }), None),
            (json!("x".repeat(1024)), Some(&*"x".repeat(1024))),
            (json!("x".repeat(1025)), None),
            (json!(["x".repeat(1000), "y".repeat(100)]), None),
            (json!("a b\u{e4}"), Some("a b\u{e4}")),
            (json!(["a\n", "b", " c"]), Some("b")),
        ] {
            let found = claim(value.clone());
            assert_eq!(found.as_ref().map(Claim::text).as_deref(), text, "{value}");
        }
    }

    #[test]
    fn a_text_that_a_reader_of_a_field_would_change_is_no_claim() {
        for text in [
            "root\n",
            "root\0",
            "root\t",
            "root\u{7f}",
            "root\u{85}",
            "ro\not",
            " root",
            "root ",
            "root\u{a0}",
            " ",
            "\n\0",
        ] {
            assert_eq!(claim(json!(text)), None, "{text:?}");
            assert_eq!(single(&json!([text])), None, "{text:?}");
        }
    }

    #[test]
    fn one_text_is_a_scalar_or_a_list_of_one() {
        assert_eq!(single(&json!("a")).as_deref(), Some("a"));
        assert_eq!(single(&json!(["a"])).as_deref(), Some("a"));
        for value in [
            json!([]),
            json!(["a", "b"]),
            json!(["a", {}]),
            json!([["a"]]),
        ] {
            assert_eq!(single(&value), None, "{value}");
        }
    }

    #[test]
    fn a_name_with_dots_is_a_member_of_that_name_or_a_path() {
        let Value::Object(claims) = json!({ "a": { "b": ["x"] }, "a.b": 1, "c": { "d": 2 } })
        else {
            unreachable!("an object");
        };
        let text = |name| Claim::of(&claims, name).map(|claim| claim.text().into_owned());
        assert_eq!(text("a.b").as_deref(), Some("1"));
        assert_eq!(text("c.d").as_deref(), Some("2"));
        for name in ["a", "c.d.e", "c.", ".c", "", "."] {
            assert_eq!(text(name), None, "{name}");
        }
    }

    #[test]
    fn a_value_is_contained_as_a_whole_an_item_or_a_word() {
        let scope = Claim::Scalar("orders:read orders:write".into());
        assert!(scope.contains("orders:write") && scope.contains("orders:read orders:write"));
        assert!(!scope.contains("orders") && !scope.contains("orders:writ"));
        let groups = Claim::List(["Domain Admins".into(), "b".into()].into());
        assert!(groups.contains("Domain Admins") && groups.contains("b"));
        assert!(!groups.contains("Domain") && !groups.contains("Domain Admins b"));
    }
}
