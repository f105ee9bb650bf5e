//! The places for connections: a number in all, and a number for each address.
//!
//! Without a limit, one client can use up the files that the process may open, and with them the
//! connections of all others, of health checks and of the database.

use super::line::{Line, Patience};
use crate::{
    metrics,
    network::{Networks, caller_network},
};
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The places of this process.
#[derive(Debug)]
pub struct Places {
    most: usize,
    most_per_address: usize,
    /// Addresses without a limit of their own: loopback and trusted proxies.
    unlimited: Networks,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    lines: BTreeMap<u64, Arc<Line>>,
    by_address: HashMap<IpAddr, usize>,
    last: u64,
}

/// The place of one connection; free again when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
    address: Option<IpAddr>,
}

impl Places {
    /// `most` places, and for each address `most_per_address` of them; 0 is no limit.
    pub fn new(most: usize, most_per_address: usize, trusted_proxies: &Networks) -> Arc<Self> {
        let unlimited = trusted_proxies.and(Networks::loopback());
        Arc::new(Self { most, most_per_address, unlimited, taken: Mutex::default() })
    }

    /// The number of places.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Measures how many connections there are now.
    pub fn measure(&self) {
        metrics::connections(self.taken());
    }

    fn taken(&self) -> usize {
        self.taken_now().lines.len()
    }

    /// A place for a new connection from this address.
    ///
    /// If all are taken, the connection that was idle for the longest time is closed for it, as
    /// other servers do. `None` if none is idle, or if the address has its share.
    pub fn take(self: &Arc<Self>, peer: IpAddr, patience: Patience) -> Option<(Place, Arc<Line>)> {
        let limited = self.most_per_address > 0 && !self.unlimited.contain(peer);
        let address = limited.then(|| caller_network(peer));
        let mut guard = self.taken_now();
        let taken = &mut *guard;
        if let Some(address) = address
            && taken.by_address.get(&address).is_some_and(|open| *open >= self.most_per_address)
        {
            metrics::connection_refused("address");
            return None;
        }
        if taken.lines.len() >= self.most {
            let idle = taken.lines.values().filter_map(|line| Some((line.idle_since()?, line)));
            let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) else {
                metrics::connection_refused("all");
                return None;
            };
            longest.give_up();
            metrics::connection_refused("idle");
        }
        taken.last = taken.last.wrapping_add(1);
        let number = taken.last;
        let line = Arc::new(Line::new(patience));
        taken.lines.insert(number, Arc::clone(&line));
        if let Some(address) = address {
            let open = taken.by_address.entry(address).or_default();
            *open = open.saturating_add(1);
        }
        Some((Place { places: Arc::clone(self), number, address }, line))
    }

    fn taken_now(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken_now();
        taken.lines.remove(&self.number);
        if let Some(address) = self.address
            && let Some(open) = taken.by_address.get_mut(&address)
        {
            *open = open.saturating_sub(1);
            if *open == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn take(places: &Arc<Places>, from: &str) -> Option<(Place, Arc<Line>)> {
        places.take(address(from), Patience::new(Duration::from_secs(1)))
    }

    #[test]
    fn an_address_has_a_share_and_proxies_have_none() {
        let places = Places::new(100, 2, &"10.0.0.1".parse().unwrap());
        let first = take(&places, "192.0.2.1").unwrap();
        let _second = take(&places, "192.0.2.1").unwrap();
        assert!(take(&places, "192.0.2.1").is_none());
        assert!(take(&places, "192.0.2.2").is_some(), "others have their own share");
        drop(first);
        let _third = take(&places, "192.0.2.1").unwrap();
        assert!(take(&places, "192.0.2.1").is_none());
        let many: Vec<_> = ["10.0.0.1", "127.0.0.1", "::1"].repeat(5);
        let open: Vec<_> = many.iter().map(|from| take(&places, from).unwrap()).collect();
        assert_eq!(places.taken(), 2 + open.len());
        drop(open);
        assert_eq!((places.taken(), places.taken_now().by_address.len()), (2, 1));
    }

    #[test]
    fn the_longest_idle_connection_makes_room() {
        let places = Places::new(2, 0, &Networks::default());
        let (_first, busy) = take(&places, "192.0.2.1").unwrap();
        busy.begin();
        let (_second, idle) = take(&places, "192.0.2.1").unwrap();
        let (_third, newest) = take(&places, "192.0.2.1").unwrap();
        assert!(idle.idle_since().is_none(), "it is being closed");
        assert!(busy.close_due(futures::task::noop_waker_ref()).is_none());
        newest.begin();
        assert!(take(&places, "192.0.2.1").is_none(), "nothing is idle");
    }
}
