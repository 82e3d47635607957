//! Stores of several gateways on one real server.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use super::redis_server::Redis;
use crate::{
    limit::{KeyHasher, Limiter},
    policy::{self, Quota, Rate, StoreOnError as OnError, StoreServer},
    store::{
        Asks, Name, Refused, SharedAdmission, SharedAsk, SharedLimit, Store, StoreDecision,
        StoreOutcome,
    },
    telemetry::Metrics,
};

/// The part of a gateway that uses the store.
pub(super) struct Gateway {
    pub(super) store: Arc<Store>,
    pub(super) limit: Arc<SharedLimit>,
}

impl Gateway {
    pub(super) fn new(redis: &Redis, lease: u8, on_error: OnError, numbers: (u32, u32)) -> Self {
        Self::in_time(Duration::from_secs(60), redis, lease, on_error, numbers)
    }

    fn in_time(
        timeout: Duration,
        redis: &Redis,
        lease: u8,
        on_error: OnError,
        (per_hour, burst): (u32, u32),
    ) -> Self {
        let server = StoreServer {
            host: "127.0.0.1".into(),
            port: redis.port,
            tls: false,
            database: 0,
            user: None,
            password: None,
        };
        let settings = policy::Store {
            servers: vec![server],
            is_cluster: false,
            timeout,
            on_error,
            lease,
        };
        let limiter = limiter(per_hour, burst);
        let limit = SharedLimit::new(limiter, NonZeroUsize::new(1000).unwrap(), None);
        Self {
            store: Store::new(settings, 1, Metrics::new(1).store(), Arc::default()),
            limit: Arc::new(limit),
        }
    }

    pub(super) fn asks(&self, cost: u32) -> Asks {
        let key = KeyHasher::with_seed([1, 2]).key("l").finish();
        let (limit, name) = (Arc::clone(&self.limit), Name::from_raw(7));
        Asks::from_iter([SharedAsk {
            limit,
            name,
            key,
            cost,
            quota: None,
            is_returned: false,
        }])
    }

    async fn decide(&self, cost: u32) -> StoreOutcome {
        self.decided(self.asks(cost)).await
    }

    /// Takes tokens that are most probably returned.
    async fn borrow(&self, cost: u32) -> StoreOutcome {
        let asks = self
            .asks(cost)
            .into_iter()
            .map(|ask| SharedAsk {
                is_returned: true,
                ..ask
            })
            .collect();
        self.decided(asks).await
    }

    pub(super) async fn decided(&self, asks: Asks) -> StoreOutcome {
        match self.store.decide(asks) {
            StoreDecision::Made(outcome) => outcome,
            StoreDecision::Pending(outcome) => outcome.await,
        }
    }

    /// Waits until refunds have reached the store.
    pub(super) async fn settle(&self) {
        self.store.background.close();
        self.store.background.wait().await;
        self.store.background.reopen();
    }
}

fn limiter(per_hour: u32, burst: u32) -> Limiter {
    let rate = Rate {
        count: per_hour,
        period: Duration::from_secs(3600),
    };
    let quota = Quota::new(rate, NonZeroU32::new(burst).unwrap()).unwrap();
    Limiter::new("l", quota, NonZeroUsize::MIN).unwrap()
}

/// Number of admitted requests among `tries` concurrent ones, sent to the
/// gateways in turn.
async fn admitted(gateways: &[Gateway], requests: usize) -> usize {
    let asked = (0..requests).map(|index| gateways[index % gateways.len()].decide(1));
    futures_util::future::join_all(asked)
        .await
        .iter()
        .filter(|outcome| outcome.is_ok())
        .count()
}

#[tokio::test]
async fn gateways_without_leases_share_a_burst_to_the_token() {
    let redis = Redis::start();
    let gateways = [1, 2, 3].map(|_| Gateway::new(&redis, 0, OnError::Deny, (1, 50)));
    assert_eq!(admitted(&gateways, 200).await, 50);
    assert_eq!(redis.calls("evalsha"), 200, "each request is a call");
    assert_eq!(admitted(&gateways, 30).await, 0);
}

