//! Which of several agents takes a call that names what it needs, and no agent.
//!
//! ```text
//! token of taskId, or else of contextId, that opens for one of them -> that agent
//! a context that the client named  -> the highest draw of its hash   follow-ups land alike
//! a new message                    -> the highest draw of its id's hash    a retry lands alike
//! nothing to draw by               -> the same agent each time
//! a task id that opens for none, ListTasks without context -> nobody, where there are several
//! ```
//!
//! The draw is a rendezvous hash over the agents' names: when an agent comes or goes, only the
//! conversations move that it gets or had.
//!
//! # Invariants
//! - The same agents, keys and ids give the same agent on every router: nothing is remembered.
//! - No more than [`AGENTS_MAX`] agents are looked at, in the order of their names.
//! - The draw is wire format, as the slot hash is: golden vectors hold it.

use mesh_proto::{AgentName, Operation};

use crate::{
    slots::{self, Kind},
    token::Keys,
};

/// The most agents among which a call is placed: each costs the opening of two tokens.
pub const AGENTS_MAX: usize = 64;

/// What may be known of a call before its agent is.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What is asked for.
    pub operation: Operation,
    /// The tenant, as the agent will read it.
    pub tenant: Option<&'a str>,
    /// The task that the call is about.
    pub task_id: Option<&'a str>,
    /// The conversation that the call belongs to.
    pub context_id: Option<&'a str>,
    /// The message that is sent.
    pub message_id: Option<&'a str>,
}

/// Why no agent takes a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Undecided {
    /// There is none.
    #[error("no agent can take the call")]
    Nobody,
    /// The task's id opens for none of several agents.
    #[error("the task's id does not tell which of several agents has it")]
    ForeignTask,
    /// The tasks of several agents are asked for at once.
    #[error("the tasks of several agents can't be listed at once")]
    Several,
}

/// Chooses among agents, given in the order of their names.
///
/// # Errors
/// [`Undecided`].
pub fn choose<'a>(
    agents: &[&'a AgentName],
    keys: &Keys,
    wanted: &Wanted<'_>,
) -> Result<&'a AgentName, Undecided> {
    let agents = agents.get(..AGENTS_MAX).unwrap_or(agents);
    match agents {
        [] => return Err(Undecided::Nobody),
        [only] => return Ok(*only),
        [_, ..] => {}
    }
    for id in [wanted.task_id, wanted.context_id].into_iter().flatten() {
        let opens = |agent: &&&AgentName| keys.open(id, agent.as_str(), wanted.tenant).is_some();
        if let Some(agent) = agents.iter().find(opens) {
            return Ok(*agent);
        }
    }
    let (kind, id) = match (wanted.context_id, wanted.message_id) {
        (Some(context), _) => (Kind::Context, context),
        (None, _) if wanted.task_id.is_some() => return Err(Undecided::ForeignTask),
        (None, _) if wanted.operation == Operation::ListTasks => return Err(Undecided::Several),
        (None, message) => (Kind::Message, message.unwrap_or_default()),
    };
    let draw = |agent: &AgentName| slots::agent_draw(keys.slots(), kind, agent, wanted.tenant, id);
    let drawn = agents.iter().max_by_key(|agent| draw(agent));
    drawn.copied().ok_or(Undecided::Nobody)
}

#[cfg(test)]
mod tests {
    use mesh_proto::mesh::{Cell, Incarnation, Slot};
    use proptest::prelude::*;

    use super::*;
    use crate::token::{self, Route};

