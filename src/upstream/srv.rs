//! The servers that the SRV records of a name list (RFC 2782).
//!
//! Records with the lowest priority are servers like others; those of higher
//! priorities are backups of them, tier after tier. Weights are those of the
//! records, where 0 counts as 1: such a server gets few requests beside heavy
//! ones, as the RFC has it, and an equal share among its like. The host of each
//! record is looked up as every other name.
//!
//! The records that were found last stay when a look-up fails, also when the
//! name has none any more: a name server that is down, or a registry that has
//! lost everything, must not stop services that work. Only a record that says
//! so (the target `.`) takes all servers away.
//!
//! # Bounds
//!
//! Of one name 128 servers are used; the log tells of more.

use std::{collections::HashSet, sync::Arc};

use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::time::Instant;

use super::{
    dns::{NameServers, ServiceRecord},
    schedule::{RETRY_INTERVAL, Schedule, valid_for},
};
use crate::policy::{ServerAddress, UpstreamServer};

/// The most servers of one name. Each of them has connections, health and
/// metrics.
const MOST_SERVERS: usize = 128;

/// The SRV records of one name, as they were found last.
#[derive(Debug)]
pub(super) struct SrvRecords {
    /// The entry of the configuration: URL, name, and what its servers have in
    /// common.
    pub(super) entry: UpstreamServer,
    /// The name of the records.
    name: Arc<str>,
    state: Mutex<SrvState>,
}

/// The state of the look-ups of one name.
#[derive(Debug, Default)]
struct SrvState {
    schedule: Schedule,
    /// The records in the order in which they are used, each server once;
    /// `None` until they were found for the first time.
    known: Option<Arc<[ServiceRecord]>>,
    /// Why the last look-up failed; `None` if it did not.
    fault: Option<String>,
}

/// The outcome of a look-up of SRV records.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SrvOutcome {
    /// The servers are the same, or the look-up failed another time.
    Unchanged,
    /// There are other servers than before. So many more were left out.
    Changed(usize),
    /// The look-up failed for the first time in a row. The servers stay.
    Failed(String),
}

impl SrvRecords {
    /// The records that `entry` is for; `None` if it is another server.
    /// `earlier` knows the same name from before a reload.
    pub(super) fn of(entry: &UpstreamServer, earlier: &[Self]) -> Option<Self> {
        let ServerAddress::Srv { name, .. } = &entry.address else {
            return None;
        };
        let known = earlier.iter().find(|records| records.name == *name);
        let known = known.and_then(|records| records.state.lock().known.clone());
        let state = SrvState {
            known,
            ..SrvState::default()
        };
        Some(Self {
            entry: entry.clone(),
            name: Arc::clone(name),
            state: Mutex::new(state),
        })
    }

    /// Begins a look-up if one is due at `now` and none is running. Follow it
    /// by [`refresh`](Self::refresh).
    pub(super) fn begin(&self, now: Instant) -> bool {
        self.state.lock().schedule.begin(now)
    }

    /// Looks the records up, and schedules the next look-up.
    pub(super) async fn refresh(&self, servers: &NameServers) -> SrvOutcome {
        let found = servers.services(&self.name).await;
        let mut state = self.state.lock();
        let interval = found
            .as_ref()
            .map_or(RETRY_INTERVAL, |(_, ttl)| valid_for(*ttl));
        state.schedule.end(Instant::now() + interval);
        match found {
            Ok((records, _)) => {
                state.fault = None;
                let (records, left_out) = in_order(records);
                if state.known.as_deref() == Some(&records[..]) {
                    return SrvOutcome::Unchanged;
                }
                state.known = Some(records.into());
                SrvOutcome::Changed(left_out)
            }
            Err(fault) => match state.fault.replace(fault.clone()) {
                Some(_) => SrvOutcome::Unchanged,
                None => SrvOutcome::Failed(fault),
            },
        }
    }

    /// Why the last look-up failed; `None` if it did not.
    pub(super) fn fault(&self) -> Option<String> {
        self.state.lock().fault.clone()
    }

    /// The servers that are known now.
    pub(super) fn servers(&self) -> Vec<UpstreamServer> {
        let Some(records) = self.state.lock().known.clone() else {
            return Vec::new();
        };
        let mut tier = self.entry.tier;
        let mut priority = records.first().map(|record| record.priority);
        let mut servers = Vec::with_capacity(records.len());
        for record in &*records {
            if priority.replace(record.priority) != Some(record.priority) {
                tier = tier.saturating_add(1);
            }
            servers.extend(self.server(record, tier));
        }
        servers
    }

    /// The server of a record; `None` if its host is no name that a URL may
    /// have.
    fn server(&self, record: &ServiceRecord, tier: u16) -> Option<UpstreamServer> {
        let ServerAddress::Srv { by_target, .. } = self.entry.address else {
            return None;
        };
        let (bare, port) = (record.target.trim_end_matches('.'), record.port);
        let name = ServerName::try_from(bare.to_owned()).ok()?;
        let scheme = match self.entry.secure_as {
            Some(_) => "https",
            None => "http",
        };
        let given = self.entry.secure_as.clone();
        Some(UpstreamServer {
            url: format!("{scheme}://{bare}:{port}").into(),
            address: ServerAddress::Tcp {
                host: record.target.as_str().into(),
                port,
            },
            secure_as: given.map(|given| if by_target { name } else { given }),
            weight: match self.entry.weight {
                0 => 0,
                _ => u32::from(record.weight.0).max(1),
            },
            tier,
        })
    }
}

/// The records in the order in which they are used, each server once, and how
/// many servers were left out. None if the service is said not to be available.
fn in_order(mut records: Vec<ServiceRecord>) -> (Vec<ServiceRecord>, usize) {
    records.sort_unstable();
    let mut seen = HashSet::new();
    records.retain(|record| {
        record.target != "." && record.port > 0 && seen.insert((record.target.clone(), record.port))
    });
    let left_out = records.len().saturating_sub(MOST_SERVERS);
    records.truncate(MOST_SERVERS);
    (records, left_out)
}

#[cfg(test)]
mod tests;
