//! `[identities.NAME]`, and the keys of routes about who asks.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::field::{Field, Nested},
    lists::{List, OneOrList, OneOrMany, Set},
    numbers::Whole,
    scalar::Scalar,
    syntaxes::{
        AnyDuration, AskedUrl, ClaimName, ClaimOf, CredentialAt, FileName, Header, HeaderOf,
        KeysAt, Leeway, Name, NotEmpty, PemFile, PositiveDuration, TokenAlgorithm,
    },
    tables::{Names, Pairs},
};

/// One way to authenticate a client.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Identity {
    /// File of API keys, made by `tidegate key`; watched.
    pub(in crate::config) api_keys: Option<Field<Scalar<FileName>>>,
    /// Forward auth: a service is asked who the client is.
    pub(in crate::config) forward: Nested<ForwardAuth>,
    /// Tokens (JWT) that are verified by the keys of their issuer.
    pub(in crate::config) jwt: Nested<Jwt>,
    /// Where the credential stands: "bearer" (of `Authorization`),
    /// "header:NAME", "query:NAME" or "cookie:NAME"; the first one present
    /// counts; absent: for API keys `["header:x-api-key", "bearer"]`, for tokens
    /// `["bearer"]`; with `forward` it says which credentials
    /// `credentials = "remove"` removes; absent: the fields of `send`.
    pub(in crate::config) from: Option<Field<OneOrList<Scalar<CredentialAt>>>>,
    /// Claim whose value is the plan of the client, such as "claim:plan".
    pub(in crate::config) plan: Option<Field<Scalar<ClaimOf>>>,
    /// Limit that is charged for each credential that does not verify, by the
    /// client's address; its key is `client-ip`, and it has a `rate`.
    pub(in crate::config) limit: Option<Field<Scalar<Name>>>,
}

/// A service that is asked who the client is: a response of success
/// authenticates, any other one goes to the client.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct ForwardAuth {
    /// URL that is asked, with GET.
    pub(in crate::config) url: Field<Scalar<AskedUrl>>,
    /// Longest time of a question, including the body of a refusal; then 503.
    // Every request of the route waits for it.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<1>")]
    pub(in crate::config) timeout: Field<Scalar<PositiveDuration>>,
    /// Field of the response with the id of the client, such as
    /// "header:x-auth-user"; absent: the client has no id.
    pub(in crate::config) id: Option<Field<Scalar<HeaderOf>>>,
    /// Claims by name, each with the field of the response that has it.
    pub(in crate::config) claims: Option<Field<Pairs<ClaimName, HeaderOf>>>,
    /// Fields of the request that the service gets, besides `X-Forwarded-*`.
    #[serde(default = "sent_fields")]
    pub(in crate::config) send: Field<Set<Scalar<Header>>>,
    /// Time for which a client is remembered by the values of `send`; "0s":
    /// every request is asked about.
    // A session that has ended is refused at once.
    #[serde(default = "Scalar::<AnyDuration>::secs::<0>")]
    pub(in crate::config) cache: Field<Scalar<AnyDuration>>,
    /// Questions in flight; further requests get 503.
    // More than a service answers in a second, and fewer than it drowns in.
    #[serde(default = "MostAsked::value::<256>")]
    pub(in crate::config) max_in_flight: Field<MostAsked>,
}

/// Questions in flight.
type MostAsked = Whole<NonZeroUsize, 1, 100_000>;

/// Where sessions and tokens stand.
fn sent_fields() -> Field<Set<Scalar<Header>>> {
    Set::of(&["cookie", "authorization"])
}

/// Tokens (JWT) that are verified by the keys of their issuer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Jwt {
    /// Keys of the issuer: the URL of a key set (JWKS), or a file with a key set
    /// or with public keys in PEM; a file is watched.
    pub(in crate::config) keys: Option<Field<Scalar<KeysAt>>>,
    /// File with the secret of HMAC, in place of `keys`; watched.
    pub(in crate::config) secret_file: Option<Field<Scalar<FileName>>>,
    /// Authorities that the server of `keys` is verified by (PEM); absent: those
    /// that the system trusts.
    pub(in crate::config) ca: Option<Field<Scalar<PemFile>>>,
    /// Value that `iss` must have; absent: any.
    pub(in crate::config) issuer: Option<Field<Scalar<NotEmpty>>>,
    /// Values of which `aud` must have one; absent: any.
    pub(in crate::config) audience: Option<Field<OneOrList<Scalar<NotEmpty>>>>,
    /// Algorithms that tokens may be signed with: "RS256", "RS384", "RS512",
    /// "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"; with `secret_file`
    /// "HS256", "HS384", "HS512", which have to be named.
    // Those that issuers use; a token signed in another way is a surprise.
    #[serde(default = "usual_algorithms")]
    pub(in crate::config) algorithms: Field<List<Scalar<TokenAlgorithm>>>,
    /// Claim that is the id of the client.
    #[serde(default = "subject")]
    pub(in crate::config) id: Field<Scalar<ClaimName>>,
    /// How far the clocks of the issuer and of this machine may be apart; at
    /// most "1h".
    // Machines that ask for the time at all are closer.
    #[serde(default = "Scalar::<Leeway>::secs::<30>")]
    pub(in crate::config) leeway: Field<Scalar<Leeway>>,
}

/// Those of public keys that issuers use most.
fn usual_algorithms() -> Field<List<Scalar<TokenAlgorithm>>> {
    List::of(&["RS256", "ES256", "EdDSA"])
}

/// The claim that every issuer fills in (RFC 7519, 4.1.2).
fn subject() -> Field<Scalar<ClaimName>> {
    Scalar::by_default("sub".to_owned())
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
