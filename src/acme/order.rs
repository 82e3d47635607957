//! One order: from the account to the certificate (RFC 8555, 7.4).
//!
//! Everything that an authority returns is held against what was asked: it may
//! be broken, and it may lie. A certificate that is not the one that was ordered
//! is a [`OrderFault`], and never shown to a client.
//!
//! # Cancellation
//!
//! Dropping the future takes back the responses to challenges. The authority
//! forgets an order that is not completed.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeHandle,
    ChallengeType, Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{
    client::AcmeClient,
    fault::{FaultKind, OrderFault, repeated},
    folder::Folder,
    http_challenges::{HttpChallenges, ShownToken},
};
use crate::{
    policy::{Acme, AcmeChallenge, KeyedCertificate},
    tls::{Obtained, ShownChallenge},
};

/// How the state of an order is asked for: after a quarter of a second, then
/// less and less often, for a minute and a half. Authorities look from several
/// places, which takes seconds.
const POLLS: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

/// How far the clock of an authority may be ahead of ours. The difference says
/// nothing about a certificate; one of years does.
const MOST_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// The certificate that is to be ordered.
#[derive(Debug, Clone)]
pub(super) struct OrderJob {
    /// The domain.
    pub(super) domain: Box<str>,
    /// From whom, and how.
    pub(super) acme: Arc<Acme>,
}

/// Where challenges are responded to.
#[derive(Debug, Clone, Default)]
pub(super) struct Responders {
    /// In handshakes.
    pub(super) tls: Arc<Obtained>,
    /// In responses.
    pub(super) http: Arc<HttpChallenges>,
}

/// A response to a challenge, for as long as this lives.
#[expect(dead_code, reason = "guards are held and not looked at")]
enum Shown {
    Handshake(ShownChallenge),
    Response(ShownToken),
}

/// The account of a job: the one that is kept, or else a new one, which is kept.
///
/// # Errors
/// The authority cannot be used, or the account cannot be written.
pub(super) async fn account(
    client: &AcmeClient,
    job: &OrderJob,
    folder: &Folder,
) -> Result<Account, OrderFault> {
    let (in_folder, acme) = (folder.clone(), Arc::clone(&job.acme));
    let kept = blocking(move || in_folder.account(&acme)).await?;
    let kept = kept.map_err(|error| OrderFault::local("the account cannot be read", &error))?;
    let builder = Account::builder_with_http(Box::new(client.clone()));
    match kept.map(|json| serde_json::from_slice::<AccountCredentials>(&json)) {
        Some(Ok(credentials)) => return Ok(builder.from_credentials(credentials).await?),
        Some(Err(_)) => {
            tracing::warn!(directory = %job.acme.directory, "the file of the ACME account is damaged: a new account is made");
        }
        None => {}
    }
    let contact = job
        .acme
        .email
        .as_ref()
        .map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let account = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let directory = job.acme.directory.to_string();
    let (account, credentials) = builder.create(&account, directory, None).await?;
    let json = serde_json::to_vec(&credentials).map(Zeroizing::new);
    let json =
        json.map_err(|_| OrderFault::new(FaultKind::Local, "the account cannot be written"))?;
    let (folder, acme) = (folder.clone(), Arc::clone(&job.acme));
    let kept = blocking(move || folder.keep_account(&acme, &json)).await?;
    kept.map_err(|error| OrderFault::local("the account cannot be written", &error))?;
    tracing::info!(directory = %job.acme.directory, "ACME account made");
    Ok(account)
}

/// Orders a certificate, and returns its key and its chain as PEM. `replaces` is
/// the one before it, for an authority that wants to know.
///
/// # Errors
/// The authority refuses, cannot be used, or returns something else than what
/// was ordered.
pub(super) async fn order(
    account: &Account,
    job: &OrderJob,
    replaces: Option<CertificateIdentifier<'static>>,
    responders: &Responders,
) -> Result<Zeroizing<String>, OrderFault> {
    let identifiers = [Identifier::Dns(job.domain.to_string())];
    let mut asked = NewOrder::new(&identifiers);
    if let Some(replaces) = replaces {
        asked = asked.replaces(replaces);
    }
    let order = account.new_order(&asked).await?;
    let completed = complete(order, job, responders).await;
    completed.map_err(OrderFault::after_order)
}

/// Brings an order that the authority has made to its end.
async fn complete(
    mut order: Order,
    job: &OrderJob,
    responders: &Responders,
) -> Result<Zeroizing<String>, OrderFault> {
    if order.state().authorizations.len() != 1 {
        return Err(OrderFault::invalid(
            "the order for one domain has another number of authorizations",
        ));
    }
    let shown = respond(&mut order, job, responders).await?;
    let status = order.poll_ready(&POLLS).await;
    if !matches!(status, Ok(OrderStatus::Ready)) {
        // The reason stands at the challenge.
        if let Some(fault) = fault_of_challenge(&mut order).await {
            return Err(fault);
        }
        status?;
        return Err(OrderFault::invalid("the order is refused without a reason"));
    }
    drop(shown);
    let key = KeyPair::generate().map_err(no_key)?;
    let mut params = CertificateParams::new([job.domain.to_string()]).map_err(no_key)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(no_key)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&POLLS).await?;
    Ok(Zeroizing::new(key.serialize_pem() + &chain))
}