/// After a suspended process resumes, calls in flight must not time out while
/// their responses are still unread in the sockets.
#[tokio::test]
async fn a_response_that_came_while_the_process_was_suspended_is_in_time() {
    let redis = Redis::start();
    let timeout = Duration::from_millis(500);
    let gateway = Gateway::in_time(timeout, &redis, 0, OnError::Deny, (1, 50));
    while gateway.decide(1).await.is_err() {}
    redis.hang();
    let mut asked = std::pin::pin!(gateway.decide(1));
    for _ in 0..10 {
        // The driver of the connection sends the request.
        assert!(futures_util::poll!(&mut asked).is_pending());
        tokio::task::yield_now().await;
    }
    redis.go_on();
    std::thread::park_timeout(timeout * 2);
    assert!(asked.await.is_ok(), "the response is in the socket");
}

#[tokio::test]
async fn gateways_with_leases_never_exceed_the_burst_and_call_seldom() {
    let redis = Redis::start();
    let gateways = [1, 2].map(|_| Gateway::new(&redis, 5, OnError::Deny, (1, 1000)));
    let mut passed = 0;
    for _ in 0..300 {
        passed += admitted(&gateways, 4).await;
    }
    assert!((900..=1000).contains(&passed), "{passed} of 1000");
    let calls = redis.calls("evalsha");
    assert!(calls < 120, "{calls} calls");
}

#[tokio::test]
async fn concurrent_requests_share_one_call() {
    let redis = Redis::start();
    let gateway = [Gateway::new(&redis, 100, OnError::Deny, (1_000_000, 1000))];
    assert_eq!(admitted(&gateway, 1).await, 1);
    assert_eq!(admitted(&gateway, 100).await, 100);
    assert!(
        redis.calls("evalsha") <= 4,
        "{} calls",
        redis.calls("evalsha")
    );
}

#[tokio::test]
async fn refunded_tokens_can_be_used_by_others() {
    let redis = Redis::start();
    for lease in [0, 20] {
        redis.run(&["FLUSHALL"]);
        let gateways = [1, 2].map(|_| Gateway::new(&redis, lease, OnError::Deny, (1, 5)));
        let mut taken: Vec<SharedAdmission> = Vec::new();
        for _ in 0..5 {
            taken.push(gateways[0].decide(1).await.unwrap());
        }
        assert!(gateways[0].decide(1).await.is_err());
        taken.pop().unwrap().refund(&gateways[0].store);
        gateways[0].settle().await;
        let other = if lease == 0 {
            &gateways[1]
        } else {
            &gateways[0]
        };
        assert!(other.decide(1).await.is_ok(), "lease {lease}");
        assert!(other.decide(1).await.is_err(), "lease {lease}");
    }
}

#[tokio::test]
async fn borrowed_tokens_are_bounded_by_the_burst_and_come_back_whole() {
    let redis = Redis::start();
    for lease in [0, 50] {
        redis.run(&["FLUSHALL"]);
        let gateways = [1, 2].map(|_| Gateway::new(&redis, lease, OnError::Deny, (1, 3)));
        let mut taken = Vec::new();
        for index in 0..3 {
            taken.push(gateways[index % 2].borrow(1).await.unwrap());
        }
        for gateway in &gateways {
            assert!(gateway.borrow(1).await.is_err(), "lease {lease}");
        }
        for (index, admission) in taken.into_iter().enumerate() {
            admission.refund(&gateways[index % 2].store);
            gateways[index % 2].settle().await;
        }
        // Far more often than there are tokens: none is lost on the way.
        for index in 0..20 {
            let gateway = &gateways[index % 2];
            gateway.borrow(1).await.unwrap().refund(&gateway.store);
            gateway.settle().await;
        }
    }
}

