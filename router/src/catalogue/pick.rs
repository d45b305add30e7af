//! Which of the candidates takes new work: the first that has room, not the first.
//!
//! # Invariants
//! - Only what nobody holds yet is moved: a message without a context. What a client named or a worker
//!   minted stays where it belongs, and is refused there rather than moved.
//! - A member at its capacity is given nothing new; where all are, the call is refused here, and costs
//!   nobody anything.

use mesh_core::{
    error::CallError,
    placement::{Placement, Reason, Standing},
};
use mesh_proto::AgentName;

use super::outlook::Outlook;

/// How far above the mean a member may be before new work goes to its next.
const BOUND: f32 = 1.25;
/// Below so many tasks nobody is busy: a mean of one must not scatter what belongs together.
const FLOOR: f32 = 4.0;

/// New work on its way: whom to try, in order, and whether it was moved.
pub(super) struct Picked {
    pub(super) order: Vec<u16>,
    pub(super) spilled: bool,
}

/// Orders the candidates of new work.
///
/// # Errors
/// [`CallError::Overloaded`], where each has as much as it is willing to take.
pub(super) fn pick(
    placement: &Placement,
    outlook: &Outlook<'_>,
    agent: &AgentName,
) -> Result<Picked, CallError> {
    let mut order: Vec<u16> = placement.candidates.to_vec();
    let limit = (BOUND * outlook.mean()).ceil().max(FLOOR);
    let key = placement.slot.map_or(0, |slot| mixed(slot.0));
    let mut least: Option<(usize, u32)> = None;
    for (place, member) in order.iter().enumerate() {
        let Some(load) = outlook.load(*member) else {
            // Who says nothing is taken at its word.
            return Ok(first(order, place));
        };
        if outlook.is_full(*member) {
            continue;
        }
        if below(load.in_flight, limit) && key <= outlook.ramp(*member) {
            return Ok(first(order, place));
        }
        if least.is_none_or(|(_, tasks)| load.in_flight < tasks) {
            least = Some((place, load.in_flight));
        }
    }
    match least {
        Some((place, _)) => Ok(first(std::mem::take(&mut order), place)),
        None => Err(CallError::Overloaded {
            agent: agent.clone(),
        }),
    }
}

/// Puts in front of the candidates of a read that anybody can answer the cheaper of two random members,
/// of this router's zone where it has some.
pub(super) fn cheaper(placement: &Placement, outlook: &Outlook<'_>) -> Vec<u16> {
    let mut order = placement.candidates.to_vec();
    let drawn = (0..DRAWS).map(|_| outlook.draw());
    let usable = drawn.filter(|member| outlook.standing(*member) == Standing::Usable);
    let (near, far): (Vec<u16>, Vec<u16>) = usable.partition(|member| outlook.is_near(*member));
    let two = near.into_iter().chain(far).take(2);
    if let Some(cheap) = two.min_by(|a, b| outlook.cost(*a).total_cmp(&outlook.cost(*b))) {
        order.retain(|member| *member != cheap);
        order.insert(0, cheap);
    }
    order
}

/// Members looked at for one read: enough that two of the zone and usable are among them.
const DRAWS: usize = 8;

/// Whether a call is of the kind that may be moved.
pub(super) const fn may_move(placement: &Placement, sends: bool) -> bool {
    sends
        && matches!(
            placement.reason,
            Reason::Message | Reason::Any | Reason::Only
        )
}

fn first(mut order: Vec<u16>, place: usize) -> Picked {
    if let Some(moved) = order.get_mut(..=place) {
        moved.rotate_right(1);
    }
    Picked {
        order,
        spilled: place != 0,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count of tasks against a bound of some of them"
)]
fn below(tasks: u32, limit: f32) -> bool {
    (tasks as f32) < limit
}

/// A slot's top bits say whose it is; these bits say when a newcomer takes it.
const fn mixed(slot: u16) -> u16 {
    slot.wrapping_mul(40_503).rotate_left(7)
}
