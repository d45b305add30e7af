//! Who is let in when there is not room for all: the urgent before the rest, and nobody at the cost of
//! everybody else.
//!
//! # Invariants
//! - No queue and no lock: a call is in, or refused, in a few atomic steps.
//! - A class is refused only while every class below it is; [`Class::Cancel`] only where there is no room
//!   at all.
//! - Shares are kept in a table of fixed size by a hash: a hundred million tenants cost what one costs.
//!   Two that share a place share a share.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

use mesh_proto::Operation;

use crate::call::Ask;

/// How urgent a call is; the first is refused last.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// It ends work.
    Cancel = 0,
    /// It is about work that goes on.
    FollowUp = 1,
    /// It begins work, and somebody waits for it.
    New = 2,
    /// It begins work for another agent, which may do without.
    Delegated = 3,
    /// It only looks.
    Read = 4,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Cancel,
        Self::FollowUp,
        Self::New,
        Self::Delegated,
        Self::Read,
    ];

    /// The class of a call.
    #[must_use]
    pub fn of(ask: &Ask) -> Self {
        let is_known = ask.keys.task.is_some() || ask.keys.context.is_some();
        match ask.operation {
            Operation::CancelTask => Self::Cancel,
            Operation::SubscribeToTask => Self::FollowUp,
            Operation::SendMessage | Operation::SendStreamingMessage if is_known => Self::FollowUp,
            Operation::SendMessage | Operation::SendStreamingMessage if ask.hops > 1 => {
                Self::Delegated
            }
            Operation::SendMessage | Operation::SendStreamingMessage => Self::New,
            _ => Self::Read,
        }
    }

    /// The label's value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::FollowUp => "follow-up",
            Self::New => "new",
            Self::Delegated => "delegated",
            Self::Read => "read",
        }
    }

    /// How full the gate may be for it, in percent.
    const fn until(self) -> usize {
        match self {
            Self::Cancel => 100,
            Self::FollowUp => 97,
            Self::New => 90,
            Self::Delegated => 85,
            Self::Read => 80,
        }
    }
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// There is no room at all.
    Full = 0,
    /// There is room for more urgent calls only.
    Class = 1,
    /// The caller has its share.
    Share = 2,
}

/// How full the gate must be before shares count, in percent: where there is room for all, nobody is
/// held to a share.
const SHARED_FROM: usize = 60;
/// The smallest share: whoever is there may have a few calls at once.
const LEAST: usize = 8;
/// Places for tenants.
const PLACES: usize = 4096;

/// See the module.
#[derive(Debug)]
pub struct Gate {
    room: usize,
    inside: AtomicUsize,
    /// Calls of the tenants whose hash leads to each place.
    places: Box<[AtomicU32]>,
    /// Places that are not empty.
    taken: AtomicUsize,
}

impl Gate {
    /// A gate to so much room.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self {
            room: room.max(1),
            inside: AtomicUsize::new(0),
            places: (0..PLACES).map(|_| AtomicU32::new(0)).collect(),
            taken: AtomicUsize::new(0),
        }
    }

    /// Lets a call of a tenant in, until what is given is dropped.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn enter(self: &Arc<Self>, class: Class, tenant: u64) -> Result<Entry, Refused> {
        let inside = self.inside.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            gate: Arc::clone(self),
            place: place_of(tenant),
        };
        let before = entry.calls().fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        // What was counted for a refused call is taken back when the entry is dropped.
        if inside >= self.room {
            return Err(Refused::Full);
        }
        if inside >= part(self.room, class.until()) && class != Class::Cancel {
            return Err(Refused::Class);
        }
        let share = (self.room / self.taken.load(Ordering::Relaxed).max(1)).max(LEAST);
        let is_shared = inside >= part(self.room, SHARED_FROM) && class > Class::FollowUp;
        if is_shared && before as usize >= share {
            return Err(Refused::Share);
        }
        Ok(entry)
    }

    /// Calls inside.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }
}

/// The right to be inside.
#[derive(Debug)]
pub struct Entry {
    gate: Arc<Gate>,
    place: usize,
}

impl Entry {
    fn calls(&self) -> &AtomicU32 {
        &self.gate.places[self.place]
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.calls().fetch_sub(1, Ordering::Relaxed) == 1 {
            self.gate.taken.fetch_sub(1, Ordering::Relaxed);
        }
        self.gate.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

const fn part(room: usize, percent: usize) -> usize {
    let part = room.saturating_mul(percent) / 100;
    if part == 0 { 1 } else { part }
}

fn place_of(tenant: u64) -> usize {
    usize::try_from(tenant % PLACES as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(gate: &Arc<Gate>, class: Class, tenant: impl Fn(u64) -> u64) -> Vec<Entry> {
        let entries = (0..).map_while(|number| gate.enter(class, tenant(number)).ok());
        entries.collect()
    }

    #[test]
    fn as_the_gate_fills_the_least_urgent_are_refused_first_and_all_is_given_back() {
        let gate = Arc::new(Gate::new(1000));
        let mut held = Vec::new();
        for class in Class::ALL.into_iter().rev() {
            held.extend(fill(&gate, class, |number| number));
            assert_eq!(gate.inside(), class.until() * 10, "{class:?}");
            for lower in Class::ALL.into_iter().filter(|each| *each >= class) {
                assert!(gate.enter(lower, 1).is_err(), "{lower:?} after {class:?}");
            }
        }
        drop(held);
        assert_eq!(gate.inside(), 0);
        assert_eq!(gate.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_floods_is_held_to_a_share_as_soon_as_others_come_and_room_is_short() {
        let gate = Arc::new(Gate::new(1000));
        let alone = fill(&gate, Class::New, |_| 7);
        assert_eq!(alone.len(), 900, "nobody else was there");
        drop(alone);
        let _others: Vec<_> = (0..3)
            .map(|each| gate.enter(Class::New, each).unwrap())
            .collect();
        let flood = fill(&gate, Class::New, |_| 7);
        assert_eq!(gate.enter(Class::New, 7).unwrap_err(), Refused::Share);
        assert!(flood.len() < 610, "{}", flood.len());
        for other in 0..3 {
            assert!(gate.enter(Class::New, other).is_ok(), "{other}");
        }
        // What it has begun it may go on with.
        assert!(gate.enter(Class::FollowUp, 7).is_ok());
    }
}
