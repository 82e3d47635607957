//! Further fields of access lines.

use http::{
    HeaderName,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE},
};

use super::{
    super::{suggest, wrong::Wrong},
    header,
};
use crate::policy::LogField;

/// `"header:NAME"`, `"response-header:NAME"`, `"cookie:NAME"`.
///
/// # Errors
/// Anything else, fields that hold credentials in whole, and fields that frame a
/// response, as those are written behind everything that is logged.
pub(in crate::config) fn field(text: &str) -> Result<LogField, Wrong> {
    let all = "write \"header:NAME\", \"response-header:NAME\" or \"cookie:NAME\"";
    let wrong = || Wrong::new("it is no field of a message", all);
    let Some((kind, name)) = text.split_once(':') else {
        let name = header::name(text).ok();
        return Err(wrong().or_advice(name.map(|name| format!("write \"header:{name}\""))));
    };
    match kind {
        "header" => shown(header::name(name)?).map(LogField::Request),
        "response-header" => {
            let name = shown(header::name(name)?)?;
            if name != "host" && header::frames(&name) {
                let why = "this field belongs to the connection or says where the message ends";
                let help = "leave it out; access lines have `bytes_out` and `protocol`";
                return Err(Wrong::new(why, help));
            }
            Ok(LogField::Response(name))
        }
        "cookie" => {
            // A cookie is named as a header is, but by its exact letters.
            header::name(name).map_err(|_| {
                let help = "write letters, digits and `-`, such as \"cookie:theme\"";
                Wrong::new("it is not the name of a cookie", help)
            })?;
            Ok(LogField::Cookie(name.into()))
        }
        _ => {
            let near = suggest::nearest(kind, &["header", "response-header", "cookie"]);
            Err(wrong().or_advice(near.map(|near| format!("write \"{near}:{name}\""))))
        }
    }
}

/// A header that may be logged.
fn shown(name: HeaderName) -> Result<HeaderName, Wrong> {
    let help = match name {
        COOKIE | SET_COOKIE => "write \"cookie:NAME\" for a cookie that is no secret",
        AUTHORIZATION | PROXY_AUTHORIZATION => {
            "leave it out; an access line has the `identity` of a client"
        }
        _ => return Ok(name),
    };
    Err(Wrong::new("it holds secrets, which no log may have", help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_header_or_a_cookie() {
        for text in ["header:referer", "response-header:x-cache", "cookie:Theme"] {
            assert_eq!(field(text).unwrap().to_string(), text);
        }
        assert_eq!(field("header:Referer"), field("header:referer"));
        for (text, help) in [
            ("referer", "\"header:referer\""),
            ("headers:referer", "\"header:referer\""),
            ("header:a b", ""),
            ("cookie:a=b", "\"cookie:theme\""),
            ("query:a", "\"cookie:NAME\""),
            ("", "\"cookie:NAME\""),
            ("header:Cookie", "\"cookie:NAME\""),
            ("response-header:set-cookie", "\"cookie:NAME\""),
            ("header:authorization", "`identity`"),
            ("header:proxy-authorization", "`identity`"),
            ("response-header:content-length", "`bytes_out`"),
        ] {
            let wrong = field(text).unwrap_err();
            assert!(wrong.help.contains(help), "{text}: {wrong:?}");
        }
    }
}
