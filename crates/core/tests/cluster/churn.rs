//! A larger pool that churns: how many contexts each change moves.
//!
//! # Invariants
//! - Contexts are counted, not slots: that is what a client has.

use std::sync::Arc;

use mesh_core::{
    slots::{Kind, Member, slot},
    token::Keys,
    view::{Listed, Pool, Tables, View},
};
use mesh_proto::{
    AgentName,
    mesh::{Slot, WorkerId},
};

use super::dice::Dice;

const CHANGES: usize = 40;
const CONTEXTS: usize = 40_000;

fn pool(names: &[u32], tables: &mut Tables) -> Arc<Pool> {
    let agent = AgentName::parse("desk").unwrap();
    let listed = names.iter().map(|name| {
        let id = WorkerId::new(&format!("worker-{name}"));
        Listed::new(Member::new(id))
    });
    let listing = [(agent, listed.collect())];
    let view = View::build(listing, tables).unwrap();
    view.pool("desk").unwrap().clone()
}

fn contexts() -> Vec<Slot> {
    let keys = Keys::development();
    let agent = AgentName::parse("desk").unwrap();
    let of = |n| slot(keys.slots(), Kind::Context, &agent, None, &format!("c-{n}"));
    (0..CONTEXTS).map(of).collect()
}

fn owners(pool: &Pool, contexts: &[Slot]) -> Vec<WorkerId> {
    let owner = |slot: &Slot| {
        pool.members()[usize::from(pool.preference(*slot)[0])]
            .id
            .clone()
    };
    contexts.iter().map(owner).collect()
}

/// Joins and leaves at random, from 10 members up to some 60 and back: the pool crosses the sizes at
/// which a table is kept, and members come back that were there before.
#[test]
fn each_change_of_a_pool_that_churns_moves_at_most_a_quarter_more_than_its_share() {
    let contexts = contexts();
    let mut dice = Dice::new(5);
    let mut tables = Tables::default();
    let mut names: Vec<u32> = (0..10).collect();
    let mut before = pool(&names, &mut tables);
    for change in 0..CHANGES {
        // The pool grows in steps: else a walk of so few changes would stay where it began.
        if change % 8 == 7 {
            let next = u32::try_from(change * 10).unwrap();
            names.extend(next..next + 12);
            before = pool(&names, &mut tables);
        }
        let many = names.len();
        if dice.percent(50) {
            names.push(10_000 + u32::try_from(change).unwrap());
        } else {
            names.remove(dice.below(many));
        }
        let after = pool(&names, &mut tables);
        let was = owners(&before, &contexts);
        let is = owners(&after, &contexts);
        let moved = was.iter().zip(&is).filter(|(was, is)| was != is).count();
        let larger = many.max(names.len());
        let most = contexts.len() * 5 / (4 * larger);
        assert!(
            moved <= most,
            "change {change}, {many} members: {moved} of at most {most}"
        );
        // Whoever hears only of the end, and built no table before, has the same.
        let late = pool(&names, &mut Tables::default());
        assert_eq!(owners(&late, &contexts), is);
        assert_eq!(late.hash(), after.hash());
        before = after;
    }
}
