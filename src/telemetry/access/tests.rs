//! Promises of the access log, with sinks that a test holds the other end of.

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::mpsc::{self, Receiver, Sender},
    time::SystemTime,
};

use proptest::prelude::*;
use serde_json::Value;

use super::{line::LONG, line::SHORT, queue::QUEUED, *};
use crate::runtime::worker;

/// Longer than any test runs: nothing is collected before the end.
const NEVER: Duration = Duration::from_secs(3600);
/// Longer than anything takes that is going to happen at all.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_json_line_has_the_promised_fields_in_order() {
    let line = written(Form::Json, &full());
    assert_eq!(
        line,
        concat!(
            r#"{"time":"2023-11-14T22:13:20.123Z","request_id":"r-1","listener":"0.0.0.0:8080","client":"203.0.113.7","#,
            r#""peer":"10.0.0.9:40000","protocol":"HTTP/1.1","method":"GET","host":"example.com","path":"/orders/7","#,
            r#""query":"a=b","route":"orders","status":429,"grpc_status":8,"reason":"rate_limited","limit":"daily","remaining":0,"#,
            r#""key":"00000000deadbeef","shadow":"trial","upstream":"backend","server":"http://10.0.0.1:9001","attempts":2,"#,
            r#""not_retried":"budget","queue_ms":0.250,"upstream_ms":12.000,"duration_ms":13.500,"bytes_in":1,"#,
            r#""bytes_out":234,"user_agent":"curl/8.5.0"}"#,
            "\n"
        )
    );
}

#[test]
fn a_text_line_says_the_same() {
    let line = written(Form::Text, &full());
    assert_eq!(
        line,
        concat!(
            "time=2023-11-14T22:13:20.123Z status=429 method=GET host=example.com path=/orders/7 query=\"a=b\" ",
            "duration_ms=13.500 route=orders grpc_status=8 reason=rate_limited limit=daily remaining=0 key=00000000deadbeef shadow=trial ",
            "upstream=backend server=http://10.0.0.1:9001 attempts=2 not_retried=budget queue_ms=0.250 ",
            "upstream_ms=12.000 bytes_in=1 bytes_out=234 client=203.0.113.7 peer=10.0.0.9:40000 ",
            "listener=0.0.0.0:8080 protocol=HTTP/1.1 request_id=r-1 user_agent=curl/8.5.0\n"
        )
    );
}

