//! Running gateways: started as a user starts them, on ports that the system
//! chooses, ended by signals.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

/// A running `tidegate`, killed on drop.
struct Tidegate {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Tidegate {
    fn start(arguments: &[&str]) -> Self {
        let mut child = tidegate(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
        }
    }

    fn run(config: &Path) -> (Self, SocketAddr, SocketAddr) {
        let mut tidegate = Self::start(&["run", "--config", config.to_str().unwrap()]);
        let admin = tidegate.logged("admin listening");
        let listener = tidegate.logged("listening");
        (tidegate, listener, admin)
    }

    /// The address in the log line with this message.
    fn logged(&mut self, message: &str) -> SocketAddr {
        let line = next_line(&mut self.stderr, &format!("\"message\":\"{message}\""));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of the process. Returns the exit code and the rest of
    /// stdout and stderr.
    fn end(mut self) -> (Option<i32>, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.stderr.read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code(), out, err)
    }
}

impl Drop for Tidegate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments);
    command
}

fn next_line(from: &mut impl BufRead, with: &str) -> String {
    let mut line = String::new();
    while !line.contains(with) {
        line.clear();
        assert!(
            from.read_line(&mut line).unwrap() > 0,
            "the output ended without a line with {with}"
        );
    }
    line
}

/// The address after the scheme in a line of a command's output.
fn address(line: &str) -> SocketAddr {
    line.split("http://")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

/// Status and body of the response to one request.
fn call(to: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn get(to: SocketAddr, path: &str) -> (u16, String) {
    call(to, "GET", path)
}

/// A service that responds to every request alike, on any number of
/// connections.
fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(|| respond_to_all(BufReader::new(stream.unwrap())));
        }
    });
    address
}

fn respond_to_all(mut stream: BufReader<TcpStream>) {
    while next_blank(&mut stream) {
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .unwrap();
    }
}

/// Reads up to the end of a head. Returns whether there was one.
fn next_blank(stream: &mut impl BufRead) -> bool {
    let mut line = String::new();
    while stream.read_line(&mut line).unwrap_or(0) > 0 {
        if line.trim().is_empty() {
            return true;
        }
        line.clear();
    }
    false
}

const SMALL: &str = r#"
[[listeners]]
bind = "127.0.0.1:0"
[admin]
bind = "127.0.0.1:0"
[limits.all]
rate = "100/s"
[[routes]]
name = "hello"
limits = ["all"]
respond = { status = 200, body = "hello" }
"#;

fn written(folder: &Path, toml: &str) -> std::path::PathBuf {
    let path = folder.join("tidegate.toml");
    std::fs::write(&path, toml).unwrap();
    path
}

fn reload(config: &Path, admin: SocketAddr) -> Output {
    let admin = format!("http://{admin}");
    tidegate(&[
        "reload",
        "--config",
        config.to_str().unwrap(),
        "--admin",
        &admin,
    ])
    .output()
    .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

#[test]
fn run_serves_logs_its_address_and_ends_with_0_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let (tidegate, listener, admin) = Tidegate::run(&written(folder.path(), SMALL));
    assert_eq!(get(listener, "/"), (200, "hello".into()));
    for path in ["/livez", "/readyz"] {
        let (status, reported) = get(admin, path);
        assert_eq!(
            (status, serde_json::from_str(&reported).ok()),
            (200, Some(serde_json::json!({ "status": "ok" })))
        );
    }
    let (status, metrics) = get(admin, "/metrics");
    assert!(
        status == 200 && metrics.contains("tidegate_limit_keys{limit=\"all\"}"),
        "{metrics}"
    );
    for path in [
        "/config",
        "/routes",
        "/upstreams",
        "/limits",
        "/limits/all/top",
        "/limits/all/keys",
    ] {
        let (status, view) = get(admin, path);
        assert!(
            status == 200 && serde_json::from_str::<serde_json::Value>(&view).is_ok(),
            "{path}: {view}"
        );
    }
    assert_eq!(get(admin, "/limits/other/top").0, 404);
    assert_eq!(get(admin, "/reload").0, 405);
    tidegate.signal(Signal::TERM);
    let (code, out, _) = tidegate.end();
    assert_eq!(code, Some(0));
    assert!(
        out.contains("\"route\":\"hello\""),
        "the access line is not on stdout: {out}"
    );
}

