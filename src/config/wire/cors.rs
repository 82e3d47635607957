//! `[routes.cors]`: which pages of other origins may call a route from a
//! browser.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    super::field::Field,
    lists::{List, Set},
    scalar::Scalar,
    syntaxes::{AnyDuration, Header, MethodName, Origin},
};

/// Which pages of other origins may call the route from a browser.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Cors {
    /// Origins whose pages may: exact ones, "https://*.NAME" for one or more
    /// labels before the name, or "*" alone for all; required, here or in the
    /// defaults.
    pub(in crate::config) origins: Option<Field<List<Scalar<Origin>>>>,
    /// Methods that they may use, or "*" for any.
    #[serde(default = "safe_methods")]
    pub(in crate::config) methods: Field<List<Scalar<MethodName>>>,
    /// Request fields that they may send besides those that every page may, or
    /// "*" for any but `authorization`.
    #[serde(default)]
    pub(in crate::config) headers: Field<Set<Scalar<Header>>>,
    /// Response fields that they may read besides those that every page may, or
    /// "*" for any.
    #[serde(default = "fields_about_limits")]
    pub(in crate::config) expose: Field<Set<Scalar<Header>>>,
    /// `true` lets browsers send cookies and other credentials, and lets pages
    /// read the responses to such requests.
    #[serde(default)]
    pub(in crate::config) credentials: Field<bool>,
    /// How long browsers may rely on the response to a preflight.
    // Browsers ask anew for a method or a field that they do not know, so that
    // a long time delays no change that permits more. Chromium keeps none for
    // longer than two hours.
    #[serde(default = "Scalar::<AnyDuration>::minutes::<10>")]
    pub(in crate::config) max_age: Field<Scalar<AnyDuration>>,
}

/// The methods that every page may use without asking (Fetch, "CORS-safelisted
/// method").
fn safe_methods() -> Field<List<Scalar<MethodName>>> {
    List::of(&["GET", "HEAD", "POST"])
}

/// A page that is refused has to know when to come back.
fn fields_about_limits() -> Field<Set<Scalar<Header>>> {
    Set::of(&["ratelimit", "ratelimit-policy", "retry-after"])
}
