//! Costs that are known in the end: where they are found, and how they are
//! settled.
//!
//! A cost in the header of the response is known with it. All others are found
//! by a meter in the body of the response, which sees each piece as it passes,
//! keeps none of it and delays nothing. The meter owns the tokens, and settles
//! them when the body ends, however it does:
//!
//! * A body that came whole settles for the cost. If that is unknown, because
//!   there is no such trailer or number, the reserve stays taken.
//! * A body that broke off, or whose client has left, settles for the cost as
//!   far as it is known, and at least for the reserve.
//!
//! Bytes are charged while they pass, whenever so many have passed that are not
//! charged yet ([`step`]): a download without an end is refused nothing itself,
//! but what it uses counts for the next requests of its key. Bytes of a tunnel
//! and of an upload are charged in the end.
//!
//! # Cost
//!
//! A route pays for a meter only if one of its limits has such a cost. JSON is
//! read once for each path.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use http::{HeaderMap, HeaderName, header};
use smallvec::SmallVec;

use super::{
    key,
    limits::RouteLimit,
    pieces::{Settling, TokenPiece},
    question::Question,
    questions::Quotas,
};
use crate::{
    body::{Body, BodyMeter},
    call::{Exchange, grpc},
    limit::{Clock, MOST_OWED},
    message::Response,
    policy::{CostSource, JsonPath},
    telemetry::UnknownCost,
    usage::UsageReader,
};

/// Least bytes of a response that are charged while it passes: smaller steps
/// would touch the bucket with every read.
const LEAST_STEP: u64 = 64 * 1024;

/// Charged steps of a burst: so many, that a download is at most this part of
/// its burst ahead of what it was charged.
const STEPS: u64 = 16;

/// The bytes of a request body that have passed.
#[derive(Debug, Clone)]
pub(super) struct Received(Arc<AtomicU64>);

impl Received {
    /// The bytes of `body`: those that it has, or those that will be pulled.
    pub(super) fn of(body: &mut Body) -> Self {
        let received = Self(Arc::new(AtomicU64::new(0)));
        match body.length() {
            Some(length) if body.is_whole() => received.0.store(length, Relaxed),
            _ => body.measure(Box::new(received.clone())),
        }
        received
    }

    /// How many have passed so far.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl BodyMeter for Received {
    fn passed(&mut self, bytes: &[u8]) {
        self.0.fetch_add(bytes.len() as u64, Relaxed);
    }

    fn trailed(&mut self, _: &HeaderMap) {}

    fn tunnelled(&mut self, _: u64, _: u64) {}

    fn ended(self: Box<Self>, _: bool) {}
}

/// The cost that the header of `response` states: `Some(None)` if it states
/// none, and `None` if the cost is found elsewhere.
pub(super) fn stated_in_header(
    question: &Question,
    limits: &[RouteLimit],
    response: &Response,
) -> Option<Option<u64>> {
    match &question.end_cost(limits)?.source {
        CostSource::ResponseHeader(name) => {
            Some(key::whole_number(response.fields.all(name)).map(u64::from))
        }
        _ => None,
    }
}

/// Has the body of `response` carry `pieces` to its end.
pub(super) fn begin(
    pieces: SmallVec<[TokenPiece; 2]>,
    exchange: &Arc<Exchange>,
    (limits, quotas): (Arc<[RouteLimit]>, &Quotas),
    received: Option<Received>,
    response: &mut Response,
) {
    let mut meter = ResponseMeter {
        open: SmallVec::new(),
        readers: SmallVec::new(),
        exchange: Arc::clone(exchange),
        limits,
        quotas: quotas.clone(),
        received,
        passed: 0,
        due: u64::MAX,
    };
    for piece in pieces {
        meter.add(piece, response);
    }
    response.body.measure(Box::new(meter));
}

/// Settles some tokens when the body of a response ends.
struct ResponseMeter {
    open: SmallVec<[OpenPiece; 1]>,
    /// One for each path.
    readers: SmallVec<[(JsonPath, UsageReader); 1]>,
    exchange: Arc<Exchange>,
    limits: Arc<[RouteLimit]>,
    quotas: Quotas,
    /// Bytes from the client; `None` if no cost needs them.
    received: Option<Received>,
    /// Bytes to the client.
    passed: u64,
    /// The number of bytes to the client with which some are charged again.
    due: u64,
}

