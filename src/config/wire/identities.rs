//! `[identities.NAME]`, and the keys of routes about who asks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::field::Field,
    lists::{OneOrList, OneOrMany},
    scalar::Scalar,
    syntaxes::{ClaimName, ClaimOf, CredentialAt, FileName, Name, NotEmpty},
    tables::Names,
};

/// One way to authenticate a client.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Identity {
    /// File of API keys, made by `tidegate key`; watched.
    pub(in crate::config) api_keys: Option<Field<Scalar<FileName>>>,
    /// Where the credential stands: "bearer" (of `Authorization`),
    /// "header:NAME", "query:NAME" or "cookie:NAME"; the first one present
    /// counts; absent: for API keys `["header:x-api-key", "bearer"]`.
    pub(in crate::config) from: Option<Field<OneOrList<Scalar<CredentialAt>>>>,
    /// Claim whose value is the plan of the client, such as "claim:plan".
    pub(in crate::config) plan: Option<Field<Scalar<ClaimOf>>>,
    /// Limit that is charged for each credential that does not verify, by the
    /// client's address; its key is `client-ip`.
    pub(in crate::config) limit: Option<Field<Scalar<Name>>>,
}

/// Claims by name, with the values of which each must contain one.
pub(in crate::config) type Required = Names<Field<Scalar<ClaimName>>, OneOrMany<Scalar<NotEmpty>>>;

/// How requests without credentials are treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Anonymous {
    /// They are refused with 401.
    // A route that names identities is meant for clients that have one.
    #[default]
    Refuse,
    /// They pass, without an identity.
    Pass,
}

/// Whether services get the credentials of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Credentials {
    /// They do.
    // A service may have its own use for them, as behind any other proxy.
    #[default]
    Pass,
    /// They do not.
    Remove,
}
