//! Identities: credentials of requests, and the clients that they stand for.
//!
//! An [`Authenticator`] runs one `[identities.NAME]` of the configuration. It
//! is asked with the credential of a request, and answers with the
//! [`Identified`] client, or with a reason against it: at once, or later
//! ([`Verification`]). `layer::identify` finds the credential, asks the
//! identities of the route in their order, and refuses.
//!
//! # Cost
//!
//! A credential that has verified is remembered (`known`): the next request
//! with it costs a keyed fingerprint and one look into a table of the worker,
//! whatever it took to verify it the first time. A remembered credential is
//! forgotten when it expires, and a reload that changes the identity forgets
//! all.
//!
//! # Secrets
//!
//! Neither credentials nor digests of them are logged or shown. Messages about
//! a credential say what is wrong with it and repeat nothing of it.

mod api_keys;
mod claims;
mod counts;
mod fault_log;
mod fingerprint;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod jwt;
mod known;
mod rejected;
mod verification;

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tokio::time::Instant;

use self::known::{KnownCredentials, Validity};
pub use self::{
    claims::{AskedClaims, Claims, Identified, KeptClaims, is_usable},
    counts::{CredentialCount, CredentialCounts},
    fault_log::FaultLog,
    jwt::{CheckCounts, KeySource, SignatureChecks, SourceCounts, TokenVerifier},
    rejected::Rejected,
    verification::{NotIdentified, PendingVerification, Presented, Verification, Verified},
};
use crate::policy::{ApiKeys, Identity};

/// One `[identities.NAME]` at work: shared by all workers and routes, and made
/// anew by a reload that changes it.
#[derive(Debug)]
pub struct Authenticator {
    /// The configuration of it.
    pub policy: Arc<Identity>,
    verifier: Verifier,
    kept: KeptClaims,
    /// Credentials that have verified.
    known: KnownCredentials,
    /// Faults of the service that is asked, if one is.
    pub faults: FaultLog,
    /// Outcomes, over all reloads.
    pub counts: Arc<CredentialCounts>,
}

/// How an identity verifies credentials.
#[derive(Debug)]
pub enum Verifier {
    /// They are looked up in a file.
    ApiKeys(Arc<ApiKeys>),
    /// They are tokens with a signature.
    Tokens(Arc<TokenVerifier>),
    /// They are for a service, which `layer::identify` asks.
    Service,
}

impl Authenticator {
    /// Runs `policy`, by its `verifier`. Of a client's claims, those that are
    /// `asked` for and the one that names the plan are kept. Outcomes are added
    /// to `counts`.
    pub fn new(
        policy: Arc<Identity>,
        verifier: Verifier,
        asked: Arc<AskedClaims>,
        workers: usize,
        counts: Arc<CredentialCounts>,
    ) -> Self {
        Self {
            known: KnownCredentials::new(workers),
            faults: FaultLog::default(),
            counts,
            kept: KeptClaims {
                identity: Arc::clone(&policy.name),
                plan: policy.plan.clone(),
                asked,
            },
            policy,
            verifier,
        }
    }

    /// The URL that its keys come from; `None` for other keys.
    pub fn source(&self) -> Option<&Arc<KeySource>> {
        match &self.verifier {
            Verifier::Tokens(tokens) => tokens.source(),
            Verifier::ApiKeys(_) | Verifier::Service => None,
        }
    }

    /// Whether this is how `policy` would run if these claims were asked for.
    pub fn implements(&self, policy: &Identity, asked: &AskedClaims) -> bool {
        *self.policy == *policy && *self.kept.asked == *asked
    }

    /// Whether credentials are looked up: a good one is found at once, whatever
    /// else its client has sent.
    pub fn looks_up(&self) -> bool {
        matches!(self.verifier, Verifier::ApiKeys(_))
    }

    /// The client whose `credential` has verified before, and is still valid.
    #[inline]
    pub fn known(&self, credential: &[u8], now: Instant) -> Option<Arc<Identified>> {
        let known = self.known.find(credential, now)?;
        self.counts.known.add();
        Some(known)
    }

    /// Verifies a credential that is not known.
    pub fn verify(self: &Arc<Self>, presented: &Presented<'_>) -> Verification {
        let credential = presented.credential;
        match &self.verifier {
            Verifier::ApiKeys(keys) => {
                let found = api_keys::verify(keys, credential, &self.kept);
                let known =
                    found.map(|found| self.remember(credential, found, Validity::default()));
                Verification::Done(known.map_err(NotIdentified::Rejected))
            }
            Verifier::Tokens(tokens) => match tokens.read(credential) {
                Ok(token) => {
                    let (this, tokens) = (Arc::clone(self), Arc::clone(tokens));
                    let client = presented.client;
                    Verification::Pending(Box::pin(async move {
                        let verified = tokens.verify(client, &token, &this.kept).await;
                        let (identified, vouched) = verified?;
                        Ok(this.remember(&token.text, identified, vouched))
                    }))
                }
                Err(rejected) => Verification::Done(Err(rejected.into())),
            },
            // Its service is asked about requests, and not about credentials.
            Verifier::Service => Verification::Done(Err(NotIdentified::Unavailable {
                retry_after: Duration::from_secs(1),
            })),
        }
    }

    /// The client that a service has vouched for; its `id` is usable, or empty
    /// for none. It is remembered by the values of its request up to a moment,
    /// if these are given.
    pub fn vouched(
        &self,
        id: &str,
        claims: &Map<String, Value>,
        remembered: Option<(Vec<u8>, Instant)>,
    ) -> Arc<Identified> {
        let identified = Identified::new(&self.kept, id, None, claims);
        match remembered {
            Some((credential, until)) => {
                let vouched = Validity {
                    until: Some(until),
                    by: None,
                };
                self.remember(&credential, identified, vouched)
            }
            None => {
                self.counts.verified.add();
                Arc::new(identified)
            }
        }
    }

    /// Remembers on this worker the client that a credential has verified as.
    fn remember(
        &self,
        credential: &[u8],
        identified: Identified,
        vouched: Validity,
    ) -> Arc<Identified> {
        let identified = Arc::new(identified);
        self.counts.verified.add();
        self.known.add(credential, &identified, vouched);
        identified
    }
}
