//! Resources: without file descriptors, connection slots or memory the gateway
//! waits, logs it once, and recovers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{net::SocketAddr, thread, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use socket2::{Domain, Socket, Type};
use support::{
    Client, TIMEOUT, Upstream,
    gateway::{Gateway, Start, responding},
    one_route,
};
use tokio::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn listener(more: &str, workers: usize) -> String {
    format!(
        "[server]\nworkers = {workers}\n[[listeners]]\nbind = '127.0.0.1:0'\n{more}\n{}",
        responding("r", "")
    )
}

/// A listener without a bound for one client, for tests whose clients share an
/// address.
fn listener_for_many(more: &str) -> String {
    listener(more, 1).replacen(
        "[server]\n",
        "[server]\nmax_connections_per_client = 1000\n",
        1,
    )
}

/// Number of log lines that say that accepting pauses.
fn pauses(said: &[String]) -> usize {
    said.iter()
        .filter(|line| line.contains("accepting pauses"))
        .count()
}

/// A client in the middle of a head: the connection is neither idle nor has it
/// a request.
fn dawdling(gateway: &Gateway) -> Client {
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\n");
    client
}

/// A client that has sent one request and is idle now.
fn idle(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    assert_eq!(client.exchange(GET).status(), 200);
    client
}

/// Whether the connection of a client is still served.
fn is_served(client: &mut Client) -> bool {
    let answered = client.try_send(GET).ok().and_then(|()| client.head().ok());
    answered.is_some_and(|head| client.message(head, false, true).status() == 200)
}

#[test]
fn without_file_descriptors_accepting_pauses_logs_once_and_recovers() {
    let mut gateway = Gateway::start(&listener("max_connections = 1000", 1));
    let mut dawdling = dawdling(&gateway);
    let few = Rlimit {
        current: Some(64),
        maximum: Some(64),
    };
    prlimit(Pid::from_raw(gateway.pid() as i32), Resource::Nofile, few).unwrap();
    let others: Vec<_> = (0..100).map(|_| gateway.connect()).collect();
    gateway.logged("accepting pauses");
    let before = gateway.cpu_time();
    // A busy loop shows only in the processor time over a second.
    thread::park_timeout(Duration::from_secs(1));
    let used = gateway.cpu_time() - before;
    let said = gateway.log_so_far();
    assert_eq!(pauses(&said), 0, "the pause is already logged: {said:?}");
    assert!(
        used < Duration::from_millis(300),
        "{used:?} of processor time in a second of waiting"
    );
    assert_eq!(
        dawdling.exchange("Host: a\r\n\r\n").status(),
        200,
        "accepted clients are served"
    );
    drop(others);
    let mut late = gateway.connect();
    assert_eq!(late.exchange(GET).status(), 200);
    gateway.logged("accepting connections again");
    drop((dawdling, late));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().0.code(), Some(0));
}

#[test]
fn connections_beyond_the_file_limit_are_not_accepted_and_the_start_logs_it() {
    let pool =
        "[upstreams.app]\nservers = ['http://127.0.0.1:1']\npool = { max_connections = 1000 }\n";
    let gateway = Start::new(&listener_for_many(&format!(
        "max_connections = 1000\n{pool}"
    )))
    .files(256)
    .go();
    for said in [
        "it counts as 64",
        "the limit on open files allows, 192 for all connections",
    ] {
        assert!(gateway.passed().contains(said), "{}", gateway.passed());
    }
    let _all: Vec<_> = (0..64).map(|_| dawdling(&gateway)).collect();
    let mut late = gateway.connect();
    gateway.logged("accepting pauses: all connections are taken");
    // The rest of the descriptors is for everything else.
    assert_eq!(gateway.call_admin("GET", "/livez", &[]).status(), 200);
    late.send(GET);
    drop(_all);
    assert_eq!(late.response().status(), 200);
}

