//! An identified client, and what is claimed of it.

use std::{borrow::Cow, sync::Arc};

use serde_json::{Map, Value};

use crate::policy::{RequiredClaim, is_exact_in_field};

/// Bytes of the longest claim that is kept. Claims go into header fields and
/// keys; a longer one counts as absent, as a part of it could be the value of
/// somebody else.
const LONGEST_CLAIM: usize = 1024;

/// A client that has been identified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// The name of the identity by which it is known.
    pub identity: Arc<str>,
    /// `IDENTITY:ID`, which no client of another identity has.
    full_id: Box<str>,
    /// The plan of the client; `None` for none.
    pub plan: Option<Box<str>>,
    /// The claims that keys and header fields have in them.
    pub claims: Claims,
    /// The questions of the routes about its claims.
    asked: Arc<AskedClaims>,
    /// Whether it meets each of the conditions in `asked`.
    met: Box<[bool]>,
}

/// Claims by name, each as one text: the items of a list with a blank between
/// them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims(Box<[(Box<str>, Box<str>)]>);

/// All that the routes of a configuration ask of the claims of a client.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AskedClaims {
    /// Claims that keys or header fields have in them.
    pub texts: Box<[Box<str>]>,
    /// Conditions, in ascending order. They are judged by the whole claim when
    /// the client is identified, so that it need not be kept.
    pub conditions: Box<[RequiredClaim]>,
}

/// The claims that are kept of the clients of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptClaims {
    /// The name of the identity.
    pub identity: Arc<str>,
    /// The claim whose value is the plan; `None` for none.
    pub plan: Option<Box<str>>,
    /// The claims that routes ask for.
    pub asked: Arc<AskedClaims>,
}

impl Identified {
    /// The client `id` of an identity, of whose `claims` some are `kept`. The id
    /// is usable, or empty.
    ///
    /// A `plan` counts before the claim that the identity has for it.
    pub(super) fn new(
        kept: &KeptClaims,
        id: &str,
        plan: Option<String>,
        claims: &Map<String, Value>,
    ) -> Self {
        let of_claim = || single(find(claims, kept.plan.as_deref()?)?);
        let claim = |name: &str| Some((name.into(), text(find(claims, name)?)?));
        let texts = kept.asked.texts.iter().map(|name| &**name);
        let conditions = kept.asked.conditions.iter();
        Self {
            identity: Arc::clone(&kept.identity),
            full_id: format!("{}:{id}", kept.identity).into(),
            plan: plan.map(Into::into).or_else(of_claim),
            claims: Claims(texts.filter_map(claim).collect()),
            met: conditions.map(|one| is_met(one, claims)).collect(),
            asked: Arc::clone(&kept.asked),
        }
    }

    /// Whether the client has a claim that a route requires. False for a
    /// condition that was not asked.
    pub fn meets(&self, condition: &RequiredClaim) -> bool {
        let index = self.asked.conditions.binary_search(condition);
        index.is_ok_and(|index| self.met[index])
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
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, claim) = self.0.iter().find(|(known, _)| **known == *name)?;
        Some(claim)
    }
}

