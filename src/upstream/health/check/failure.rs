//! Why a check failed.

use http::StatusCode;
use thiserror::Error;

use crate::error::ConnectFailure;

/// The reason for which a check failed, as the log and the admin API show it.
///
/// Each of them fails a check alike; the reason only serves people. The texts
/// are parts of sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum CheckFailure {
    #[error("{0}")]
    Connect(ConnectFailure),
    #[error("no answer in time")]
    Timeout,
    #[error("the connection broke")]
    Broken,
    #[error("an answer that is not HTTP")]
    NotHttp,
    #[error("an answer that is not gRPC")]
    NotGrpc,
    #[error("status {}", .0.as_u16())]
    Status(StatusCode),
    /// The call failed, with this code of gRPC.
    #[error("grpc-status {}", grpc_status(*.0))]
    Call(u8),
    /// The server, or its service, says that it does not serve. The number is
    /// that of `HealthCheckResponse.ServingStatus`.
    #[error("it says {}", serving_status(*.0))]
    NotServing(u64),
}

/// The names of the codes of gRPC, by their numbers.
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND: there is no such service",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED: there is no grpc.health.v1.Health",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// A code of gRPC with its name, and with what it means where health is asked
/// for.
fn grpc_status(code: u8) -> String {
    match GRPC_CODES.get(usize::from(code)) {
        Some(name) => format!("{code} ({name})"),
        None => code.to_string(),
    }
}

/// A `HealthCheckResponse.ServingStatus` by its name.
fn serving_status(number: u64) -> String {
    match number {
        0 => "UNKNOWN".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => format!("status {other}, which grpc.health.v1 does not have"),
    }
}
