//! JSON Web Tokens (RFC 7519): verified once, and remembered until they end.
//!
//! A token goes through these steps, the cheap ones first: `token` reads it,
//! `conditions` checks its claims, `ring` finds the keys that may have signed
//! it, and `checks` has one of its threads check the signature. Keys are fixed
//! by the configuration, or come from a URL (`source`, `fetch`).
//!
//! # Remembered
//!
//! A token is remembered for as long as it is valid, at most for
//! [`LONGEST_KNOWN`]: the clock by which it was judged may have been wrong, and
//! be put right later. It is forgotten when the key that verified it leaves the
//! set.

mod checks;
mod conditions;
mod fetch;
mod queue;
mod ring;
mod source;
mod token;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

pub use self::{
    checks::{CheckCounts, SignatureChecks},
    source::{KeySource, SourceCounts},
};
use self::{
    ring::{KeyRing, LiveKey, SigningKeys},
    source::{LONGEST_WAIT, Outlook, PAUSE},
    token::Token,
};
use super::{
    claims::{self, Identified, KeptClaims},
    known::Validity,
    rejected::Rejected,
    verification::NotIdentified,
};
use crate::{
    policy::{Jwt, KeySet},
    runtime::timer::timeout,
};

/// The longest time for which a token is remembered.
const LONGEST_KNOWN: Duration = Duration::from_secs(10 * 60);
/// The longest wait for a check: many times what a full queue takes.
const LONGEST_CHECK: Duration = Duration::from_secs(5);
/// When a token that found the queue full is worth to be sent again.
const QUEUE_RETRY: Duration = Duration::from_secs(1);

/// Verifies the tokens of one identity.
#[derive(Debug)]
pub struct TokenVerifier {
    policy: Arc<Jwt>,
    keys: Keys,
    checks: Arc<SignatureChecks>,
}

/// The keys of an identity.
#[derive(Debug)]
enum Keys {
    Fixed(KeyRing),
    Fetched(Arc<KeySource>),
}

impl TokenVerifier {
    /// Verifies tokens by fixed keys.
    pub fn fixed(policy: Arc<Jwt>, set: &KeySet, checks: Arc<SignatureChecks>) -> Self {
        let ring = KeyRing::default();
        ring.replace(set);
        Self {
            policy,
            keys: Keys::Fixed(ring),
            checks,
        }
    }

    /// Verifies tokens by the keys at a URL.
    pub fn fetched(policy: Arc<Jwt>, source: Arc<KeySource>, checks: Arc<SignatureChecks>) -> Self {
        Self {
            policy,
            keys: Keys::Fetched(source),
            checks,
        }
    }

    /// The keys at a URL; `None` for fixed ones.
    pub(super) fn source(&self) -> Option<&Arc<KeySource>> {
        match &self.keys {
            Keys::Fetched(source) => Some(source),
            Keys::Fixed(_) => None,
        }
    }

    /// Reads a token and checks its claims. Nothing of it is believed yet.
    ///
    /// # Errors
    /// It would be refused whatever its signature is.
    pub(super) fn read(&self, text: &[u8]) -> Result<Arc<Token>, Rejected> {
        read(&self.policy, text, since_1970()).map(|(token, _)| Arc::new(token))
    }

    /// Checks the signature of a token that was read. Returns the client, and
    /// what vouches for it.
    ///
    /// Waits for at most 17 s, of which 12 are for keys.
    ///
    /// # Errors
    /// It does not verify, or cannot be checked now.
    pub(super) async fn verify(
        &self,
        client: IpAddr,
        token: &Arc<Token>,
        kept: &KeptClaims,
    ) -> Result<(Identified, Validity), NotIdentified> {
        let keys = self.keys(token).await?;
        let asked = self.checks.ask(client, Arc::clone(token), keys);
        let Ok(Ok(answer)) = timeout(LONGEST_CHECK, asked).await else {
            return Err(NotIdentified::Unavailable {
                retry_after: QUEUE_RETRY,
            });
        };
        let key = answer.ok_or(Rejected::new("its signature does not verify"))?;
        // It may have ended while it waited.
        let left = conditions::check(&self.policy, &token.claims, since_1970())?;
        let id = id(&self.policy, token)?;
        let identified = Identified::new(kept, &id, None, &token.claims);
        let vouched = Validity {
            until: Some(Instant::now() + left.min(LONGEST_KNOWN)),
            by: Some(Arc::clone(&key.voucher)),
        };
        Ok((identified, vouched))
    }

    /// The keys that may have signed a token. Waits for them to be fetched, if
    /// they are not there.
    async fn keys(&self, token: &Token) -> Result<Vec<Arc<LiveKey>>, NotIdentified> {
        let unknown = Rejected::new("no key of the issuer has this kid and algorithm");
        let unavailable = NotIdentified::Unavailable { retry_after: PAUSE };
        let ring = match &self.keys {
            Keys::Fixed(ring) => ring,
            Keys::Fetched(source) => &source.ring,
        };
        // A fetch that is under way may have begun before the key was there.
        for _ in 0..2 {
            if let SigningKeys::Keys(keys) = ring.candidates(token) {
                return Ok(keys);
            }
            let Keys::Fetched(source) = &self.keys else {
                return Err(unknown.into());
            };
            match source.ask(Instant::now()) {
                Outlook::UpToDate => return Err(unknown.into()),
                Outlook::Unavailable => return Err(unavailable),
                Outlook::Fetching(mut ended, _count) => {
                    let _ = timeout(LONGEST_WAIT, ended.changed()).await;
                }
            }
        }
        match ring.candidates(token) {
            SigningKeys::Keys(keys) => Ok(keys),
            SigningKeys::Unknown => Err(unknown.into()),
            SigningKeys::NoSet => Err(unavailable),
        }
    }
}

/// Reads a token and checks its claims, at `now` since 1970. Returns the time
/// that is left of it, too.
///
/// # Errors
/// It would be refused whatever its signature is.
pub(super) fn read(
    policy: &Jwt,
    text: &[u8],
    now: Duration,
) -> Result<(Token, Duration), Rejected> {
    let token = Token::read(text, &policy.algorithms)?;
    let left = conditions::check(policy, &token.claims, now)?;
    id(policy, &token)?;
    Ok((token, left))
}

/// The id of the client, which is in the claim that the policy names.
///
/// # Errors
/// There is none, or it cannot be told to a service.
fn id(policy: &Jwt, token: &Token) -> Result<Box<str>, Rejected> {
    let found = claims::find(&token.claims, &policy.id);
    let value = found.ok_or(Rejected::new("it does not say whose it is"))?;
    let unfit = "its id is no text of 1 to 1024 bytes without control characters and outer blanks, and no whole number of 64 bits";
    claims::single(value).ok_or(Rejected::new(unfit))
}

/// The time since 1970 by the clock of the system; zero before that.
fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}
