//! Texts that many tests need: configurations, requests, metrics.

use std::{fmt::Write as _, fs, path::Path};

use super::Upstream;

/// A request without a body. The host is `a` unless `lines` has a `Host` field.
pub fn request(method: &str, path: &str, lines: &[&str]) -> String {
    let has_host = lines
        .iter()
        .any(|line| line.to_ascii_lowercase().starts_with("host:"));
    let host = if has_host { "" } else { "Host: a\r\n" };
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\n{host}{lines}\r\n")
}

/// A route that responds by itself, with its name as the body.
pub fn responding(name: &str, more: &str) -> String {
    format!(
        "[[routes]]\nname = \"{name}\"\nrespond = {{ status = 200, body = \"{name}\" }}\n{more}\n\n"
    )
}

/// The table of an upstream with these servers.
pub fn upstream_table(name: &str, servers: &[&Upstream], more: &str) -> String {
    let urls: Vec<_> = servers.iter().map(|server| server.url()).collect();
    format!("[upstreams.{name}]\nservers = {urls:?}\n{more}\n\n")
}

/// Writes a file beside `file` and renames it to `file`, so that no reader sees
/// half of it.
pub fn replace(file: &Path, text: &str) {
    let next = file.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, file).unwrap();
}

/// Adds workers, a listener and an admin listener to the text if it has none.
pub fn completed(text: &str) -> String {
    let mut text = text.to_owned();
    for (table, lines) in [
        ("[[listeners]]", "bind = \"127.0.0.1:0\""),
        ("[admin]", "bind = \"127.0.0.1:0\""),
        ("[server]", "workers = 2"),
    ] {
        if !text.contains(table) {
            let _ = write!(text, "\n{table}\n{lines}\n");
        }
    }
    text
}

/// Sum of all series of a metric that have all of these labels.
pub fn sum(metrics: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let of_name = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let of_series = of_name.filter(|rest| rest.starts_with([' ', '{']));
    let wanted: Vec<_> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{value}\""))
        .collect();
    let matching = of_series.filter(|rest| wanted.iter().all(|label| rest.contains(label)));
    matching
        .map(|rest| rest.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}