    const SEND: Wanted<'_> = Wanted {
        operation: Operation::SendMessage,
        tenant: None,
        task_id: None,
        context_id: None,
        message_id: Some("m-1"),
    };

    fn names(count: usize) -> Vec<AgentName> {
        let name = |n| AgentName::parse(&format!("agent-{n:03}")).unwrap();
        (0..count).map(name).collect()
    }

    fn chosen(agents: &[AgentName], wanted: &Wanted<'_>) -> Result<String, Undecided> {
        let agents: Vec<&AgentName> = agents.iter().collect();
        choose(&agents, &Keys::development(), wanted).map(ToString::to_string)
    }

    fn minted(agent: &str) -> String {
        let route = Route {
            cell: Cell(0),
            slot: Slot(7),
            incarnation: Incarnation(1),
            kind: token::Kind::Native,
            minted_hour: 1,
        };
        format!("{}.n", Keys::development().seal(route, agent, None))
    }

    #[test]
    fn an_id_that_an_agent_of_them_minted_leads_to_it() {
        let agents = names(5);
        let id = minted("agent-003");
        let by_task = Wanted {
            operation: Operation::GetTask,
            task_id: Some(&id),
            message_id: None,
            ..SEND
        };
        let by_context = Wanted {
            context_id: Some(&id),
            ..SEND
        };
        for wanted in [by_task, by_context] {
            assert_eq!(chosen(&agents, &wanted).unwrap(), "agent-003");
            // Of an agent that is not among them it tells nothing.
            let others: Vec<AgentName> = agents.iter().take(3).cloned().collect();
            assert_ne!(chosen(&others, &wanted), Ok("agent-003".to_owned()));
        }
    }

    #[test]
    fn what_only_one_agent_can_know_is_asked_of_nobody_else() {
        let agents = names(2);
        let get = Wanted {
            operation: Operation::GetTask,
            task_id: Some("foreign"),
            message_id: None,
            ..SEND
        };
        let list = Wanted {
            operation: Operation::ListTasks,
            message_id: None,
            ..SEND
        };
        assert_eq!(chosen(&agents, &get), Err(Undecided::ForeignTask));
        assert_eq!(chosen(&agents, &list), Err(Undecided::Several));
        for wanted in [get, list] {
            assert_eq!(chosen(&agents[..1], &wanted).unwrap(), "agent-000");
            assert_eq!(chosen(&[], &wanted), Err(Undecided::Nobody));
        }
        // A conversation that is named tells where its task is.
        let in_context = Wanted {
            context_id: Some("c"),
            ..get
        };
        let in_list = Wanted {
            context_id: Some("c"),
            ..list
        };
        assert_eq!(chosen(&agents, &in_context), chosen(&agents, &in_list));
    }

    #[test]
    fn the_draw_is_wire_format() {
        let agents = names(10);
        let by_context = |id| Wanted {
            context_id: Some(id),
            ..SEND
        };
        let drawn = ["c-1", "c-2", "c-3"].map(|id| chosen(&agents, &by_context(id)).unwrap());
        assert_eq!(drawn, ["agent-003", "agent-007", "agent-000"]);
    }

    #[test]
    fn draws_are_spread_evenly_over_agents_and_over_the_slots_of_each() {
        let agents = names(4);
        let keys = Keys::development();
        let mut counts = [0_u32; 4];
        let mut high = 0_u32;
        for n in 0..4000 {
            let id = format!("c-{n}");
            let wanted = Wanted {
                context_id: Some(&id),
                ..SEND
            };
            let refs: Vec<&AgentName> = agents.iter().collect();
            let agent = choose(&refs, &keys, &wanted).unwrap();
            let at = agents.iter().position(|each| each == agent).unwrap();
            counts[at] += 1;
            let slot = slots::slot(keys.slots(), Kind::Context, agent, None, &id);
            high += u32::from(slot.0 > u16::MAX / 2);
        }
        for count in counts {
            assert!((800..1200).contains(&count), "{counts:?}");
        }
        assert!((1800..2200).contains(&high), "{high}");
    }

    proptest! {
        #[test]
        fn an_agent_that_leaves_moves_only_what_it_had(
            context in "[a-z0-9-]{1,20}", count in 2_usize..12, leaver in 0_usize..12,
        ) {
            let agents = names(count);
            let wanted = Wanted { context_id: Some(&context), ..SEND };
            let before = chosen(&agents, &wanted).unwrap();
            let leaver = leaver % count;
            let mut rest = agents;
            let left = rest.remove(leaver);
            if before != left.as_str() {
                prop_assert_eq!(chosen(&rest, &wanted).unwrap(), before);
            }
        }
    }
}