#[test]
fn all_listeners_together_accept_no_more_than_the_file_limit_allows() {
    let second = "[[listeners]]\nbind = '127.0.0.2:0'\n";
    let gateway = Start::new(&listener_for_many(&format!("\n{second}")))
        .files(256)
        .go();
    let [first, second] = gateway.addresses() else {
        panic!("two listeners")
    };
    let _all: Vec<_> = (0..63).map(|_| dawdling(&gateway)).collect();
    let mut idle = idle(*second);
    let mut late = Client::connect(*first);
    assert_eq!(
        late.exchange(GET).status(),
        200,
        "the idle one of the other listener makes room"
    );
    assert!(!is_served(&mut idle));
}

#[test]
fn beyond_max_connections_clients_wait_while_none_is_idle() {
    let gateway = Gateway::start(&listener("max_connections = 2", 1));
    let mut inside: Vec<_> = (0..2).map(|_| dawdling(&gateway)).collect();
    let mut waiting = gateway.connect();
    waiting.send(GET);
    gateway.logged("accepting pauses");
    assert_eq!(gateway.metric("tidegate_connections", &[]), 2.0);
    let mut idle = inside.pop().unwrap();
    assert_eq!(idle.exchange("Host: a\r\n\r\n").status(), 200);
    // The connection is idle now, which wakes the waiting client.
    assert_eq!(waiting.response().status(), 200);
    assert!(!is_served(&mut idle));
    drop(inside);
    assert_eq!(gateway.get("/").status(), 200);
}

#[test]
fn a_new_connection_closes_the_one_that_has_idled_longest() {
    let gateway = Gateway::start(&listener("max_connections = 3", 1));
    let [mut first, mut second, mut third] = [(); 3].map(|()| idle(gateway.address()));
    assert!(is_served(&mut first));
    let mut fourth = idle(gateway.address());
    assert!(!is_served(&mut second));
    let mut fifth = idle(gateway.address());
    assert!(!is_served(&mut third));
    assert!(is_served(&mut first) && is_served(&mut fourth) && is_served(&mut fifth));
    assert_eq!(
        gateway.metric("tidegate_connections_closed_total", &[("reason", "idle")]),
        2.0
    );
}

#[test]
fn idle_connections_of_any_worker_make_room() {
    let gateway = Gateway::start(&listener("max_connections = 16", 4).replacen(
        "[server]\n",
        "[server]\nmax_connections_per_client = 100\n",
        1,
    ));
    let mut clients: Vec<_> = (0..16).map(|_| idle(gateway.address())).collect();
    // Each client is served although idle clients hold all slots.
    clients.extend((0..89).map(|_| idle(gateway.address())));
    assert_eq!(
        gateway.metric("tidegate_connections_closed_total", &[("reason", "idle")]),
        89.0
    );
    assert_eq!(
        clients
            .iter_mut()
            .filter_map(|client| is_served(client).then_some(()))
            .count(),
        16
    );
}

/// Connects from this address of the loopback network.
fn connect_from(from: [u8; 4], to: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Client::over(socket.into())
}

fn served_from(from: [u8; 4], to: SocketAddr) -> Option<Client> {
    let mut client = connect_from(from, to);
    is_served(&mut client).then_some(client)
}

fn two_listeners(more: &str) -> Gateway {
    let listeners = "[[listeners]]\nbind = '127.0.0.1:0'\n[[listeners]]\nbind = '127.0.0.4:0'\n";
    let server = "[server]\nworkers = 2\nmax_connections_per_client = 3\n";
    Gateway::start(&format!("{server}{listeners}{more}{}", responding("r", "")))
}