/// Tokens whose cost is not known yet.
struct OpenPiece {
    piece: TokenPiece,
    /// Tokens that are charged so far: the reserve, and what was owed since.
    charged: u64,
    found: CostFinding,
}

/// How far a cost is found.
enum CostFinding {
    /// By the reader with this index.
    ByReader(usize),
    /// In a trailer, which may still come.
    InTrailer(HeaderName, Option<u64>),
    /// By counting bytes.
    Bytes,
    /// It stays unknown.
    Never(UnknownCost),
}

impl ResponseMeter {
    /// Adds tokens whose cost is found in this response.
    fn add(&mut self, piece: TokenPiece, response: &Response) {
        let limits = Arc::clone(&self.limits);
        let Some(cost) = piece.question.end_cost(&limits) else {
            return;
        };
        let found = match &cost.source {
            CostSource::ResponseJson(path) => self.found_in_json(path, response),
            CostSource::ResponseTrailer(name) => {
                CostFinding::InTrailer(name.clone(), self.in_lone_trailers(name, response))
            }
            CostSource::ResponseHeader(_) => CostFinding::Never(UnknownCost::Absent),
            CostSource::RequestBytes | CostSource::ResponseBytes | CostSource::Bytes => {
                CostFinding::Bytes
            }
        };
        if cost.source.counts_response() {
            self.due = self.due.min(step(&piece, &limits));
        }
        self.open.push(OpenPiece {
            charged: piece.question.cost.into(),
            piece,
            found,
        });
    }

    /// The number of a gRPC call that ended with its head: its trailers are the
    /// fields of the head then ("Trailers-Only").
    fn in_lone_trailers(&self, name: &HeaderName, response: &Response) -> Option<u64> {
        self.exchange.grpc?;
        response.fields.get(&grpc::STATUS)?;
        key::whole_number(response.fields.all(name)).map(u64::from)
    }

    /// How the number at `path` is found in a response of this type.
    fn found_in_json(&mut self, path: &JsonPath, response: &Response) -> CostFinding {
        let known = self.readers.iter().position(|(known, _)| known == path);
        if let Some(index) = known {
            return CostFinding::ByReader(index);
        }
        let fields = &response.fields;
        let mut encodings = fields.all(&header::CONTENT_ENCODING);
        if encodings.any(|encoding| !encoding.trim_ascii().eq_ignore_ascii_case(b"identity")) {
            return CostFinding::Never(UnknownCost::Encoded);
        }
        let kind = fields.get(&header::CONTENT_TYPE).unwrap_or_default();
        match UsageReader::for_content_type(kind) {
            Some(reader) => {
                self.readers.push((path.clone(), reader));
                CostFinding::ByReader(self.readers.len() - 1)
            }
            None => CostFinding::Never(UnknownCost::Type),
        }
    }

    /// The bytes that count for a cost.
    fn bytes(&self, source: &CostSource) -> u64 {
        let received = self.received.as_ref().map_or(0, Received::bytes);
        let up = if source.counts_request() { received } else { 0 };
        let down = if source.counts_response() {
            self.passed
        } else {
            0
        };
        up.saturating_add(down)
    }

    /// Charges the bytes that have passed and are not charged yet.
    #[cold]
    fn charge(&mut self) {
        let (now, mut open) = (Clock.now(), std::mem::take(&mut self.open));
        self.due = u64::MAX;
        for one in &mut open {
            let Some(cost) = one.piece.question.end_cost(&self.limits) else {
                continue;
            };
            if !cost.source.counts_response() {
                continue;
            }
            let used = cost.at_most(self.bytes(&cost.source));
            let settling = Settling {
                now,
                limits: &self.limits,
                quotas: &self.quotas,
            };
            one.piece.owe(settling, used.saturating_sub(one.charged));
            one.charged = one.charged.max(used);
            let step = step(&one.piece, &self.limits);
            self.due = self.due.min(self.passed.saturating_add(step));
        }
        self.open = open;
    }

    /// The cost as far as it is known, or why it is not.
    fn found(&self, one: &OpenPiece, source: &CostSource) -> Result<u64, UnknownCost> {
        match &one.found {
            CostFinding::Bytes => Ok(self.bytes(source)),
            CostFinding::ByReader(index) => {
                let found = self
                    .readers
                    .get(*index)
                    .and_then(|(_, reader)| reader.found());
                found.ok_or(UnknownCost::Absent)
            }
            CostFinding::InTrailer(_, found) => found.ok_or(UnknownCost::Absent),
            CostFinding::Never(reason) => Err(*reason),
        }
    }
}

