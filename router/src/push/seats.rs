//! How many notifications are delivered at a time: in all, and to one host.
//!
//! # Invariants
//! - No host takes the places of the others: one that is slow has at most its own share of them.
//! - Nothing is kept of a host that nothing is on its way to.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use crate::webhook::Bounds;

/// See the module.
#[derive(Debug)]
pub(super) struct Seats {
    all: Semaphore,
    per_host: usize,
    taken: Mutex<HashMap<String, usize>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    seats: &'a Seats,
    host: String,
    _one_of_all: SemaphorePermit<'a>,
}

impl Seats {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            all: Semaphore::new(bounds.at_once.min(Semaphore::MAX_PERMITS)),
            per_host: bounds.at_once_per_host,
            taken: Mutex::default(),
        }
    }

    /// A place for a delivery to this address, if there is one.
    pub(super) fn take(&self, url: &str) -> Option<Seat<'_>> {
        let one_of_all = self.all.try_acquire().ok()?;
        let host = host(url);
        let mut taken = self.taken.lock();
        let of_host = taken.entry(host.clone()).or_default();
        if *of_host >= self.per_host {
            return None;
        }
        *of_host += 1;
        drop(taken);
        Some(Seat {
            seats: self,
            host,
            _one_of_all: one_of_all,
        })
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        if let Some(of_host) = taken.get_mut(&self.host) {
            *of_host = of_host.saturating_sub(1);
            if *of_host == 0 {
                taken.remove(&self.host);
            }
        }
    }
}

/// Host and port of an address; what is none is a host of its own, and is refused later.
fn host(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    let host = parsed.and_then(|url| {
        let port = url.port_or_known_default()?;
        Some(format!("{}:{port}", url.host_str()?))
    });
    host.unwrap_or_else(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_share_of_the_places_and_leaves_nothing_behind() {
        let seats = Seats::new(Bounds {
            at_once: 3,
            at_once_per_host: 2,
        });
        let one = seats.take("https://a.example/x").unwrap();
        let two = seats.take("https://A.example:443/y").unwrap();
        assert!(seats.take("https://a.example/z").is_none());
        let other = seats.take("https://a.example:8443/").unwrap();
        assert!(seats.take("https://b.example/").is_none(), "none is left");
        drop((one, two, other));
        assert!(seats.taken.lock().is_empty());
        assert!(seats.take("no address").is_some());
    }

    #[test]
    fn a_host_without_a_share_is_not_kept() {
        let seats = Seats::new(Bounds {
            at_once: 1,
            at_once_per_host: 1,
        });
        let one = seats.take("https://a.example/");
        assert!(seats.take("https://b.example/").is_none());
        drop(one);
        assert!(seats.taken.lock().is_empty());
    }
}
