//! Forward auth: a service says who the client is.
//!
//! The service is sent a GET with some fields of the request and, in
//! `X-Forwarded-*`, the method, host, path and client of it. A response with a
//! status of success identifies the client, and its fields say who that is. Any
//! other response is the gateway's response to the client, which may be sent
//! to a page for signing in.
//!
//! # Bounds
//!
//! One timeout covers the question, up to the last byte of a response that
//! goes to the client, of which at most [`LONGEST_BODY`] bytes are read. A
//! concurrency limit without a queue bounds the questions in flight. Dropping
//! the future ends the question.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, Method, StatusCode, Version, header};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};
use tower::{ServiceExt, util::BoxCloneSyncService};

use super::{Identification, PendingAnswer, RouteIdentity};
use crate::{
    body::Body,
    call::{Call, Exchange, Facts, Flag, Progress, RouteTag, Target, Trace},
    duration,
    error::{Error, Failed, ServiceResponse},
    identity::is_usable,
    message::{Headers, NameSet, RequestHead, Response},
    policy::ForwardAuth,
};

/// The name or the value of a field of a question.
type FieldPart<'a> = Cow<'a, [u8]>;

/// Bytes of the longest body that a client gets from the service: a page for
/// signing in, or a problem in JSON.
const LONGEST_BODY: usize = 64 * 1024;

/// When to try again if the service could not be asked.
const SOON: Duration = Duration::from_secs(1);

/// The field with the method of the request.
const X_FORWARDED_METHOD: &[u8] = b"x-forwarded-method";
/// The field with the path and the query of the request.
const X_FORWARDED_URI: &[u8] = b"x-forwarded-uri";

/// Sends questions to the service: its concurrency limit, its timeout, its
/// pool.
pub type AskService = BoxCloneSyncService<Call, Response, Failed>;

/// A service that is asked, as a route uses it.
#[derive(Debug)]
pub struct AuthService {
    /// The request to it, and the fields of its responses that count.
    pub policy: Arc<ForwardAuth>,
    /// Sends a question.
    pub service: AskService,
    /// The route of questions in logs and metrics, where it never appears.
    pub tag: Arc<RouteTag>,
}

/// A question that is about to be asked.
pub(super) struct AskedQuestion {
    /// The identity, by its index in the order of the route.
    identity: usize,
    asking: Arc<AuthService>,
    /// The values of the request that its answer is remembered by; `None` if it
    /// has none.
    credential: Option<Vec<u8>>,
}

impl Identification {
    /// Identifies the client by an earlier answer of the service, or returns the
    /// question to it.
    ///
    /// # Errors
    /// The client lacks a claim that the route requires, or has sent too many
    /// credentials that the service refused.
    #[cold]
    pub(super) fn look(
        &self,
        identity: usize,
        asking: &Arc<AuthService>,
        call: &Call,
    ) -> Result<Option<PendingAnswer>, Error> {
        let (one, exchange) = (&self.identities[identity], &call.exchange);
        let credential = asking.credential(exchange);
        if let Some(credential) = &credential {
            if let Some(known) = one.authenticator.known(credential, call.now) {
                return self.welcome(known, exchange).map(|()| None);
            }
            if let Some(failures) = &one.failures {
                let checked = failures.check(exchange, call.now);
                checked.inspect_err(|_| one.note(exchange))?;
            }
        }
        Ok(Some(PendingAnswer::Service(AskedQuestion {
            identity,
            asking: Arc::clone(asking),
            credential,
        })))
    }

    /// Asks the service about a request, and notes who the client is. Returns
    /// the time of the answer.
    ///
    /// # Errors
    /// The service refuses the request or cannot be asked, or the client lacks
    /// a claim that the route requires.
    pub(super) async fn ask(
        &self,
        question: AskedQuestion,
        exchange: &Arc<Exchange>,
    ) -> Result<Instant, Error> {
        let AskedQuestion {
            identity,
            asking,
            credential,
        } = question;
        let one = &self.identities[identity];
        let answer = asking.ask(exchange).await;
        let now = Instant::now();
        let vouched = match answer {
            Ok(vouched) => vouched,
            Err(NotVouched::Refused(response)) => {
                one.note(exchange);
                let is_about_it = credential.is_some();
                return Err(one.refused_by_service(response, is_about_it, exchange, now));
            }
            Err(NotVouched::Fault(cause)) => {
                one.note(exchange);
                return Err(one.unavailable(&cause, &asking, now));
            }
        };
        let remembered = credential.filter(|_| !asking.policy.cache.is_zero());
        let remembered = remembered.map(|credential| (credential, now + asking.policy.cache));
        let Vouched { id, claims } = vouched;
        let identified = one.authenticator.vouched(&id, &claims, remembered);
        self.welcome(identified, exchange)?;
        Ok(now)
    }
}

