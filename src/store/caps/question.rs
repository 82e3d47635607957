//! The script of shared caps, and how it is called.

use redis::{Cmd, ErrorKind, RedisError, RedisResult, aio::ConnectionLike};

use super::table::{CapQuestion, CapReply, GatewayId, LEASE};
use crate::store::script::Script;

/// The script, which explains itself. It runs at the store, in one step.
const CODE: &str = include_str!("caps.lua");

/// The script of shared caps.
#[derive(Debug)]
pub(in crate::store) struct CapScript(Script);

impl CapScript {
    /// The script, not yet known to any store.
    pub(in crate::store) fn new() -> Self {
        Self(Script::of(CODE))
    }

    /// Asks about some keys in one call; in a cluster about one.
    ///
    /// # Errors
    /// The connection broke, the store refused the script, or its reply has
    /// another shape.
    pub(in crate::store) async fn ask(
        &self,
        connection: &mut (impl ConnectionLike + Send),
        gateway: &GatewayId,
        questions: &[CapQuestion],
    ) -> RedisResult<Vec<CapReply>> {
        let call = |command: &str, script: &str| call(command, script, gateway, questions);
        let numbers = self.0.run(connection, call).await?;
        let (pairs, rest) = numbers.as_chunks();
        if pairs.len() != questions.len() || !rest.is_empty() {
            return Err(RedisError::from((
                ErrorKind::UnexpectedReturnType,
                "the script's answer has another shape",
            )));
        }
        let reply = |[granted, others]: &[i64; 2]| CapReply {
            granted: count(*granted),
            others: count(*others),
        };
        Ok(pairs.iter().map(reply).collect())
    }
}

/// The command for some questions, with the arguments that the script lists.
fn call(command: &str, script: &str, gateway: &GatewayId, questions: &[CapQuestion]) -> Cmd {
    let mut call = redis::cmd(command);
    call.arg(script).arg(questions.len());
    for question in questions {
        call.arg(question.store_key());
    }
    call.arg(format!("{:016x}", gateway.0));
    call.arg(LEASE.as_millis() as u64);
    for question in questions {
        call.arg(question.floor).arg(question.want);
        call.arg(question.most.get()).arg(question.seq);
    }
    call
}

/// A number of the reply. A negative one counts as 0.
fn count(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}
