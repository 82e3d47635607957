//! A real Redis server for one test: on a free port, in memory, killed at the
//! end of the test.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of this"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A running `redis-server`, killed on drop.
pub struct Redis {
    child: Child,
    pub port: u16,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
}

impl Redis {
    /// Starts a server.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with further command-line arguments.
    #[track_caller]
    pub fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let arguments: Vec<_> = arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect();
        let child = spawn(port, &arguments, folder.path());
        let redis = Self {
            child,
            port,
            arguments,
            folder,
        };
        redis.wait_until_up();
        redis
    }

    #[track_caller]
    fn wait_until_up(&self) {
        for _ in 0..500 {
            if self.try_run(&["PING"]).is_some() {
                return;
            }
            thread::park_timeout(Duration::from_millis(10)); // a starting process sends no signal to wait for
        }
        panic!("redis-server does not start");
    }

    /// URL of the server.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a command and returns the response in Redis's own protocol (RESP).
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> String {
        self.try_run(command).expect("a response")
    }

    fn try_run(&self, command: &[&str]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut text = format!("*{}\r\n", command.len());
        for word in command {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        text += "*1\r\n$4\r\nQUIT\r\n";
        stream.write_all(text.as_bytes()).ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        response.strip_suffix("+OK\r\n").map(str::to_owned)
    }

    /// Number of calls of a command, by the server's own statistics.
    #[track_caller]
    pub fn calls(&self, command: &str) -> u64 {
        let stats = self.run(&["INFO", "commandstats"]);
        let line = stats
            .lines()
            .find(|line| line.starts_with(&format!("cmdstat_{command}:")));
        line.and_then(|line| line.split("calls=").nth(1)?.split(',').next()?.parse().ok())
            .unwrap_or(0)
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again on the same port, empty.
    #[track_caller]
    pub fn restart(&mut self) {
        self.child = spawn(self.port, &self.arguments, self.folder.path());
        self.wait_until_up();
    }

    /// Suspends the process: it neither responds nor refuses connections.
    pub fn hang(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Resumes the suspended process.
    pub fn go_on(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .unwrap();
    }
}

/// Starts a cluster of `nodes` nodes with equal parts of the slots. Each node
/// serves its part even if the others are down.
#[track_caller]
pub fn cluster(nodes: usize) -> Vec<Redis> {
    let start = |_| {
        let bus = free_port().to_string(); // the default, port + 10000, may exceed 65535
        let own = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        Redis::with(&[&own[..], &["--cluster-require-full-coverage", "no"]].concat())
    };
    let nodes: Vec<_> = (0..nodes).map(start).collect();
    let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(addresses)
        .arg("--cluster-yes")
        .output();
    assert!(made.unwrap().status.success());
    while !nodes
        .iter()
        .all(|node| node.run(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
    {
        thread::yield_now();
    }
    nodes
}

impl Drop for Redis {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, arguments: &[String], folder: &Path) -> Child {
    let port = port.to_string();
    let own = [
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no",
    ];
    Command::new("redis-server")
        .args(own)
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server: install it, or run tests/all")
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
