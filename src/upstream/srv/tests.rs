//! Tests of the servers that SRV records name.

use std::cmp::Reverse;

use super::*;

fn record(priority: u16, weight: u16, target: &str, port: u16) -> ServiceRecord {
    ServiceRecord {
        priority,
        weight: Reverse(weight),
        target: target.to_owned(),
        port,
    }
}

fn entry(secure_as: Option<&str>, by_target: bool) -> UpstreamServer {
    UpstreamServer {
        url: "srv+http://_api._tcp.a".into(),
        address: ServerAddress::Srv {
            name: "_api._tcp.a".into(),
            by_target,
        },
        secure_as: secure_as.map(|name| name.to_owned().try_into().unwrap()),
        weight: 1,
        tier: 0,
    }
}

/// The servers of an entry for which these records were found.
fn found(entry: &UpstreamServer, records: Vec<ServiceRecord>) -> Vec<UpstreamServer> {
    let of = SrvRecords::of(entry, &[]).unwrap();
    assert!(of.servers().is_empty());
    of.state.lock().known = Some(in_order(records).0.into());
    // After a reload they are known before they are looked up.
    SrvRecords::of(entry, &[of]).unwrap().servers()
}

#[test]
fn the_lowest_priority_is_served_first_and_each_higher_one_stands_in_for_it() {
    let records = vec![
        record(20, 5, "c.a.", 80),
        record(10, 0, "b.a.", 81),
        record(10, 3, "a.a.", 80),
        record(30, 1, "a.a.", 80),
        record(30, 1, "d.a.", 80),
    ];
    let servers = found(&entry(None, true), records);
    let of = |server: &UpstreamServer| (server.url.to_string(), server.weight, server.tier);
    let servers: Vec<_> = servers.iter().map(of).collect();
    let right = [
        ("http://a.a:80", 3, 0),
        ("http://b.a:81", 1, 0),
        ("http://c.a:80", 5, 1),
        ("http://d.a:80", 1, 2),
    ];
    assert_eq!(
        servers,
        right.map(|(url, weight, tier)| (url.to_owned(), weight, tier))
    );
}

#[test]
fn a_target_is_an_absolute_name_and_the_certificate_is_for_it_or_for_the_given_name() {
    let servers = |by_target| {
        let records = vec![record(0, 0, "b.a.", 443)];
        found(&entry(Some("given.a"), by_target), records)
    };
    let [server] = &servers(true)[..] else {
        panic!("one server")
    };
    assert_eq!(&*server.url, "https://b.a:443");
    let host: Arc<str> = "b.a.".into();
    assert_eq!(server.address, ServerAddress::Tcp { host, port: 443 });
    let name = |name: &str| Some(ServerName::try_from(name.to_owned()).unwrap());
    assert_eq!(server.secure_as, name("b.a"));
    assert_eq!(servers(false)[0].secure_as, name("given.a"));
}

#[test]
fn a_backup_or_a_server_without_weight_makes_all_servers_of_its_records_one() {
    let records = || vec![record(0, 7, "a.a.", 80), record(1, 7, "b.a.", 80)];
    let backup = UpstreamServer {
        tier: 1,
        ..entry(None, true)
    };
    let tiers = found(&backup, records())
        .into_iter()
        .map(|server| server.tier);
    assert_eq!(tiers.collect::<Vec<_>>(), [1, 2]);
    let idle = UpstreamServer {
        weight: 0,
        ..entry(None, true)
    };
    assert!(
        found(&idle, records())
            .iter()
            .all(|server| server.weight == 0)
    );
}

#[test]
fn odd_targets_are_no_servers_and_the_number_of_servers_is_bounded() {
    let odd = ["a\\032b.a.", "é.a.", ".", "10.0.0.1 .", "-/.a."];
    let records = odd.map(|target| record(0, 0, target, 80));
    assert!(found(&entry(None, true), records.to_vec()).is_empty());
    assert!(found(&entry(None, true), vec![record(0, 0, "a.a.", 0)]).is_empty());
    let many = (1..=60_000)
        .map(|port| record(0, 0, "a.a.", port))
        .collect();
    let (kept, left_out) = in_order(many);
    let most = MOST_SERVERS;
    assert_eq!((kept.len(), left_out), (most, 60_000 - most));
}
