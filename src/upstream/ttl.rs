//! The time to live of a name's addresses, as a name server tells it.
//!
//! Addresses come from the system's resolver, which does not tell how long they are valid. The name server is therefore
//! asked once more, for the time to live alone. Its answer only decides when the name is looked up again, so that a wrong
//! one, or none, does no harm.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{net::UdpSocket, task::spawn_blocking, time::timeout};

/// The longest wait for one response.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most name servers that are asked, of those that the system has.
const MOST_SERVERS: usize = 2;
/// The longest response, in bytes. Without extensions it has 512 (RFC 1035, 4.2.1); some servers send more.
const MOST_BYTES: usize = 1500;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
const PORT: u16 = 53;

/// The system's name servers, and how it completes names (`resolv.conf(5)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameServers {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    /// The number of dots from which on a name is first tried as it is.
    dots: usize,
}

impl NameServers {
    /// Reads the system's configuration.
    pub(super) async fn of_system() -> Self {
        let text = spawn_blocking(|| std::fs::read_to_string("/etc/resolv.conf")).await;
        Self::parse(&text.ok().and_then(Result::ok).unwrap_or_default())
    }

    /// One name server, which is asked about names as they are.
    #[cfg(test)]
    pub(super) fn only(server: SocketAddr) -> Self {
        Self {
            servers: vec![server],
            search: Vec::new(),
            dots: 1,
        }
    }

    fn parse(text: &str) -> Self {
        let mut found = Self {
            servers: Vec::new(),
            search: Vec::new(),
            dots: 1,
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    found
                        .servers
                        .extend(address.map(|address| SocketAddr::new(address, PORT)));
                }
                Some("search" | "domain") => found.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let dots = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    found.dots = dots.unwrap_or(found.dots);
                }
                _ => {}
            }
        }
        found.servers.truncate(MOST_SERVERS);
        found
    }

    /// The shortest time to live among a name's records; `None` if no server tells it.
    pub(super) async fn time_to_live(&self, name: &str) -> Option<Duration> {
        for server in &self.servers {
            for name in self.candidates(name) {
                let ask = |kind| ask(*server, &name, kind);
                let (v4, v6) = tokio::join!(ask(TYPE_A), ask(TYPE_AAAA));
                if let Some(shortest) = [v4, v6].into_iter().filter_map(Result::ok).flatten().min()
                {
                    return Some(Duration::from_secs(shortest.into()));
                }
            }
        }
        None
    }

    /// The names that the system's resolver would try, in its order.
    fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let mut names: Vec<_> = self
            .search
            .iter()
            .map(|suffix| format!("{name}.{suffix}"))
            .collect();
        let at = if name.matches('.').count() >= self.dots {
            0
        } else {
            names.len()
        };
        names.insert(at, name.to_owned());
        names
    }
}

/// Asks for the records of one kind. Returns the shortest time to live, if there is a record.
async fn ask(server: SocketAddr, name: &str, kind: u16) -> io::Result<Option<u32>> {
    let here: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((here, 0)).await?;
    socket.connect(server).await?;
    let id = rand::random();
    let Some(query) = query(id, name, kind) else {
        return Ok(None);
    };
    socket.send(&query).await?;
    let mut answer = [0; MOST_BYTES];
    let length = timeout(PATIENCE, socket.recv(&mut answer)).await??;
    Ok(shortest(&answer[..length], id))
}

/// A query (RFC 1035, 4.1) with recursion desired; `None` if `name` is no valid name.
fn query(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len() + 18);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..64).contains(length))?;
        out.push(length);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(out)
}