impl RouteIdentity {
    /// Counts a refusal of the service, and charges the credential that it did
    /// not accept, if the request has one.
    #[cold]
    fn refused_by_service(
        &self,
        response: ServiceResponse,
        has_credential: bool,
        exchange: &Exchange,
        now: Instant,
    ) -> Error {
        self.authenticator.counts.rejected.add();
        let is_about_it = has_credential && matches!(response.status.as_u16(), 401 | 403);
        if let Some(failures) = &self.failures
            && is_about_it
            && let Err(exhausted) = failures.charge(exchange, now)
        {
            return exhausted;
        }
        Error::RefusedByService {
            response: Arc::new(response),
        }
    }

    /// Counts a question without an answer, and logs the cause.
    #[cold]
    fn unavailable(&self, cause: &str, asking: &AuthService, now: Instant) -> Error {
        self.authenticator.counts.unavailable.add();
        if let Some(faults) = self.authenticator.faults.note(now) {
            let identity = &*self.authenticator.policy.name;
            let servers = &asking.policy.upstream.servers;
            let service = servers.first().map_or("", |server| &*server.url);
            tracing::warn!(
                identity,
                service,
                faults,
                "clients cannot be identified: {cause}"
            );
        }
        Error::IdentityUnavailable { retry_after: SOON }
    }
}

/// Why a service does not vouch for a client.
enum NotVouched {
    /// It refuses the request by this response.
    Refused(ServiceResponse),
    /// It could not be asked, or its answer says nothing. The sentence names the
    /// cause, and nothing that the service has sent.
    Fault(Cow<'static, str>),
}

/// The words of the service about a client that it knows.
#[derive(Debug)]
struct Vouched {
    /// The id of the client; empty if the service is not asked for one.
    id: String,
    /// Claims by name.
    claims: Map<String, Value>,
}

impl AuthService {
    /// The values of the request by which the service knows the client, for
    /// remembering its answer; `None` if the request has none of them.
    fn credential(&self, exchange: &Exchange) -> Option<Vec<u8>> {
        let mut values = Vec::new();
        let mut is_any = false;
        for name in &self.policy.send {
            for line in exchange.request.headers.all(name) {
                is_any = true;
                values.extend_from_slice(name.as_str().as_bytes());
                values.push(b':');
                values.extend_from_slice(line);
                // No field has a line feed.
                values.push(b'\n');
            }
        }
        is_any.then_some(values)
    }

    /// Asks about a request.
    ///
    /// # Errors
    /// The service does not vouch for the client.
    async fn ask(&self, exchange: &Arc<Exchange>) -> Result<Vouched, NotVouched> {
        let now = Instant::now();
        let question = Call::new(self.question(exchange), Body::empty(), now);
        let asked = self.service.clone().oneshot(question);
        let end = now + self.policy.timeout;
        let answered = timeout_at(end, async {
            let failed = |failed: Failed| NotVouched::Fault(failed.error.to_string().into());
            let mut response = asked.await.map_err(failed)?;
            let body = read(&mut response.body).await;
            if response.status.is_success() {
                return self.vouched(&response).map_err(NotVouched::Fault);
            }
            // A body that is too long, or breaks off, is not shown in part.
            let fault = "the body of its refusal breaks off, or has more than 64 KiB";
            let body = body.ok_or(NotVouched::Fault(fault.into()))?;
            Err(NotVouched::Refused(refused(response, body)))
        });
        answered.await.unwrap_or_else(|_| {
            let timeout = duration::text(self.policy.timeout);
            let fault = format!("the service did not answer within {timeout}");
            Err(NotVouched::Fault(fault.into()))
        })
    }

