//! HTTP/1 on the wire: heads, framing and chunks, in both directions. Without
//! I/O, and shared by `server` and `upstream`.
//!
//! `httparse` splits heads into lines. Their meaning is decided here, strictly
//! (RFC 9112): a message that two parsers could read in two ways is refused. In
//! responses, blanks that mean the same to every parser are removed.
//!
//! hyper is not used on this path. It hides details that a gateway has to see
//! (it drops a `Content-Length` beside `Transfer-Encoding`, repeated lengths
//! and fragments), responds to malformed heads by itself, and cannot send
//! interim responses.

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
