//! The script and how it is called: one call for buckets that decide together.

use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, aio::ConnectionLike};

use super::share::{MOMENT, Pace, Told};

/// See the file: it runs at the store, in one step.
const CODE: &str = include_str!("bucket.lua");

/// The script, and the name under which the store keeps it.
#[derive(Debug)]
pub(super) struct Script {
    hash: String,
}

/// A question to one bucket.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) key: String,
    pub(super) pace: Pace,
    pub(super) want: Want,
    /// Tokens wanted besides.
    pub(super) ahead: u32,
}

/// The kind of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Tokens, if they are there.
    Take(u32),
    /// To know whether they are.
    Look(u32),
    /// Nothing; it gets back what has not begun of a slot.
    GiveBack {
        /// In nanoseconds.
        back: u64,
        /// When it was taken, in microseconds of the store's clock.
        since: u64,
        /// How far it reached from then, and how far the bucket's line had
        /// moved.
        reach: u64,
    },
}

impl Question {
    /// See the script.
    fn numbers(&self) -> [i64; 7] {
        let Pace { emission, fill } = self.pace;
        let (need, take, [since, reach]) = match self.want {
            Want::Take(cost) => (
                whole(self.pace.weight(cost)),
                whole(self.pace.weight(cost)),
                [0, 0],
            ),
            Want::Look(cost) => (whole(self.pace.weight(cost)), 0, [0, 0]),
            Want::GiveBack { back, since, reach } => {
                (-1, -whole(back), [whole(since), whole(reach)])
            }
        };
        [
            need,
            take,
            whole(self.pace.weight(self.ahead)),
            whole(fill),
            whole(emission),
            since,
            reach,
        ]
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Script {
    pub(super) fn new() -> Self {
        Self {
            hash: redis::Script::new(CODE).get_hash().to_owned(),
        }
    }

    /// Asks all of the buckets in one call; none takes anything unless all
    /// admit.
    pub(super) async fn ask(
        &self,
        connection: &mut (impl ConnectionLike + Send),
        questions: &[Question],
    ) -> RedisResult<Vec<Told>> {
        let answer: RedisResult<Vec<i64>> = call("EVALSHA", &self.hash, questions)
            .query_async(connection)
            .await;
        let numbers = match answer {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // The store has forgotten it, or never knew: this call also
                // makes it known.
                call("EVAL", CODE, questions)
                    .query_async(connection)
                    .await?
            }
            answer => answer?,
        };
        told(&numbers, questions.len())
    }
}

fn call(command: &str, script: &str, questions: &[Question]) -> Cmd {
    let mut call = redis::cmd(command);
    call.arg(script).arg(questions.len());
    for question in questions {
        call.arg(&question.key);
    }
    for number in questions.iter().flat_map(Question::numbers) {
        call.arg(number);
    }
    call.arg(MOMENT);
    call
}

fn told(numbers: &[i64], questions: usize) -> RedisResult<Vec<Told>> {
    let [admitted, at, debts @ ..] = numbers else {
        return Err(strange());
    };
    let (admitted, at) = (*admitted == 1, u64::try_from(*at).unwrap_or(0));
    let debt = |number: i64| u64::try_from(number).unwrap_or(0);
    let told = |of: &[i64]| Told {
        admitted,
        before: debt(of[0]),
        after: debt(of[1]),
        moved: debt(of[2]),
        at,
    };
    if debts.len() != 3 * questions {
        return Err(strange());
    }
    Ok(debts.chunks_exact(3).map(told).collect())
}

fn strange() -> RedisError {
    RedisError::from((
        ErrorKind::UnexpectedReturnType,
        "the script's answer has another shape",
    ))
}
