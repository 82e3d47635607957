//! A new binary in place of the running one, and sockets on which systemd
//! listens first: every client that connects is served.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt,
            net::{UnixDatagram, UnixListener},
        },
    },
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process};
use support::{
    Client, Gate, TIMEOUT, Upstream,
    gateway::{Gateway, Start, request, responding},
    mode, ok, one_route,
};
use tokio::time::Instant;

/// A process that took over, killed on drop.
struct Successor(Pid);

impl Successor {
    /// Waits until a new process has taken over.
    #[track_caller]
    fn of(gateway: &Gateway) -> Self {
        let process = gateway.logged("a new process has taken over")["process"]
            .as_i64()
            .unwrap();
        Self(Pid::from_raw(process as i32).unwrap())
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// Sends a request on a new connection. The error says what went wrong.
fn ask(address: SocketAddr) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).map_err(|error| format!("connect: {error}"))?;
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let sent = stream.write_all(request("GET", "/", &["Connection: close"]).as_bytes());
    sent.map_err(|error| format!("send: {error}"))?;
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .map_err(|error| format!("read: {error} after {response:?}"))?;
    if response.starts_with("HTTP/1.1 200 ") && response.ends_with("fine") {
        Ok(())
    } else {
        Err(format!("{response:?}"))
    }
}

/// Sends a request on a keep-alive connection, which is replaced when the
/// gateway closes it.
fn ask_on(kept: &mut Option<Client>, address: SocketAddr) -> Result<(), String> {
    let client = kept.get_or_insert_with(|| Client::connect(address));
    client
        .try_send(request("GET", "/", &[]))
        .map_err(|error| format!("send on a kept connection: {error}"))?;
    let head = client
        .head()
        .map_err(|cut| format!("read on a kept connection: {cut:?}"))?;
    let response = client.message(head, false, false);
    if response.get("connection") == Some("close") {
        *kept = None;
    }
    if response.text() == "fine" {
        Ok(())
    } else {
        Err(format!("{response:?}"))
    }
}

