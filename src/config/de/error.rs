//! The error of a value's deserialization.
//!
//! Visitors know nothing of this type: they return errors through the
//! constructors of [`serde::de::Error`]. Those that they use are implemented
//! here; others end in [`de::Error::custom`], which is also the way of a
//! [`Rejection`] with its parts.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::super::wrong::{Rejection, Wrong};

/// A mistake on its way from a visitor to the field around the value, which
/// reports it.
#[derive(Debug)]
pub(super) enum ReadError {
    /// It was reported where it was found.
    Reported,
    /// A table lacks this key, which is required.
    Missing(&'static str),
    /// The value has the right type and is refused.
    Value(Wrong),
    /// The value has a wrong type.
    Type {
        expected: String,
        /// Advice on a right value; if empty, it is guessed from the value.
        help: String,
    },
    /// The value has neither of the two forms that its key may have.
    Form,
    /// The word is none of these.
    Choice(&'static [&'static str]),
    /// A list that has to name something is empty.
    Empty,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        match Rejection::from(message.to_string()) {
            Rejection::Value(wrong) => Self::Value(wrong),
            Rejection::Type { expected, help } => Self::Type { expected, help },
        }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Type {
            expected: expected.to_string(),
            help: String::new(),
        }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing(key)
    }
}
