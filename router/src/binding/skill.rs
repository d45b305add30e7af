//! Calls that name a skill and no agent: `/skills/ID` in place of `/NAME`, `skills/ID` as the tenant's
//! beginning over gRPC, or the metadata `a2a-skill`.
//!
//! The agents whose cards have the skill are candidates; which of them takes a call follows from the
//! call's own ids (`mesh_core::placement::agents`), so that a conversation stays with its agent whatever
//! router it comes by.
//!
//! # Invariants
//! - Nothing is remembered: a task is found again by its id, which for such a call always carries a route
//!   (`dispatch` seals the ids of agents that mint none), or by the conversation that its caller named.
//! - Where no agent can be told, nobody is asked: a guess would look into the wrong agent's tasks.
//! - A name wins: who names an agent, too, gets that one. Behind another router the skill is not looked at
//!   again, since nothing of it goes on.

use http::HeaderMap;
use mesh_core::{
    error::CallError,
    placement::agents::{self, Undecided, Wanted},
};
use mesh_proto::{AgentName, Fault, Operation, Problem, mesh};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Front;
use crate::call::Keys;

/// The first path segment, and first of the tenant, of calls by skill. It is reserved.
const ROOM: &str = "skills";
/// What stands unescaped in a path and in a tenant's segment (RFC 3986, 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Whom a call is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum To {
    /// The agent of this name.
    Agent(AgentName),
    /// An agent that has this skill.
    Skill(Skill),
}

/// The id of a skill, as cards have it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Skill(String);

impl Skill {
    /// The skill of a path or a tenant without a slash in front, and what stands behind it.
    pub(super) fn of_path(path: &str) -> Option<(Self, &str)> {
        let behind = path.strip_prefix(ROOM)?.strip_prefix('/')?;
        let end = behind.find('/').unwrap_or(behind.len());
        let (id, below) = behind.split_at_checked(end)?;
        let id = percent_decode_str(id).decode_utf8().ok()?;
        (!id.is_empty()).then(|| (Self(id.into_owned()), below))
    }

    /// The skill of a call's metadata.
    pub(super) fn of_metadata(headers: &HeaderMap) -> Option<Self> {
        let id = headers.get(mesh::SKILL)?.to_str().ok()?;
        let id = percent_decode_str(id).decode_utf8().ok()?;
        (!id.is_empty()).then(|| Self(id.into_owned()))
    }

    /// Its place among names of agents.
    pub(super) fn path(&self) -> String {
        format!("{ROOM}/{}", utf8_percent_encode(&self.0, ESCAPED))
    }
}

impl Front {
    /// The agent that a call is for, now that its ids are known.
    ///
    /// # Errors
    /// A bad request, where no agent has the skill or none can be told.
    pub(super) fn settle(
        &self,
        to: To,
        operation: Operation,
        keys: &mut Keys,
    ) -> Result<AgentName, CallError> {
        match to {
            To::Agent(agent) => Ok(agent),
            To::Skill(skill) => {
                let agent = self.agent_with(&skill, operation, keys)?;
                keys.skill = Some(skill.0.into());
                Ok(agent)
            }
        }
    }

    /// The agent with a skill that takes a call with these ids.
    ///
    /// # Errors
    /// As [`Front::settle`].
    pub(super) fn agent_with(
        &self,
        skill: &Skill,
        operation: Operation,
        keys: &Keys,
    ) -> Result<AgentName, CallError> {
        let snapshot = self.catalogue.snapshot();
        let agents = snapshot.agents().filter(|agent| {
            let card = agent.card();
            card.is_some_and(|card| card.has_skill(&skill.0))
        });
        let agents: Vec<&AgentName> = agents.map(|agent| &agent.name).collect();
        let wanted = Wanted {
            operation,
            tenant: keys.tenant.as_deref(),
            task_id: keys.task.as_deref(),
            context_id: keys.context.as_deref(),
            message_id: keys.message.as_deref(),
        };
        let chosen = agents::choose(&agents, self.catalogue.keys(), &wanted);
        chosen.cloned().map_err(|undecided| {
            let count = agents.len();
            CallError::BadRequest(undecided_problem(undecided, &skill.0, count))
        })
    }
}

fn undecided_problem(undecided: Undecided, skill: &str, count: usize) -> Problem {
    let skill = super::shortened(skill);
    let (fault, message) = match undecided {
        Undecided::Nobody => (
            Fault::MethodNotFound,
            format!("no agent here has the skill `{skill}`; /agents lists those that there are"),
        ),
        Undecided::ForeignTask => (
            Fault::TaskNotFound,
            format!(
                "the task's id does not tell which of the {count} agents with the skill `{skill}` has \
                 it; ask the agent itself, or name the conversation"
            ),
        ),
        Undecided::Several => (
            Fault::UnsupportedOperation,
            format!(
                "{count} agents have the skill `{skill}`; their tasks are listed by conversation, or by \
                 asking each of them"
            ),
        ),
    };
    Problem::new(fault, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skill_is_the_segment_after_the_room() {
        let of = |path| Skill::of_path(path).map(|(skill, below)| (skill.0, below));
        let found = |id: &str, below| Some((id.to_owned(), below));
        assert_eq!(of("skills/sum"), found("sum", ""));
        assert_eq!(of("skills/sum/tasks/1"), found("sum", "/tasks/1"));
        assert_eq!(of("skills/a%2Fb%20c/"), found("a/b c", "/"));
        for none in ["skills", "skills/", "skills//x", "skillset/x", "sum"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn what_a_card_says_leads_back_to_the_skill() {
        for id in ["sum", "a/b", "ä ö", "100%"] {
            let skill = Skill(id.to_owned());
            let path = skill.path();
            assert_eq!(Skill::of_path(&path), Some((skill.clone(), "")));
            let escaped = path.strip_prefix("skills/").unwrap();
            let value = http::HeaderValue::from_str(escaped).unwrap();
            let name = http::HeaderName::from_static(mesh::SKILL);
            let headers = HeaderMap::from_iter([(name, value)]);
            assert_eq!(Skill::of_metadata(&headers), Some(skill));
        }
    }
}
