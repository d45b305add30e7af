//! Where a call belongs: from its ids to an ordered list of members.
//!
//! ```text
//! token of taskId, or else of contextId
//!   its worker lives        -> that worker                                   strong
//!   its worker is gone      -> the slot's next owner, as an orphan           weak
//! a context that the client named  -> the slot of its hash                  never moved by load
//! a new message                    -> the slot of its messageId's hash      a retry lands alike
//! a task id that is not ours       -> every member of a small pool is asked
//! ListTasks without context        -> every member
//! anything else                    -> any member
//! ```
//!
//! # Invariants
//! - The same view, keys, ids and standing give the same placement on every router.
//! - An ejected member is never a candidate, and a draining one only for what it holds already, or
//!   where nobody else is left.
//! - A token outweighs everything: while its worker lives, even draining, nothing moves the task.

pub mod agents;

use std::{fmt, ops::Deref};

use mesh_proto::{
    AgentName, Operation,
    mesh::{Incarnation, Slot},
};

use crate::{
    CallError,
    slots::{self, Kind, PREFERENCES},
    token::{Keys, Opened},
    view::Pool,
};

/// The largest pool whose members are all asked for a task with a foreign id.
pub const LOOKUP_MAX: u16 = 8;

/// What placement may know of a call.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What is asked for.
    pub operation: Operation,
    /// The agent meant.
    pub agent: &'a AgentName,
    /// The tenant, as the agent will read it.
    pub tenant: Option<&'a str>,
    /// The task that the call is about.
    pub task_id: Option<&'a str>,
    /// The conversation that the call belongs to.
    pub context_id: Option<&'a str>,
    /// The message that is sent.
    pub message_id: Option<&'a str>,
}

/// What the router thinks of a member at this moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It takes anything.
    Usable,
    /// It finishes what it holds.
    Draining,
    /// It cannot be reached, or fails too much.
    Ejected,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Usable, Self::Draining, Self::Ejected];

    /// The word for it, in metrics too.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Draining => "draining",
            Self::Ejected => "ejected",
        }
    }
}

/// Why a call goes where it goes. `Display` is for `route explain`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The id's token names a life that goes on: strong affinity.
    Token {
        /// That life.
        incarnation: Incarnation,
    },
    /// The id's token names a life that is over, or a worker that is ejected.
    Orphan {
        /// That life.
        incarnation: Incarnation,
    },
    /// The hash of the context that the client named.
    Context,
    /// The hash of the new message's id.
    Message,
    /// The task's id carries no route of ours: ask one candidate after the other.
    ForeignTask,
    /// All members together have the answer: ask every candidate and merge.
    Scatter,
    /// Any member can answer.
    Any,
    /// There is only one member.
    Only,
}

impl Reason {
    /// A short word for labels and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::Orphan { .. } => "orphan",
            Self::Context => "context",
            Self::Message => "message",
            Self::ForeignTask => "foreign_task",
            Self::Scatter => "scatter",
            Self::Any => "any",
            Self::Only => "only",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token { incarnation } => write!(
                f,
                "the id carries the route of a live worker (incarnation {:08x})",
                incarnation.0
            ),
            Self::Orphan { incarnation } => write!(
                f,
                "the id carries the route of a worker that is gone (incarnation {:08x}); the owner \
                 of its slot adopts it",
                incarnation.0
            ),
            Self::Context => f.write_str("the hash of the contextId that the client chose"),
            Self::Message => f.write_str("the hash of the new message's messageId"),
            Self::ForeignTask => f.write_str(
                "the taskId carries no route of this mesh; each member is asked in turn",
            ),
            Self::Scatter => f.write_str("no context is named; every member is asked"),
            Self::Any => f.write_str("nothing in the call ties it to a member"),
            Self::Only => f.write_str("the agent has one member"),
        }
    }
}

