//! Servers that are told the client in the header of each connection.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use super::{
    ONCE,
    support::{Client, Gateway, TIMEOUT, gateway::request, ok},
};

/// A server that reads a header of the PROXY protocol from each connection, and
/// answers every request with the source in it.
struct Announced {
    address: SocketAddr,
    /// The command and the addresses of each connection, in the order of
    /// accepting.
    headers: Arc<Mutex<Vec<(u8, String)>>>,
}

impl Announced {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, headers) = (listener.local_addr().unwrap(), Arc::default());
        let seen = Arc::clone(&headers);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(stream.unwrap(), &seen));
            }
        });
        Self { address, headers }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The sources of all connections for clients.
    fn clients(&self) -> Vec<String> {
        let headers = self.headers.lock().unwrap();
        let clients = headers.iter().filter(|(command, _)| *command == 0x21);
        clients.map(|(_, source)| source.clone()).collect()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<(u8, String)>>) {
    let mut begin = [0; 16];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(&begin[..12], b"\r\n\r\n\0\r\nQUIT\n");
    let mut body = vec![0; usize::from(u16::from_be_bytes([begin[14], begin[15]]))];
    stream.read_exact(&mut body).unwrap();
    let source = match (begin[13], &body[..]) {
        (0x11, &[a, b, c, d, e, f, g, h, p, q, ..]) => {
            assert_eq!([e, f, g, h], [127, 0, 0, 1]);
            SocketAddr::from(([a, b, c, d], u16::from_be_bytes([p, q]))).to_string()
        }
        _ => String::new(),
    };
    seen.lock().unwrap().push((begin[12], source.clone()));
    let (mut head, mut byte) = (Vec::new(), [0]);
    // The gateway may close the connection at any time.
    while let Ok(1) = stream.read(&mut byte) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if stream.write_all(ok(&source).as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn gateway(server: &Announced, more: &str) -> Gateway {
    let url = server.url();
    Gateway::start(&format!(
        "[server]\nworkers = 1\n[client_ip]\ntrusted_proxies = ['127.0.0.2']\n\
         [upstreams.app]\nservers = ['{url}']\nproxy_protocol = 'v2'\n{more}\n{ONCE}"
    ))
}

fn source(client: &mut Client) -> String {
    client.exchange(request("GET", "/", &[])).text()
}

#[test]
fn each_connection_names_its_client_and_serves_only_the_requests_of_this_client() {
    let server = Announced::start();
    let gateway = gateway(&server, "");
    let (mut one, mut other) = (gateway.connect(), gateway.connect());
    for _ in 0..3 {
        for client in [&mut one, &mut other] {
            let address = client.local().to_string();
            assert_eq!(source(client), address);
        }
    }
    let clients = server.clients();
    assert_eq!(
        clients,
        [one.local().to_string(), other.local().to_string()]
    );
}

#[test]
fn a_client_that_a_proxy_names_has_no_port() {
    let server = Announced::start();
    let gateway = gateway(&server, "");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let proxy = SocketAddr::from(([127, 0, 0, 2], 0));
    socket.bind(&proxy.into()).unwrap();
    socket.connect(&gateway.address().into()).unwrap();
    let mut proxy = Client::over(socket.into());
    for client in ["192.0.2.7", "192.0.2.8", "192.0.2.7"] {
        let named = request("GET", "/", &[&format!("x-forwarded-for: {client}")]);
        assert_eq!(proxy.exchange(named).text(), format!("{client}:0"));
    }
    assert_eq!(server.clients().len(), 2);
}

#[test]
fn checks_speak_for_the_gateway_itself() {
    let server = Announced::start();
    let gateway = gateway(&server, "health_check = { path = '/', interval = '20ms' }");
    let end = tokio::time::Instant::now() + TIMEOUT;
    while server.headers.lock().unwrap().len() < 3 {
        assert!(tokio::time::Instant::now() < end);
        thread::yield_now();
    }
    let headers = server.headers.lock().unwrap().clone();
    assert!(
        headers
            .iter()
            .all(|header| *header == (0x20, String::new()))
    );
    assert_eq!(gateway.status("/"), 200);
}

#[test]
fn connections_of_clients_that_have_left_make_room_for_those_of_others() {
    let server = Announced::start();
    let gateway = gateway(&server, "pool = { max_connections = 2, max_idle = 2 }");
    for _ in 0..10 {
        let mut client = gateway.connect();
        let address = client.local().to_string();
        assert_eq!(
            (source(&mut client), source(&mut client)),
            (address.clone(), address)
        );
    }
    assert_eq!(server.clients().len(), 10);
}
