//! Guesses at the meaning of a value of the wrong type.
//!
//! A guess looks at one value, and at the kind of its key. It decides nothing
//! about the file: the value was refused before, and a wrong guess only makes
//! worse advice.

use super::super::{
    language::Kind,
    tree::{Node, Value},
    words::{is_unbounded, switch},
};

/// A word in the place of a table or list that means that there is none, or
/// that there is one.
///
/// Words are compared in any case. `None` if the value is neither a switch nor
/// such a word.
pub(super) fn as_switch(node: &Node) -> Option<bool> {
    match &node.value {
        Value::Flag(is_on) => Some(*is_on),
        Value::Text(text) if is_unbounded(&text.text) => Some(false),
        Value::Text(text) if text.text.eq_ignore_ascii_case("default") => Some(true),
        Value::Text(text) => switch(&text.text),
        _ => None,
    }
}

/// Whether a key may hold this value, by its type, its bounds and the pattern
/// for editors.
///
/// A single text fits a list of texts, and the short form of a key with two
/// forms. Tables fit nothing here. A text is compared with the pattern only;
/// whether its reader would accept it is not asked.
pub(super) fn takes(kind: &Kind, node: &Node) -> bool {
    match (kind, &node.value) {
        (Kind::Text(syntax), Value::Text(text)) => syntax.takes(&text.text),
        (Kind::Choice(words), Value::Text(text)) => words.iter().any(|word| **word == *text.text),
        (Kind::Whole { least, most }, Value::Whole(number)) => {
            u64::try_from(*number).is_ok_and(|number| (*least..=*most).contains(&number))
        }
        (Kind::Or(_, of) | Kind::OneOrList(of), Value::Text(_) | Value::Whole(_)) => {
            takes(of, node)
        }
        (Kind::List(of), Value::List(items)) => items.iter().all(|item| takes(of, item)),
        (Kind::List(of), Value::Text(_)) => takes(of, node),
        (Kind::Either(short, _), Value::Text(_)) => takes(short, node),
        _ => false,
    }
}

/// The number that a string in the file holds. Values from the environment are
/// not looked into, as they may be secrets.
///
/// `None` also for a number that is one already, and for a text with a unit.
pub(super) fn value_as_number(value: &Value) -> Option<i64> {
    match value {
        Value::Text(text) if text.written.is_none() => text.text.trim().parse().ok(),
        _ => None,
    }
}
