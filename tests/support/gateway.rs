//! The real binary as a process of its own.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use serde_json::Value;

use super::{Client, PATIENCE};

/// A gateway that serves; ended when dropped.
pub struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    addresses: Vec<SocketAddr>,
    access: Receiver<String>,
    log: Receiver<String>,
}

impl Gateway {
    /// Starts one with this configuration and waits until it listens. Where the text has none, two workers, a listener
    /// on a port that the system chooses and no admin listener are added.
    #[track_caller]
    pub fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tidegate.toml");
        let text = complete(text);
        std::fs::write(&file, &text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["run".as_ref(), "--config".as_ref(), file.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let access = lines(child.stdout.take().unwrap());
        let log = lines(child.stderr.take().unwrap());
        let mut gateway = Self { child, folder, addresses: Vec::new(), access, log };
        let mut said = String::new();
        while gateway.addresses.len() < text.matches("[[listeners]]").count() {
            let Ok(line) = gateway.log.recv_timeout(PATIENCE) else { panic!("it does not listen:\n{said}\n{text}") };
            let value: Value = serde_json::from_str(&line).unwrap_or_default();
            if value["message"] == "listening" {
                gateway.addresses.push(value["address"].as_str().unwrap().parse().unwrap());
            }
            said += &line;
        }
        gateway
    }

    /// Where its first listener is.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where all of its listeners are, in the order of the log.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A new connection to its first listener.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// Sends a whole request by a connection of its own and takes the answer.
    #[track_caller]
    pub fn get(&self, path: &str) -> super::Message {
        let mut client = self.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        client.response()
    }

    /// Waits for the next access line.
    #[track_caller]
    pub fn access_line(&self) -> Value {
        let line = self.access.recv_timeout(PATIENCE).expect("an access line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Access lines until one is about this path.
    #[track_caller]
    pub fn access_line_of(&self, path: &str) -> Value {
        loop {
            let line = self.access_line();
            if line["path"] == path {
                return line;
            }
        }
    }

    /// Waits for the next line of the log that says this, and gives it.
    #[track_caller]
    pub fn logged(&self, message: &str) -> Value {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the log never says {message:?}"));
            let value: Value = serde_json::from_str(&line).unwrap_or_default();
            if value["message"].as_str().is_some_and(|said| said.contains(message)) {
                return value;
            }
        }
    }

    /// Its configuration file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("tidegate.toml")
    }

    /// The folder of its configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces its configuration, completed as in [`start`](Self::start) but listening where it listens.
    pub fn rewrite(&self, text: &str) {
        let bound = format!("bind = \"{}\"", self.address());
        let next = self.folder.path().join("next");
        std::fs::write(&next, complete(text).replace("bind = \"127.0.0.1:0\"", &bound)).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }

    /// Its process, for what no method here does.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until it has ended: until both of its outputs are closed, then for its status.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
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
            let said: Vec<_> = self.log.iter().chain(self.access.iter()).collect();
            eprintln!("the gateway said:\n{}", said.join("\n"));
        }
    }
}

fn complete(text: &str) -> String {
    let mut text = text.to_owned();
    if !text.contains("[[listeners]]") {
        text += "\n[[listeners]]\nbind = \"127.0.0.1:0\"\n";
    } else if !text.contains("bind = \"127") {
        text = text.replace("[[listeners]]\n", "[[listeners]]\nbind = \"127.0.0.1:0\"\n");
    }
    if !text.contains("[admin]") {
        text += "\n[admin]\nbind = \"off\"\n";
    }
    if !text.contains("[server]") {
        text += "\n[server]\nworkers = 2\n";
    }
    text
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
