//! Independent programs at both ends: NGINX, Python's web server and
//! `websockets` behind the gateway; wrk, curl, httpx, aiohttp and `websockets`
//! in front; tokens of PyJWT.
//!
//! `tests/all` installs these programs; without them the tests fail with a
//! message that says so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

#[path = "real_parts/importing.rs"]
mod importing;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use support::{Gate, Gateway, Upstream, one_route};

/// A megabyte of which no two parts are alike.
fn content() -> Vec<u8> {
    (0..1_000_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// A server process, killed on drop.
struct Service {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), content()).unwrap();
    // NGINX serves the folder as another user.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Starts NGINX with a folder and polls it until it responds, since it does not
/// report that it is ready.
fn nginx() -> Service {
    nginx_with("", "")
}

/// Starts NGINX with these options of its listener and this in its server.
fn nginx_with(listen: &str, more: &str) -> Service {
    let (folder, port) = (folder(), free_port());
    let root = folder.path().display();
    let text = format!(
        "master_process off; daemon off; pid {root}/pid; error_log {root}/error;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c;\n\
         uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;\n\
         server {{ listen 127.0.0.1:{port} {listen}; root {root}; {more} }} }}\n"
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, text).unwrap();
    let program = if Path::new("/usr/sbin/nginx").exists() {
        "/usr/sbin/nginx"
    } else {
        "nginx"
    };
    let process = Command::new(program)
        .args([
            "-c".as_ref(),
            file.as_os_str(),
            "-p".as_ref(),
            folder.path().as_os_str(),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx is missing: tests/all installs it");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut service = Service {
        process,
        address,
        _folder: folder,
    };
    while std::net::TcpStream::connect(address).is_err() {
        assert!(
            service.process.try_wait().unwrap().is_none(),
            "nginx has ended: {address} may be taken"
        );
        std::thread::yield_now();
    }
    service
}

/// Starts Python's own web server (HTTP/1.1) on a port that it chooses and
/// prints.
fn python_server() -> Service {
    let folder = folder();
    let mut process = Command::new("python3")
        .args([
            "-u",
            "-m",
            "http.server",
            "0",
            "--bind",
            "127.0.0.1",
            "--protocol",
            "HTTP/1.1",
            "--directory",
        ])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 is missing: tests/all installs it");
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let port = line
        .split("port ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap()
        .parse()
        .unwrap();
    Service {
        process,
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        _folder: folder,
    }
}

fn gateway(service: &Service) -> Gateway {
    Gateway::start(&format!(
        "[upstreams.service]\nservers = ['http://{}']\n[[routes]]\nname = 'files'\nupstream = 'service'\n",
        service.address
    ))
}

/// Starts HAProxy, which forwards connections to `address` with a header of the
/// PROXY protocol.
fn haproxy(address: SocketAddr, send: &str) -> Service {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let text = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         listen in\n  bind 127.0.0.1:{port}\n  server gateway {address} {send}\n"
    );
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    let program = if Path::new("/usr/sbin/haproxy").exists() {
        "/usr/sbin/haproxy"
    } else {
        "haproxy"
    };
    let process = Command::new(program)
        .args(["-db".as_ref(), "-f".as_ref(), file.as_os_str()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("haproxy is missing: tests/all installs it");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut service = Service {
        process,
        address,
        _folder: folder,
    };
    while std::net::TcpStream::connect(address).is_err() {
        assert!(
            service.process.try_wait().unwrap().is_none(),
            "haproxy has ended: {address} may be taken"
        );
        std::thread::yield_now();
    }
    service
}

/// The Python environment with httpx, aiohttp and websockets.
fn python() -> PathBuf {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python");
    let python =
        std::env::var_os("TIDEGATE_TEST_PYTHON").map_or_else(|| PathBuf::from(own), PathBuf::from);
    assert!(
        python.exists(),
        "Python with httpx, aiohttp and websockets is missing: tests/all makes it"
    );
    python
}

fn run(script: &str, gateway: &Gateway) -> String {
    let url = format!("http://{}/file", gateway.address());
    let output = Command::new(python())
        .args(["-c", script, &url])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

const EXPECTED: &str =
    "expected = bytes(((at * 2654435761) % 2**32) >> 24 for at in range(1_000_000))\n";

/// Requests on one keep-alive connection, then many concurrent ones.
const HTTPX: &str = "
import sys, httpx
with httpx.Client() as client:
    for _ in range(20):
        answer = client.get(sys.argv[1])
        assert answer.status_code == 200 and answer.content == expected, answer
    assert client.head(sys.argv[1]).headers['content-length'] == '1000000'
    part = client.get(sys.argv[1], headers={'Range': 'bytes=10-19'})
    assert part.status_code in (200, 206)
print('fine')
";

const AIOHTTP: &str = "
import asyncio, sys, aiohttp
async def one(session):
    async with session.get(sys.argv[1]) as answer:
        assert answer.status == 200 and await answer.read() == expected
async def main():
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session) for _ in range(50)))
asyncio.run(main())
print('fine')
";

#[test]
fn files_of_nginx_reach_httpx_byte_for_byte() {
    let nginx = nginx();
    assert_eq!(run(&format!("{EXPECTED}{HTTPX}"), &gateway(&nginx)), "fine");
}

#[test]
fn files_of_nginx_reach_aiohttp_byte_for_byte_fifty_at_once() {
    let nginx = nginx();
    assert_eq!(
        run(&format!("{EXPECTED}{AIOHTTP}"), &gateway(&nginx)),
        "fine"
    );
}

#[test]
fn files_of_a_python_service_reach_httpx_byte_for_byte() {
    let service = python_server();
    assert_eq!(
        run(&format!("{EXPECTED}{HTTPX}"), &gateway(&service)),
        "fine"
    );
}

#[test]
fn a_second_of_wrk_meets_no_error() {
    let nginx = nginx();
    let gateway = gateway(&nginx);
    let url = format!("http://{}/nginx.conf", gateway.address());
    let output = Command::new("wrk")
        .args(["-t1", "-c32", "-d1s", &url])
        .output()
        .expect("wrk is missing: tests/all installs it");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("requests in"), "{said}");
    assert!(
        !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "{said}"
    );
}

/// The whole file over HTTP/1.1, on one connection, in both versions of TLS.
const HTTPX_TLS: &str = "
import sys, ssl, httpx
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=sys.argv[2])
    context.minimum_version = context.maximum_version = version
    with httpx.Client(verify=context) as client:
        for _ in range(5):
            answer = client.get(sys.argv[1])
            assert answer.status_code == 200 and answer.content == expected, answer