#[tokio::test]
async fn new_keys_share_one_bucket_once_the_limit_holds_its_maximum() {
    let redis = Redis::start();
    for lease in [0, 20] {
        redis.run(&["FLUSHALL"]);
        let mut gateway = Gateway::new(&redis, lease, OnError::Deny, (1, 5));
        gateway.limit = Arc::new(SharedLimit::new(
            limiter(1, 5),
            NonZeroUsize::new(10).unwrap(),
            None,
        ));
        let mut passed = 0;
        for name in 1..=500 {
            let asks = gateway.asks(1).into_iter().map(|ask| SharedAsk {
                name: Name::from_raw(name << 64 | name),
                ..ask
            });
            passed += u32::from(gateway.decided(asks.collect()).await.is_ok());
        }
        assert_eq!(
            passed,
            10 + 5,
            "ten keys have buckets of their own and all others share one"
        );
        assert!(
            redis.run(&["DBSIZE"]).starts_with(":11\r"),
            "{}",
            redis.run(&["DBSIZE"])
        );
        assert_eq!(gateway.limit.limiter.stats().evictions_overflow, 490);
        let known = gateway.asks(4).into_iter().map(|ask| SharedAsk {
            name: Name::from_raw(3 << 64 | 3),
            ..ask
        });
        assert!(
            gateway.decided(known.collect()).await.is_ok(),
            "a key keeps its own bucket"
        );
    }
}

#[tokio::test]
async fn the_parts_of_a_common_decision_are_refunded_separately() {
    let redis = Redis::start();
    for (is_there, on_error) in [(true, OnError::Deny), (false, OnError::Local)] {
        let gateway = Gateway::new(&redis, 0, on_error, (1, 9));
        if !is_there {
            gateway.store.whole.circuit.open();
        }
        let mut asks = gateway.asks(2);
        asks.push(SharedAsk {
            name: Name::from_raw(8),
            key: KeyHasher::with_seed([3, 4]).key("l").finish(),
            ..asks[0].clone()
        });
        let parts: Vec<_> = gateway.decided(asks).await.unwrap().take_apart().collect();
        let left = parts
            .iter()
            .map(|part| part.standings().next().flatten().unwrap().remaining);
        assert_eq!(left.collect::<Vec<_>>(), [7, 7]);
        let [_kept, back] = <[SharedAdmission; 2]>::try_from(parts).unwrap();
        assert_eq!(back.refund(&gateway.store).unwrap().remaining, 9);
    }
}

#[tokio::test]
async fn an_unreachable_store_is_left_alone_until_it_is_back() {
    let mut redis = Redis::start();
    let gateways = [OnError::Local, OnError::Allow, OnError::Deny]
        .map(|on_error| Gateway::new(&redis, 0, on_error, (1, 4)));
    for gateway in &gateways {
        assert!(gateway.decide(1).await.is_ok());
    }
    redis.kill();
    let [local, allow, deny] = &gateways;
    assert_eq!(
        admitted(std::slice::from_ref(local), 9).await,
        4,
        "the gateway counts by itself"
    );
    assert_eq!(admitted(std::slice::from_ref(allow), 9).await, 9);
    let Err(refused) = deny.decide(1).await else {
        panic!("the request is refused")
    };
    assert!(matches!(refused, Refused::Unavailable { .. }));
    assert!(
        gateways
            .iter()
            .all(|gateway| gateway.store.whole.circuit.is_open())
    );
    redis.restart();
    for gateway in &gateways {
        let probe = gateway.store.whole.probe.lock().take().unwrap();
        probe.await.unwrap();
    }
    assert!(
        !gateways
            .iter()
            .any(|gateway| gateway.store.whole.circuit.is_open()),
        "the probes have ended"
    );
    assert!(deny.decide(1).await.is_ok());
    assert_eq!(
        admitted(&gateways, 9).await,
        3,
        "one of four tokens is used"
    );
}

#[tokio::test]
async fn a_store_that_hangs_costs_no_request_more_than_the_timeout() {
    let redis = Redis::start();
    let mut gateway = Gateway::new(&redis, 0, OnError::Deny, (1, 1000));
    Arc::get_mut(&mut gateway.store).unwrap().settings.timeout = Duration::from_millis(50);
    while gateway.decide(1).await.is_err() {} // a busy machine may need several attempts
    redis.hang();
    let begun = tokio::time::Instant::now();
    for _ in 0..50 {
        assert!(gateway.decide(1).await.is_err());
    }
    let took = begun.elapsed();
    redis.go_on();
    assert!(
        took < Duration::from_millis(50 * 10),
        "more than five timeouts: {took:?}"
    );
}
