//! The forms of a line, and that no client can forge or lengthen one.

use std::{borrow::Cow, time::Duration};

use proptest::prelude::*;
use serde_json::Value;

use super::{
    super::{
        ExtraFields, FixedFields, Form, Line,
        buffer::LineBuffer,
        line::{LONG, SHORT},
    },
    NAMES, TIME, full, least,
};
use crate::policy::{LogFormat, MOST_LOG_FIELDS};

const JSON: Form = Form::Full(LogFormat::Json);
const TEXT: Form = Form::Full(LogFormat::Text);

#[test]
fn a_json_line_has_the_promised_fields_in_order() {
    let line = written(JSON, &full());
    assert_eq!(
        line,
        concat!(
            r#"{"time":"2023-11-14T22:13:20.123Z","request_id":"r-1","listener":"0.0.0.0:8080","client":"203.0.113.7","#,
            r#""peer":"10.0.0.9:40000","protocol":"HTTP/1.1","method":"GET","host":"example.com","path":"/orders/7","#,
            r#""query":"a=b","route":"orders","status":429,"grpc_status":8,"reason":"rate_limited","limit":"daily","remaining":0,"#,
            r#""key":"00000000deadbeef","cost":12,"shadow":"trial","upstream":"backend","server":"http://10.0.0.1:9001","attempts":2,"#,
            r#""not_retried":"budget","delay_ms":40.000,"queue_ms":0.250,"upstream_ms":12.000,"duration_ms":13.500,"bytes_in":1,"#,
            r#""bytes_out":234,"trace_id":"0af7651916cd43dd8448eb211c80319c","user_agent":"curl/8.5.0"}"#,
            "\n"
        )
    );
}

#[test]
fn a_text_line_has_the_same_fields() {
    let line = written(TEXT, &full());
    assert_eq!(
        line,
        concat!(
            "time=2023-11-14T22:13:20.123Z status=429 method=GET host=example.com path=/orders/7 query=\"a=b\" ",
            "duration_ms=13.500 route=orders grpc_status=8 reason=rate_limited limit=daily remaining=0 key=00000000deadbeef cost=12 shadow=trial ",
            "upstream=backend server=http://10.0.0.1:9001 attempts=2 not_retried=budget delay_ms=40.000 queue_ms=0.250 ",
            "upstream_ms=12.000 bytes_in=1 bytes_out=234 client=203.0.113.7 peer=10.0.0.9:40000 ",
            "listener=0.0.0.0:8080 protocol=HTTP/1.1 request_id=r-1 trace_id=0af7651916cd43dd8448eb211c80319c user_agent=curl/8.5.0\n"
        )
    );
}

/// Fields that the configuration has chosen.
fn chosen() -> ExtraFields<'static> {
    ExtraFields {
        fields: vec![
            ("header:referer", b"https://a/"[..].into()),
            ("cookie:theme", b"dark \"x\""[..].into()),
        ],
        keys: vec![(&NAMES.limit, 7), (&NAMES.route, u64::MAX)],
        sample: Some("0.1"),
    }
}

#[test]
fn chosen_fields_end_a_line_of_each_form() {
    let extra = chosen();
    let line = Line {
        extra: Some(&extra),
        ..least()
    };
    let end = |form, plain: &Line<'_>| {
        let (line, plain) = (written(form, &line), written(form, plain));
        let length = plain.trim_end_matches(['}', '\n']).len();
        assert_eq!(line[..length], plain[..length]);
        line[length..].to_owned()
    };
    assert_eq!(
        end(JSON, &least()),
        concat!(
            r#","keys":{"daily":"0000000000000007","orders":"ffffffffffffffff"},"#,
            r#""header:referer":"https://a/","cookie:theme":"dark \"x\"","sample":0.1}"#,
            "\n"
        )
    );
    assert_eq!(
        end(TEXT, &least()),
        " keys=daily:0000000000000007,orders:ffffffffffffffff header:referer=https://a/ cookie:theme=\"dark \\\"x\\\"\" sample=0.1\n"
    );
    assert_eq!(
        end(Form::Short { color: false }, &least()),
        " header:referer=https://a/ cookie:theme=\"dark \\\"x\\\"\"\n"
    );
    let none = ExtraFields {
        fields: Vec::new(),
        keys: Vec::new(),
        sample: None,
    };
    let line = Line {
        extra: Some(&none),
        ..least()
    };
    for form in [JSON, TEXT] {
        assert_eq!(written(form, &line), written(form, &least()));
    }
}

