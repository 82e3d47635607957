//! The script and how it is called: one call for buckets that decide together.
//!
//! Redis runs a script as one step, so that no other call comes in between (its
//! documentation, "Scripting with Lua"). The script is called by its hash, and
//! sent as a whole only if the store does not know it, which costs a second
//! round trip after a restart of the store.

use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, aio::ConnectionLike};

use super::share::{MOMENT, Reply};
use crate::limit::Gcra;

/// The script, which explains itself. It runs at the store, in one step.
const CODE: &str = include_str!("bucket.lua");

/// A script, and the name under which the store keeps it.
#[derive(Debug)]
pub(super) struct Script {
    code: &'static str,
    /// SHA-1 of the script, as `EVALSHA` expects it.
    hash: String,
}

/// A question to one bucket.
#[derive(Debug, Clone)]
pub(super) struct ScriptQuestion {
    /// The key in the store.
    pub(super) key: String,
    /// The quota, by which the store counts.
    pub(super) gcra: Gcra,
    /// The kind of question.
    pub(super) want: QuestionKind,
    /// Tokens that are wanted besides, as a lease.
    pub(super) ahead: u32,
}

/// The kind of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuestionKind {
    /// Take this number of tokens if they are there.
    Take(u32),
    /// Look whether this number of tokens is there, and take none.
    Look(u32),
    /// Take so many nanoseconds, whether they are there or not.
    Owe(u64),
    /// Return the part of a slot that has not begun.
    GiveBack {
        /// Nanoseconds to return.
        back: u64,
        /// The moment when it was taken, in microseconds of the store's clock.
        since: u64,
        /// How far the slot reached from then, and how far the bucket had
        /// moved, in nanoseconds.
        reach: u64,
    },
}

impl ScriptQuestion {
    /// The seven arguments of the script for this question, in nanoseconds but
    /// for the microseconds of `since`.
    fn numbers(&self) -> [i64; 7] {
        let (need, take, [since, reach]) = match self.want {
            QuestionKind::Take(cost) => (
                whole(self.gcra.weight(cost)),
                whole(self.gcra.weight(cost)),
                [0, 0],
            ),
            QuestionKind::Look(cost) => (whole(self.gcra.weight(cost)), 0, [0, 0]),
            QuestionKind::Owe(nanos) => (-1, whole(nanos), [0, 0]),
            QuestionKind::GiveBack { back, since, reach } => {
                (-1, -whole(back), [whole(since), whole(reach)])
            }
        };
        [
            need,
            take,
            whole(self.gcra.weight(self.ahead)),
            whole(self.gcra.fill()),
            whole(self.gcra.emission()),
            since,
            reach,
        ]
    }
}

/// A number as Redis counts; a larger one becomes the largest.
///
/// The largest is 2^63 - 1 nanoseconds, which is 292 years.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Script {
    /// The script of buckets, not yet known to any store.
    pub(super) fn new() -> Self {
        Self::of(CODE)
    }

    /// A script with this text.
    pub(super) fn of(code: &'static str) -> Self {
        let hash = redis::Script::new(code).get_hash().to_owned();
        Self { code, hash }
    }

    /// Asks all of the buckets in one call. None takes tokens unless all admit.
    ///
    /// # Errors
    /// The connection broke, the store refused the script, or its reply has
    /// another shape.
    pub(super) async fn ask(
        &self,
        connection: &mut (impl ConnectionLike + Send),
        questions: &[ScriptQuestion],
    ) -> RedisResult<Vec<Reply>> {
        let call = |command: &str, script: &str| call(command, script, questions);
        let numbers = self.run(connection, call).await?;
        read_replies(&numbers, questions.len())
    }

    /// Runs the script. `call` makes the command from its name and the script,
    /// or the hash of it.
    ///
    /// # Errors
    /// The connection broke, or the store refused the script.
    pub(super) async fn run(
        &self,
        connection: &mut (impl ConnectionLike + Send),
        call: impl Fn(&str, &str) -> Cmd + Send,
    ) -> RedisResult<Vec<i64>> {
        let reply = call("EVALSHA", &self.hash).query_async(connection).await;
        match reply {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // The store has forgotten it, or never knew: this call also
                // makes it known.
                call("EVAL", self.code).query_async(connection).await
            }
            reply => reply,
        }
    }
}

/// The command for some questions.
///
/// The arguments are, in this order: the script or its hash, the number of
/// keys, the keys, seven numbers for each question, and the length of a moment.
fn call(command: &str, script: &str, questions: &[ScriptQuestion]) -> Cmd {
    let mut call = redis::cmd(command);
    call.arg(script).arg(questions.len());
    for question in questions {
        call.arg(&question.key);
    }
    for number in questions.iter().flat_map(ScriptQuestion::numbers) {
        call.arg(number);
    }
    call.arg(MOMENT);
    call
}

/// Reads the reply about this number of questions.
///
/// The reply begins with the outcome and the store's clock, and then has three
/// numbers for each question. A negative number counts as 0.
///
/// # Errors
/// The reply is of another shape, as that of another script would be.
fn read_replies(numbers: &[i64], questions: usize) -> RedisResult<Vec<Reply>> {
    let [admitted, at, debts @ ..] = numbers else {
        return Err(strange());
    };
    let (debts, rest) = debts.as_chunks();
    if debts.len() != questions || !rest.is_empty() {
        return Err(strange());
    }
    let mut replies = Vec::with_capacity(questions);
    for [before, after, moved] in debts {
        replies.push(Reply {
            admitted: *admitted == 1,
            before: nanoseconds(*before),
            after: nanoseconds(*after),
            moved: nanoseconds(*moved),
            at: nanoseconds(*at),
        });
    }
    Ok(replies)
}

/// A number of the reply. Redis has no unsigned ones.
fn nanoseconds(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The error for a reply of another shape.
///
/// It counts as a failure of the store and not of the connection.
fn strange() -> RedisError {
    RedisError::from((
        ErrorKind::UnexpectedReturnType,
        "the script's answer has another shape",
    ))
}