#[test]
fn reload_reports_changes_and_keeps_serving_after_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path(), SMALL);
    let (_tidegate, listener, admin) = Tidegate::run(&config);
    let unchanged = reload(&config, admin);
    assert_eq!(
        (unchanged.status.code(), text(&unchanged.stdout)),
        (Some(0), "unchanged\n")
    );
    // The gateway watches its files, too, and may load the new one before the
    // command does.
    let reported = (101..120).find_map(|rate| {
        written(folder.path(), &SMALL.replace("100/s", &format!("{rate}/s")));
        let reloaded = reload(&config, admin);
        assert_eq!(reloaded.status.code(), Some(0));
        text(&reloaded.stdout)
            .starts_with("reloaded")
            .then(|| text(&reloaded.stdout).to_owned())
    });
    assert_eq!(
        reported.as_deref(),
        Some(
            "reloaded\n  changed: limits\n  limits: 1 changed (all)\n  upstreams: none\n  routes: 1 kept\n"
        )
    );
    written(folder.path(), &SMALL.replace("rate", "rat"));
    let failed = reload(&config, admin);
    assert_eq!((failed.status.code(), text(&failed.stdout)), (Some(1), ""));
    assert!(
        text(&failed.stderr).contains("there is no key `rat`")
            && text(&failed.stderr).contains("the previous configuration stays in use"),
        "{}",
        text(&failed.stderr)
    );
    let named = tidegate(&["reload", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(named.status.code(), Some(1));
    assert!(
        text(&named.stderr).contains("there is no key `rat`")
            && text(&named.stderr).contains("keeps its previous configuration"),
        "{}",
        text(&named.stderr)
    );
    assert_eq!(get(listener, "/").0, 200);
}

#[test]
fn a_reload_needs_the_token_that_the_configuration_names() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "s3cret\n").unwrap();
    let toml = SMALL.replace("[admin]", "[admin]\ntoken_file = \"token\"");
    let config = written(folder.path(), &toml);
    let (tidegate, _, admin) = Tidegate::run(&config);
    assert_eq!(call(admin, "POST", "/reload").0, 401);
    assert_eq!(reload(&config, admin).status.code(), Some(0));
    tidegate.signal(Signal::INT);
    let (_, out, err) = tidegate.end();
    assert!(
        err.contains("admin call refused") && err.contains("\"status\":200"),
        "the log has both failures: {err}"
    );
    assert!(!out.contains("s3cret") && !err.contains("s3cret"));
}

#[test]
fn a_second_signal_does_not_wait_for_the_drain() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!(
        "[upstreams.silent]\nservers = [\"http://{}\"]\n[[routes]]",
        silent.local_addr().unwrap()
    );
    let toml = SMALL.replace("[[routes]]", &upstream);
    let toml = toml.replace(
        "respond = { status = 200, body = \"hello\" }",
        "upstream = \"silent\"",
    );
    let folder = tempfile::tempdir().unwrap();
    let (mut tidegate, listener, admin) = Tidegate::run(&written(folder.path(), &toml));
    let mut client = TcpStream::connect(listener).unwrap();
    write!(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    // The request is in flight here.
    let _reached = silent.accept().unwrap();
    tidegate.signal(Signal::TERM);
    next_line(&mut tidegate.stderr, "\"message\":\"draining\"");
    assert_eq!(get(admin, "/readyz").0, 503);
    assert_eq!(call(admin, "POST", "/reload").0, 503);
    tidegate.signal(Signal::TERM);
    assert_eq!(tidegate.end().0, Some(1));
}

