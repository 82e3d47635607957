//! Why a value was refused, and how that travels through serde.
//!
//! Every reader of a small language returns a [`Wrong`]: half a sentence on the
//! reason and half a sentence of help. A visitor of serde can only return text
//! as its error. [`Rejection`] is that text in a form that the deserializer
//! turns back into its parts, so that the diagnostic has both, with the place
//! of the value and the name of its key.

use std::fmt;

/// A value that a parser refused: why, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Completes "`key` cannot be `value`: ...".
    pub(super) why: String,
    /// Advice on a right value; if empty, the description of the key is shown
    /// instead.
    pub(super) help: String,
}

impl Wrong {
    /// A reason that completes "`key` cannot be `value`: ...", and help.
    pub(super) fn new(why: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            help: help.into(),
        }
    }

    /// The same with better help, if there is any.
    ///
    /// Advice replaces the help as a whole, and the reason stays.
    pub(super) fn or_advice(self, help: Option<String>) -> Self {
        match help {
            Some(help) => Self { help, ..self },
            None => self,
        }
    }

    /// The same with the right form as help, if there is one.
    pub(super) fn or_meant(self, right: Option<impl fmt::Display>) -> Self {
        self.or_advice(right.map(|right| format!("did you mean \"{right}\"?")))
    }
}

/// A mistake that a visitor finds. [`serde::de::Error::custom`] passes nothing
/// but text to the deserializer, so both sides agree on a form here: the parts,
/// each behind a character that no message has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The value has the right type and is refused.
    Value(Wrong),
    /// The value has a wrong type, and the visitor knows what would be right.
    Type {
        /// The type that belongs there: "a duration in a string".
        expected: String,
        /// Advice on a right value; if empty, it is guessed from the value.
        help: String,
    },
}

/// Between the parts of a refused value: the record separator of ASCII.
const VALUE: char = '\u{1e}';
/// Between the parts of a wrong type: the unit separator of ASCII.
const TYPE: char = '\u{1f}';

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(wrong) => write!(f, "{}{VALUE}{}", wrong.why, wrong.help),
            Self::Type { expected, help } => write!(f, "{expected}{TYPE}{help}"),
        }
    }
}

/// A text without either separator is a reason without help: other errors of
/// serde arrive so.
impl From<String> for Rejection {
    fn from(text: String) -> Self {
        if let Some((expected, help)) = text.split_once(TYPE) {
            return Self::Type {
                expected: expected.to_owned(),
                help: help.to_owned(),
            };
        }
        let (why, help) = text.split_once(VALUE).unwrap_or((&text, ""));
        Self::Value(Wrong::new(why, help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_as_text() {
        let value = || Rejection::Value(Wrong::new("it is empty", "name it"));
        let of_type = || Rejection::Type {
            expected: "a rate in a string".to_owned(),
            help: "a rate has a time".to_owned(),
        };
        assert_eq!(Rejection::from(value().to_string()), value());
        assert_eq!(Rejection::from(of_type().to_string()), of_type());
    }
}
