//! The script of shared caps on a real server.

use std::num::NonZeroU32;

use redis::aio::MultiplexedConnection;

use super::redis_server::Redis;
use crate::store::{
    caps::{CapQuestion, CapReply, CapScript, GatewayId},
    name::Name,
};

const ONE: GatewayId = GatewayId(1);
const OTHER: GatewayId = GatewayId(u64::MAX);

/// A question about the key `number`, which may have three requests.
fn question(number: u128, floor: u32, want: u32, seq: u64) -> CapQuestion {
    CapQuestion {
        name: Name::from_raw(number),
        limit: "l".into(),
        floor,
        want,
        most: NonZeroU32::new(3).unwrap(),
        seq,
    }
}

async fn connect(redis: &Redis) -> MultiplexedConnection {
    redis::Client::open(redis.url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap()
}

#[tokio::test]
async fn the_sum_over_all_gateways_stays_within_the_cap() {
    let redis = Redis::start();
    let (mut to, script) = (connect(&redis).await, CapScript::new());
    for (gateway, floor, want, seq, expected) in [
        (&ONE, 0, 2, 1, (2, 0)),
        (&OTHER, 0, 2, 1, (1, 2)),
        (&OTHER, 1, 2, 2, (1, 2)),
        // An older question comes late.
        (&ONE, 0, 0, 1, (2, 1)),
        (&ONE, 1, 1, 2, (1, 1)),
        (&OTHER, 1, 2, 3, (2, 1)),
        // Requests in flight count even beyond the cap.
        (&ONE, 4, 5, 3, (4, 2)),
        (&OTHER, 2, 3, 4, (2, 4)),
        (&ONE, 0, 0, 4, (0, 2)),
        (&OTHER, 0, 0, 5, (0, 0)),
    ] {
        let questions = [question(7, floor, want, seq)];
        let replies = script.ask(&mut to, gateway, &questions).await.unwrap();
        let (granted, others) = expected;
        assert_eq!(replies, [CapReply { granted, others }], "{questions:?}");
    }
    assert!(redis.run(&["DBSIZE"]).starts_with(":0"), "nothing is left");
}

#[tokio::test]
async fn one_call_asks_about_many_keys_and_each_ends_with_its_lease() {
    let redis = Redis::start();
    let (mut to, script) = (connect(&redis).await, CapScript::new());
    let questions: Vec<_> = (1..=200).map(|key| question(key, 0, 1, 1)).collect();
    let replies = script.ask(&mut to, &ONE, &questions).await.unwrap();
    let one = CapReply {
        granted: 1,
        others: 0,
    };
    assert!(replies.len() == 200 && replies.iter().all(|reply| *reply == one));
    let key = questions[0].store_key();
    let left: i64 = redis::cmd("PTTL")
        .arg(&key)
        .query_async(&mut to)
        .await
        .unwrap();
    assert!((1..=10_000).contains(&left), "{left} ms");
}
