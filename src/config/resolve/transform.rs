//! `[routes.request]` and `[routes.response]`: changes to messages on their way
//! through the gateway.
//!
//! A request is changed behind the match of its route and behind the limits
//! (`gateway::stack`): those see it as the client sent it. So nothing here has
//! to be consistent with `match`, except for the parameters that a template
//! names.

use super::{
    checks::{GivenKey, Unique, distinct, exclude},
    references::RouteContext,
};
use crate::config::{
    field::{Field, Given, Nested, section},
    problem::{Code, Problem},
    wire::{
        lists::Set,
        scalar::Scalar,
        syntaxes::ChangeableHeader,
        transform::{self as wire, FilledHeaders, Trailers},
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
    let headers = headers(
        (&request.set_headers, &request.add_headers),
        &request.remove_headers,
        context,
    );
    distinct("keep_headers", &request.keep_headers, context.problems);
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
    context: &mut RouteContext<'_>,
) -> Option<ResponseChanges> {
    let response = section(entry)?;
    let headers = headers(
        (&response.set_headers, &response.add_headers),
        &response.remove_headers,
        context,
    );
    Some(ResponseChanges {
        headers: headers?,
        locations: response.locations.value?,
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
        let template = &rewrite.value()?.value;
        context.check_template("rewrite", template, rewrite.at(), &[]);
        return Some(Rewrite::Template(template.clone()));
    }
    let strip = request.strip_prefix.optional()?.unwrap_or_default();
    let add = request.add_prefix.optional()?.unwrap_or_default();
    Some(match strip.is_empty() && add.is_empty() {
        true => Rewrite::None,
        false => Rewrite::Prefix { strip, add },
    })
}

/// Headers to set, to add and to remove.
///
/// Neither table has a header twice, in any case of letters. A header that is
/// removed is neither set nor added, as one of the two would do nothing. One of
/// the keys may come from `[defaults]`: a route does not contradict itself
/// then.
///
/// Only values that are sound take part in the comparison, as the others were
/// reported.
fn headers(
    (set, added): (&Option<Field<FilledHeaders>>, &Option<Field<FilledHeaders>>),
    remove: &Field<Set<Scalar<ChangeableHeader>>>,
    context: &mut RouteContext<'_>,
) -> Option<HeaderChanges> {
    let removed = remove.read();
    distinct("remove_headers", remove, context.problems);
    for (table, verb) in [(set, "set"), (added, "added")] {
        let is_own = table.is_own() && remove.is_own();
        let mut names = Unique::new();
        for pair in table.elements() {
            let (Some(name), Some(value)) = (pair.name.read(), pair.field.value()) else {
                continue;
            };
            context.check_header_text(&value.value, pair.field.at());
            let at = pair.name.at();
            if names.add(name.clone(), at).is_some() {
                let message = format!("the header {name} is {verb} twice");
                let help = "names of headers are the same in any case; keep one of the two";
                context.problems.error(Code::Duplicate, at, message, help);
            }
            if is_own && removed.iter().flatten().any(|removed| *removed == name) {
                let message = format!("the header {name} is both {verb} and removed");
                let help = match verb {
                    "set" => "setting it replaces what was there; take it out of `remove_headers`",
                    _ => "write it in `set_headers` alone, which replaces what was there",
                };
                let problem = Problem::new(Code::Conflict, at, message);
                let problem = problem.also(remove.at(), "removed here").help(help);
                context.problems.report(problem);
            }
        }
    }
    Some(HeaderChanges::new(
        set.read().unwrap_or_default(),
        added.read().unwrap_or_default(),
        removed?,
    ))
}
