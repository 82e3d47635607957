//! A strict parser of both text formats.

use std::collections::HashMap;

use super::super::Format;

/// The families and samples of a text, parsed as a strict scraper does. Parsing
/// panics at anything that the formats do not allow.
pub(super) struct Scrape {
    /// Metric types by the name of their family.
    pub(super) families: HashMap<String, String>,
    pub(super) samples: HashMap<String, f64>,
}

impl Scrape {
    pub(super) fn read(format: Format, text: &str) -> Self {
        let open = format == Format::OpenMetrics;
        let body = if open {
            text.strip_suffix("# EOF\n").expect("an end")
        } else {
            text
        };
        assert!(body.ends_with('\n'));
        let mut scrape = Self {
            families: HashMap::new(),
            samples: HashMap::new(),
        };
        let mut lines = body.lines().peekable();
        while let Some(line) = lines.next() {
            let (name, help) = line
                .strip_prefix("# HELP ")
                .expect("a family's help")
                .split_once(' ')
                .unwrap();
            assert!(!help.is_empty());
            let kind = lines
                .next()
                .unwrap()
                .strip_prefix(&format!("# TYPE {name} "))
                .expect("its type");
            assert!(
                scrape.families.insert(name.into(), kind.into()).is_none(),
                "{name} twice"
            );
            assert_eq!(
                name.ends_with("_total"),
                kind == "counter" && !open,
                "{name}"
            );
            let mut histogram = None;
            while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
                scrape.sample(name, kind, open, sample, &mut histogram);
            }
        }
        scrape
    }

    fn sample(
        &mut self,
        family: &str,
        kind: &str,
        open: bool,
        line: &str,
        last_bucket: &mut Option<f64>,
    ) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let value: f64 = value.parse().expect("a number");
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, rest)| {
            (name, rest.strip_suffix('}').expect("the end of labels"))
        });
        let labels = labels_of(labels);
        match (
            kind,
            name.strip_prefix(family).expect("a sample of its family"),
        ) {
            ("counter", suffix) => assert_eq!(suffix, if open { "_total" } else { "" }),
            ("gauge", suffix) => assert_eq!(suffix, ""),
            ("histogram", "_bucket") => {
                let bound = &labels.last().unwrap().1;
                assert!(
                    labels.last().unwrap().0 == "le" && (!open || bound.contains(['.', 'I'])),
                    "{line}"
                );
                assert!(
                    last_bucket.is_none_or(|last| last <= value),
                    "buckets are not cumulative: {line}"
                );
                *last_bucket = Some(value);
            }
            ("histogram", "_sum") => {}
            ("histogram", "_count") => assert_eq!(last_bucket.take(), Some(value), "{line}"),
            other => panic!("{other:?} in {line}"),
        }
        assert!(
            self.samples.insert(series.into(), value).is_none(),
            "{series} twice"
        );
    }

    pub(super) fn value(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }
}

/// Names and unescaped values of the labels between the braces.
fn labels_of(mut text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect("a label");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name}"
        );
        let (mut value, mut chars) = (String::new(), rest.char_indices());
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    same @ ('"' | '\\') => same,
                    other => panic!("\\{other} is no escape"),
                }),
                (_, plain) => value.push(plain),
            }
        };
        labels.push((name.into(), value));
        text = &rest[end + 1..];
        assert!(text.is_empty() || text.starts_with(','), "{text}");
        text = text.strip_prefix(',').unwrap_or(text);
    }
    labels
}
