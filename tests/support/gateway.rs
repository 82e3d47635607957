//! The real binary as a process of its own, with an admin listener.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read},
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::Instant;

pub use super::texts::{completed, replace, request, responding, sum, upstream_table};
use super::{Client, Message, TIMEOUT};

/// The configuration, environment and descriptors that a [`Gateway`] is started
/// with.
pub struct Start {
    text: String,
    environment: Vec<(String, String)>,
    files: Option<u32>,
    reads_stdout: bool,
    is_on_terminal: bool,
    extra: Vec<(&'static str, String)>,
    sockets: Vec<(&'static str, OwnedFd)>,
    name_server: Option<IpAddr>,
}

impl Start {
    /// With this configuration. Where the text has none, two workers, a
    /// listener and an admin listener on ports that the system chooses are
    /// added.
    pub fn new(text: &str) -> Self {
        Self {
            text: completed(text),
            environment: Vec::new(),
            files: None,
            reads_stdout: true,
            is_on_terminal: false,
            extra: Vec::new(),
            sockets: Vec::new(),
            name_server: None,
        }
    }

    /// With this in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With no more than so many file descriptors.
    pub fn files(mut self, most: u32) -> Self {
        self.files = Some(most);
        self
    }

    /// With a reader of its stdout that never reads.
    pub fn unread(mut self) -> Self {
        self.reads_stdout = false;
        self
    }

    /// With a terminal as its stdout.
    pub fn on_a_terminal(mut self) -> Self {
        self.is_on_terminal = true;
        self
    }

    /// With another file beside its configuration.
    pub fn file(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.extra.push((name, text.into()));
        self
    }

    /// With a socket that systemd would hand over under this name.
    pub fn socket(mut self, name: &'static str, socket: impl Into<OwnedFd>) -> Self {
        self.sockets.push((name, socket.into()));
        self
    }

    /// With this name server alone, instead of those of the system. Needs root.
    pub fn name_server(mut self, address: IpAddr) -> Self {
        self.name_server = Some(address);
        self
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub fn go(self) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in &self.extra {
            write_file(&folder.path().join(name), text);
        }
        let file = folder.path().join("tidegate.toml");
        if !file.exists() {
            write_file(&file, &self.text);
        }
        let mut command = match (self.files, self.name_server) {
            (_, Some(address)) => {
                let conf = folder.path().join("resolv.conf");
                write_file(
                    &conf,
                    &format!("nameserver {address}\noptions timeout:1 attempts:1\n"),
                );
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", OTHER_NAMES]);
                command.args([conf.as_os_str(), env!("CARGO_BIN_EXE_tidegate").as_ref()]);
                command
            }
            (Some(most), None) => {
                let mut command = Command::new("sh");
                command.args([
                    "-c",
                    &format!("ulimit -n {most}; exec \"$0\" \"$@\""),
                    env!("CARGO_BIN_EXE_tidegate"),
                ]);
                command
            }
            (None, None) if self.is_on_terminal => {
                let mut command = Command::new("python3");
                command.args(["-c", ON_A_TERMINAL, env!("CARGO_BIN_EXE_tidegate")]);
                command
            }
            (None, None) => Command::new(env!("CARGO_BIN_EXE_tidegate")),
        };
        if !self.sockets.is_empty() {
            let names: Vec<_> = self.sockets.iter().map(|(name, _)| *name).collect();
            command
                .env("LISTEN_FDS", names.len().to_string())
                .env("LISTEN_FDNAMES", names.join(":"));
            let sockets = self.sockets.into_iter().zip(3..);
            let mapped = sockets.map(|((_, parent_fd), child_fd)| FdMapping {
                parent_fd,
                child_fd,
            });
            command.fd_mappings(mapped.collect()).unwrap();
        }
        let child = command
            .args(["run".as_ref(), "--config".as_ref(), file.as_os_str()])
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Gateway::over(
            child,
            folder,
            self.reads_stdout,
            self.text.matches("[[listeners]]").count(),
        )
    }
}

/// Becomes the given command, for which another file is `/etc/resolv.conf`.
const OTHER_NAMES: &str = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";

/// Becomes the given command with a pseudo-terminal as its stdout. A child
/// copies what is written there to the former stdout, until the last holder
/// closes the terminal.
const ON_A_TERMINAL: &str = "
import os, sys
ours, theirs = os.openpty()
if os.fork():
    os.dup2(theirs, 1)
    os.execv(sys.argv[1], sys.argv[1:])
os.close(theirs)
os.close(2)
try:
    while text := os.read(ours, 4096):
        os.write(1, text)
except OSError:
    pass
";

/// A gateway that serves, as a process of its own. The process is killed when
/// this is dropped.
pub struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    listeners: Vec<SocketAddr>,
    admin: SocketAddr,
    access: Receiver<String>,
    unread: Option<ChildStdout>,
    log: Receiver<String>,
    passed: std::cell::RefCell<Vec<String>>,
}

impl Gateway {
    /// Starts one with this configuration, completed as by [`Start::new`].
    #[track_caller]
    pub fn start(text: &str) -> Self {
        Start::new(text).go()
    }

