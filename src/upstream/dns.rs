//! DNS beside the system's resolver: the time to live of a name's addresses,
//! and SRV records, which that resolver does not know.
//!
//! Addresses come from the system's resolver (see `address`), which does not
//! tell how long they are valid. The name servers of `/etc/resolv.conf` are
//! therefore asked once more, by hickory, with the same search domains and
//! `ndots`. Their answer only decides when the name is looked up again, so that
//! a wrong one, or none, does no harm: the caller bounds it to between one
//! second and five minutes.
//!
//! The configuration of the system is read anew for each look-up, on a thread
//! that may block, so that a changed `/etc/resolv.conf` needs no restart.
//!
//! # Bounds
//!
//! The caller waits for at most a second, and takes 30 seconds if nothing is
//! known by then. Nothing is cached here, so that the memory does not grow with
//! the number of names.

use std::{cmp::Reverse, time::Duration};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{RData, RecordType},
    system_conf::read_system_conf,
};
use tokio::task::spawn_blocking;

/// The system's name servers.
///
/// Made for the look-up of one server's name, and dropped after it.
#[derive(Debug)]
pub(super) struct NameServers {
    /// `None` if the system has no name servers, or its configuration cannot be
    /// read.
    resolver: Option<TokioResolver>,
}

impl NameServers {
    /// Reads the system's configuration as it is now.
    pub(super) async fn of_system() -> Self {
        let read = spawn_blocking(read_system_conf).await;
        Self {
            resolver: read
                .ok()
                .and_then(Result::ok)
                .and_then(|(config, options)| resolver(config, options)),
        }
    }

    /// The shortest time to live among the addresses of `name`; `None` if no
    /// name server tells it.
    ///
    /// Takes as long as `resolv.conf` allows, by default 10 s, if no name
    /// server responds.
    pub(super) async fn time_to_live(&self, name: &str) -> Option<Duration> {
        let found = self.resolver.as_ref()?.lookup_ip(name).await.ok()?;
        let shortest = found.as_lookup().answers().iter().map(|record| record.ttl);
        shortest
            .min()
            .map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// The servers that the SRV records of `name` list, and the shortest time
    /// to live among the records. The order is that of the answer.
    ///
    /// Takes as long as `resolv.conf` allows, by default 10 s, if no name
    /// server responds.
    ///
    /// # Errors
    /// The name has no such records, or no name server responds; the text says
    /// why.
    pub(super) async fn services(
        &self,
        name: &str,
    ) -> Result<(Vec<ServiceRecord>, Duration), String> {
        let resolver = self.resolver.as_ref().ok_or("there is no name server")?;
        let found = resolver.lookup(name, RecordType::SRV).await;
        let found = found.map_err(|error| error.to_string())?;
        let (mut records, mut shortest) = (Vec::new(), u32::MAX);
        for answer in found.answers() {
            shortest = shortest.min(answer.ttl);
            if let RData::SRV(srv) = &answer.data {
                records.push(ServiceRecord {
                    priority: srv.priority,
                    weight: Reverse(srv.weight),
                    target: srv.target.to_lowercase().to_ascii(),
                    port: srv.port,
                });
            }
        }
        match records.is_empty() {
            true => Err("the name has no SRV records".to_owned()),
            false => Ok((records, Duration::from_secs(shortest.into()))),
        }
    }
}

/// A server that an SRV record names (RFC 2782).
///
/// Records compare in the order in which they are used: by priority, and the
/// heavier ones first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServiceRecord {
    /// Servers with the lowest number are used first.
    pub(super) priority: u16,
    /// The share of the requests among servers of the same priority.
    pub(super) weight: Reverse<u16>,
    /// The host in lower case, with a final dot; only the dot says that the
    /// service is not available.
    pub(super) target: String,
    /// The TCP port.
    pub(super) port: u16,
}

/// A resolver without a cache, which would answer with the rest of a time to
/// live, and without `/etc/hosts`, which has none.
///
/// `None` if hickory refuses the configuration. IPv4 and IPv6 are both asked
/// for, as the system's resolver does, and the shorter time counts.
fn resolver(config: ResolverConfig, mut options: ResolverOpts) -> Option<TokioResolver> {
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    use hickory_resolver::{
        config::{ConnectionConfig, NameServerConfig},
        proto::{
            op::{Message, OpCode, ResponseCode},
            rr::{Name, RData, Record, RecordType},
        },
    };
    use tokio::net::UdpSocket;

    use super::*;

    /// The name server at `address`, with these search domains.
    pub(in crate::upstream) fn name_server(address: SocketAddr, search: &[&str]) -> NameServers {
        let mut connection = ConnectionConfig::udp();
        connection.port = address.port();
        let server = NameServerConfig::new(address.ip(), true, vec![connection]);
        let search = search
            .iter()
            .map(|domain| domain.parse().unwrap())
            .collect();
        let config = ResolverConfig::from_parts(None, search, vec![server]);
        NameServers {
            resolver: resolver(config, ResolverOpts::default()),
        }
    }

    /// Answers each question for `name` with an address and the time to live of
    /// its kind, and others with "no such name".
    pub(in crate::upstream) async fn serve(socket: &UdpSocket, name: &str, v4: u32, v6: u32) {
        let name: Name = name.parse().unwrap();
        loop {
            let mut bytes = [0; 1024];
            let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
            let asked = Message::from_vec(&bytes[..length]).unwrap();
            let question = asked.queries[0].clone();
            let mut response = Message::response(asked.metadata.id, OpCode::Query);
            let record = match question.query_type() {
                RecordType::A => (v4, RData::from(IpAddr::from(Ipv4Addr::LOCALHOST))),
                _ => (v6, RData::from(IpAddr::from(Ipv6Addr::LOCALHOST))),
            };
            if *question.name() == name {
                let (ttl, data) = record;
                response.add_answer(Record::from_rdata(name.clone(), ttl, data));
            } else {
                response.metadata.response_code = ResponseCode::NXDomain;
            }
            response.add_query(question);
            let bytes = response.to_vec().unwrap();
            socket.send_to(&bytes, from).await.unwrap();
        }
    }

    async fn asked(name: &str, search: &[&str], served: &str, v4: u32, v6: u32) -> Option<u64> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let servers = name_server(socket.local_addr().unwrap(), search);
        let ttl = tokio::select! {
            ttl = servers.time_to_live(name) => ttl,
            () = serve(&socket, served, v4, v6) => unreachable!("it serves for ever"),
        };
        ttl.map(|ttl| ttl.as_secs())
    }

    #[tokio::test]
    async fn the_shortest_time_to_live_of_both_kinds_of_address_counts() {
        let ttl = asked("a.example", &[], "a.example.", 30, 12).await;
        assert_eq!(ttl, Some(12));
        let ttl = asked("a.example", &[], "a.example.", 0, 12).await;
        assert_eq!(ttl, Some(0));
    }

    #[tokio::test]
    async fn names_are_completed_by_the_search_domains_unless_they_end_with_a_dot() {
        let search = ["ns.svc.local.", "svc.local."];
        let ttl = asked("db", &search, "db.svc.local.", 7, 7).await;
        assert_eq!(ttl, Some(7));
        assert_eq!(asked("db.", &search, "db.svc.local.", 7, 7).await, None);
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_and_no_name_at_all_have_no_time_to_live() {
        assert_eq!(asked("b.example", &[], "a.example.", 7, 7).await, None);
        assert_eq!(asked("no..name", &[], "a.example.", 7, 7).await, None);
        let none = NameServers { resolver: None };
        assert_eq!(none.time_to_live("a.example").await, None);
    }
}
