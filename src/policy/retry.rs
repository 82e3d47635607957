//! Which failures are retried, and how often.

use std::{num::NonZeroU32, time::Duration};

use http::Method;

use super::Failures;

/// `[routes.retry]`: which failures are retried, how often, and with which
/// delay.
///
/// Back-off is exponential with full jitter, as in "Exponential Backoff And
/// Jitter" (M. Brooker, AWS Architecture Blog, 2015), and a budget keeps
/// retries from multiplying the load in an outage.
///
/// ```
/// use std::time::Duration;
/// use http::StatusCode;
/// use tidegate::config;
///
/// let text = r#"
///     [upstreams.app]
///     servers = ["http://127.0.0.1:9000"]
///     [[routes]]
///     name = "app"
///     upstream = "app"
///     retry = { on = ["connect", "503"], backoff = "50ms" }
/// "#;
/// let config = config::parse("tidegate.toml", text, &config::Environment::new()).unwrap();
/// let retry = &config.routes[0].retry;
/// assert!(retry.on.connect && !retry.on.reset);
/// assert!(retry.on.statuses.contains(StatusCode::SERVICE_UNAVAILABLE));
/// // The first wait is drawn from 0 to 50 ms, the second from 0 to 100 ms.
/// assert_eq!(retry.backoff, Duration::from_millis(50));
/// assert_eq!(retry.budget, 0.2);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Attempts in all, 1 to 100; 1 is no retry.
    pub attempts: NonZeroU32,
    /// The outcomes that are retried.
    pub on: Failures,
    /// Methods that are retried even if a server may have seen the request. A
    /// request that no server has seen is retried whatever its method.
    pub methods: Vec<Method>,
    /// Bound of the wait before the first retry; it doubles with each further
    /// one. The wait is drawn from zero up to the bound (full jitter), and
    /// follows the `Retry-After` of a response that has one.
    pub backoff: Duration,
    /// Greatest bound of a wait, at least `backoff`.
    pub max_backoff: Duration,
    /// Retries as a share of the route's requests of the last ten seconds, 0.0
    /// to 10.0.
    pub budget: f64,
    /// Retries a second that are allowed in addition to `budget`, so that a
    /// route with few requests can retry at all.
    pub budget_min: u32,
    /// Bytes of a request body that are kept for a replay, at most 1 GiB. A
    /// request of whose body more has been read is not retried.
    pub buffer: usize,
}
