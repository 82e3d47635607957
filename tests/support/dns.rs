//! A scripted name server.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::SRV},
};

/// Answers by kind and name, with a time to live in seconds.
type Zone = Arc<Mutex<Option<HashMap<(RecordType, String), (u32, Vec<RData>)>>>>;

/// A name server on an address of its own, at the usual port. Needs root.
pub struct NameServer {
    address: IpAddr,
    zone: Zone,
}

impl NameServer {
    /// Starts a name server that knows no name.
    pub fn start() -> Self {
        // No other test has the address: it is that of this process and of a
        // number that is free.
        let pid = std::process::id();
        let (socket, address) = (1..=250)
            .find_map(|last| {
                let ip = Ipv4Addr::new(127, 100 + (pid >> 8) as u8 % 100, pid as u8, last);
                let socket = UdpSocket::bind((ip, 53)).ok()?;
                Some((socket, IpAddr::V4(ip)))
            })
            .expect("port 53 of a loopback address, which needs root");
        let zone = Zone::new(Mutex::new(Some(HashMap::new())));
        let known = Arc::clone(&zone);
        thread::spawn(move || serve(&socket, &known));
        Self { address, zone }
    }

    /// Its address, for [`Start::name_server`](super::gateway::Start).
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Answers questions for the address of a name, such as `a.test.`, from now
    /// on.
    pub fn set_address(&self, name: &str, address: [u8; 4]) {
        let data = RData::from(IpAddr::from(address));
        self.set(RecordType::A, name, vec![data]);
    }

    /// Answers questions for the servers of a name from now on: priority,
    /// weight, port and target of each.
    pub fn set_services(&self, name: &str, services: &[(u16, u16, u16, &str)]) {
        let data = |(priority, weight, port, target): &(u16, u16, u16, &str)| {
            let target = Name::from_ascii(target).unwrap();
            RData::SRV(SRV::new(*priority, *weight, *port, target))
        };
        self.set(RecordType::SRV, name, services.iter().map(data).collect());
    }

    /// Answers no question any more.
    pub fn leave(&self) {
        *self.zone.lock().unwrap() = None;
    }

    fn set(&self, kind: RecordType, name: &str, data: Vec<RData>) {
        let mut zone = self.zone.lock().unwrap();
        let zone = zone.get_or_insert_default();
        zone.insert((kind, name.to_owned()), (1, data));
    }
}

fn serve(socket: &UdpSocket, zone: &Zone) {
    socket
        .set_read_timeout(Some(Duration::from_secs(600)))
        .unwrap();
    let mut bytes = [0; 1024];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        let asked = Message::from_vec(&bytes[..length]).unwrap();
        let question = asked.queries[0].clone();
        let mut response = Message::response(asked.metadata.id, OpCode::Query);
        let name = question.name().to_lowercase().to_ascii();
        let Some(zone) = &*zone.lock().unwrap() else {
            continue;
        };
        match zone.get(&(question.query_type(), name.clone())) {
            Some((ttl, answers)) => {
                for data in answers {
                    let owner = question.name().clone();
                    response.add_answer(Record::from_rdata(owner, *ttl, data.clone()));
                }
            }
            // A name with records of another kind exists.
            None if zone.keys().any(|(_, known)| *known == name) => {}
            None => response.metadata.response_code = ResponseCode::NXDomain,
        }
        response.add_query(question);
        // The client may have gone.
        let _ = socket.send_to(&response.to_vec().unwrap(), from);
    }
}
