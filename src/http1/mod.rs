//! HTTP/1 on the wire: heads, framing and bodies, in both directions, without
//! I/O. Shared by the server, which reads requests and writes responses, and by
//! the upstream's side, which does the opposite.
//!
//! ```text
//!            read                                    written
//! request    parse_request                           layer::forward, write_frame
//! response   parse_response                          write_status_line, Fields, write_frame
//! bodies     Decoder                                 write_frame
//! ```
//!
//! Heads are split into lines (`lines`), and what a line means is decided
//! strictly (RFC 9112): a message that two parsers could read in two ways is refused,
//! because a gateway whose idea of a message differs from that of the service
//! behind it lets requests through that nobody has checked. [`parse_request`],
//! [`parse_response`] and [`Decoder`] list the rules. Each error is a text that
//! says which rule the message breaks; it becomes the client's 400, or the
//! cause of a 502.
//!
//! A fuzz target (`fuzz/fuzz_targets/http1_head.rs`) reads the same bytes in
//! pieces of every size and with an independent parser, and demands the same
//! result.
//!
//! hyper is not used on this path. It hides details that a gateway has to see
//! (it drops a `Content-Length` beside `Transfer-Encoding`, repeated lengths
//! and fragments), responds to malformed heads by itself, and cannot send
//! interim responses.

mod chunked;
mod claims;
mod decode;
mod encode;
mod framing;
mod headers;
mod hops;
mod lines;
mod map;
mod names;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod upgrade;

pub use chunked::{may_trail, write_frame};
pub use claims::{is_claim, is_same};
pub use decode::{ChunkDecoder, Decoder, Piece};
pub use encode::{Fields, date, reason, write_date, write_field, write_number, write_status_line};
pub use framing::{BARE_LINE_FEED, Length, Unended, find_end, has_no_body};
pub use headers::{HeaderField, Headers};
pub use hops::Hops;
pub use map::to_map;
pub use names::{FieldName, NameSet};
pub use request::{ParsedRequest, RequestHead, parse_request};
pub use response::{ResponseHead, parse_response};
pub use upgrade::is_offered;
