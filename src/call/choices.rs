//! The choices of a configuration about access lines: further fields, the keys
//! of all limits, and how many lines are written.
//!
//! Fields of the request are read when the line is written. Those of the
//! response are noted when it is on its way, since it is gone by then; so are
//! keys, by the limits that find them.

use std::{borrow::Cow, iter};

use rand::RngExt;

use super::{
    cookies::{cookies, unquoted},
    exchange::{Exchange, RouteLines},
    facts::{ChosenFacts, Facts},
    query::LoggedQuery,
};
use crate::{
    error::Fault,
    message::{Fields, Headers},
    policy::{Log, LogField, LogSample, SampledShare},
    telemetry::{ExtraFields, LONGEST_FIELD},
};

/// Further fields of access lines, and the share of lines that are written.
#[derive(Debug)]
pub struct LineChoices {
    /// The fields, each with its name in lines.
    fields: Vec<(Box<str>, LogField)>,
    /// Whether any of them is one of the response.
    has_response_fields: bool,
    /// Whether lines have the keys of all limits.
    pub has_keys: bool,
    /// The narrowest range of statuses first, with the share as lines have it.
    sample: Vec<(LogSample, Box<str>)>,
}

impl LineChoices {
    /// The choices of `log`; `None` if it makes none, so that lines cost
    /// nothing more.
    pub fn new(log: &Log) -> Option<Self> {
        let is_response = |field: &LogField| matches!(field, LogField::Response(_));
        let choices = Self {
            fields: log
                .fields
                .iter()
                .map(|field| (field.to_string().into(), field.clone()))
                .collect(),
            has_response_fields: log.fields.iter().any(is_response),
            has_keys: log.keys,
            sample: log
                .sample
                .iter()
                .map(|sample| (*sample, sample.share.to_string().into()))
                .collect(),
        };
        let is_any = choices.has_keys || !choices.fields.is_empty() || !choices.sample.is_empty();
        is_any.then_some(choices)
    }

    /// The further fields of a line with this `status`; `None` if it is not
    /// written, as not all of its kind are. `lines` has the names of limits.
    pub(super) fn fields<'a>(
        &'a self,
        exchange: &'a Exchange,
        facts: &'a Facts,
        status: u16,
        lines: &'a RouteLines,
    ) -> Option<ExtraFields<'a>> {
        // A client that leaves is no refusal: most endless streams end so.
        let is_refusal = |reason: &str| reason != Fault::ClientGone.reason();
        let is_telling = facts.reason.is_some_and(is_refusal) || facts.limits.shadow_refused != 0;
        let mut samples = self.sample.iter();
        let sample = samples.find(|(sample, _)| sample.concerns(status, is_telling));
        let drawn = || rand::rng().random_range(0..SampledShare::ALL);
        if sample.is_some_and(|(sample, _)| !sample.share.takes(drawn())) {
            return None;
        }
        let noted = facts.chosen.as_deref();
        let key = |(limit, key): &(usize, u64)| Some((lines.limits.get(*limit)?, *key));
        let keys = noted.map_or(&[][..], |noted| &noted.keys);
        Some(ExtraFields {
            fields: self.values(exchange, noted, lines),
            keys: keys.iter().filter_map(key).collect(),
            sample: sample.map(|(_, share)| &**share),
        })
    }

    /// The fields that an exchange has, in the order of the configuration.
    /// Queries in them are shown as that of the request is; those of the
    /// response have been when they were noted.
    fn values<'a>(
        &'a self,
        exchange: &'a Exchange,
        noted: Option<&'a ChosenFacts>,
        lines: &RouteLines,
    ) -> Vec<(&'a str, Cow<'a, [u8]>)> {
        let headers = &exchange.request.headers;
        let value = |(index, (name, field)): (usize, &'a (Box<str>, LogField))| {
            let value = match field {
                LogField::Request(name) => lines.query.shown_within(joined(headers.all(name))?),
                LogField::Cookie(name) => {
                    let value = Cow::Borrowed(cookie(headers, name)?);
                    lines.query.shown_within(value)
                }
                LogField::Response(_) => {
                    let mut fields = noted?.fields.iter();
                    let (_, value) = fields.find(|(field, _)| *field == index)?;
                    Cow::Borrowed(&**value)
                }
            };
            Some((&**name, value))
        };
        self.fields.iter().enumerate().filter_map(value).collect()
    }

    /// The fields of a response as lines show them, each with its place in the
    /// configuration. Queries are masked before a long value is cut: one that is
    /// still too long afterwards keeps a byte too many, by which the line shows
    /// that it is cut.
    #[cold]
    fn noted(&self, query: &LoggedQuery, fields: &Fields) -> Vec<(usize, Box<[u8]>)> {
        let value = |(index, (_, field)): (usize, &(_, LogField))| match field {
            LogField::Response(name) => {
                let value = query.shown_within(joined(fields.all(name))?);
                let kept = &value[..value.len().min(LONGEST_FIELD + 1)];
                Some((index, kept.into()))
            }
            _ => None,
        };
        self.fields.iter().enumerate().filter_map(value).collect()
    }
}