#[test]
fn a_short_line_is_one_row_with_what_people_look_for() {
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
fn the_color_of_a_short_line_tells_the_class_of_its_status() {
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
fn a_short_line_neither_grows_nor_obeys_with_its_path() {
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
fn addresses_are_written_as_the_standard_library_would() {
    for peer in [
        "0.0.0.0:0",
        "192.168.200.10:65535",
        "[2001:db8::1]:80",
        "[::ffff:1.2.3.4]:1",
    ] {
        let peer: SocketAddr = peer.parse().unwrap();
        let peer_ip = peer.ip().to_canonical().to_string();
        for client in [
            peer.ip(),
            peer.ip().to_canonical(),
            [203, 0, 113, 7].into(),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            let line = written(
                Form::Json,
                &Line {
                    client,
                    peer,
                    peer_ip: &peer_ip,
                    ..least()
                },
            );
            let value: Value = serde_json::from_str(&line).unwrap();
            let (client, peer) = (client.to_canonical().to_string(), peer.to_string());
            assert_eq!(
                (&value["client"], &value["peer"]),
                (&client.into(), &peer.into())
            );
        }
    }
}

#[test]
fn what_is_absent_is_left_out() {
    let value: Value = serde_json::from_str(&written(Form::Json, &least())).unwrap();
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
    assert_eq!(
        written(Form::Text, &least()).split(' ').count(),
        names.len()
    );
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
    for format in [Form::Json, Form::Text, Form::Short { color: true }] {
        assert!(written(format, &line).len() < 56 * 1024);
    }
}

proptest! {
    #[test]
    fn no_bytes_of_a_client_forge_a_line_or_a_field(
        path in any::<Vec<u8>>(), agent in any::<Vec<u8>>(), host in any::<Vec<u8>>(), method in ".*",
    ) {
        let line = Line { path: Some(&path), user_agent: Some(&agent), host: Some(&host), method: Some(&method), ..full() };
        let json = written(Form::Json, &line);
        let value: Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&value["path"], &lossy(&path, LONG));
        prop_assert_eq!(&value["user_agent"], &lossy(&agent, LONG));
        prop_assert_eq!(&value["host"], &lossy(&host, SHORT));
        prop_assert_eq!(value.as_object().unwrap().len(), 28);
        for text in [json, written(Form::Text, &line), written(Form::Short { color: false }, &line)] {
            let inside = text.strip_suffix('\n').unwrap();
            let breaks_a_line = inside.contains(|c: char| c.is_control() || c == '\u{2028}');
            prop_assert!(!breaks_a_line, "{}", inside);
        }
    }

    #[test]
    fn text_can_be_taken_apart_again(path in any::<Vec<u8>>(), agent in any::<Vec<u8>>()) {
        let line = Line { path: Some(&path), user_agent: Some(&agent), ..full() };
        let fields = fields(written(Form::Text, &line).trim_end_matches('\n'));
        prop_assert_eq!(fields.len(), 28);
        prop_assert_eq!(&fields[4], &("path".to_owned(), lossy(&path, LONG)));
        prop_assert_eq!(&fields[27], &("user_agent".to_owned(), lossy(&agent, LONG)));
    }
}

#[test]
fn a_line_does_not_wait_for_a_full_buffer() {
    let (sink, taken) = open();
    let (log, guard) = start(Duration::from_millis(1), sink);
    for round in 0..3 {
        tell(&log, round);
        // Nothing else is told: only the writer's own collection can bring the line, also after it went to sleep.
        assert_eq!(numbers(&taken.recv_timeout(PATIENCE).unwrap()), [round]);
    }
    assert_eq!(guard.flush(PATIENCE), 0);
}

#[test]
fn a_line_that_fills_a_buffer_alone_does_not_wait_for_others() {
    let (sink, taken) = open();
    let (log, guard) = start(Duration::from_millis(1), sink);
    let huge = vec![0; LONG];
    log.write(&Line {
        path: Some(&huge),
        query: Some(&huge),
        user_agent: Some(&huge),
        ..full()
    });
    assert!(taken.recv_timeout(PATIENCE).unwrap().len() >= CHUNK);
    assert_eq!(guard.flush(PATIENCE), 0);
}

#[test]
fn full_buffers_are_written_before_their_time_and_end_with_a_line() {
    let (sink, taken) = open();
    let (log, guard) = start(NEVER, sink);
    (0..1000).for_each(|number| tell(&log, number));
    let chunk = taken.recv_timeout(PATIENCE).unwrap();
    assert!(
        chunk.ends_with(b"}\n") && (CHUNK..CAPACITY).contains(&chunk.len()),
        "{}",
        chunk.len()
    );
    assert_eq!(guard.flush(PATIENCE), 0);
}

#[test]
fn every_line_of_every_worker_arrives_in_its_order() {
    // Together less than the queue holds, so that a slow machine drops none.
    const EACH: u64 = 1000;
    let (sink, taken) = open();
    let (log, guard) = start(Duration::from_millis(1), sink);
    thread::scope(|scope| {
        for index in 0..2 {
            let log = &log;
            scope.spawn(move || {
                worker::set_current(index);
                (0..EACH).for_each(|number| tell(log, index as u64 * EACH + number));
            });
        }
    });
    assert_eq!(guard.flush(PATIENCE), 0);
    let all: Vec<u64> = taken.iter().flat_map(|chunk| numbers(&chunk)).collect();
    let (first, second): (Vec<u64>, Vec<u64>) = all.iter().partition(|&&number| number < EACH);
    assert!(first.into_iter().eq(0..EACH) && second.into_iter().eq(EACH..2 * EACH));
}

#[test]
fn lines_that_nobody_reads_are_dropped_and_counted_and_nobody_waits() {
    let (sink, gate) = blocked();
    let dropped = Arc::<Dropped>::default();
    let (log, guard) =
        AccessLog::start_with(NEVER, Form::Json, sink, 2, Arc::clone(&dropped)).unwrap();
    let mut told = 0;
    while dropped.total() == 0 {
        tell(&log, told);
        told += 1;
    }
    assert!(log.shared.waiting() >= QUEUED as u64);
    assert_eq!(log.shared.waiting() + dropped.total(), told);
    drop(gate);
    assert_eq!(guard.flush(PATIENCE), 0);
}

#[test]
fn the_end_does_not_wait_for_a_reader_that_does_not_read() {
    let (sink, gate) = blocked();
    let (log, guard) = start(NEVER, sink);
    (0..500).for_each(|number| tell(&log, number));
    gate.entered.recv_timeout(PATIENCE).unwrap();
    assert_eq!(guard.flush(Duration::from_millis(1)), 500);
}

#[test]
fn the_end_writes_what_waits() {
    let (sink, taken) = open();
    let (log, guard) = start(NEVER, sink);
    (0..500).for_each(|number| tell(&log, number));
    assert_eq!(guard.flush(PATIENCE), 0);
    assert!(taken.iter().flat_map(|chunk| numbers(&chunk)).eq(0..500));
}

#[test]
fn a_line_told_after_the_end_is_counted_as_dropped() {
    let dropped = Arc::<Dropped>::default();
    let (log, guard) = AccessLog::start(Form::Text, io::sink(), 1, Arc::clone(&dropped)).unwrap();
    assert_eq!(guard.flush(PATIENCE), 0);
    tell(&log, 1);
    assert_eq!(dropped.total(), 1);
}

#[test]
fn a_sink_that_panics_costs_lines_and_nothing_else() {
    let (sink, gate) = blocked();
    let dropped = Arc::<Dropped>::default();
    let (log, guard) =
        AccessLog::start_with(NEVER, Form::Json, Panics(sink), 1, Arc::clone(&dropped)).unwrap();
    (0..100).for_each(|number| tell(&log, number));
    drop(gate);
    let _ = guard.flush(PATIENCE);
    tell(&log, 100);
    assert_eq!(dropped.total(), 1);
}

/// A line of every field.
fn full() -> Line<'static> {
    Line {
        host: Some(b"example.com"),
        path: Some(b"/orders/7"),
        query: Some(b"a=b"),
        route: Some("orders"),
        status: 429,
        grpc_status: Some(8),
        reason: Some("rate_limited"),
        limit: Some("daily"),
        remaining: Some(0),
        key: Some(0xdead_beef),
        shadow: Some("trial"),
        upstream: Some("backend"),
        server: Some("http://10.0.0.1:9001"),
        attempts: Some(2),
        not_retried: Some("budget"),
        queue: Some(Duration::from_micros(250)),
        upstream_time: Some(Duration::from_millis(12)),
        user_agent: Some(b"curl/8.5.0"),
        ..least()
    }
}

/// A line of no more fields than every line has.
fn least() -> Line<'static> {
    Line {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        request_id: b"r-1",
        listener: "0.0.0.0:8080",
        client: [203, 0, 113, 7].into(),
        peer: ([10, 0, 0, 9], 40000).into(),
        peer_ip: "10.0.0.9",
        protocol: "HTTP/1.1",
        method: Some("GET"),
        host: None,
        path: Some(b"/"),
        query: None,
        route: None,
        status: 404,
        grpc_status: None,
        reason: None,
        limit: None,
        remaining: None,
        key: None,
        shadow: None,
        upstream: None,
        server: None,
        attempts: None,
        not_retried: None,
        queue: None,
        upstream_time: None,
        duration: Duration::from_micros(13_500),
        bytes_in: 1,
        bytes_out: 234,
        user_agent: None,
    }
}