print('fine')
";

/// A WebSocket server that sends everything back, on a port that it chooses and
/// prints.
const WEBSOCKET_SERVER: &str = "
import asyncio, websockets
async def echo(socket):
    async for message in socket:
        await socket.send(message)
async def main():
    async with websockets.serve(echo, '127.0.0.1', 0, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()
asyncio.run(main())
";

/// Fifty concurrent clients, each with texts, short and long binary messages, a
/// ping and a closing handshake.
const WEBSOCKET_CLIENT: &str = "
import asyncio, os, sys, websockets
async def one(number):
    async with websockets.connect(sys.argv[1].replace('http:', 'ws:'), max_size=None) as socket:
        for message in ['hello', 'grüße', b'', os.urandom(1), os.urandom(300_000), 'x' * 100_000] * 3:
            await socket.send(message)
            assert await socket.recv() == message
        await asyncio.wait_for(await socket.ping(), 10)
    assert socket.close_code == 1000, socket.close_code
async def main():
    await asyncio.gather(*(one(number) for number in range(50)))
asyncio.run(main())
print('fine')
";

#[test]
fn files_of_nginx_reach_httpx_over_tls() {
    let nginx = nginx();
    let certificates = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let [cert, private] = ["site.pem", "site.key"].map(|name| certificates.path().join(name));
    fs::write(&cert, certificate.pem()).unwrap();
    fs::write(&private, key.serialize_pem()).unwrap();
    let gateway = Gateway::start(&format!(
        "[[listeners]]\nbind = \"127.0.0.1:0\"\ntls = {{ certificates = [{{ cert = '{}', key = '{}' }}] }}\n\
         [upstreams.service]\nservers = ['http://{}']\n[[routes]]\nname = 'files'\nupstream = 'service'\n",
        cert.display(),
        private.display(),
        nginx.address
    ));
    let url = format!("https://localhost:{}/file", gateway.address().port());
    let script = format!("{EXPECTED}{HTTPX_TLS}");
    let output = Command::new(python())
        .args(["-c", &script, &url])
        .arg(&cert)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "fine",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn haproxy_in_front_names_the_client_in_both_versions() {
    for send in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options unique-id",
    ] {
        let gateway = Gateway::start(
            "[[listeners]]\nbind = \"127.0.0.1:0\"\nproxy_protocol = 'required'\n\
             [[routes]]\nname = 'ok'\nrespond = { body = 'ok' }\n",
        );
        let haproxy = haproxy(gateway.address(), send);
        let mut client = support::Client::connect(haproxy.address);
        let own = client.local();
        assert_eq!(
            client
                .exchange("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
                .status(),
            200
        );
        drop(client);
        assert_eq!(gateway.line_of("/x")["peer"], own.to_string());
    }
}

#[test]
fn nginx_behind_learns_the_client_from_the_header_of_the_connection() {
    let told = "location /who { return 200 $proxy_protocol_addr:$proxy_protocol_port; }";
    let nginx = nginx_with("proxy_protocol", told);
    let gateway = Gateway::start(&format!(
        "[upstreams.app]\nservers = ['http://{}']\nproxy_protocol = 'v2'\n\
         [[routes]]\nname = 'app'\nupstream = 'app'\n",
        nginx.address
    ));
    for _ in 0..2 {
        let mut client = gateway.connect();
        for _ in 0..3 {
            let response = client.exchange("GET /who HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(response.text(), client.local().to_string());
        }
    }
}

#[test]
fn messages_of_websockets_pass_both_ways_fifty_connections_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Command::new(python())
        .args(["-c", WEBSOCKET_SERVER])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], line.trim().parse().unwrap()));
    let service = Service {
        process,
        address,
        _folder: folder,
    };
    let gateway = gateway(&service);
    assert_eq!(run(WEBSOCKET_CLIENT, &gateway), "fine");
    for _ in 0..50 {
        let line = gateway.access_line();
        assert_eq!(
            (&line["status"], &line["reason"]),
            (&101.into(), &serde_json::Value::Null),
            "{line}"
        );
    }
    assert_eq!(
        gateway.metric("tidegate_in_flight", &[("route", "files")]),
        0.0
    );
}

