//! An access line for a terminal: one row, status first, in colour.
//!
//! It has the fields that a person watches while trying something out, and is
//! no interface: programs read the full forms.
//!
//! `app::process` chooses this form if stdout is a terminal and the format is
//! `text`. The time of the day is left out, since the person sees the lines
//! appear. Only the escapes of colour are sent to the terminal as they are:
//! every text passes `text::bytes`, so that a client cannot move the cursor.

use std::time::Duration;

use super::{line::Line, pen::Pen, text, value};

/// Bytes of a path that are written, as received: with it a usual line still
/// fits into one row.
const PATH: usize = 48;
/// Bytes of a method, a reason and the name of a limit that are written.
const WORD: usize = 24;
/// Written in place of a missing method or path, so that columns keep their
/// meaning.
const NONE: &[u8] = b"-";

/// Writes status, method, path, duration, reason, limit, client and the fields
/// that were chosen, and the end of their line.
#[inline(never)]
pub(super) fn write<'a>(line: &Line<'_>, color: bool, mut pen: Pen<'a>) -> Pen<'a> {
    status(line.status, color, &mut pen);
    text::bytes(
        " ",
        Some(line.method.map_or(NONE, str::as_bytes)),
        WORD,
        &mut pen,
    );
    text::bytes(" ", Some(line.path.unwrap_or(NONE)), PATH, &mut pen);
    pen.constant(b" ");
    time(line.duration, &mut pen);
    text::bytes(" ", line.reason.map(str::as_bytes), WORD, &mut pen);
    let limit = line.limit.as_ref().map(|limit| limit.name.name());
    let limit = limit.or(line.refused_by);
    text::bytes(" limit=", limit.map(str::as_bytes), WORD, &mut pen);
    pen.constant(b" ");
    value::client(line, &mut pen);
    if let Some(extra) = line.extra {
        text::fields(extra, &mut pen);
    }
    pen.constant(b"\n");
    pen
}

/// Writes the status, in the colour of its class.
fn status(status: u16, color: bool, pen: &mut Pen<'_>) {
    if color {
        pen.text(start_of_color(status));
    }
    value::status(status, pen);
    if color {
        pen.constant(b"\x1b[0m");
    }
}

/// The color of a class of statuses: green, cyan, yellow, red.
///
/// Green is for success, yellow for the client's failures, red for the
/// server's, and cyan for everything else.
fn start_of_color(status: u16) -> &'static [u8] {
    match status {
        200..=299 => b"\x1b[32m",
        400..=499 => b"\x1b[33m",
        500.. => b"\x1b[31m",
        _ => b"\x1b[36m",
    }
}

/// Writes a duration with about three digits: `85us`, `13.5ms`, `2.04s`.
fn time(duration: Duration, pen: &mut Pen<'_>) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let (whole, decimals, unit): (_, &[u64], &[u8]) = match micros {
        0..1_000 => (micros, &[], b"us"),
        1_000..1_000_000 => (micros / 1_000, &[micros / 100 % 10], b"ms"),
        _ => (
            micros / 1_000_000,
            &[micros / 100_000 % 10, micros / 10_000 % 10],
            b"s",
        ),
    };
    value::integer(whole, pen);
    if !decimals.is_empty() {
        pen.constant(b".");
    }
    for &digit in decimals {
        value::integer(digit, pen);
    }
    pen.text(unit);
}
