//! `cost` of a limit: the tokens that a request takes.

use super::checks::{GivenKey, exclude};
use crate::config::{
    field::Given,
    problem::{Code, Problems},
    source::Span,
    units,
    wire::{
        limits::{self as wire, Burst},
        tables::Either,
    },
};
use crate::policy::{Cost, EndCost};

/// Tokens that a request takes: a number, the content of a header up to a
/// largest number, or a reserve until the cost is known.
///
/// A fixed cost has no bound here: it is compared with the burst. `None` after
/// a mistake.
pub(super) fn cost(limit: &wire::Limit, problems: &mut Problems) -> Option<Cost> {
    let (table, at) = match limit.cost.value()? {
        Either::Short(cost) => return Some(Cost::Fixed(cost.value)),
        Either::Long(table) => (table, limit.cost.at()),
    };
    let (header, from) = (
        GivenKey::given("header", &table.header),
        GivenKey::given("from", &table.from),
    );
    let reason = ": one is known before the request begins, and the other when it ends";
    let help = "keep one; for both, write two limits and name both on the route";
    if exclude(&[header, from], reason, help, problems) {
        return None;
    }
    match (header, from) {
        (_, Some(_)) => in_the_end(table, problems),
        (Some(_), None) => of_header(table, at, problems),
        (None, None) => {
            if !problems.incomplete {
                let message = "`header` is missing";
                let help = "name a header of the request, or the place of a cost that is known in the end: `from = \"response-header:x-cost\"`";
                problems.error(Code::MissingKey, at, message, help);
            }
            None
        }
    }
}

/// The content of a header of the request. An upper bound is required, because
/// clients may write anything into it.
///
/// The default is the cost of a request whose header has no whole number. It is
/// at most `max`, like the content of the header.
fn of_header(table: &wire::Cost, at: Span, problems: &mut Problems) -> Option<Cost> {
    if let Some(reserve) = GivenKey::given("reserve", &table.reserve) {
        let message = "`reserve` has no meaning beside `header`: the cost is known before";
        let help = "leave it out; `default` is the cost of a request without the header";
        problems.error(Code::Conflict, reserve.at, message, help);
    }
    if !table.max.is_present() && !problems.incomplete {
        let message = "`max` is missing";
        let help = "add it: clients may write any number into the header";
        problems.error(Code::MissingKey, at, message, help);
    }
    let name = table.header.read()?;
    let (default, max) = (table.default.read()?, table.max.read()?.get());
    refuse_size(&table.max, problems);
    if default > max {
        let message = format!(
            "a default of {default} is above the most that a request can cost, `max = {max}`"
        );
        let help = format!("lower `default` to {max} or less, or raise `max`");
        problems.error(Code::Conflict, table.default.at(), message, help);
    }
    Some(Cost::Header { name, default, max })
}

/// A cost that is known when the request ends.
///
/// The reserve is the least that a request costs whose cost stays unknown, so
/// that the most is not below it.
fn in_the_end(table: &wire::Cost, problems: &mut Problems) -> Option<Cost> {
    if let Some(default) = GivenKey::given("default", &table.default) {
        let message = "`default` has no meaning beside `from`: an unknown cost counts as `reserve`";
        let help = "call it `reserve`";
        problems.error(Code::Conflict, default.at, message, help);
    }
    let source = table.from.read()?;
    let (reserve, max) = (table.reserve.read()?, table.max.optional()?);
    if !source.is_bytes() {
        refuse_size(&table.reserve, problems);
        refuse_size(&table.max, problems);
    }
    if let Some(max) = max.filter(|max| *max < reserve) {
        let message = format!(
            "a reserve of {reserve} is above the most that a request can cost, `max = {max}`"
        );
        let help = format!("lower `reserve` to {max} or less, or raise `max`");
        problems.error(Code::Conflict, table.reserve.at(), message, help);
    }
    Some(Cost::InTheEnd(EndCost {
        source,
        reserve,
        max,
    }))
}

/// Reports a number that is a size where tokens are no bytes.
fn refuse_size(number: &impl Given<Burst>, problems: &mut Problems) {
    if let (Some(value), Some(field)) = (number.value(), number.entry())
        && units::is_size(&value.text)
    {
        let message = "a size is a number of bytes, and this cost is none";
        let help = "write a number without a unit";
        problems.error(Code::Conflict, field.at(), message, help);
    }
}

/// The place of the largest number of tokens that a request takes at admission;
/// `at` is that of the limit.
pub(super) fn place(limit: &wire::Limit, at: Span) -> Span {
    match limit.cost.value() {
        Some(Either::Long(table)) if table.from.is_present() => table.reserve.at(),
        Some(Either::Long(table)) => table.max.place(at),
        _ => limit.cost.place(at),
    }
}