#[test]
fn curl_sees_an_event_while_its_stream_is_open() {
    let next = Gate::new();
    let gate = next.clone();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n",
        );
        for number in 0..3 {
            gate.pass();
            connection.send(format!("data: {number}\n"));
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut curl = Command::new("curl")
        .args(["-sN", &format!("http://{}/", gateway.address())])
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl is missing: tests/all installs it");
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    for number in 0..3 {
        next.open();
        assert_eq!(lines.next().unwrap().unwrap(), format!("data: {number}"));
    }
    assert!(lines.next().is_none());
    assert!(curl.wait().unwrap().success());
}

#[test]
fn tokens_of_pyjwt_are_verified_by_each_algorithm() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_parts/tokens.py");
    let said = Command::new(python()).arg(script).output().unwrap();
    let failed = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{failed}");
    let made: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let folder = folder();
    let file = |name: &str, text: String| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let keys = file("keys", made["jwks"].to_string());
    let secret = file("secret", made["secret"].as_str().unwrap().to_owned());
    let gateway = Gateway::start(&format!(
        "[identities.public.jwt]\nkeys = {keys:?}\nissuer = 'py'\naudience = 'orders'\n\
         algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA']\n\
         [identities.secret.jwt]\nsecret_file = {secret:?}\nalgorithms = ['HS256', 'HS384', 'HS512']\n\
         [[routes]]\nname = 'public'\nidentify = ['public']\nrespond = {{ status = 200 }}\n\
         [[routes]]\nname = 'secret'\nidentify = ['secret']\nmatch = {{ path = '/secret' }}\nrespond = {{ status = 200 }}\n"
    ));
    for (algorithm, token) in made["tokens"].as_object().unwrap() {
        let line = format!("Authorization: Bearer {}", token.as_str().unwrap());
        let is_secret = algorithm.starts_with("HS");
        let of = |path: &str| gateway.ask("GET", path, &[&line]).status();
        let expected = if is_secret { [401, 200] } else { [200, 401] };
        assert_eq!([of("/"), of("/secret")], expected, "{algorithm}");
    }
}
