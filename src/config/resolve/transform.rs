//! `[routes.request]` and `[routes.response]`: what changes on the way.

use super::{
    super::{
        problem::{Code, Problem, Problems},
        syntax::{header, path, template},
        units,
    },
    reader::Reader,
};
use crate::policy::{
    HeaderChanges, LimitHeaders, PathPattern, RequestChanges, ResponseChanges, Rewrite,
};

pub(super) fn request(
    reader: Reader<'_>,
    path: Option<&PathPattern>,
    problems: &mut Problems,
) -> Option<RequestChanges> {
    let rewrite = rewrite(reader, path, problems);
    let headers = headers(reader, problems);
    let max_body = reader.unless_off("max_body", units::size)?;
    Some(RequestChanges {
        rewrite: rewrite?,
        headers,
        keep_headers: reader.list("keep_headers", header::kept),
        passes_trailers: reader.text("trailers")? == "pass",
        preserve_host: reader.flag("preserve_host")?,
        max_body,
        max_call_body: max_body.filter(|_| reader.own("max_body").is_some()),
        buffer: buffer(reader)?,
    })
}

pub(super) fn response(reader: Reader<'_>, problems: &mut Problems) -> Option<ResponseChanges> {
    let headers = headers(reader, problems);
    let sound = !reader.is_broken("set_headers") && !reader.is_broken("remove_headers");
    let limit_headers = match reader.text("limit_headers")? {
        "draft-11" => LimitHeaders {
            draft: true,
            x_ratelimit: false,
        },
        "x-ratelimit" => LimitHeaders {
            draft: false,
            x_ratelimit: true,
        },
        "both" => LimitHeaders {
            draft: true,
            x_ratelimit: true,
        },
        _ => LimitHeaders {
            draft: false,
            x_ratelimit: false,
        },
    };
    let buffer = buffer(reader)?;
    sound.then_some(ResponseChanges {
        headers,
        limit_headers,
        buffer,
    })
}

/// Bytes that are buffered of a body; 0: none.
fn buffer(reader: Reader<'_>) -> Option<usize> {
    usize::try_from(
        reader
            .unless_off("buffer", units::size)?
            .unwrap_or_default(),
    )
    .ok()
}

fn rewrite(
    reader: Reader<'_>,
    path: Option<&PathPattern>,
    problems: &mut Problems,
) -> Option<Rewrite> {
    let instead = ["strip_prefix", "add_prefix"]
        .into_iter()
        .find(|key| reader.entry(key).is_some());
    if let (Some(_), Some(other)) = (reader.entry("rewrite"), instead) {
        let message = format!("`rewrite` and `{other}` exclude each other");
        let problem = Problem::new(Code::Conflict, reader.place(other), message);
        problems.report(
            problem
                .also(reader.place("rewrite"), "the other")
                .help("keep one of the two"),
        );
        return None;
    }
    if reader.entry("rewrite").is_some() {
        let text = reader.text("rewrite")?;
        check_places(reader, "rewrite", path, &[], problems);
        return Some(Rewrite::Template(text.to_owned()));
    }
    let prefix = |key| match reader.entry(key) {
        Some(_) => reader.parsed(key, path::literal),
        None => Some(String::new()),
    };
    let (strip, add) = (prefix("strip_prefix")?, prefix("add_prefix")?);
    Some(if strip.is_empty() && add.is_empty() {
        Rewrite::None
    } else {
        Rewrite::Prefix { strip, add }
    })
}

/// Reports places of a template that nothing fills in. Without a sound path nothing is known about them.
pub(super) fn check_places(
    reader: Reader<'_>,
    key: &str,
    path: Option<&PathPattern>,
    built_in: &[&str],
    problems: &mut Problems,
) {
    let (Some(path), Some(text)) = (path, reader.text(key)) else {
        return;
    };
    let parameters = match path {
        PathPattern::Parameters(path) => path::parameters(path).unwrap_or_default(),
        _ => Vec::new(),
    };
    let known: Vec<&str> = built_in.iter().copied().chain(parameters).collect();
    for place in template::places(text).unwrap_or_default() {
        if !known.contains(&place) {
            let message = format!("nothing fills in `{{{place}}}` of `{key}`");
            let help = match known.as_slice() {
                [] => "parameters come from `match.path`, such as \"/orders/{id}\"; this route has none".to_owned(),
                known => format!(
                    "there is {}",
                    known.iter().map(|name| format!("`{{{name}}}`")).collect::<Vec<_>>().join(", ")
                ),
            };
            problems.report(Problem::new(Code::UnknownName, reader.place(key), message).help(help));
        }
    }
}

/// Headers to set and to remove; one header cannot be in both, nor twice in one.
fn headers(reader: Reader<'_>, problems: &mut Problems) -> HeaderChanges {
    let set = reader.pairs("set_headers", header::changeable, header::value);
    for (at, (name, _, place)) in set.iter().enumerate() {
        if set.iter().take(at).any(|(other, _, _)| other == name) {
            let problem = Problem::new(
                Code::Duplicate,
                *place,
                format!("the header {name} is set twice"),
            );
            problems.report(
                problem.help("names of headers are the same in any case; keep one of the two"),
            );
        }
    }
    let remove = reader.list("remove_headers", header::changeable);
    let own = reader.own("set_headers").is_some() && reader.own("remove_headers").is_some();
    for (name, _, place) in set
        .iter()
        .filter(|(name, _, _)| own && remove.contains(name))
    {
        let problem = Problem::new(
            Code::Conflict,
            *place,
            format!("the header {name} is both set and removed"),
        );
        let help = "setting it replaces what was there; take it out of `remove_headers`";
        problems.report(
            problem
                .also(reader.place("remove_headers"), "removed here")
                .help(help),
        );
    }
    let set: Vec<_> = set
        .into_iter()
        .map(|(name, value, _)| (name, value))
        .collect();
    HeaderChanges::new(set, remove)
}
