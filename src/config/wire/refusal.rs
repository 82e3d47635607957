//! `[routes.refusal]`: how the responses look by which the gateway refuses a
//! request.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    super::field::Field,
    lists::OneOrList,
    routes::Headers,
    scalar::Scalar,
    syntaxes::{BodyFile, StatusOrClass},
    tables::Names,
};

/// Files by status.
pub(in crate::config) type Bodies =
    Names<Field<Scalar<StatusOrClass>>, OneOrList<Scalar<BodyFile>>>;

/// Fields and bodies of responses by which the gateway refuses a request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Refusal {
    /// Fields to set in every refusal, replacing those of the gateway.
    pub(in crate::config) headers: Option<Field<Headers>>,
    /// Files with the bodies of refusals, by status such as "429" or class such
    /// as "5xx"; a list has one for each type, of which the client's `Accept`
    /// chooses.
    pub(in crate::config) bodies: Option<Field<Bodies>>,
}
