//! Routers of one view send one context to one place, and a member that comes or goes moves no more
//! contexts than its share and a quarter.
//!
//! Source: craft.md 5.3; issue 5, "Churn: one leave of N moves <= 1.25/N of contexts".

use std::collections::BTreeMap;

use super::Invariant;
use crate::history::{Entry, Places, What};

#[derive(Default)]
pub(crate) struct Placement {
    last: BTreeMap<usize, Places>,
}

impl Invariant for Placement {
    fn name(&self) -> &'static str {
        "routers of one view agree, and changes move little"
    }

    fn look(&mut self, entry: &Entry) -> Result<(), String> {
        let What::Places(places) = &entry.what else {
            return Ok(());
        };
        for other in self.last.values() {
            if other.router != places.router
                && (&other.view, &other.usable) == (&places.view, &places.usable)
                && other.first != places.first
            {
                return Err(format!(
                    "{places:?} and {other:?} place contexts differently"
                ));
            }
        }
        let before = self.last.insert(places.router, places.clone());
        before.map_or(Ok(()), |before| moved(&before, places))
    }
}

/// Judges one change: of members that come or go, one by one or several at once.
fn moved(before: &Places, after: &Places) -> Result<(), String> {
    let changed = before.usable.symmetric_difference(&after.usable).count();
    let moved = before.first.iter().zip(&after.first);
    let moved = moved.filter(|(before, after)| before != after).count();
    let most = before.usable.len().max(after.usable.len());
    // In thousandths: moved / all <= 1.25 * changed / most.
    if moved * 1000 * most > 1250 * changed * before.first.len() {
        return Err(format!(
            "{moved} of {} contexts moved from {before:?} to {after:?}",
            before.first.len()
        ));
    }
    Ok(())
}