/// The shortest time to live of a response's records. `None` if it has no records or is no response to `id`.
fn shortest(answer: &[u8], id: u16) -> Option<u32> {
    let mut rest = Reader(answer);
    let (is_ours, flags) = (rest.short()? == id, rest.short()?);
    // A response, and one without an error.
    if !is_ours || flags & 0x8000 == 0 || flags & 0xf != 0 {
        return None;
    }
    let (questions, answers) = (rest.short()?, rest.short()?);
    rest.skip(4)?;
    for _ in 0..questions {
        rest.skip_name()?;
        rest.skip(4)?;
    }
    let mut shortest = None;
    for _ in 0..answers {
        rest.skip_name()?;
        rest.skip(4)?;
        let ttl = u32::from(rest.short()?) << 16 | u32::from(rest.short()?);
        let length = rest.short()?;
        rest.skip(length.into())?;
        shortest = Some(shortest.map_or(ttl, |shortest: u32| shortest.min(ttl)));
    }
    shortest
}

/// The rest of a message.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn short(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.0 = self.0.get(length..)?;
        Some(())
    }

    /// Skips labels up to an empty one, or up to a pointer.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            match *self.0.first()? {
                0 => return self.skip(1),
                pointer if pointer & 0xc0 == 0xc0 => return self.skip(2),
                length => self.skip(1 + usize::from(length))?,
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to `query` with these times to live, each of a record that points back to the question's name.
    fn answer(query: &[u8], times: &[u32]) -> Vec<u8> {
        let mut out = query.to_vec();
        out[2] |= 0x80;
        out[7] = times.len() as u8;
        for time in times {
            out.extend([0xc0, 12, 0, 1, 0, 1]);
            out.extend(time.to_be_bytes());
            out.extend([0, 4, 10, 0, 0, 1]);
        }
        out
    }

    /// Answers one question of each kind, with these times to live for IPv4 and IPv6.
    pub(in crate::upstream) async fn serve(socket: &UdpSocket, times: [u32; 2]) {
        for _ in 0..2 {
            let mut asked = [0; 512];
            let (length, from) = socket.recv_from(&mut asked).await.unwrap();
            let asked = &asked[..length];
            let is_v4 = asked[length - 3] == TYPE_A as u8;
            socket
                .send_to(&answer(asked, &[times[usize::from(!is_v4)]]), from)
                .await
                .unwrap();
        }
    }

    #[test]
    fn the_shortest_time_of_all_records_counts() {
        let asked = query(7, "a.example", TYPE_A).unwrap();
        assert_eq!(shortest(&answer(&asked, &[300, 20, 60]), 7), Some(20));
        assert_eq!(shortest(&answer(&asked, &[]), 7), None);
        assert_eq!(
            shortest(&answer(&asked, &[5]), 8),
            None,
            "an answer to another question"
        );
        assert_eq!(shortest(&asked, 7), None, "no answer at all");
    }

    #[test]
    fn names_are_completed_as_the_system_does() {
        let text = "# x\nnameserver 10.0.0.10\nnameserver fd00::1\nnameserver 10.0.0.11\nsearch ns.svc.local svc.local\noptions timeout:1 ndots:2\n";
        let servers = NameServers::parse(text);
        assert_eq!(
            servers.servers,
            [
                "10.0.0.10:53".parse().unwrap(),
                "[fd00::1]:53".parse().unwrap()
            ]
        );
        assert_eq!(
            servers.candidates("db"),
            ["db.ns.svc.local", "db.svc.local", "db"]
        );
        assert_eq!(servers.candidates("a.b.c")[0], "a.b.c");
        assert_eq!(servers.candidates("db."), ["db"]);
    }

    #[tokio::test]
    async fn a_name_server_is_asked_for_both_kinds() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let servers = NameServers::only(socket.local_addr().unwrap());
        let serve = serve(&socket, [30, 12]);
        let (time, ()) = tokio::join!(servers.time_to_live("a.example"), serve);
        assert_eq!(time, Some(Duration::from_secs(12)));
    }

    proptest! {
        #[test]
        fn no_answer_is_read_beyond_its_end(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            shortest(&bytes, u16::from_be_bytes([*bytes.first().unwrap_or(&0), *bytes.get(1).unwrap_or(&0)]));
        }

        #[test]
        fn any_name_is_asked_for_or_refused(name in "\\PC{0,80}") {
            query(1, &name, TYPE_AAAA);
        }
    }
}
