//! `[routes.request]` and `[routes.response]`: changes to messages on their way
//! through the gateway.
//!
//! A request is changed behind the match of its route and behind the limits
//! (`gateway::stack`): those see it as the client sent it. So nothing here has
//! to be consistent with `match`, except for the parameters that a template
//! names.

use super::{
    checks::{GivenKey, Unique, exclude},
    references::RouteContext,
};
use crate::config::{
    field::{Field, Given, Nested, section},
    problem::{Code, Problem, Problems},
    wire::{
        lists::Set,
        routes::{self as wire, Trailers},
        scalar::{Scalar, Syntax},
        syntaxes::ChangeableHeader,
        tables::Pairs,
    },
};
use crate::policy::{HeaderChanges, RequestChanges, ResponseChanges, Rewrite};

/// Changes to requests: path, headers, bounds on the body.
///
/// gRPC calls are streams without a length: only a `max_body` that the route
/// has itself is meant for them.
///
/// A `buffer` that is absent is 0: the body is passed on while it arrives.
/// `None` after a mistake in any key of the section.
pub(super) fn request(
    entry: &Nested<wire::Request>,
    context: &mut RouteContext<'_>,
) -> Option<RequestChanges> {
    let request = section(entry)?;
    let rewrite = rewrite(&request, context);
    let set = &request.set_headers;
    let remove = &request.remove_headers;
    let headers = headers(set, remove, context.problems);
    for pair in set.elements() {
        if let Some(value) = pair.field.value() {
            context.check_header_text(&value.value, pair.field.at());
        }
    }
    let max_body = request.max_body.read()?;
    Some(RequestChanges {
        rewrite: rewrite?,
        headers: headers?,
        keep_headers: request.keep_headers.read()?,
        passes_trailers: request.trailers.value? == Trailers::Pass,
        preserve_host: request.preserve_host.value?,
        max_body,
        max_call_body: max_body.filter(|_| request.max_body.is_own()),
        buffer: request.buffer.read()?.unwrap_or_default(),
    })
}

/// Changes to responses: headers, and how clients hear of their limits.
///
/// `None` after a mistake in any key of the section.
pub(super) fn response(
    entry: &Nested<wire::Response>,
    problems: &mut Problems,
) -> Option<ResponseChanges> {
    let response = section(entry)?;
    let headers = headers(&response.set_headers, &response.remove_headers, problems);
    Some(ResponseChanges {
        headers: headers?,
        limit_headers: response.limit_headers.value?,
        buffer: response.buffer.read()?.unwrap_or_default(),
    })
}

/// The change of the path: a template for the whole of it, or prefixes to take
/// off and to put before it.
///
/// A template excludes the two prefixes, since the order of both changes would
/// be a guess. Prefixes are texts without the final slash, so that they end
/// where a segment ends. Two empty prefixes are no change at all.
fn rewrite(request: &wire::Request, context: &mut RouteContext<'_>) -> Option<Rewrite> {
    if let Some(rewrite) = &request.rewrite {
        let keys = [
            GivenKey::given("rewrite", rewrite),
            GivenKey::given("strip_prefix", &request.strip_prefix),
            GivenKey::given("add_prefix", &request.add_prefix),
        ];
        if exclude(&keys, "", "keep one of the two", context.problems) {
            return None;
        }
        let text = &rewrite.value()?.text;
        context.check_template("rewrite", text, rewrite.at(), &[]);
        return Some(Rewrite::Template(text.clone()));
    }
    let strip = request.strip_prefix.optional()?.unwrap_or_default();
    let add = request.add_prefix.optional()?.unwrap_or_default();
    Some(match strip.is_empty() && add.is_empty() {
        true => Rewrite::None,
        false => Rewrite::Prefix { strip, add },
    })
}

/// Headers to set and to remove.
///
/// A section sets no header twice, in any case of letters. It removes none that
/// it sets, as one of the two would do nothing. One of the two lists may come
/// from `[defaults]`: a route does not contradict itself then.
///
/// Only values that are sound take part in the comparison, as the others were
/// reported.
fn headers<V: Syntax>(
    set: &Option<Field<Pairs<ChangeableHeader, V>>>,
    remove: &Field<Set<Scalar<ChangeableHeader>>>,
    problems: &mut Problems,
) -> Option<HeaderChanges<V::Value>> {
    let removed = remove.read();
    let is_own = set.is_own() && remove.is_own();
    let mut names = Unique::new();
    for pair in set.elements() {
        let (Some(name), Some(_)) = (pair.name.read(), pair.field.value()) else {
            continue;
        };
        let at = pair.name.at();
        if names.add(name.clone(), at).is_some() {
            let message = format!("the header {name} is set twice");
            let help = "names of headers are the same in any case; keep one of the two";
            problems.error(Code::Duplicate, at, message, help);
        }
        if is_own && removed.iter().flatten().any(|removed| *removed == name) {
            let message = format!("the header {name} is both set and removed");
            let help = "setting it replaces what was there; take it out of `remove_headers`";
            let problem = Problem::new(Code::Conflict, at, message);
            problems.report(problem.also(remove.at(), "removed here").help(help));
        }
    }
    Some(HeaderChanges::new(set.read().unwrap_or_default(), removed?))
}