/// Where a call goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placement {
    /// Whom to try, in this order; never empty.
    pub candidates: Candidates,
    /// The slot that the ids lead to; `None` where no id decided.
    pub slot: Option<Slot>,
    /// Whether the first candidate is asked to adopt; for a later one see [`Self::is_orphan_at`].
    pub orphan: bool,
    /// Why.
    pub reason: Reason,
}

impl Placement {
    /// Whether the candidate at a position is asked to adopt what another worker held: always where
    /// the token's worker is gone, and from the second on where it lives but did not answer.
    #[must_use]
    pub const fn is_orphan_at(&self, position: usize) -> bool {
        self.orphan || (position > 0 && matches!(self.reason, Reason::Token { .. }))
    }
}

/// Indices of members, in the order of preference: at most [`PREFERENCES`], except that a lookup of a
/// foreign task and a scatter name every member that can be reached.
#[derive(Clone, Eq, PartialEq)]
pub struct Candidates {
    near: [u16; LOOKUP_MAX as usize],
    used: usize,
    /// Only a scatter over a large pool comes here: it asks that many members anyway.
    far: Vec<u16>,
}

impl Candidates {
    const fn new() -> Self {
        Self {
            near: [0; LOOKUP_MAX as usize],
            used: 0,
            far: Vec::new(),
        }
    }

    fn push(&mut self, member: u16) {
        if !self.far.is_empty() {
            self.far.push(member);
        } else if let Some(room) = self.near.get_mut(self.used) {
            *room = member;
            self.used += 1;
        } else {
            self.far.extend_from_slice(&self.near);
            self.far.push(member);
        }
    }

    fn push_new(&mut self, member: u16) {
        if !self.contains(&member) {
            self.push(member);
        }
    }
}

impl Deref for Candidates {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        if self.far.is_empty() {
            &self.near[..self.used]
        } else {
            &self.far
        }
    }
}

impl fmt::Debug for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Decides where a call goes. `standing` tells what the router thinks of a member now; it is asked for
/// a few members only, except when almost all of them are out.
///
/// # Errors
/// [`CallError::NoMember`] and [`CallError::AllEjected`] where there is nobody to ask,
/// [`CallError::ForeignTask`] where a foreign id would need more questions than a call is worth.
pub fn place(
    pool: &Pool,
    keys: &Keys,
    facts: &Facts<'_>,
    standing: impl Fn(u16) -> Standing,
) -> Result<Placement, CallError> {
    if pool.members().is_empty() {
        let agent = pool.agent().clone();
        return Err(CallError::NoMember { agent });
    }
    let choice = Choice {
        pool,
        standing: &standing,
    };
    let placement = match route(keys, facts) {
        Affinity::Token(opened) => choice.pinned(&opened),
        Affinity::Slot(reason, slot) => choice.owned(choice.unless_only(reason), Some(slot)),
        Affinity::Everybody => choice.everybody(choice.unless_only(Reason::Scatter)),
        Affinity::Lookup => choice.looked_up()?,
        Affinity::None(slot) => Placement {
            slot: None,
            ..choice.owned(choice.unless_only(Reason::Any), Some(slot))
        },
    };
    if placement.candidates.is_empty() {
        let agent = pool.agent().clone();
        return Err(CallError::AllEjected { agent });
    }
    Ok(placement)
}

/// What the ids of a call tie it to.
enum Affinity<'a> {
    Token(Opened<'a>),
    Slot(Reason, Slot),
    Everybody,
    Lookup,
    /// Nothing; the slot only spreads agents over members.
    None(Slot),
}

