//! Further fields of access lines, and the share of lines that are written.

use http::{
    HeaderName,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE},
};

use super::{
    super::{suggest, units, wrong::Wrong},
    header,
};
use crate::policy::{LineShare, LogField};

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

/// `"10%"`, `"0.1%"`: the share of lines that are written.
///
/// # Errors
/// Anything else, more than four decimals, and more than `"100%"`.
pub(in crate::config) fn share(text: &str) -> Result<LineShare, Wrong> {
    let help = "write a percentage from \"0%\" to \"100%\", such as \"10%\" or \"0.1%\"";
    let Some((whole, decimals)) = text.strip_suffix('%').and_then(|text| text.split_once('.'))
    else {
        return units::share(text)
            .map(|percent| LineShare::of_million(u32::from(percent) * 10_000));
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(decimals) || whole.len() > 3 || decimals.len() > 4 {
        return Err(Wrong::new("it is not a percentage of lines", help));
    }
    let lines = format!("{whole}{decimals:0<4}").parse().unwrap_or(u32::MAX);
    match lines {
        0..=LineShare::ALL => Ok(LineShare::of_million(lines)),
        _ => Err(Wrong::new("it is more than the whole", help)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn a_share_may_be_less_than_a_percent() {
        for (text, shown) in [
            ("10%", "0.1"),
            ("100%", "1"),
            ("0%", "0"),
            ("0.1%", "0.001"),
            ("12.5%", "0.125"),
            ("0.0001%", "0.000001"),
            ("100.0%", "1"),
        ] {
            assert_eq!(share(text).unwrap().to_string(), shown);
        }
        for text in [
            "", "10", "101%", "100.1%", ".1%", "1.%", "0.00001%", "-1%", "1.1.1%",
        ] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_share_is_shown_as_the_fraction_that_it_is(lines in 0..=LineShare::ALL) {
            let percent = format!("{}.{:04}%", lines / 10_000, lines % 10_000);
            let shown: f64 = share(&percent).unwrap().to_string().parse().unwrap();
            prop_assert_eq!((shown * f64::from(LineShare::ALL)).round(), f64::from(lines));
        }
    }
}