#[test]
fn an_admin_address_in_use_is_reported_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let toml = SMALL.replace(
        "[admin]\nbind = \"127.0.0.1:0\"",
        &format!("[admin]\nbind = \"{address}\""),
    );
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path(), &toml);
    let output = tidegate(&["run", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected =
        format!("cannot listen on {address} (key admin.bind): another process listens there");
    assert!(
        text(&output.stderr).contains(&expected),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn proxy_limits_a_service_without_a_file() {
    let to = format!("http://{}", service());
    let admin = ["--admin", "127.0.0.1:0"];
    let arguments = [
        "proxy",
        "--to",
        &to,
        "--listen",
        "127.0.0.1:0",
        "--rate",
        "1/h",
        "--burst",
        "2",
    ];
    let mut tidegate = Tidegate::start(&[&arguments[..], &admin[..]].concat());
    let gateway = address(&next_line(&mut tidegate.stderr, "forwarding http://"));
    let statuses: Vec<_> = (0..3).map(|_| get(gateway, "/").0).collect();
    assert_eq!(statuses, [200, 200, 429]);
    tidegate.signal(Signal::INT);
    assert_eq!(tidegate.end().0, Some(0));
}

#[test]
fn demo_shows_limits_costs_waits_bans_queueing_and_retries() {
    let mut tidegate =
        Tidegate::start(&["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let gateway = address(&next_line(&mut tidegate.stdout, "  gateway "));
    let admin = address(&next_line(&mut tidegate.stdout, "  admin "));
    let limited: Vec<_> = (0..8).map(|_| get(gateway, "/limited").0).collect();
    assert_eq!(limited[..5], [200; 5]);
    assert!(limited[5..].contains(&429), "{limited:?}");
    let priced: Vec<_> = (0..8).map(|_| get(gateway, "/priced").0).collect();
    assert_eq!(priced[..3], [200; 3]);
    assert!(priced[3..].contains(&429), "{priced:?}");
    let strict: Vec<_> = (0..9).map(|_| get(gateway, "/strict").0).collect();
    assert_eq!(strict[0], 200);
    assert!(strict.contains(&429), "{strict:?}");
    let paced: Vec<_> = (0..4)
        .map(|_| thread::spawn(move || get(gateway, "/paced").0))
        .collect();
    let paced: Vec<_> = paced.into_iter().map(|call| call.join().unwrap()).collect();
    assert_eq!(paced, [200; 4]);
    let flaky: Vec<_> = (0..4).map(|_| get(gateway, "/flaky").0).collect();
    assert_eq!(flaky, [200; 4]);
    let slow: Vec<_> = (0..6)
        .map(|_| thread::spawn(move || get(gateway, "/slow").0))
        .collect();
    let mut slow: Vec<_> = slow.into_iter().map(|call| call.join().unwrap()).collect();
    slow.sort_unstable();
    assert_eq!(slow, [200, 200, 200, 200, 503, 503]);
    assert!(
        get(admin, "/metrics")
            .1
            .contains("tidegate_retries_total{route=\"flaky\",outcome=\"success\"} 4")
    );
    tidegate.signal(Signal::INT);
    assert_eq!(tidegate.end().0, Some(0));
}

#[test]
fn a_variable_that_is_not_utf_8_matters_only_if_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let check = |greeting: &str| {
        let file = folder.path().join("tidegate.toml");
        let text = format!(
            "[[listeners]]\nbind = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\nrespond = {{ status = 200, body = \"{greeting}\" }}\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut command = tidegate(&["check", file.to_str().unwrap()]);
        let bytes = |bytes: &'static [u8]| {
            <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes)
        };
        command
            .env("BROKEN", bytes(b"a\xffb"))
            .env(bytes(b"\xfe"), "x")
            .output()
            .unwrap()
    };
    assert!(check("hello").status.success());
    let refused = check("${BROKEN:-hello}");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("the environment variable BROKEN is not text"),
        "{said}"
    );
}