impl BodyMeter for ResponseMeter {
    fn passed(&mut self, bytes: &[u8]) {
        for (path, reader) in &mut self.readers {
            reader.read(path, bytes);
        }
        self.passed = self.passed.saturating_add(bytes.len() as u64);
        if self.passed >= self.due {
            self.charge();
        }
    }

    fn trailed(&mut self, trailers: &HeaderMap) {
        for one in &mut self.open {
            if let CostFinding::InTrailer(name, found) = &mut one.found {
                let lines = trailers.get_all(&*name).iter();
                *found = key::whole_number(lines.map(|line| line.as_bytes())).map(u64::from);
            }
        }
    }

    fn tunnelled(&mut self, received: u64, passed: u64) {
        self.received = Some(Received(Arc::new(AtomicU64::new(received))));
        self.passed = passed;
    }

    fn ended(mut self: Box<Self>, is_whole: bool) {
        let now = Clock.now();
        for one in std::mem::take(&mut self.open) {
            let question = one.piece.question;
            let Some(cost) = question.end_cost(&self.limits) else {
                continue;
            };
            let found = self.found(&one, &cost.source).map(|found| {
                let least = if is_whole { 0 } else { question.cost.into() };
                cost.at_most(found).max(least)
            });
            if let Err(reason) = found {
                note_unknown(&self.exchange, &question, &self.limits, reason);
            }
            let settling = Settling {
                now,
                limits: &self.limits,
                quotas: &self.quotas,
            };
            note(&self.exchange, &question, settling, found.ok());
            // Bytes that were charged while they passed are not charged again.
            match found {
                Ok(used) if one.charged > question.cost.into() => {
                    one.piece.owe(settling, used.saturating_sub(one.charged));
                }
                found => {
                    one.piece.settle(settling, found.ok());
                }
            }
        }
    }
}

/// Bytes after which some are charged.
fn step(piece: &TokenPiece, limits: &[RouteLimit]) -> u64 {
    let limiter = piece.question.limiter(limits);
    let burst = limiter.map_or(0, |limiter| limiter.gcra().burst());
    (u64::from(burst) / STEPS).max(LEAST_STEP)
}

/// Notes for the access line and the metrics that a request has `used` so many
/// tokens in the end; `None` if it is unknown, and the reserve stays taken. Of
/// an absurd number only the part counts that its key can owe.
pub(super) fn note(
    exchange: &Exchange,
    question: &Question,
    settling: Settling<'_>,
    used: Option<u64>,
) {
    let reserved = u64::from(question.cost);
    let used = used.map_or(reserved, |used| used.min(most_charged(question, settling)));
    if !question.is_candidate() {
        let name = question.name(settling.limits);
        let route = &exchange.route;
        route
            .metrics
            .record(|cells| cells.cost(&route.limits, name, reserved, used));
        exchange.facts.lock().cost.get_or_insert(used);
    }
}

/// The most tokens that one number of a response can charge: the reserve, and
/// the longest debt. Bytes are charged while they pass, without such a bound.
fn most_charged(question: &Question, settling: Settling<'_>) -> u64 {
    let source = question.end_cost(settling.limits).map(|cost| &cost.source);
    let is_number = source.is_some_and(|one| !one.counts_request() && !one.counts_response());
    match question.ask(settling.limits, settling.quotas) {
        Some(ask) if is_number => {
            let gcra = ask.quota.unwrap_or(ask.limiter.gcra());
            u64::from(gcra.burst()) * MOST_OWED + u64::from(question.cost)
        }
        _ => u64::MAX,
    }
}

/// Counts a cost that stays unknown, and says so in the log if it is because
/// the response is compressed.
#[cold]
pub(super) fn note_unknown(
    exchange: &Exchange,
    question: &Question,
    limits: &[RouteLimit],
    reason: UnknownCost,
) {
    if question.is_candidate() {
        return;
    }
    let route = &exchange.route;
    route.metrics.record(|cells| cells.unknown_cost(reason));
    if reason == UnknownCost::Encoded && route.metrics.is_first_encoding() {
        tracing::warn!(
            route = route.name.as_deref().unwrap_or_default(),
            limit = &*question.limit(limits).policy.name,
            "a response is compressed, so that its cost is not read and counts as `reserve`; have the service answer \
             without compression, such as by `set_headers = {{ \"accept-encoding\" = \"identity\" }}` of the route's requests"
        );
    }
}
