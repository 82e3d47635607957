//! The two text formats of metrics: negotiation with a scraper, and the lines
//! of both.
//!
//! * Prometheus text format 0.0.4:
//!   <https://prometheus.io/docs/instrumenting/exposition_formats/>
//! * OpenMetrics 1.0.0:
//!   <https://prometheus.io/docs/specs/om/open_metrics_spec/>
//!
//! They are written here rather than by a library, because the formats differ
//! in more than their content type. In 0.0.4 the family of a counter is named
//! with its `_total`, in OpenMetrics without; a scraper of 0.0.4 that gets the
//! header of the other format takes the counter for untyped. OpenMetrics also
//! ends with `# EOF`, and writes the bounds of buckets as floats.
//!
//! A family is written as a whole, with its header first: both formats require
//! it.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use super::{histogram::Histogram, tally::Tally};

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format for a scraper with this `Accept`: the supported one with the
    /// highest quality, and OpenMetrics if both have the same.
    /// [`Format::Prometheus`] if the header is absent or names no supported
    /// format.
    ///
    /// ```
    /// use tidegate::telemetry::metrics::Format;
    ///
    /// let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";
    /// assert_eq!(Format::negotiate(Some(prometheus)), Format::OpenMetrics);
    /// assert_eq!(Format::negotiate(None), Format::Prometheus);
    /// ```
    pub fn negotiate(accept: Option<&str>) -> Self {
        let mut best = (0.0, Self::Prometheus);
        for (format, quality) in accept.unwrap_or_default().split(',').filter_map(wanted) {
            if quality > best.0 || (quality == best.0 && format == Self::OpenMetrics) {
                best = (quality, format);
            }
        }
        best.1
    }

    /// The `Content-Type` of a response in this format.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The format that one range of an `Accept` header (RFC 9110, 12.5.1) names,
/// and its quality, above 0 and usually at most 1. `None` for another format or
/// version.
fn wanted(range: &str) -> Option<(Format, f32)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let mut version = None;
    let mut quality = 1.0;
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else {
            continue;
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "version" => version = Some(value.trim().trim_matches('"')),
            "q" => quality = value.trim().parse().ok()?,
            _ => {}
        }
    }
    let format = match (media.as_str(), version) {
        ("application/openmetrics-text", None | Some("1.0.0")) => Format::OpenMetrics,
        ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Format::Prometheus,
        _ => return None,
    };
    (quality > 0.0).then_some((format, quality))
}

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FamilyType {
    /// A number that only grows, until the process ends.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Counts of durations in cumulative buckets, with their sum.
    Histogram,
}

/// The text of a scrape, which grows family by family.
pub(super) struct Exposition {
    format: Format,
    /// The families so far.
    text: String,
}

impl Exposition {
    /// An empty text in `format`.
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            text: String::new(),
        }
    }

    /// Opens a family. `name` is without `_total`, which counters get as a
    /// suffix. The header is written with the first sample, so that a family
    /// without samples leaves no trace.
    pub(super) fn family(
        &mut self,
        kind: FamilyType,
        name: &'static str,
        help: &'static str,
    ) -> Family<'_> {
        Family {
            exposition: self,
            kind,
            name,
            help: Some(help),
        }
    }

    /// The whole text, with the mark that OpenMetrics requires at its end.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// One family of metrics, open for samples.
pub(super) struct Family<'a> {
    /// The text that the family is written to.
    exposition: &'a mut Exposition,
    kind: FamilyType,
    /// The name without `_total`.
    name: &'static str,
    /// Taken when the header is written.
    help: Option<&'static str>,
}