#[test]
fn a_short_line_is_one_row_with_the_main_fields() {
    let short = |line: &Line<'_>| written(Form::Short { color: false }, line);
    assert_eq!(
        short(&full()),
        "429 GET /orders/7 13.5ms rate_limited limit=daily 203.0.113.7\n"
    );
    assert_eq!(short(&least()), "404 GET / 13.5ms 203.0.113.7\n");
    let unreadable = Line {
        method: None,
        path: None,
        status: 400,
        reason: Some("malformed"),
        ..least()
    };
    assert_eq!(short(&unreadable), "400 - - 13.5ms malformed 203.0.113.7\n");
    let time = |micros| {
        short(&Line {
            duration: Duration::from_micros(micros),
            ..least()
        })
    };
    let times = [
        (0, "0us"),
        (999, "999us"),
        (1_049, "1.0ms"),
        (999_999, "999.9ms"),
        (61_059_999, "61.05s"),
    ];
    times.iter().for_each(|&(micros, text)| {
        assert_eq!(time(micros), format!("404 GET / {text} 203.0.113.7\n"))
    });
}

#[test]
fn the_color_of_a_short_line_shows_the_class_of_its_status() {
    for (status, color) in [
        (101, 36),
        (200, 32),
        (308, 36),
        (429, 33),
        (499, 33),
        (500, 31),
        (504, 31),
    ] {
        let line = written(Form::Short { color: true }, &Line { status, ..least() });
        assert_eq!(
            line,
            format!("\x1b[{color}m{status}\x1b[0m GET / 13.5ms 203.0.113.7\n")
        );
    }
}

#[test]
fn a_path_neither_lengthens_a_short_line_nor_controls_the_terminal() {
    let short = |path: &[u8]| {
        written(
            Form::Short { color: false },
            &Line {
                path: Some(path),
                ..least()
            },
        )
    };
    assert_eq!(
        short(b"/\x1b[2J\r\n"),
        "404 GET \"/\\u001b[2J\\r\\n\" 13.5ms 203.0.113.7\n"
    );
    let long = short(&[b'/'; 2000]);
    assert_eq!(
        long,
        format!("404 GET \"{}…\" 13.5ms 203.0.113.7\n", "/".repeat(48))
    );
}

#[test]
fn a_client_that_is_the_peer_has_its_address_and_any_other_its_own() {
    let written = |client: Option<&str>| {
        let line = Line {
            client: client.map(|client| client.parse().unwrap()),
            ..least()
        };
        let value: Value = serde_json::from_str(&written(JSON, &line)).unwrap();
        value["client"].as_str().unwrap().to_owned()
    };
    assert_eq!(written(None), "10.0.0.9");
    assert_eq!(written(Some("2001:db8::1")), "2001:db8::1");
    assert_eq!(written(Some("::ffff:192.0.2.7")), "192.0.2.7");
}

