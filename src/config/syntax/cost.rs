//! Where the cost of a request is found that is known in the end.

use super::{super::wrong::Wrong, header};
use crate::policy::{CostSource, JsonPath};

/// `"response-header:NAME"`, `"response-trailer:NAME"`,
/// `"response-json:PATH"`, `"request-bytes"`, `"response-bytes"`, `"bytes"`.
///
/// # Errors
/// Anything else. A header of the request, which is known before, has a form of
/// its own.
pub(in crate::config) fn source(text: &str) -> Result<CostSource, Wrong> {
    let help = "write \"response-header:NAME\", \"response-trailer:NAME\", \"response-json:PATH\", \"request-bytes\", \"response-bytes\" or \"bytes\"";
    match text.split_once(':') {
        None if text == "request-bytes" => Ok(CostSource::RequestBytes),
        None if text == "response-bytes" => Ok(CostSource::ResponseBytes),
        None if text == "bytes" => Ok(CostSource::Bytes),
        Some(("response-header", name)) => header::name(name).map(CostSource::ResponseHeader),
        Some(("response-trailer", name)) => header::name(name).map(CostSource::ResponseTrailer),
        Some(("response-json", path)) => {
            let help = format!(
                "write the names that lead to the number, at most {}, with a dot between them, such as \"response-json:usage.total_tokens\"",
                JsonPath::MOST_MEMBERS
            );
            let path = path.strip_prefix("$.").map_or(Some(path), |_| None);
            let path = path.and_then(JsonPath::parse);
            path.map(CostSource::ResponseJson)
                .ok_or_else(|| Wrong::new("it is not a path", help))
        }
        Some(("header" | "request-header", name)) => Err(Wrong::new(
            "a header of the request is known before it begins",
            format!("write `cost = {{ header = \"{name}\", max = 100 }}`"),
        )),
        _ => Err(Wrong::new("no cost is found there", help)),
    }
}