    /// The request to the service, as an exchange of its own.
    fn question(&self, of: &Exchange) -> Arc<Exchange> {
        Arc::new(Exchange {
            request: Box::new(RequestHead {
                method: Method::GET,
                version: Version::HTTP_11,
                headers: self.fields(of),
                names_hops: false,
                upgrade: None,
            }),
            // The configuration has checked it.
            target: Target::parse(Bytes::copy_from_slice(self.policy.target.as_bytes()))
                .unwrap_or_else(|_| Target::unreadable()),
            host: Arc::clone(&of.host),
            grpc: None,
            interim: None,
            origin: Arc::clone(&of.origin),
            client: of.client,
            identified: std::sync::OnceLock::new(),
            id: of.id.clone(),
            started: of.started,
            facts: Facts::begin(&self.tag.metrics),
            route: Arc::clone(&self.tag),
            trace: of.trace.as_ref().map(Trace::aside),
            parameters: Vec::new(),
            is_sent: Flag::default(),
            progress: Progress::default(),
        })
    }

    /// The fields of a question: those of the request that are sent along, the
    /// account of a trusted proxy, and the request line. The layer that writes
    /// the question adds `X-Forwarded-For`, `-Proto` and `-Host`.
    fn fields(&self, of: &Exchange) -> Headers {
        let request = &of.request;
        let (path, query) = of.target.to_forward();
        let mut fields: Vec<(FieldPart<'_>, FieldPart<'_>)> = vec![
            (
                X_FORWARDED_METHOD.into(),
                request.method.as_str().as_bytes().into(),
            ),
            (X_FORWARDED_URI.into(), [path, query].concat().into()),
        ];
        for field in request.headers.iter() {
            let is_account = of.client.chain.is_some() && NameSet::FORWARDING.has(field.field);
            let mut sent = self.policy.send.iter();
            let is_sent =
                sent.any(|name| field.name.eq_ignore_ascii_case(name.as_str().as_bytes()));
            if is_account || is_sent {
                fields.push((field.name.into(), field.value.into()));
            }
        }
        fields.into_iter().collect()
    }

    /// Reads who the client is.
    ///
    /// # Errors
    /// The service does not name one client, though it is asked to.
    fn vouched(&self, response: &Response) -> Result<Vouched, Cow<'static, str>> {
        let id = match &self.policy.id {
            Some(name) => id(name, response)?.to_owned(),
            None => String::new(),
        };
        let mut claims = Map::new();
        for (claim, name) in &self.policy.claims {
            // With anything in the place of bytes that are no text, two claims
            // could be one.
            let lines: Result<Vec<_>, _> = response.fields.all(name).map(str::from_utf8).collect();
            let lines = lines.unwrap_or_default().into_iter();
            let items = lines.flat_map(|line| line.split(','));
            let items = items.map(|item| item.trim_matches([' ', '\t']));
            let items: Vec<_> = items.filter(|item| !item.is_empty()).collect();
            claims.insert(claim.to_string(), items.into());
        }
        Ok(Vouched { id, claims })
    }
}

/// The id of the client in the field of this name.
///
/// # Errors
/// There is none or there are several, and what is in it cannot be told to
/// others. A part of it, or several together, could be another client.
fn id<'r>(name: &HeaderName, response: &'r Response) -> Result<&'r str, String> {
    let mut lines = response.fields.all(name);
    let Some(line) = lines.next() else {
        let fault = format!("its response has no field \"{name}\" with the id of the client");
        return Err(fault);
    };
    if lines.next().is_some() {
        return Err(format!("its response has several fields \"{name}\""));
    }
    let text = str::from_utf8(line).ok();
    text.filter(|text| is_usable(text)).ok_or_else(|| {
        format!("the field \"{name}\" of its response is no text of 1 to 1024 bytes in UTF-8")
    })
}

/// Reads a body to its end, so that its connection can be used again. `None` if
/// it is too long or breaks off.
async fn read(body: &mut Body) -> Option<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let data = frame.ok()?.into_data().unwrap_or_default();
        if whole.len() + data.len() > LONGEST_BODY {
            return None;
        }
        whole.extend_from_slice(&data);
    }
    Some(whole.freeze())
}

/// The response of the service, as the client gets it.
fn refused(mut response: Response, body: Bytes) -> ServiceResponse {
    for name in [
        header::CONTENT_LENGTH,
        header::DATE,
        header::TRAILER,
        header::SERVER,
    ] {
        response.fields.remove(&name);
    }
    // 101 and other statuses below 200 end no exchange.
    let status = match response.status.as_u16() {
        200.. => response.status,
        _ => StatusCode::BAD_GATEWAY,
    };
    ServiceResponse {
        status,
        lines: response.fields.as_bytes().into(),
        body,
    }
}