/// Clients that send requests all the time, half of them on a new connection
/// for each.
struct Load {
    is_over: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    clients: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(address: SocketAddr) -> Self {
        let (is_over, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |index| {
            let (is_over, asked) = (Arc::clone(&is_over), Arc::clone(&asked));
            thread::spawn(move || {
                let (mut wrong, mut kept) = (Vec::new(), None);
                while !is_over.load(Ordering::Relaxed) {
                    let asked_now = if index % 2 == 0 {
                        ask(address)
                    } else {
                        ask_on(&mut kept, address)
                    };
                    wrong.extend(asked_now.err());
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                wrong
            })
        };
        Self {
            clients: (0..4).map(client).collect(),
            is_over,
            asked,
        }
    }

    /// Waits until `more` further requests were served.
    #[track_caller]
    fn pass(&self, more: usize) {
        let (until, end) = (
            self.asked.load(Ordering::Relaxed) + more,
            Instant::now() + TIMEOUT,
        );
        while self.asked.load(Ordering::Relaxed) < until {
            assert!(Instant::now() < end, "the load stands still");
            thread::yield_now();
        }
    }

    #[track_caller]
    fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let wrong: Vec<_> = self
            .clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        assert!(
            wrong.is_empty(),
            "{} requests failed: {:?}",
            wrong.len(),
            &wrong[..wrong.len().min(5)]
        );
    }
}

#[test]
fn no_client_is_refused_while_a_new_process_takes_over_and_requests_in_flight_finish() {
    let (entered, leave) = (Gate::new(), Gate::new());
    let (entering, leaving) = (entered.clone(), leave.clone());
    let upstream = Upstream::answering(move |request| {
        if request.target() == "/held" {
            entering.open();
            leaving.pass();
        }
        ok("fine")
    });
    let mut gateway = Gateway::start(&one_route(&upstream, ""));
    let mut held = gateway.connect();
    held.send(request("GET", "/held", &[]));
    entered.pass();
    let load = Load::on(gateway.address());
    load.pass(100);
    gateway.signal(Signal::USR2);
    let successor = Successor::of(&gateway);
    load.pass(100);
    leave.open();
    let response = held.response();
    assert_eq!(
        (response.text().as_str(), response.get("connection")),
        ("fine", Some("close"))
    );
    assert_eq!(gateway.wait_alone().code(), Some(0));
    // Only the new process serves both listeners now, and another one can take
    // over from it.
    load.pass(100);
    assert_eq!(gateway.call_admin("GET", "/readyz", &[]).status(), 200);
    kill_process(successor.0, Signal::USR2).unwrap();
    let next = Successor::of(&gateway);
    assert_ne!(next.0, successor.0);
    load.pass(100);
    load.end();
}

#[test]
fn the_new_process_reads_the_current_file() {
    let mut gateway = Gateway::start(&responding("old", "[server]\nworkers = 2"));
    for workers in [3, 1] {
        gateway.rewrite(&responding(
            "new",
            &format!("[server]\nworkers = {workers}"),
        ));
        gateway.logged("configuration reloaded");
    }
    gateway.signal(Signal::USR2);
    let _successor = Successor::of(&gateway);
    assert_eq!(gateway.wait_alone().code(), Some(0));
    // One worker serves the accept queues of two.
    for _ in 0..20 {
        assert_eq!(gateway.get("/").text(), "new");
    }
}

#[test]
fn a_new_process_that_does_not_come_up_changes_nothing() {
    let upstream = Upstream::answering(|_| ok("fine"));
    let text = one_route(&upstream, "");
    let gateway = Gateway::start(&text);
    let load = Load::on(gateway.address());
    fs::write(gateway.file(), "nonsense = 1\n").unwrap();
    gateway.signal(Signal::USR2);
    let said = gateway.logged("no new process takes over, this one goes on");
    assert!(
        said["message"].as_str().unwrap().contains("it has ended"),
        "{said}"
    );
    load.pass(100);
    gateway.rewrite(&text);
    gateway.signal(Signal::USR2);
    let _successor = Successor::of(&gateway);
    load.pass(100);
    load.end();
}

#[test]
fn systemd_is_notified_of_the_new_main_process_and_of_no_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let hear = || {
        let mut text = [0; 4096];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let mut gateway = Start::new(&responding("own", ""))
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .go();
    assert!(hear().contains("READY=1"));
    gateway.signal(Signal::USR2);
    let successor = Successor::of(&gateway);
    assert_eq!(
        hear().trim(),
        format!("MAINPID={}", successor.0.as_raw_nonzero())
    );
    assert_eq!(gateway.wait_alone().code(), Some(0));
    kill_process(successor.0, Signal::TERM).unwrap();
    assert!(hear().contains("STOPPING=1"));
}

fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn a_client_that_connects_before_the_start_is_served_on_the_socket_of_systemd() {
    let ((web, address), (admin, admin_address)) = (bound(), bound());
    let mut early = Client::connect(address);
    early.send(request("GET", "/", &[]));
    let text = responding("own", "")
        + &format!(
            "[[listeners]]\nbind = '{address}'\n[admin]\nbind = '{admin_address}'\n[server]\nworkers = 3\n"
        );
    let gateway = Start::new(&text)
        .socket("web.socket", web)
        .socket("web.socket", admin)
        .go();
    assert_eq!(
        (gateway.address(), gateway.admin()),
        (address, admin_address)
    );
    assert_eq!(early.response().text(), "own");
    for _ in 0..20 {
        assert_eq!(gateway.get("/").text(), "own");
    }
    assert_eq!(gateway.call_admin("GET", "/readyz", &[]).status(), 200);
}

/// Runs the gateway with one socket of systemd until it ends. Returns its
/// output.
#[track_caller]
fn refused(socket: impl Into<OwnedFd>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.toml");
    fs::write(&file, support::gateway::completed(&responding("own", ""))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .args(["run".as_ref(), "--config".as_ref(), file.as_os_str()])
        .env("LISTEN_FDS", "1")
        .stdin(Stdio::null());
    command
        .fd_mappings(vec![FdMapping {
            parent_fd: socket.into(),
            child_fd: 3,
        }])
        .unwrap();
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_socket_without_a_listener_is_a_mistake_with_a_correction() {
    let (web, address) = bound();
    let said = refused(web);
    assert!(
        said.contains(&format!("bind = \"{address}\"")) && said.contains("ListenStream"),
        "{said}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let said = refused(UnixListener::bind(&path).unwrap());
    let (bind, stream) = (
        format!("bind = \"unix:{}\"", path.display()),
        format!("ListenStream={} out", path.display()),
    );
    assert!(said.contains(&bind) && said.contains(&stream), "{said}");
    let said = refused(UnixDatagram::unbound().unwrap());
    assert!(said.contains("ListenStream=ADDRESS:PORT"), "{said}");
}

/// Listeners on sockets in the file system, each with more keys, beside one on
/// a port.
fn on_sockets(sockets: &[(&Path, &str)]) -> String {
    let listener = |(path, keys): &(&Path, &str)| {
        let path = path.display();
        format!("[[listeners]]\nbind = 'unix:{path}'\n{keys}\n")
    };
    let listeners: String = sockets.iter().map(listener).collect();
    listeners + "[[listeners]]\nbind = '127.0.0.1:0'\n" + &responding("fine", "")
}

#[track_caller]
fn serves(path: &Path) {
    let mut client = Client::connect_unix(path);
    assert_eq!(client.exchange(request("GET", "/", &[])).text(), "fine");
}

/// Lets a new process with this configuration take over, and waits for the end
/// of the one before.
#[track_caller]
fn taken_over(gateway: &mut Gateway, text: &str) -> Successor {
    // The process before notices it later, and does not reload then.
    gateway.rewrite(text);
    gateway.signal(Signal::USR2);
    let successor = Successor::of(gateway);
    assert_eq!(gateway.wait_alone().code(), Some(0));
    successor
}

/// Waits for a line of the log. Those of two processes come in any order.
#[track_caller]
fn has_said(gateway: &Gateway, message: &str) {
    if !gateway.passed().contains(message) {
        gateway.logged(message);
    }
}

/// Asks on new connections to a socket until `is_over`. Every one is served.
fn ask_socket(path: &Path, is_over: &AtomicBool) -> usize {
    let mut asked = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut client = Client::connect_unix(path);
        let response = client.exchange(request("GET", "/", &["Connection: close"]));
        assert_eq!(response.text(), "fine");
        asked += 1;
    }
    asked
}

/// Waits until a file is gone.
#[track_caller]
fn await_gone(path: &Path) {
    let end = Instant::now() + TIMEOUT;
    while path.exists() {
        assert!(Instant::now() < end, "{} stays", path.display());
        thread::yield_now();
    }
}

#[test]
fn a_socket_in_the_file_system_stays_over_a_takeover_and_serves_every_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let mut gateway = Gateway::start(&on_sockets(&[(&path, "")]));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| ask_socket(&path, &is_over));
        let _raised = support::RaisedAtEnd(&is_over);
        gateway.signal(Signal::USR2);
        let successor = Successor::of(&gateway);
        assert_eq!(gateway.wait_alone().code(), Some(0));
        assert!(path.exists());
        is_over.store(true, Ordering::Relaxed);
        assert!(load.join().unwrap() > 0);
        let mut client = Client::connect_unix(&path);
        assert_eq!(client.exchange(request("GET", "/", &[])).text(), "fine");
        drop(client);
        kill_process(successor.0, Signal::TERM).unwrap();
        await_gone(&path);
    });
}