#[test]
fn the_connections_of_one_client_are_bounded_over_all_listeners() {
    let gateway = two_listeners("");
    let [first, second] = gateway.addresses() else {
        panic!("two listeners")
    };
    let (one, other) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    let mut inside: Vec<_> = [first, first, second]
        .into_iter()
        .map(|to| served_from(one, *to).unwrap())
        .collect();
    for to in [first, second] {
        assert!(served_from(one, *to).is_none());
    }
    gateway.logged("connections closed: the client has as many open as one may have");
    let _other = served_from(other, *second).unwrap();
    assert_eq!(
        gateway.metric(
            "tidegate_connections_closed_total",
            &[("reason", "per_client")]
        ),
        2.0
    );
    assert_eq!(gateway.metric("tidegate_connections", &[]), 4.0);
    // A closed connection makes room for the same client.
    drop(inside.pop());
    gateway.await_metric(
        "tidegate_connections",
        &[("listener", &second.to_string())],
        1.0,
    );
    let end = Instant::now() + TIMEOUT;
    while served_from(one, *second).is_none() {
        assert!(Instant::now() < end, "the slot is not free again");
    }
}

#[test]
fn a_trusted_proxy_is_not_one_client() {
    let gateway = two_listeners("[client_ip]\ntrusted_proxies = ['127.0.0.2']\n");
    let all: Vec<_> = (0..6)
        .map_while(|_| served_from([127, 0, 0, 2], gateway.address()))
        .collect();
    assert_eq!(all.len(), 6);
    let all: Vec<_> = (0..6)
        .map_while(|_| served_from([127, 0, 0, 3], gateway.address()))
        .collect();
    assert_eq!(all.len(), 3);
}

#[test]
fn behind_the_proxy_protocol_the_address_that_it_names_is_the_client() {
    let server = "[server]\nworkers = 1\nmax_connections_per_client = 2\n";
    let gateway = Gateway::start(
        &(server.to_owned()
            + &listener("proxy_protocol = 'required'", 1)["[server]\nworkers = 1\n".len()..]),
    );
    let named = |address: &str| {
        let mut client = gateway.connect();
        client.send(format!("PROXY {address}\r\n"));
        is_served(&mut client).then_some(client)
    };
    let of = |address: &str| (0..4).filter_map(|_| named(address)).collect::<Vec<_>>();
    let _v4 = ["192.0.2.1", "192.0.2.2"].map(|client| {
        let inside = of(&format!("TCP4 {client} 198.51.100.1 4711 443"));
        assert_eq!(inside.len(), 2);
        inside
    });
    let _v6: Vec<_> = [
        "2001:db8::1",
        "2001:db8::2",
        "2001:db8::3",
        "2001:db8:0:1::1",
    ]
    .into_iter()
    .filter_map(|client| named(&format!("TCP6 {client} 2001:db8:ffff::1 4711 443")))
    .collect();
    assert_eq!(_v6.len(), 3, "the third of one network is one too many");
    assert_eq!(
        of("UNKNOWN").len(),
        4,
        "the balancer's own checks are not counted for a client"
    );
}

#[test]
fn by_default_one_client_may_have_a_tenth_of_all_connections() {
    let gateway = Gateway::start(&listener("max_connections = 200", 1));
    let inside: Vec<_> = (0..30)
        .filter_map(|_| served_from([127, 0, 0, 2], gateway.address()))
        .collect();
    assert_eq!(inside.len(), 20);
    assert!(served_from([127, 0, 0, 3], gateway.address()).is_some());
}

#[test]
fn a_free_slot_serves_a_client_of_any_worker() {
    let gateway = Gateway::start(&listener("max_connections = 1", 4));
    let address = gateway.address();
    for _ in 0..40 {
        // First more clients than there are slots, then none: the worker whose
        // socket gets the next client must accept it.
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(Client::connect(address).exchange(GET).status(), 200));
            }
        });
    }
}

#[test]
fn a_listener_accepts_more_after_a_reload() {
    let gateway = Gateway::start(&listener("max_connections = 1", 1));
    let mut first = dawdling(&gateway);
    let mut second = gateway.connect();
    second.send(GET);
    gateway.logged("accepting pauses");
    gateway.reload_with(&listener("max_connections = 2", 1));
    assert_eq!(
        (
            second.response().status(),
            first.exchange("Host: a\r\n\r\n").status()
        ),
        (200, 200)
    );
}