fn written(form: Form, line: &Line<'_>) -> String {
    let mut lane = Lane::default();
    lane.append(line, form);
    String::from_utf8(lane.text).unwrap()
}

/// What a reader should find of bytes a client sent.
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

fn start(interval: Duration, sink: impl Write + Send + 'static) -> (AccessLog, AccessGuard) {
    AccessLog::start_with(interval, Form::Json, sink, 2, Arc::default()).unwrap()
}

/// Tells of a request that is known again by `number`.
fn tell(log: &AccessLog, number: u64) {
    log.write(&Line {
        bytes_out: number,
        ..full()
    });
}

/// Which requests some lines are of.
fn numbers(lines: &[u8]) -> Vec<u64> {
    let number = |line: &[u8]| {
        serde_json::from_slice::<Value>(line).unwrap()["bytes_out"]
            .as_u64()
            .unwrap()
    };
    lines
        .trim_ascii_end()
        .split(|&byte| byte == b'\n')
        .map(number)
        .collect()
}

/// A sink that takes everything, and what it took.
fn open() -> (Sink, Receiver<Vec<u8>>) {
    let (sender, receiver) = mpsc::channel();
    (Sink(sender), receiver)
}

struct Sink(Sender<Vec<u8>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink that blocks in every write until its gate is dropped, and then takes everything.
fn blocked() -> (Blocked, Gate) {
    let (entered, has_entered) = mpsc::channel();
    let (opens, open) = mpsc::channel();
    (
        Blocked { entered, open },
        Gate {
            entered: has_entered,
            _opens: opens,
        },
    )
}

struct Blocked {
    entered: Sender<()>,
    open: Receiver<()>,
}

struct Gate {
    /// Hears of every write that begins.
    entered: Receiver<()>,
    _opens: Sender<()>,
}

impl Write for Blocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        let _ = self.open.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Panics(Blocked);

impl Write for Panics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)?;
        panic!("as the test wants");
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