/// Whether an id, a plan or a claim can be told to a service and be a part of a
/// key: it is exact in a field and not too long.
pub fn is_usable(text: &str) -> bool {
    text.len() <= LONGEST_CLAIM && is_exact_in_field(text)
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
/// [`text`] has none.
pub(super) fn single(value: &Value) -> Option<Box<str>> {
    match value {
        Value::Array(items) if items.len() != 1 => None,
        value => text(value),
    }
}

/// A value as one text. `None` for null, an object, a list without a text, a
/// text that is not exact in a field, and a value that is too long.
fn text(value: &Value) -> Option<Box<str>> {
    let text = match value {
        Value::Array(items) => {
            let items = items.iter().filter_map(scalar);
            let items: Vec<_> = items.filter(|item| is_exact_in_field(item)).collect();
            items.join(" ")
        }
        value => scalar(value)?.into_owned(),
    };
    is_usable(&text).then(|| text.into())
}

/// A text, whole number or flag as it is. `None` for other values, among them
/// numbers of more than 64 bits: as fractions they lose digits, and two of them
/// become one.
fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => {
            let is_whole = number.is_i64() || number.is_u64();
            is_whole.then(|| Cow::Owned(number.to_string()))
        }
        Value::Bool(true) => Some(Cow::Borrowed("true")),
        Value::Bool(false) => Some(Cow::Borrowed("false")),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether one of the values of a condition is in its claim.
fn is_met(condition: &RequiredClaim, claims: &Map<String, Value>) -> bool {
    let contains = |value| condition.values.iter().any(|one| contains(value, one));
    find(claims, &condition.claim).is_some_and(contains)
}

/// Whether a claim contains a value: as the whole, as an item of the list, or
/// as a word of a text with blanks, as `scope` has them (RFC 8693, 4.2).
fn contains(claim: &Value, value: &str) -> bool {
    let is_value = |claim: &Value| scalar(claim).is_some_and(|text| text == value);
    match claim {
        Value::Array(items) => items.iter().any(is_value),
        Value::String(text) => text == value || text.split(' ').any(|word| word == value),
        claim => is_value(claim),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
            assert_eq!(super::text(&value).as_deref(), text, "{value}");
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
            assert_eq!(super::text(&json!(text)), None, "{text:?}");
            assert_eq!(single(&json!([text])), None, "{text:?}");
        }
    }

    #[test]
    fn a_number_has_all_of_its_digits_or_is_no_claim() {
        for (json, text) in [
            ("18446744073709551615", Some("18446744073709551615")),
            ("-9223372036854775808", Some("-9223372036854775808")),
            ("0", Some("0")),
            ("18446744073709551616", None),
            ("100000000000000000001", None),
            ("-9223372036854775809", None),
            ("0.1", None),
            ("1e2", None),
            ("7.0", None),
            ("-0", None),
        ] {
            let value = serde_json::from_str(json).unwrap();
            assert_eq!(super::text(&value).as_deref(), text, "{json}");
            assert_eq!(single(&json!([value])).as_deref(), text, "{json}");
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
        let text = |name| find(&claims, name).and_then(super::text);
        assert_eq!(text("a.b").as_deref(), Some("1"));
        assert_eq!(text("c.d").as_deref(), Some("2"));
        for name in ["a", "c.d.e", "c.", ".c", "", "."] {
            assert_eq!(text(name), None, "{name}");
        }
    }

    #[test]
    fn a_value_is_contained_as_a_whole_an_item_or_a_word() {
        for (claim, value, is_contained) in [
            (json!("orders:read orders:write"), "orders:write", true),
            (
                json!("orders:read orders:write"),
                "orders:read orders:write",
                true,
            ),
            (json!("orders:read orders:write"), "orders", false),
            (json!("orders:read orders:write"), "orders:writ", false),
            (json!(["Domain Admins", "b", 7]), "Domain Admins", true),
            (json!(["Domain Admins", "b", 7]), "7", true),
            (json!(["Domain Admins", "b", 7]), "Domain", false),
            (json!(["Domain Admins", "b"]), "Domain Admins b", false),
            (json!([["b"]]), "b", false),
            (json!("gold\n"), "gold", false),
            (json!(true), "true", true),
            (json!({ "b": true }), "b", false),
            (json!(null), "null", false),
        ] {
            assert_eq!(contains(&claim, value), is_contained, "{claim} {value}");
        }
    }

    #[test]
    fn conditions_are_judged_by_the_whole_claim_and_keys_have_a_short_one() {
        let condition = |values: [&str; 1]| RequiredClaim {
            claim: "groups".into(),
            values: values.map(Box::from).into(),
        };
        let kept = KeptClaims {
            identity: "i".into(),
            plan: None,
            asked: Arc::new(AskedClaims {
                texts: ["groups".into()].into(),
                conditions: [condition(["admins"]), condition(["none"])].into(),
            }),
        };
        let mut groups = vec!["x".repeat(36); 300];
        let mut client = |more: &str| {
            groups.push(more.to_owned());
            let claims = Map::from_iter([("groups".to_owned(), json!(groups))]);
            Identified::new(&kept, "a", None, &claims)
        };
        assert!(!client("other").meets(&condition(["admins"])));
        let client = client("admins");
        assert!(client.meets(&condition(["admins"])) && !client.meets(&condition(["none"])));
        assert!(!client.meets(&condition(["x"])), "it was not asked");
        assert_eq!(client.claims.get("groups"), None);
    }
}
