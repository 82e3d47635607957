//! The script agrees with the model of the simulation.

use redis::aio::MultiplexedConnection;

use super::{gcra, redis_server::Redis};
use crate::{
    limit::Gcra,
    store::{
        script::{QuestionKind, Script, ScriptQuestion},
        share::{MOMENT, Reply},
    },
};

const HOUR: u64 = 3_600_000_000_000;
/// So slow that tokens which come back during a test do not count.
const QUOTA: Gcra = gcra(HOUR, 10);

async fn connect(redis: &Redis) -> MultiplexedConnection {
    redis::Client::open(redis.url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap()
}

fn question(key: &str, want: QuestionKind, ahead: u32) -> ScriptQuestion {
    ScriptQuestion {
        key: key.to_owned(),
        gcra: QUOTA,
        want,
        ahead,
    }
}

/// Converts hours to whole tokens, rounded up.
fn tokens(reply: Reply) -> (bool, u64, u64) {
    (
        reply.admitted,
        reply.before.div_ceil(HOUR),
        reply.after.div_ceil(HOUR),
    )
}

#[tokio::test]
async fn a_bucket_admits_its_tokens_and_leases_the_remaining_ones() {
    let redis = Redis::start();
    let (mut to, script) = (connect(&redis).await, Script::new());
    let mut ask = async |want, ahead| {
        tokens(
            script
                .ask(&mut to, &[question("k", want, ahead)])
                .await
                .unwrap()[0],
        )
    };
    assert_eq!(ask(QuestionKind::Take(1), 0).await, (true, 0, 1));
    assert_eq!(
        ask(QuestionKind::Look(9), 0).await,
        (true, 1, 1),
        "a view takes nothing"
    );
    assert_eq!(ask(QuestionKind::Look(10), 0).await, (false, 1, 1));
    assert_eq!(ask(QuestionKind::Take(3), 4).await, (true, 1, 8));
    assert_eq!(
        ask(QuestionKind::Take(1), 5).await,
        (true, 8, 10),
        "no more tokens are leased than there are"
    );
    assert_eq!(ask(QuestionKind::Take(1), 5).await, (false, 10, 10));
}

/// A store with one bucket, and the slot taken from it.
struct Taken {
    redis: Redis,
    to: MultiplexedConnection,
    script: Script,
}

impl Taken {
    async fn ask(&mut self, want: QuestionKind, ahead: u32) -> Reply {
        self.script
            .ask(&mut self.to, &[question("k", want, ahead)])
            .await
            .unwrap()[0]
    }

    async fn give_back(&mut self, cost: u64, reply: Reply) -> (bool, u64, u64) {
        let (back, reach) = (cost * HOUR, reply.before + cost * HOUR + reply.moved);
        tokens(
            self.ask(
                QuestionKind::GiveBack {
                    back,
                    since: reply.at,
                    reach,
                },
                0,
            )
            .await,
        )
    }
}

async fn taken() -> Taken {
    let redis = Redis::start();
    Taken {
        to: connect(&redis).await,
        redis,
        script: Script::new(),
    }
}

#[tokio::test]
async fn refunded_tokens_are_available_again_and_a_full_bucket_is_not_stored() {
    let mut bucket = taken().await;
    let (first, second) = (
        bucket.ask(QuestionKind::Take(3), 0).await,
        bucket.ask(QuestionKind::Take(4), 0).await,
    );
    assert_eq!(bucket.give_back(3, first).await, (true, 7, 4));
    bucket.give_back(4, second).await;
    assert!(bucket.ask(QuestionKind::Look(10), 0).await.before < HOUR / 100);
    let all = bucket.ask(QuestionKind::Take(10), 0).await;
    assert!(bucket.redis.run(&["EXISTS", "k"]).starts_with(":1"));
    bucket
        .ask(
            QuestionKind::GiveBack {
                back: 10 * HOUR,
                since: all.at,
                reach: 11 * HOUR,
            },
            0,
        )
        .await;
    assert!(
        bucket.redis.run(&["EXISTS", "k"]).starts_with(":0"),
        "a full bucket is not stored"
    );
}

#[tokio::test]
async fn a_late_refund_returns_only_tokens_that_have_not_begun() {
    let mut bucket = taken().await;
    let (first, second) = (
        bucket.ask(QuestionKind::Take(3), 0).await,
        bucket.ask(QuestionKind::Take(4), 0).await,
    );
    // As if the tokens had been taken two hours earlier: two of the three have
    // begun.
    let since = first.at - 2 * HOUR / 1000;
    let late = QuestionKind::GiveBack {
        back: 3 * HOUR,
        since,
        reach: 3 * HOUR,
    };
    assert_eq!(
        tokens(bucket.ask(late, 0).await),
        (true, 7, 7),
        "a refund for an earlier life of the bucket returns nothing"
    );
    assert_eq!(bucket.give_back(4, second).await, (true, 7, 3));
    assert_eq!(
        bucket.give_back(3, first).await,
        (true, 3, 3),
        "the slot may have been moved itself"
    );
}

#[tokio::test]
async fn tokens_taken_before_a_lease_are_not_refunded() {
    let mut bucket = taken().await;
    let first = bucket.ask(QuestionKind::Take(3), 0).await;
    bucket.ask(QuestionKind::Take(1), 4).await;
    assert_eq!(
        bucket.give_back(3, first).await,
        (true, 8, 8),
        "a refund would move the lease"
    );
    let last = bucket.ask(QuestionKind::Take(1), 0).await;
    assert_eq!(bucket.give_back(1, last).await, (true, 9, 8));
}

#[tokio::test]
async fn what_is_owed_is_taken_whether_it_is_there_or_not_up_to_ten_bursts() {
    let mut bucket = taken().await;
    let first = bucket.ask(QuestionKind::Take(4), 0).await;
    let owe = QuestionKind::Owe(20 * HOUR);
    assert_eq!(tokens(bucket.ask(owe, 0).await), (true, 4, 24));
    assert_eq!(
        tokens(bucket.ask(QuestionKind::Take(1), 0).await),
        (false, 24, 24)
    );
    assert_eq!(bucket.give_back(4, first).await, (true, 24, 20));
    let absurd = QuestionKind::Owe(u64::MAX);
    assert_eq!(tokens(bucket.ask(absurd, 0).await), (true, 20, 100));
    assert_eq!(tokens(bucket.ask(absurd, 0).await), (true, 100, 100));
}

#[tokio::test]
async fn buckets_that_decide_together_take_all_or_nothing() {
    let redis = Redis::start();
    let (mut to, script) = (connect(&redis).await, Script::new());
    let mut ask = async |a, b| {
        let questions = [
            question("a", QuestionKind::Take(a), 0),
            question("b", QuestionKind::Take(b), 0),
        ];
        script
            .ask(&mut to, &questions)
            .await
            .unwrap()
            .into_iter()
            .map(tokens)
            .collect::<Vec<_>>()
    };
    assert_eq!(ask(4, 10).await, [(true, 0, 4), (true, 0, 10)]);
    assert_eq!(ask(4, 1).await, [(false, 4, 4), (false, 10, 10)]);
    assert_eq!(ask(6, 0).await, [(true, 4, 10), (true, 10, 10)]);
}

#[tokio::test]
async fn an_empty_bucket_leases_tokens_that_come_back_within_a_moment() {
    let redis = Redis::start();
    let (mut to, script) = (connect(&redis).await, Script::new());
    // At 100/s, a hundred future tokens are a second.
    let gcra = gcra(MOMENT / 100, 2000);
    let question = ScriptQuestion {
        key: "k".to_owned(),
        gcra,
        want: QuestionKind::Take(2000),
        ahead: 300,
    };
    let reply = script.ask(&mut to, &[question]).await.unwrap()[0];
    assert_eq!((reply.before, reply.after), (0, 21 * MOMENT));
}

#[tokio::test]
async fn a_bucket_is_stored_while_it_has_debt_and_keeps_its_share_under_other_numbers() {
    let redis = Redis::start();
    let (mut to, script) = (connect(&redis).await, Script::new());
    let ask = |gcra, cost| {
        [ScriptQuestion {
            key: "k".to_owned(),
            gcra,
            want: QuestionKind::Take(cost),
            ahead: 0,
        }]
    };
    script.ask(&mut to, &ask(QUOTA, 5)).await.unwrap();
    let kept: u64 = redis
        .run(&["PTTL", "k"])
        .trim_matches([':', '\r', '\n'])
        .parse()
        .unwrap();
    assert!(kept.abs_diff(5 * HOUR / 1_000_000) < 10_000, "{kept} ms");
    let quicker = gcra(HOUR / 2, 4);
    let reply = script.ask(&mut to, &ask(quicker, 1)).await.unwrap()[0];
    assert!(
        reply.before.abs_diff(HOUR) < HOUR / 100,
        "half of the bucket is still used: {reply:?}"
    );
}

#[tokio::test]
async fn a_store_that_lost_the_script_gets_it_again() {
    let redis = Redis::start();
    let (mut to, script) = (connect(&redis).await, Script::new());
    for _ in 0..3 {
        assert!(
            script
                .ask(&mut to, &[question("k", QuestionKind::Take(1), 0)])
                .await
                .unwrap()[0]
                .admitted
        );
        redis.run(&["SCRIPT", "FLUSH"]);
    }
    assert_eq!(
        tokens(
            script
                .ask(&mut to, &[question("k", QuestionKind::Look(0), 0)])
                .await
                .unwrap()[0]
        ),
        (true, 3, 3)
    );
}
