//! HTTP/1 on the wire: heads, framing and chunks, in both directions. Without I/O, shared by `server` and `upstream`.
//!
//! Lines are taken apart by `httparse`; what they mean is decided here, strictly (RFC 9112): whatever two parsers could
//! read in two ways is refused. In answers, blanks that mean the same to every parser are taken off. hyper is not used on
//! this path because it hides what must be seen (it drops a `Content-Length` beside `Transfer-Encoding`, repeated lengths and
//! fragments), answers malformed heads by itself and cannot send interim answers.

mod chunked;
mod claims;
mod encode;
mod fields;
mod framing;
mod head;
mod upgrade;

pub use chunked::{ChunkDecoder, Piece, may_trail, write_frame};
pub use claims::{is_claim, is_same};
pub use encode::{
    HOP_BY_HOP, Hops, date, hop_by_hop, reason, write_date, write_field, write_number,
    write_status_line,
};
pub use fields::{Fields, to_map};
pub use framing::{Decoder, Length, has_no_body};
pub use head::{
    BARE_LINE_FEED, Names, RequestHead, ResponseHead, Unended, find_end, parse_request,
    parse_response,
};
pub use upgrade::{is_offered, offered};
