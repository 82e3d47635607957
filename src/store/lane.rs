//! What one worker has of the store: its connection, and who is under way. Nothing here is another worker's, so that
//! no answer has to wake another thread.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{connection::Connection, name::Name};

/// Requests of one worker that may wait for the store at once; more go by `on_error`.
const MOST_IN_FLIGHT: usize = 1024;

/// One worker's part.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) link: watch::Sender<Link>,
    pub(super) flights: Flights,
    /// Makes the connection; ends with the store.
    pub(super) task: Mutex<Option<AbortOnDropHandle<()>>>,
    in_flight: AtomicUsize,
}

/// Its connection.
#[derive(Debug, Clone)]
pub(super) enum Link {
    /// There is none, and nobody makes one.
    Down,
    /// One is being made; the one that a cluster had before serves meanwhile.
    Making(Option<Connection>),
    /// Made in this generation of the circuit.
    Up(Connection, u64),
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            link: watch::Sender::new(Link::Down),
            flights: Flights::default(),
            task: Mutex::default(),
            in_flight: AtomicUsize::new(0),
        }
    }
}

impl Lane {
    /// Whether there is a connection, though another may be in the making.
    pub(super) fn is_connected(&self) -> bool {
        matches!(*self.link.borrow(), Link::Up(..) | Link::Making(Some(_)))
    }

    /// A place among those who wait, if there is one.
    pub(super) fn enter(&self) -> Option<Place<'_>> {
        let entered = self.in_flight.fetch_add(1, Relaxed) < MOST_IN_FLIGHT;
        let place = Place(&self.in_flight);
        entered.then_some(place)
    }
}

/// Left when dropped.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Hot keys that are being asked for: who comes meanwhile waits for that answer, and for the tokens that come with it,
/// instead of asking too. Bounded by the places of the lane.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<u128, Flight>>);

#[derive(Debug, Default)]
struct Flight {
    /// Ends when the asker drops its side; none while nobody asks.
    landing: Option<watch::Receiver<()>>,
    /// Tokens that those who wait want.
    wanted: u32,
}

/// What to do about a hot key.
#[derive(Debug)]
pub(super) enum Boarding<'a> {
    /// Ask, and drop this when the answer was learnt.
    Ask(Asking<'a>),
    /// Wait for this, then look again.
    Wait(Waiting<'a>),
}

/// The right to ask for some keys.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    flights: &'a Flights,
    names: Vec<Name>,
    /// Tokens that others wait for, by key.
    pub(super) wanted: Vec<u32>,
    _landing: watch::Sender<()>,
}

/// A wait for someone else's answer.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    flights: &'a Flights,
    name: Name,
    cost: u32,
    landing: watch::Receiver<()>,
}

impl Flights {
    /// For keys of which each may be asked for by one at a time; `cost` is what is wanted of the first that is taken.
    pub(super) fn board(&self, names: &[(Name, u32)]) -> Boarding<'_> {
        let mut flights = self.0.lock();
        for (name, cost) in names {
            if let Some(flight) = flights.get_mut(&name.number())
                && let Some(landing) = flight.landing.clone()
            {
                flight.wanted = flight.wanted.saturating_add(*cost);
                return Boarding::Wait(Waiting {
                    flights: self,
                    name: *name,
                    cost: *cost,
                    landing,
                });
            }
        }
        let (sender, landing) = watch::channel(());
        let depart = |(name, _): &(Name, u32)| {
            let flight = flights.entry(name.number()).or_default();
            flight.landing = Some(landing.clone());
            flight.wanted
        };
        let wanted = names.iter().map(depart).collect();
        let names = names.iter().map(|(name, _)| *name).collect();
        Boarding::Ask(Asking {
            flights: self,
            names,
            wanted,
            _landing: sender,
        })
    }

    fn change(&self, name: Name, change: impl FnOnce(&mut Flight)) {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get_mut(&name.number()) {
            change(flight);
            if flight.landing.is_none() && flight.wanted == 0 {
                flights.remove(&name.number());
            }
        }
    }
}

impl Waiting<'_> {
    pub(super) async fn landed(mut self) {
        // It only ever ends by the other side being dropped.
        let _ = self.landing.changed().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.flights.change(self.name, |flight| {
            flight.wanted = flight.wanted.saturating_sub(self.cost)
        });
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.names
            .iter()
            .for_each(|name| self.flights.change(*name, |flight| flight.landing = None));
    }
}