/// The labels of a sample: names of the program, and values from the program or
/// the configuration.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Family<'_> {
    /// Writes the value of a counter or gauge.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl fmt::Display) {
        let suffix = if self.kind == FamilyType::Counter {
            "_total"
        } else {
            ""
        };
        self.header();
        self.line(suffix, labels, None, value);
    }

    /// Writes a counter unless it is 0: counters appear with their first event.
    pub(super) fn count(&mut self, labels: Labels<'_>, value: u64) {
        if value > 0 {
            self.sample(labels, value);
        }
    }

    /// Writes the counters of a tally, each with the label of its owner and its
    /// own word under `label`.
    pub(super) fn tally(
        &mut self,
        owner: (&'static str, &str),
        label: &'static str,
        tally: &Tally,
    ) {
        for (word, count) in tally.iter() {
            self.count(&[owner, (label, word)], count);
        }
    }

    /// Writes a gauge, unless its owner has none.
    pub(super) fn gauge(&mut self, labels: Labels<'_>, value: Option<u64>) {
        if let Some(value) = value {
            self.sample(labels, value);
        }
    }

    /// Writes a histogram as cumulative buckets, sum and count, unless it is
    /// empty.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let count = histogram.count();
        if count == 0 {
            return;
        }
        self.header();
        for (bound, below) in histogram.cumulative() {
            self.line("_bucket", labels, Some(bound), below);
        }
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, Seconds(histogram.sum()));
        self.line("_count", labels, None, count);
    }

    /// Writes `# HELP` and `# TYPE`, once.
    fn header(&mut self) {
        let Some(help) = self.help.take() else { return };
        let name = self.name;
        let suffix = match (self.kind, self.exposition.format) {
            (FamilyType::Counter, Format::Prometheus) => "_total",
            _ => "",
        };
        let kind = match self.kind {
            FamilyType::Counter => "counter",
            FamilyType::Gauge => "gauge",
            FamilyType::Histogram => "histogram",
        };
        self.write(format_args!(
            "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"
        ));
    }

    /// Writes one sample. `bound` is the label `le` of a bucket.
    fn line(
        &mut self,
        suffix: &str,
        labels: Labels<'_>,
        bound: Option<&str>,
        value: impl fmt::Display,
    ) {
        let name = self.name;
        self.write(format_args!("{name}{suffix}"));
        let mut before = '{';
        for (name, value) in labels {
            self.write(format_args!("{before}{name}=\"{}\"", Escaped(value)));
            before = ',';
        }
        if let Some(bound) = bound {
            let fraction = self.whole(bound);
            self.write(format_args!("{before}le=\"{bound}{fraction}\""));
            before = ',';
        }
        let after = if before == ',' { "}" } else { "" };
        self.write(format_args!("{after} {value}\n"));
    }

    /// The decimals of a bound: OpenMetrics writes `1.0`, and 0.0.4 writes `1`.
    fn whole(&self, bound: &str) -> &'static str {
        let whole = bound.bytes().all(|byte| byte.is_ascii_digit());
        if whole && self.exposition.format == Format::OpenMetrics {
            ".0"
        } else {
            ""
        }
    }

    /// Appends formatted text.
    fn write(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.exposition.text.write_fmt(text);
    }
}

/// Shows a duration in seconds with nine decimals, without rounding.
pub(super) struct Seconds(pub(super) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0.as_secs(), self.0.subsec_nanos())
    }
}

/// Shows the value of a label with the escapes of both formats: `\\`, `\"` and
/// `\n`.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(['\\', '"', '\n']) {
            let plain = part.trim_end_matches(['\\', '"', '\n']);
            f.write_str(plain)?;
            match part.as_bytes().last().filter(|_| plain.len() < part.len()) {
                Some(b'\n') => f.write_str("\\n")?,
                Some(b'"') => f.write_str("\\\"")?,
                Some(_) => f.write_str("\\\\")?,
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_and_curl_get_the_plain_format() {
        for accept in [
            None,
            Some("*/*"),
            Some("text/html,application/xhtml+xml,*/*;q=0.8"),
            Some("text/plain"),
        ] {
            assert_eq!(Format::negotiate(accept), Format::Prometheus, "{accept:?}");
        }
    }

    #[test]
    fn prometheus_gets_openmetrics_when_it_prefers_that() {
        let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                      application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3";
        assert_eq!(Format::negotiate(Some(accept)), Format::OpenMetrics);
    }

    #[test]
    fn the_higher_quality_wins_whatever_the_order() {
        let accept = "application/openmetrics-text; version=1.0.0; q=0.2, text/plain; q=0.5";
        assert_eq!(Format::negotiate(Some(accept)), Format::Prometheus);
        let accept = "text/plain;q=0.5, application/openmetrics-text";
        assert_eq!(Format::negotiate(Some(accept)), Format::OpenMetrics);
    }

    #[test]
    fn a_format_that_is_ruled_out_is_not_chosen() {
        assert_eq!(
            Format::negotiate(Some("application/openmetrics-text;q=0")),
            Format::Prometheus
        );
        assert_eq!(
            Format::negotiate(Some("application/openmetrics-text;version=2.0.0")),
            Format::Prometheus
        );
    }
}