    #[track_caller]
    fn over(
        mut child: Child,
        folder: tempfile::TempDir,
        reads_stdout: bool,
        listeners: usize,
    ) -> Self {
        let log = lines(child.stderr.take().unwrap());
        let stdout = child.stdout.take().unwrap();
        let (access, unread) = if reads_stdout {
            (lines(stdout), None)
        } else {
            (mpsc::channel().1, Some(stdout))
        };
        let mut gateway = Self {
            child,
            folder,
            listeners: Vec::new(),
            admin: ([127, 0, 0, 1], 0).into(),
            access,
            unread,
            log,
            passed: Default::default(),
        };
        gateway.admin = gateway.address_in("admin listening");
        for _ in 0..listeners {
            let at = gateway.logged("listening")["address"].clone();
            // A socket in the file system has no address of this kind.
            gateway
                .listeners
                .extend(at.as_str().unwrap().parse::<SocketAddr>());
        }
        gateway
    }

    #[track_caller]
    fn address_in(&self, message: &str) -> SocketAddr {
        self.logged(message)["address"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Waits for a listener that a reload opens.
    #[track_caller]
    pub fn next_listener(&self) -> SocketAddr {
        self.address_in("listening")
    }

    /// Where its first listener is.
    pub fn address(&self) -> SocketAddr {
        self.listeners[0]
    }

    /// Where all of its listeners are, in the order of the log.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Where its admin listener is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A new connection to its first listener.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// A new connection by which a GET has been sent.
    #[track_caller]
    pub fn sent(&self, path: &str, lines: &[&str]) -> Client {
        let mut client = self.connect();
        client.send(request("GET", path, lines));
        client
    }

    /// Sends a request with these further header lines on a new connection and
    /// reads its response.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, lines: &[&str]) -> Message {
        let mut client = self.connect();
        client.send(request(
            method,
            path,
            &[lines, &["Connection: close"]].concat(),
        ));
        client.response()
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> Message {
        self.ask("GET", path, &[])
    }

    /// Status of a GET.
    #[track_caller]
    pub fn status(&self, path: &str) -> u16 {
        self.get(path).status()
    }

    /// Calls the admin listener.
    #[track_caller]
    pub fn call_admin(&self, method: &str, path: &str, lines: &[&str]) -> Message {
        let host = format!("Host: {}", self.admin);
        let mut client = Client::connect(self.admin);
        let lines = [
            lines,
            &[host.as_str(), "Connection: close", "Content-Length: 0"],
        ]
        .concat();
        client.send(format!(
            "{method} {path} HTTP/1.1\r\n{}\r\n\r\n",
            lines.join("\r\n")
        ));
        client.response()
    }

    /// Asks for a reload; its outcome.
    #[track_caller]
    pub fn reload(&self) -> (u16, Value) {
        let response = self.call_admin("POST", "/reload", &[]);
        (
            response.status(),
            serde_json::from_slice(&response.body).unwrap(),
        )
    }

    /// Replaces its configuration, completed as at the start, and has it read.
    #[track_caller]
    pub fn reload_with(&self, text: &str) -> Value {
        self.rewrite(text);
        let (status, outcome) = self.reload();
        assert_eq!(status, 200, "{outcome:#}");
        outcome
    }

    /// All metrics as text.
    #[track_caller]
    pub fn metrics(&self) -> String {
        self.call_admin("GET", "/metrics", &[]).text()
    }

    /// Sum over the series of a metric that have all of these labels.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        sum(&self.metrics(), name, labels)
    }

    /// Asks for metrics until this one has reached `least`: what it counts is
    /// bound to happen.
    #[track_caller]
    pub fn await_metric(&self, name: &str, labels: &[(&str, &str)], least: f64) {
        let end = Instant::now() + TIMEOUT;
        while self.metric(name, labels) < least {
            assert!(
                Instant::now() < end,
                "{name} {labels:?} never reaches {least}:\n{}",
                self.metrics()
            );
        }
    }

    /// Waits for the next access line.
    #[track_caller]
    pub fn access_line(&self) -> Value {
        let line = self.access.recv_timeout(TIMEOUT).expect("an access line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Waits for the next access line, whatever it holds.
    #[track_caller]
    pub fn access_text(&self) -> String {
        self.access.recv_timeout(TIMEOUT).expect("an access line")
    }

    /// Every further access line, up to the end of the process.
    pub fn rest_of_access(&self) -> Vec<String> {
        self.access.iter().collect()
    }

    /// Access lines until one is about this path.
    #[track_caller]
    pub fn line_of(&self, path: &str) -> Value {
        loop {
            let line = self.access_line();
            if line["path"] == path {
                return line;
            }
        }
    }

    /// Waits for the next line of the log whose message begins so.
    #[track_caller]
    pub fn logged(&self, message: &str) -> Value {
        let mut said = String::new();
        loop {
            let line = self
                .log
                .recv_timeout(TIMEOUT)
                .unwrap_or_else(|_| panic!("no {message:?} in\n{said}"));
            let value = serde_json::from_str(&line).unwrap_or_else(|_| from_text(&line, message));
            if value["message"]
                .as_str()
                .is_some_and(|said| said.starts_with(message))
            {
                return value;
            }
            let _ = writeln!(said, "{line}");
            self.passed.borrow_mut().push(line);
        }
    }

    /// Lines of the log that [`logged`](Self::logged) went past, those of the
    /// start included.
    pub fn passed(&self) -> String {
        self.passed.borrow().join("\n")
    }

    /// Lines of the log that have been said and not been looked at.
    pub fn log_so_far(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }

    /// Its configuration file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("tidegate.toml")
    }

    /// The folder of its configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces its configuration through a rename, completed as at the start.
    pub fn rewrite(&self, text: &str) {
        replace(&self.file(), &completed(text));
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time that it has used.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<_> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// Memory that it holds, in KiB.
    pub fn resident(&self) -> u64 {
        self.status_of_process("VmRSS:")
    }

    /// Threads of the process.
    pub fn threads(&self) -> u64 {
        self.status_of_process("Threads:")
    }

    fn status_of_process(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until its process has ended, though others may still write to its
    /// log; its status.
    #[track_caller]
    pub fn wait_alone(&mut self) -> ExitStatus {
        let end = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            thread::yield_now();
        }
    }

    /// Waits until it has ended; its status, and what it said to the log until
    /// then.
    #[track_caller]
    pub fn wait(&mut self) -> (ExitStatus, Vec<String>) {
        let mut said = Vec::new();
        loop {
            match self.log.recv_timeout(TIMEOUT) {
                Ok(line) => said.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return (self.child.wait().unwrap(), said);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let said: Vec<_> = self
                .log
                .iter()
                .chain(self.access.iter().take(100))
                .collect();
            eprintln!("the gateway said:\n{}", said.join("\n"));
        }
    }
}

/// A line of the log in text that says this, as if it were JSON.
fn from_text(line: &str, message: &str) -> Value {
    let address = line
        .split("address=")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    match line.split_once(message) {
        Some((_, rest)) => {
            serde_json::json!({ "message": format!("{message}{rest}"), "address": address })
        }
        None => Value::Null,
    }
}

/// A port of this machine without a listener: connecting to it is refused while
/// the guard lives.
pub struct Closed(socket2::Socket);

impl Closed {
    /// Takes a port, and never listens on it.
    pub fn new() -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        Self(socket)
    }

    /// Listens from now on: the system takes connections.
    pub fn listen(&self) {
        self.0.listen(16).unwrap();
    }

    /// As the configuration names it.
    pub fn url(&self) -> String {
        format!(
            "http://{}",
            self.0.local_addr().unwrap().as_socket().unwrap()
        )
    }
}

fn write_file(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