/// Responds to the challenge of an order, if it has to be: an authority
/// remembers for a while that a domain is ours.
async fn respond(
    order: &mut Order,
    job: &OrderJob,
    responders: &Responders,
) -> Result<Option<Shown>, OrderFault> {
    let mut authorizations = order.authorizations();
    let Some(authorization) = authorizations.next().await else {
        return Ok(None);
    };
    let mut authorization = authorization?;
    match authorization.identifier().identifier {
        Identifier::Dns(name) if name.eq_ignore_ascii_case(&job.domain) => {}
        _ => return Err(OrderFault::invalid("the authorization is for another name")),
    }
    match authorization.status {
        AuthorizationStatus::Valid => return Ok(None),
        AuthorizationStatus::Pending => {}
        _ => {
            return Err(OrderFault::invalid(
                "the authorization is over before it began",
            ));
        }
    }
    let (kind, name) = match job.acme.challenge {
        AcmeChallenge::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
        AcmeChallenge::Http01 => (ChallengeType::Http01, "http-01"),
    };
    let challenge = authorization.challenge(kind);
    let mut challenge = challenge.ok_or_else(|| {
        let text = format!("the authority does not offer the challenge {name}");
        OrderFault::new(FaultKind::Refused, text)
    })?;
    let shown = show(&challenge, job, responders)?;
    challenge.set_ready().await?;
    Ok(Some(shown))
}

/// Shows the response to a challenge to everybody who looks.
fn show(
    challenge: &ChallengeHandle<'_>,
    job: &OrderJob,
    responders: &Responders,
) -> Result<Shown, OrderFault> {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    if challenge.token.is_empty() || !challenge.token.bytes().all(is_plain) {
        return Err(OrderFault::invalid(
            "the token of the challenge is malformed",
        ));
    }
    let response = challenge.key_authorization();
    if job.acme.challenge == AcmeChallenge::Http01 {
        let shown = responders.http.show(&challenge.token, response.as_str());
        return Ok(Shown::Response(shown));
    }
    let key = KeyPair::generate().map_err(no_key)?;
    let mut params = CertificateParams::new([job.domain.to_string()]).map_err(no_key)?;
    let digest = response.digest();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let certificate = params.self_signed(&key).map_err(no_key)?;
    let key = Zeroizing::new(key.serialize_der());
    let tls = &responders.tls;
    let shown = tls.challenge(&job.domain, certificate.der(), &key);
    let shown = shown.map_err(|why| OrderFault::new(FaultKind::Local, why))?;
    Ok(Shown::Handshake(shown))
}

/// The problem at a challenge of an order; `None` if there is none, or if the
/// authority does not tell.
async fn fault_of_challenge(order: &mut Order) -> Option<OrderFault> {
    let mut authorizations = order.authorizations();
    let mut authorization = authorizations.next().await?.ok()?;
    let state = authorization.refresh().await.ok()?;
    let problem = state.challenges.iter().find_map(|one| one.error.as_ref());
    problem.map(OrderFault::of_problem)
}

/// The certificate that was ordered.
///
/// # Errors
/// The authority has returned another one, or something else.
pub(super) fn check(
    pem: &[u8],
    job: &OrderJob,
    folder: &Folder,
    now: SystemTime,
) -> Result<KeyedCertificate, OrderFault> {
    let file = folder.certificate_file(&job.domain, &job.acme);
    let certificate = KeyedCertificate::from_pem(pem, file);
    let certificate = certificate
        .map_err(|why| OrderFault::invalid(format!("the response for a certificate {why}")))?;
    if !certificate.names.contains(&job.domain) {
        let names = repeated(&certificate.names.join(", "));
        let text = format!("the certificate is for other names: {names}");
        return Err(OrderFault::invalid(text));
    }
    if certificate.expires <= now {
        return Err(OrderFault::invalid("the certificate has expired already"));
    }
    if certificate.begins > now + MOST_AHEAD {
        return Err(OrderFault::invalid("the certificate is not valid yet"));
    }
    Ok(certificate)
}

/// A key or a certificate of our own that cannot be made.
fn no_key(error: rcgen::Error) -> OrderFault {
    OrderFault::new(FaultKind::Local, format!("no key can be made ({error})"))
}

/// Runs work that blocks beside everything else.
///
/// # Errors
/// The work panicked, or the process ends.
pub(super) async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, OrderFault> {
    let done = spawn_blocking(work).await;
    done.map_err(|_| OrderFault::new(FaultKind::Local, "work on a file was cut off"))
}
