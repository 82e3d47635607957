//! The service of a route with `quota = true`: it answers with the state of the
//! route's limits for the client that asks.
//!
//! It is innermost in the stack, in the place of an upstream, and the stack of
//! such a route decides by no limit: a client that asks how much is left takes
//! nothing and is refused nothing. Limits in shadow mode and candidates refuse
//! nothing either, and are not told of.
//!
//! # Shared limits
//!
//! The store is asked about all of them in one call, bounded as those of
//! operators are. Without its answer the state is unknown, and is told as such.
//! Of a cap that is shared, only the most is told.
//!
//! # Cost
//!
//! A response has a row for each limit and tier of the route, of which there
//! are at most 64. It is made anew for each request, with allocations: clients
//! ask seldom.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{StatusCode, header};
use serde_json::{Value, json};
use tower::Service;

use super::{
    super::response_changes,
    RateLimitLayer,
    limits::RouteLimit,
    question::{Inquiry, Question},
    questions::{Questions, Quotas},
    shared,
};
use crate::{
    body::Body,
    call::{Call, Exchange},
    duration::whole_seconds,
    error::Failed,
    limit::{Clock, Standing},
    message::Response,
    policy::{HeaderChanges, Missing},
    store::{SharedAsk, Store},
};

/// Answers with the state of the limits of a route.
#[derive(Debug, Clone)]
pub struct LimitReport(Arc<ReportPolicy>);

#[derive(Debug)]
struct ReportPolicy {
    limits: Arc<[RouteLimit]>,
    /// The store, if some of the limits are in it.
    store: Option<Arc<Store>>,
    /// The route's changes in the header of responses.
    headers: HeaderChanges,
}

impl LimitReport {
    /// Answers with the state of the limits that `layer` would decide by, with
    /// the route's changes to response headers.
    pub fn new(layer: RateLimitLayer, headers: &HeaderChanges) -> Self {
        Self(Arc::new(ReportPolicy {
            limits: layer.limits,
            store: layer.store,
            headers: headers.clone(),
        }))
    }
}

impl Service<Call> for LimitReport {
    type Response = Response;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Failed>> + Send>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            let rows = policy.rows(&call.exchange).await;
            let body = json!({ "limits": rows }).to_string();
            let mut response = Response::new(StatusCode::OK, Body::whole(body));
            for (name, value) in [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-store"),
            ] {
                response.fields.push(name.as_str(), value.as_bytes());
            }
            response_changes::apply(&policy.headers, &mut response, &call.exchange);
            Ok(response)
        })
    }
}

/// Rows of a response, of which some wait for the store.
#[derive(Default)]
struct Rows {
    rows: Vec<Value>,
    /// Questions to the store, and the index of the row of each.
    asked: Vec<(usize, SharedAsk)>,
}

impl ReportPolicy {
    /// A row for each limit that applies to the request, followed by those of
    /// its tiers, in the order of the route.
    async fn rows(&self, exchange: &Arc<Exchange>) -> Vec<Value> {
        let mut found = Rows::default();
        for index in 0..self.limits.len() {
            self.add(index, exchange, &mut found);
        }
        let Rows { mut rows, asked } = found;
        if let Some(store) = self.store.as_ref().filter(|_| !asked.is_empty()) {
            let (at, asks): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
            for (index, standing) in at.into_iter().zip(store.standing(&asks).await) {
                if let Some(standing) = standing {
                    describe(&mut rows[index], &standing);
                } else {
                    rows[index]["reason"] = json!("store_unavailable");
                }
            }
        }
        rows
    }

    /// Adds the rows of the limit with this index.
    fn add(&self, index: usize, exchange: &Arc<Exchange>, found: &mut Rows) {
        let inquiry = Inquiry {
            limits: &self.limits,
            exchange,
            now: Clock.now(),
        };
        let limit = &self.limits[index];
        if limit.policy.shadow {
            return;
        }
        let names = &exchange.route.limits;
        let mut row = json!({ "name": names.get(limit.name).map(|name| &**name) });
        let Some(key) = limit.key(exchange) else {
            if limit.policy.missing != Missing::Skip {
                row["reason"] = json!("key_missing");
                found.rows.push(row);
            }
            return;
        };
        let own = Question::plain(index, key, 0);
        if let Some(rest) = limit.ban_rest(&inquiry, &own) {
            describe(&mut row, &inquiry.banned_standing(&own, rest));
            row["reason"] = json!("banned");
            row["reset"] = json!(whole_seconds(rest));
            return found.rows.push(row);
        }
        let mut questions = Questions::default();
        if !inquiry.collect_buckets(own, &mut questions) {
            row["unlimited"] = json!(true);
            return found.rows.push(row);
        }
        let (in_flight, shared) = (&questions.in_flight.live, &questions.shared.live);
        let all = questions.live.iter().chain(in_flight).chain(shared);
        for question in all {
            let name = names.get(question.name(&self.limits));
            let mut row = json!({ "name": name.map(|name| &**name) });
            if limit.policy.cost.is_in_bytes() {
                row["unit"] = json!("content-bytes");
            }
            if let Some(ask) = shared::ask(&inquiry, question, &questions.quotas) {
                found.asked.push((found.rows.len(), ask));
            } else {
                self.look(&inquiry, question, &questions.quotas, &mut row);
            }
            found.rows.push(row);
        }
    }

    /// Writes the state of what a question asks for in this gateway into a row.
    fn look(&self, inquiry: &Inquiry<'_>, question: &Question, quotas: &Quotas, row: &mut Value) {
        if let Some((in_flight, most)) = question.in_flight(&self.limits, quotas) {
            let standing = in_flight.standing(question.key, most);
            row["limit"] = json!(standing.burst);
            row["unit"] = json!("concurrent-requests");
            // The store does not tell of the permits that others hold.
            if !question.is_shared_cap(&self.limits) {
                row["remaining"] = json!(standing.remaining);
            }
        } else if let Some(limiter) = question.limiter(&self.limits) {
            let quota = question.quota(quotas);
            describe(row, &limiter.standing(inquiry.now, question.key, quota));
        }
    }
}

/// Writes the state of a bucket into its row. Times are in whole seconds,
/// rounded up, and `reset` is the time until the bucket is full; one that admits
/// nothing has no times.
fn describe(row: &mut Value, standing: &Standing) {
    row["limit"] = json!(standing.burst);
    row["remaining"] = json!(standing.remaining);
    if standing.burst > 0 {
        row["reset"] = json!(whole_seconds(standing.reset()));
        row["window"] = json!(whole_seconds(standing.window()).max(1));
    }
}