#[test]
fn a_thousand_idle_connections_cost_little_memory_and_no_time() {
    let gateway = Gateway::start(&listener("", 2));
    let address = gateway.address();
    let mut warm = gateway.connect();
    assert_eq!(warm.exchange(GET).status(), 200);
    let before = gateway.resident();
    let mut idle: Vec<_> = (0..1000).map(|_| Client::connect(address)).collect();
    for client in &mut idle {
        client.send(GET);
    }
    for client in &mut idle {
        assert_eq!(client.response().status(), 200);
    }
    let grown = gateway.resident().saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB for 1,000 idle connections");
    let before = gateway.cpu_time();
    thread::park_timeout(Duration::from_secs(1));
    let used = gateway.cpu_time() - before;
    assert!(used < Duration::from_millis(200), "{used:?}");
    assert_eq!(warm.exchange(GET).status(), 200);
}

/// The work of opening a connection to the server was once kept until the
/// response, which was half of this.
#[test]
fn four_hundred_requests_in_flight_cost_little_memory() {
    const REQUESTS: usize = 400;
    let (upstream, reached, leave) = Upstream::held();
    let gateway = Gateway::start(&format!(
        "[server]\nworkers = 1\nmax_connections_per_client = 1000\n\
         [[listeners]]\nbind = '127.0.0.1:0'\n{}",
        one_route(&upstream, "")
    ));
    // One after the other, since the allocator keeps what is freed.
    let in_flight = || {
        let mut client = gateway.connect();
        client.send(GET);
        reached.recv_timeout(TIMEOUT).unwrap();
        client
    };
    let mut clients = vec![in_flight()];
    let before = gateway.resident();
    clients.extend((0..REQUESTS).map(|_| in_flight()));
    let grown = gateway.resident().saturating_sub(before);
    assert!(grown < 9 * REQUESTS as u64, "{grown} KiB");
    for _ in &clients {
        leave.open();
    }
    for mut client in clients {
        assert_eq!(client.response().status(), 200);
    }
}

/// Names are resolved by separate threads, and checking the files twice a
/// second must not keep these alive.
/// mimalloc rounds sizes up to classes, of which there are four between two
/// powers of two. For an aligned block of exactly such a size it looks for a
/// slightly longer one, and never finds a free block of the right class: that
/// costs 110 instructions. Powers of two it knows to be aligned.
#[test]
fn no_block_of_a_request_has_a_size_that_the_allocator_is_slow_for() {
    let counts = 2 * size_of::<usize>();
    for (what, size) in [
        ("future", size_of::<tidegate::gateway::ResponseFuture>()),
        ("exchange", size_of::<tidegate::call::Exchange>() + counts),
    ] {
        let between_classes = size.next_power_of_two() / 8;
        let is_class = size % between_classes == 0 && !size.is_power_of_two();
        assert!(!is_class, "{what}: {size} bytes");
    }
}