#[test]
fn an_upstream_without_a_server_is_named_alone() {
    let line = Line {
        unserved: Some("backend"),
        attempts: Some(1),
        ..least()
    };
    let json = written(JSON, &line);
    assert!(
        json.contains(r#","status":404,"upstream":"backend","attempts":1,"#),
        "{json}"
    );
    let text = written(TEXT, &line);
    assert!(text.contains(" upstream=backend attempts=1 "), "{text}");
}

#[test]
fn names_of_any_length_are_written_whole() {
    for length in 1..200 {
        let name = FixedFields::route("a".repeat(length).into());
        let line = Line {
            route: Some(&name),
            ..full()
        };
        // The second line has the text that the first one made.
        for _ in 0..2 {
            let value: Value = serde_json::from_str(&written(JSON, &line)).unwrap();
            assert_eq!(value["route"], "a".repeat(length));
            assert!(written(TEXT, &line).contains(&format!(" route={} ", "a".repeat(length))));
        }
    }
}

#[test]
fn absent_fields_are_left_out() {
    let value: Value = serde_json::from_str(&written(JSON, &least())).unwrap();
    let names = [
        "time",
        "request_id",
        "listener",
        "client",
        "peer",
        "protocol",
        "method",
        "path",
        "status",
        "duration_ms",
        "bytes_in",
        "bytes_out",
    ];
    let mut found: Vec<_> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    found.sort_unstable_by_key(|name| names.iter().position(|known| known == name));
    assert_eq!(found, names);
    assert_eq!(written(TEXT, &least()).split(' ').count(), names.len());
}

#[test]
fn a_line_is_bounded_whatever_a_client_sends() {
    let huge = vec![0; 100_000];
    let hostile = String::from_utf8(huge.clone()).unwrap();
    let line = Line {
        method: Some(&hostile),
        path: Some(&huge),
        query: Some(&huge),
        ..full()
    };
    let line = Line {
        host: Some(&huge),
        user_agent: Some(&huge),
        ..line
    };
    for format in [JSON, TEXT, Form::Short { color: true }] {
        assert!(written(format, &line).len() < 56 * 1024);
    }
    let limit = FixedFields::limit("x".repeat(140).into());
    let field = ("response-header:x-a-name-of-usual-length", Cow::from(&huge));
    let extra = ExtraFields {
        fields: vec![field; MOST_LOG_FIELDS],
        keys: vec![(&limit, 1); 64],
        sample: Some("0.000001"),
    };
    let line = Line {
        extra: Some(&extra),
        ..line
    };
    for format in [JSON, TEXT, Form::Short { color: true }] {
        assert!(written(format, &line).len() < 120 * 1024);
    }
}

proptest! {
    #[test]
    fn no_bytes_of_a_client_forge_a_line_or_a_field(
        path in any::<Vec<u8>>(), agent in any::<Vec<u8>>(), host in any::<Vec<u8>>(), method in ".*",
    ) {
        let line = Line { path: Some(&path), user_agent: Some(&agent), host: Some(&host), method: Some(&method), ..full() };
        let json = written(JSON, &line);
        let value: Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&value["path"], &lossy(&path, LONG));
        prop_assert_eq!(&value["user_agent"], &lossy(&agent, LONG));
        prop_assert_eq!(&value["host"], &lossy(&host, SHORT));
        prop_assert_eq!(value.as_object().unwrap().len(), 31);
        for text in [json, written(TEXT, &line), written(Form::Short { color: false }, &line)] {
            let inside = text.strip_suffix('\n').unwrap();
            let breaks_a_line = inside.contains(|c: char| c.is_control() || c == '\u{2028}');
            prop_assert!(!breaks_a_line, "{}", inside);
        }
    }

    #[test]
    fn a_text_line_can_be_parsed(path in any::<Vec<u8>>(), agent in any::<Vec<u8>>()) {
        let line = Line { path: Some(&path), user_agent: Some(&agent), ..full() };
        let fields = fields(written(TEXT, &line).trim_end_matches('\n'));
        prop_assert_eq!(fields.len(), 31);
        prop_assert_eq!(&fields[4], &("path".to_owned(), lossy(&path, LONG)));
        prop_assert_eq!(&fields[30], &("user_agent".to_owned(), lossy(&agent, LONG)));
    }
}

fn written(form: Form, line: &Line<'_>) -> String {
    let mut buffer = LineBuffer::default();
    let (monotonic, wall) = *TIME;
    let dates = buffer.dates.insert(form.dates());
    dates.set(monotonic, wall);
    buffer.append(line, form);
    String::from_utf8(buffer.text.as_slice().to_vec()).unwrap()
}

/// The text in a line of bytes that a client sent.
fn lossy(bytes: &[u8], longest: usize) -> String {
    assert!(bytes.len() <= longest);
    String::from_utf8_lossy(bytes).into_owned()
}

/// Keys and values of a text line.
fn fields(mut line: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while let Some((key, rest)) = line.split_once('=') {
        let mut quoted = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let (value, length) = if rest.starts_with('"') {
            (quoted.next().unwrap().unwrap(), quoted.byte_offset())
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            (rest[..end].to_owned(), end)
        };
        fields.push((key.to_owned(), value));
        line = rest[length..].strip_prefix(' ').unwrap_or(&rest[length..]);
    }
    assert_eq!(line, "");
    fields
}