impl Exchange {
    /// Notes the fields of the response that its access line will have.
    #[inline]
    pub fn note_fields(&self, fields: &Fields) {
        if let Some(lines) = &self.route.access
            && let Some(choices) = lines.choices.as_deref()
            && choices.has_response_fields
        {
            self.note_chosen(choices.noted(&lines.query, fields));
        }
    }

    fn note_chosen(&self, noted: Vec<(usize, Box<[u8]>)>) {
        let mut facts = self.facts.lock();
        facts.chosen.get_or_insert_default().fields = noted;
    }
}

/// The lines of a field with a comma between them; `None` without a line. None
/// is left out: masking may shorten those before it. The listener, or the
/// upstream, bounds the length of a head.
fn joined<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> Option<Cow<'a, [u8]>> {
    let first = lines.next()?;
    let Some(second) = lines.next() else {
        return Some(Cow::Borrowed(first));
    };
    let mut value = first.to_vec();
    for line in iter::once(second).chain(lines) {
        value.extend_from_slice(b", ");
        value.extend_from_slice(line);
    }
    Some(Cow::Owned(value))
}

/// The value of the first cookie of this name.
fn cookie<'a>(headers: &'a Headers, name: &str) -> Option<&'a [u8]> {
    let mut cookies = cookies(headers);
    let found = cookies.find(|(known, _)| *known == name.as_bytes());
    found.map(|(_, value)| unquoted(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{LogLevel, LogQuery};

    #[test]
    fn a_value_is_masked_before_it_is_cut() {
        let fields = vec![LogField::Response(http::header::LOCATION)];
        let choices = LineChoices::new(&Log {
            level: LogLevel::default(),
            format: None,
            access: true,
            query: LogQuery::Masked,
            fields,
            keys: false,
            sample: Vec::new(),
        })
        .unwrap();
        let query = LoggedQuery::new(LogQuery::Masked, [].into());
        let long = "x".repeat(600);
        let cut = format!("/cb?token=***&{long}")[..=LONGEST_FIELD].to_owned();
        for (lines, kept) in [
            (&[format!("/cb?token={long}&a=1")][..], "/cb?token=***&a=1"),
            (&[format!("/cb?token={long}&{long}")], &cut),
            (
                &[format!("/cb?token={long}&a=1"), "b".to_owned()],
                "/cb?token=***&a=1, b",
            ),
        ] {
            let mut fields = Fields::default();
            for line in lines {
                fields.push("location", line.as_bytes());
            }
            let noted = choices.noted(&query, &fields);
            assert_eq!(String::from_utf8_lossy(&noted[0].1), kept);
        }
    }
}
