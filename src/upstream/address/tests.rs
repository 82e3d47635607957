//! Tests of the addresses of a server over look-ups.

use tokio::net::UdpSocket;

use super::*;
use crate::upstream::{
    dns::tests::{name_server, serve},
    lookups::look_requested,
};

/// A name that the system's resolver knows without asking anybody, and that
/// is no address for Rust.
const LOOPBACK: &str = "127.1";

/// The addresses of a host, at port 80.
fn tcp(host: &str) -> Addresses {
    Addresses::new(ServerAddress::Tcp {
        host: host.into(),
        port: 80,
    })
}

/// The outcomes that one whole look-up reports.
async fn refreshed(addresses: &Addresses, servers: &NameServers) -> Vec<LookupOutcome> {
    let reported = Mutex::new(Vec::new());
    assert!(!addresses.begin(Instant::now()) || addresses.schedule.lock().is_running);
    addresses
        .refresh(servers, |found| reported.lock().push(found))
        .await;
    reported.into_inner()
}

/// Whether a look-up would be due `after` milliseconds from now.
fn is_due(addresses: &Addresses, after: u64) -> bool {
    let begins = addresses.begin(Instant::now() + Duration::from_millis(after));
    addresses.schedule.lock().is_running = false;
    begins
}

#[tokio::test]
async fn a_name_is_looked_up_again_when_its_time_to_live_has_passed() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = name_server(socket.local_addr().unwrap(), &[]);
    let addresses = tcp(LOOPBACK);
    assert!(is_due(&addresses, 0));
    // Also the bounds: no time at all, and eleven days.
    for (ttl, from, to) in [
        (7, 6_000, 7_000),
        (0, 0, 1_000),
        (1_000_000, 298_000, 300_000),
    ] {
        addresses.schedule.lock().due = None;
        let found = tokio::select! {
            found = refreshed(&addresses, &servers) => found,
            () = serve(&socket, "127.1.", ttl, ttl + 2) => unreachable!("it serves for ever"),
        };
        match ttl {
            7 => assert!(matches!(found[..], [LookupOutcome::Changed])),
            _ => assert!(matches!(found[..], [LookupOutcome::Unchanged])),
        }
        assert!(!is_due(&addresses, from) && is_due(&addresses, to), "{ttl}");
    }
    assert_eq!(*addresses.all(), ["127.0.0.1:80".parse().unwrap()]);
}

#[tokio::test]
async fn known_addresses_stay_when_a_name_is_not_found_any_more() {
    let known: SocketAddr = "10.0.0.1:80".parse().unwrap();
    let gone = Addresses {
        known: ArcSwap::from_pointee(vec![known]),
        ..tcp("a.invalid")
    };
    let nobody = name_server("127.0.0.1:9".parse().unwrap(), &[]);
    assert!(matches!(
        refreshed(&gone, &nobody).await[..],
        [LookupOutcome::Failed(_)]
    ));
    assert!(
        matches!(
            refreshed(&gone, &nobody).await[..],
            [LookupOutcome::Unchanged]
        ),
        "reported once"
    );
    assert_eq!(*gone.all(), [known]);
    assert!(!is_due(&gone, 4_000) && is_due(&gone, 5_000));
}

#[tokio::test(start_paused = true)]
async fn a_name_none_of_whose_addresses_answers_is_looked_up_at_once_but_once_a_second() {
    let name = tcp("a.invalid");
    let looked_up = |begun: Option<Instant>| {
        let due = Some(Instant::now() + LONGEST_INTERVAL);
        *name.schedule.lock() = Schedule {
            due,
            begun,
            ..Schedule::default()
        };
    };
    looked_up(None);
    assert!(!is_due(&name, 290_000));
    name.suspect();
    name.suspect();
    let woken = tokio::time::timeout(Duration::ZERO, look_requested()).await;
    assert!(woken.is_ok(), "the control thread is woken");
    looked_up(Some(Instant::now()));
    name.suspect();
    assert!(!is_due(&name, 999) && is_due(&name, 1_000));
    let is_woken = async || {
        tokio::time::timeout(Duration::ZERO, look_requested())
            .await
            .is_ok()
    };
    assert!(is_woken().await, "so that it looks soon");
    name.suspect();
    assert!(!is_woken().await, "nothing is due yet");
    tokio::time::advance(SHORTEST_INTERVAL).await;
    name.suspect();
    assert!(is_woken().await, "nobody waits for the next round");
}

#[test]
fn a_connection_to_an_address_that_a_name_no_longer_has_is_recognised() {
    let [one, two]: [SocketAddr; 2] =
        ["10.0.0.1:80", "10.0.0.2:80"].map(|address| address.parse().unwrap());
    let name = Addresses::known(vec![one, two]);
    let (stays, goes, unknown) = (Peer::new(Some(two)), Peer::new(Some(one)), Peer::new(None));
    assert!([&stays, &goes, &unknown].iter().all(|peer| name.have(peer)));
    assert!(matches!(name.update(vec![two]), LookupOutcome::Changed));
    assert!(name.have(&stays) && !name.have(&goes) && name.have(&unknown));
    let address = tcp("10.0.0.9");
    assert!(address.have(&goes), "an address does not change");
}

#[test]
fn an_address_is_never_looked_up() {
    assert!(!tcp("::1").begin(Instant::now()));
}

/// For the tests of other files.
impl Addresses {
    pub(in crate::upstream) fn known(known: Vec<SocketAddr>) -> Self {
        Self {
            known: ArcSwap::from_pointee(known),
            ..tcp("a.invalid")
        }
    }
}