#[test]
fn threads_that_resolved_names_end_although_files_are_checked_all_the_time() {
    let gateway = Start::new(&listener("", 1)).go();
    let before = gateway.threads();
    let upstream = |at: u16| {
        format!(
            "[upstreams.u{at}]\nservers = ['http://localhost:{}']\n",
            9000 + at
        )
    };
    let named: String = (0..16).map(upstream).collect();
    gateway.reload_with(&listener(&named, 1));
    gateway.reload_with(&listener("", 1));
    let end = Instant::now() + Duration::from_secs(25);
    // The thread that checks the files may have started since.
    while gateway.threads() > before + 1 {
        assert!(
            Instant::now() < end,
            "{} threads, {before} before",
            gateway.threads()
        );
        // The process is inspected from outside and not too often: a request
        // would keep it busy.
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// Suspends the gateway for longer than the timeouts under test, while
/// `meanwhile` runs.
fn suspended(gateway: &Gateway, meanwhile: impl FnOnce()) {
    gateway.signal(Signal::STOP);
    meanwhile();
    // Only the gateway's own clock, which goes on, can make it late.
    thread::park_timeout(Duration::from_millis(3400));
    gateway.signal(Signal::CONT);
}

/// Otherwise every request in flight would become a 504 and the server would be
/// ejected.
#[test]
fn responses_that_came_while_the_gateway_was_suspended_are_not_late() {
    let (upstream, reached, leave) = Upstream::held();
    let ejection = "[upstreams.app.ejection]\nconsecutive_failures = 1\n";
    let more = "timeouts = { attempt = '3s' }\nretry = { attempts = 1 }";
    let gateway = Gateway::start(&(one_route(&upstream, more) + ejection));
    let mut clients: Vec<_> = (0..16).map(|_| gateway.sent("/", &[])).collect();
    clients
        .iter()
        .for_each(|_| assert_eq!(reached.recv_timeout(TIMEOUT).unwrap(), "/"));
    suspended(&gateway, || clients.iter().for_each(|_| leave.open()));
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
    }
    assert_eq!(
        gateway.metric("tidegate_upstream_ejections_total", &[]),
        0.0
    );
}

#[test]
fn requests_that_came_while_the_gateway_was_suspended_are_not_late() {
    let text = "[[listeners]]\nbind = '127.0.0.1:0'\ntimeouts = { headers = '3s' }\n".to_owned();
    let gateway = Gateway::start(&(text + &responding("r", "")));
    let mut clients: Vec<_> = (0..16).map(|_| dawdling(&gateway)).collect();
    gateway.await_metric("tidegate_connections", &[], 16.0);
    suspended(&gateway, || {
        clients
            .iter_mut()
            .for_each(|client| client.send("Host: a\r\n\r\n"))
    });
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn a_port_can_be_bound_for_both_families() {
    let port = std::net::TcpListener::bind("[::1]:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let both =
        format!("[[listeners]]\nbind = '0.0.0.0:{port}'\n[[listeners]]\nbind = '[::]:{port}'\n");
    let gateway = Gateway::start(&(both + &responding("r", "")));
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        assert_eq!(
            Client::connect(address.parse().unwrap())
                .exchange(GET)
                .status(),
            200,
            "{address}"
        );
    }
    drop(gateway);
    // The system default: a single IPv6 socket accepts both families.
    let gateway = Gateway::start(&format!(
        "[[listeners]]\nbind = '[::]:{port}'\n{}",
        responding("r", "")
    ));
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    assert_eq!(Client::connect(address).exchange(GET).status(), 200);
    drop(gateway);
}

#[test]
fn as_many_header_lines_are_accepted_as_the_listener_allows() {
    let gateway = Gateway::start(&listener("max_headers = 1000", 1));
    for (lines, status) in [(257, 200), (999, 200), (1000, 431)] {
        let fields: String = (0..lines).map(|at| format!("x-{at}: 1\r\n")).collect();
        let response = gateway
            .connect()
            .exchange(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(response.status(), status, "{lines} and a Host");
    }
}

/// Number of times that its threads have gone to sleep voluntarily.
fn rests(gateway: &Gateway) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    let of_task = |task: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?
            .trim()
            .parse::<u64>()
            .ok()
    };
    tasks.filter_map(of_task).sum()
}

#[test]
fn an_idle_gateway_wakes_up_at_most_twice_a_second() {
    let gateway = Gateway::start(&listener("", 2));
    assert_eq!(gateway.get("/").status(), 200);
    // The promise is about time, so time has to pass. Work left over from the
    // start ends in the first part of it.
    thread::park_timeout(Duration::from_secs(2));
    let (before, begun) = (rests(&gateway), Instant::now());
    thread::park_timeout(Duration::from_secs(8));
    let most = 2 * begun.elapsed().as_secs();
    let rested = rests(&gateway) - before;
    assert!(rested <= most, "{rested} times, at most {most}");
}
