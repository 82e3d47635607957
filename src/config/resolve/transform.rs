//! `[routes.request]` and `[routes.response]`: what changes on the way.

use http::HeaderName;

use super::super::{
    field::{Field, Given, section},
    problem::{Code, Problem, Problems},
    source::Span,
    syntax::{path, template},
    wire::{
        lists::Set,
        routes::{self as wire, Headers, LimitHeaders as Fields, Trailers},
        syntaxes::ChangeableHeader,
        text::Text,
    },
};
use crate::policy::{
    HeaderChanges, LimitHeaders, PathPattern, RequestChanges, ResponseChanges, Rewrite,
};

pub(super) fn request(
    entry: &Option<Field<wire::Request>>,
    path: Option<&PathPattern>,
    problems: &mut Problems,
) -> Option<RequestChanges> {
    let field = section(entry);
    let request = field.value()?;
    let rewrite = rewrite(request, path, problems);
    let headers = headers(&request.set_headers, &request.remove_headers, problems);
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

pub(super) fn response(
    entry: &Option<Field<wire::Response>>,
    problems: &mut Problems,
) -> Option<ResponseChanges> {
    let field = section(entry);
    let response = field.value()?;
    let headers = headers(&response.set_headers, &response.remove_headers, problems);
    let fields = response.limit_headers.value?;
    Some(ResponseChanges {
        headers: headers?,
        limit_headers: LimitHeaders {
            draft: matches!(fields, Fields::Draft11 | Fields::Both),
            x_ratelimit: matches!(fields, Fields::XRatelimit | Fields::Both),
        },
        buffer: response.buffer.read()?.unwrap_or_default(),
    })
}

fn rewrite(
    request: &wire::Request,
    path: Option<&PathPattern>,
    problems: &mut Problems,
) -> Option<Rewrite> {
    let (strip, add) = (&request.strip_prefix, &request.add_prefix);
    let Some(rewrite) = &request.rewrite else {
        let (strip, add) = (prefix(strip)?, prefix(add)?);
        return Some(match strip.is_empty() && add.is_empty() {
            true => Rewrite::None,
            false => Rewrite::Prefix { strip, add },
        });
    };
    let at = rewrite.at();
    let (key, other) = match (strip, add) {
        (Some(strip), _) => ("strip_prefix", strip),
        (None, Some(add)) => ("add_prefix", add),
        (None, None) => {
            let text = &rewrite.value()?.text;
            let template = Template {
                key: "rewrite",
                text,
                at,
                built_in: &[],
            };
            template.check(path, problems);
            return Some(Rewrite::Template(text.clone()));
        }
    };
    let message = format!("`rewrite` and `{key}` exclude each other");
    let problem = Problem::new(Code::Conflict, other.place(at), message).also(at, "the other");
    problems.report(problem.help("keep one of the two"));
    None
}

/// A prefix that may be absent; `None` if it is wrong.
fn prefix(entry: &Option<Field<Text<super::super::wire::syntaxes::Literal>>>) -> Option<String> {
    match entry {
        Some(field) => field.read(),
        None => Some(String::new()),
    }
}

/// A text with places that are filled in for each request.
pub(super) struct Template<'a> {
    pub(super) key: &'a str,
    pub(super) text: &'a str,
    pub(super) at: Span,
    /// Places that every route fills in.
    pub(super) built_in: &'a [&'a str],
}

impl Template<'_> {
    /// Reports places that nothing fills in. Without a sound path nothing is
    /// known about them.
    pub(super) fn check(&self, path: Option<&PathPattern>, problems: &mut Problems) {
        let Some(path) = path else {
            return;
        };
        let parameters = match path {
            PathPattern::Parameters(path) => path::parameters(path).unwrap_or_default(),
            _ => Vec::new(),
        };
        let known: Vec<&str> = self.built_in.iter().copied().chain(parameters).collect();
        for place in template::places(self.text).unwrap_or_default() {
            if known.contains(&place) {
                continue;
            }
            let message = format!("nothing fills in `{{{place}}}` of `{}`", self.key);
            let help = match known.as_slice() {
                [] => "parameters come from `match.path`, such as \"/orders/{id}\"; this route has none".to_owned(),
                known => format!(
                    "there is {}",
                    known.iter().map(|name| format!("`{{{name}}}`")).collect::<Vec<_>>().join(", ")
                ),
            };
            problems.error(Code::UnknownName, self.at, message, help);
        }
    }
}

/// Headers to set and to remove; one header cannot be set twice, nor be removed
/// as well.
fn headers(
    set: &Option<Field<Headers>>,
    remove: &Field<Set<Text<ChangeableHeader>>>,
    problems: &mut Problems,
) -> Option<HeaderChanges> {
    let pairs = set.elements();
    let removed = match set.is_own() && remove.is_own() {
        true => remove.read().unwrap_or_default(),
        false => Vec::new(),
    };
    let mut before: Vec<HeaderName> = Vec::new();
    for pair in pairs {
        let (Some(name), Some(_)) = (pair.name.read(), pair.value.value()) else {
            continue;
        };
        let at = pair.name.at();
        if before.contains(&name) {
            problems.error(
                Code::Duplicate,
                at,
                format!("the header {name} is set twice"),
                "names of headers are the same in any case; keep one of the two",
            );
        }
        if removed.contains(&name) {
            let message = format!("the header {name} is both set and removed");
            let help = "setting it replaces what was there; take it out of `remove_headers`";
            let problem =
                Problem::new(Code::Conflict, at, message).also(remove.place(at), "removed here");
            problems.report(problem.help(help));
        }
        before.push(name);
    }
    let set = set.read().unwrap_or_default();
    Some(HeaderChanges::new(set, remove.read()?))
}