fn route<'a>(keys: &Keys, facts: &Facts<'a>) -> Affinity<'a> {
    let agent = facts.agent.as_str();
    let slot = |kind, id| slots::slot(keys.slots(), kind, facts.agent, facts.tenant, id);
    let ids = [facts.task_id, facts.context_id];
    let mut tokens = ids
        .into_iter()
        .flatten()
        .filter_map(|id| keys.open(id, agent, facts.tenant));
    if let Some(opened) = tokens.next() {
        Affinity::Token(opened)
    } else if let Some(context) = facts.context_id {
        Affinity::Slot(Reason::Context, slot(Kind::Context, context))
    } else if facts.task_id.is_some() {
        Affinity::Lookup
    } else if facts.operation == Operation::ListTasks {
        Affinity::Everybody
    } else if let Some(message) = facts.message_id {
        Affinity::Slot(Reason::Message, slot(Kind::Message, message))
    } else {
        Affinity::None(slot(Kind::Message, ""))
    }
}

/// The choice among the members of one pool.
struct Choice<'a, S> {
    pool: &'a Pool,
    standing: &'a S,
}

impl<S: Fn(u16) -> Standing> Choice<'_, S> {
    fn unless_only(&self, reason: Reason) -> Reason {
        match self.pool.count() {
            1 => Reason::Only,
            _ => reason,
        }
    }

    /// The token's worker, and behind it those who would adopt. An ejected worker is taken for gone.
    fn pinned(&self, opened: &Opened<'_>) -> Placement {
        let slot = opened.route.slot;
        let incarnation = opened.route.incarnation;
        let living = self.pool.living(incarnation);
        let Some(holder) = living.filter(|holder| self.stands(*holder) != Standing::Ejected) else {
            let orphan = Reason::Orphan { incarnation };
            return Placement {
                orphan: true,
                ..self.owned(orphan, Some(slot))
            };
        };
        let mut candidates = Candidates::new();
        candidates.push(holder);
        self.add_owners(&mut candidates, slot);
        Placement {
            candidates,
            slot: Some(slot),
            orphan: false,
            reason: Reason::Token { incarnation },
        }
    }

    /// The owner of a slot, and behind it the rest of the preference list.
    fn owned(&self, reason: Reason, slot: Option<Slot>) -> Placement {
        let mut candidates = Candidates::new();
        self.add_owners(&mut candidates, slot.unwrap_or_default());
        Placement {
            candidates,
            slot,
            orphan: false,
            reason,
        }
    }

    /// Everybody who can be reached, in the order of the members.
    fn everybody(&self, reason: Reason) -> Placement {
        let mut candidates = Candidates::new();
        let reachable = (0..self.pool.count()).filter(|m| self.stands(*m) != Standing::Ejected);
        reachable.for_each(|member| candidates.push(member));
        Placement {
            candidates,
            slot: None,
            orphan: false,
            reason,
        }
    }

    fn looked_up(&self) -> Result<Placement, CallError> {
        match self.pool.count() {
            1 => Ok(self.everybody(Reason::Only)),
            2..=LOOKUP_MAX => Ok(self.everybody(Reason::ForeignTask)),
            _ => Err(CallError::ForeignTask {
                agent: self.pool.agent().clone(),
            }),
        }
    }

    /// Adds the usable ones of a slot's preference list. Where none of them is, the usable member that
    /// comes next in rendezvous order; where none is usable at all, whoever drains: it may refuse, but
    /// it knows better than we do.
    fn add_owners(&self, candidates: &mut Candidates, slot: Slot) {
        let preference = self.pool.preference(slot);
        for member in preference.iter().copied() {
            if candidates.len() < PREFERENCES && self.stands(member) == Standing::Usable {
                candidates.push_new(member);
            }
        }
        for wanted in [Standing::Usable, Standing::Draining] {
            if candidates.is_empty() {
                let next = match self.pool.table() {
                    Some(table) => table.best(slot, |member| self.stands(member) == wanted),
                    None => Some(0).filter(|member| self.stands(*member) == wanted),
                };
                next.into_iter().for_each(|member| candidates.push(member));
            }
        }
    }

    fn stands(&self, member: u16) -> Standing {
        (self.standing)(member)
    }
}

#[cfg(test)]
mod tests;