#[test]
fn a_new_process_that_does_not_come_up_removes_no_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let gateway = Gateway::start(&on_sockets(&[(&path, "")]));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("[[listeners]]\nbind = '{}'\n", taken.local_addr().unwrap());
    gateway.rewrite(&(on_sockets(&[(&path, "")]) + &more));
    gateway.signal(Signal::USR2);
    gateway.logged("no new process takes over, this one goes on");
    let mut client = Client::connect_unix(&path);
    assert_eq!(client.exchange(request("GET", "/", &[])).text(), "fine");
}

#[test]
fn a_socket_in_the_file_system_may_be_that_of_systemd_which_removes_it_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let web = UnixListener::bind(&path).unwrap();
    let before = mode(&path);
    let mut early = Client::connect_unix(&path);
    early.send(request("GET", "/", &[]));
    let mut gateway = Start::new(&on_sockets(&[(&path, "")]))
        .socket("web.socket", web)
        .go();
    assert_eq!(early.response().text(), "fine");
    drop(early);
    gateway.signal(Signal::USR2);
    let successor = Successor::of(&gateway);
    assert_eq!(gateway.wait_alone().code(), Some(0));
    // `SocketMode=` of its unit decides.
    assert_eq!(mode(&path), before);
    kill_process(successor.0, Signal::TERM).unwrap();
    gateway.logged("drained");
    assert!(path.exists());
}

#[test]
fn a_process_that_takes_over_changes_the_mode_of_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let mut gateway = Gateway::start(&on_sockets(&[(&path, "mode = '0666'")]));
    let _successor = taken_over(&mut gateway, &on_sockets(&[(&path, "mode = '0600'")]));
    assert_eq!(mode(&path), 0o600);
    serves(&path);
    gateway.reload_with(&on_sockets(&[(&path, "mode = '0640'")]));
    assert_eq!(mode(&path), 0o640);
}

#[test]
fn the_file_of_a_listener_that_the_new_process_does_not_have_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let [stays, goes, comes] = ["stays", "goes", "comes"].map(|name| folder.path().join(name));
    let mut gateway = Gateway::start(&on_sockets(&[(&stays, ""), (&goes, "")]));
    let next = taken_over(&mut gateway, &on_sockets(&[(&stays, ""), (&comes, "")]));
    assert!(!goes.exists());
    serves(&stays);
    serves(&comes);
    kill_process(next.0, Signal::TERM).unwrap();
    await_gone(&stays);
    await_gone(&comes);
}

#[test]
fn a_file_that_another_process_has_put_in_the_place_of_a_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let mut gateway = Gateway::start(&on_sockets(&[(&path, "")]));
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let next = taken_over(&mut gateway, &on_sockets(&[(&path, "mode = '0666'")]));
    has_said(&gateway, "no client can connect to unix:");
    assert_eq!(mode(&path), 0o600);
    gateway.reload_with(&on_sockets(&[(&path, "mode = '0777'")]));
    assert_eq!(mode(&path), 0o600);
    kill_process(next.0, Signal::TERM).unwrap();
    gateway.logged("drained");
    assert!(path.exists());
}

#[test]
fn a_new_process_binds_a_socket_whose_file_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let text = on_sockets(&[(&path, "mode = '0606'")]);
    let mut gateway = Gateway::start(&text);
    fs::remove_file(&path).unwrap();
    let next = taken_over(&mut gateway, &text);
    has_said(&gateway, "another process had removed the file of unix:");
    assert_eq!(mode(&path), 0o606);
    serves(&path);
    kill_process(next.0, Signal::TERM).unwrap();
    await_gone(&path);
}
