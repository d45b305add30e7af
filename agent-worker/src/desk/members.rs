//! The members of a group, for its owners: read, added, removed.
//!
//! # Invariants
//! - Nobody but an owner learns who the members are, or that there are any.
//! - Members of the agents file are shown with the others, and can't be removed here.

use std::collections::BTreeSet;

use mesh_proto::{AgentName, Fault, Problem, ids};
use serde::{Deserialize, Serialize};

use super::{Caller, Desk};
use crate::{
    group::{Config, MEMBERS, Member},
    record::{self, EDIT, Edit, Edited, Seat},
};

/// The page when the caller names no size, and the largest.
const PAGE: usize = 1000;

/// What an edit says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The members that it is about.
    pub members: Vec<Member>,
}

/// Some members, in the order of their names.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The members.
    pub members: Vec<Member>,
    /// What to ask for next, as `after`; nothing where these are the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many there are.
    pub total: u32,
}

/// What an edit has done.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// How many members it added or removed.
    pub changed: u32,
    /// How many there are now.
    pub total: u32,
}

impl Desk {
    /// Reads a page of a group's members.
    ///
    /// # Errors
    /// As [`Self::edit_members`].
    pub async fn members(
        &self,
        caller: &Caller,
        after: &str,
        size: Option<&str>,
    ) -> Result<Page, Problem> {
        let group = owned(caller)?;
        let size = match size.map(str::parse) {
            None => PAGE,
            Some(Ok(size @ 1..=PAGE)) => size,
            Some(_) => return Err(wrong(&format!("limit must be 1 to {PAGE}"))),
        };
        let name = caller.agent().name();
        let records = self.ledger.records();
        let named = records.members(name, after, size + 1).await;
        let named = named.map_err(|error| failed(&error))?;
        let given = records.member_count(name).await;
        let given = given.map_err(|error| failed(&error))?;
        let fixed = fixed(group);
        let behind = fixed.iter().filter(|(name, _)| name.as_str() > after);
        let mut all: Vec<_> = behind.cloned().collect();
        let known: BTreeSet<_> = fixed.iter().map(|(name, _)| name.clone()).collect();
        let named = named.into_iter().map(|seat| (seat.name(), seat));
        all.extend(named.filter(|(name, _)| !known.contains(name)));
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let is_last = all.len() <= size;
        all.truncate(size);
        let next = all
            .last()
            .filter(|_| !is_last)
            .map(|(name, _)| name.clone());
        Ok(Page {
            members: all.iter().filter_map(|(_, seat)| member(seat)).collect(),
            next,
            total: total(&fixed, given),
        })
    }

    /// Adds members to a group, or removes some. What is so already stays so.
    ///
    /// # Errors
    /// [`Fault::MethodNotFound`] for an agent that is no group; [`Fault::Unauthenticated`] and
    /// [`Fault::PermissionDenied`] for who is no owner; [`Fault::InvalidParams`]; [`Fault::Exhausted`]
    /// where there would be too many; [`Fault::Unavailable`].
    pub async fn edit_members(
        &self,
        caller: &Caller,
        edit: Edit,
        named: Named,
    ) -> Result<Done, Problem> {
        let group = owned(caller)?;
        let name = caller.agent().name();
        let count = named.members.len();
        if !(1..=EDIT).contains(&count) {
            return Err(wrong(&format!(
                "{count} members are named, not 1 to {EDIT}"
            )));
        }
        let fixed = fixed(group);
        let known: BTreeSet<_> = fixed.iter().map(|(name, _)| name.as_str()).collect();
        let mut seats = Vec::with_capacity(count);
        for member in &named.members {
            let seat = checked(member, name)?;
            match (known.contains(seat.name().as_str()), edit) {
                (false, _) => seats.push(seat),
                (true, Edit::Add) => {}
                (true, Edit::Remove) => {
                    let text = format!("{} is a member by the agents file", seat.name());
                    return Err(wrong(&text));
                }
            }
        }
        let bound = MEMBERS.saturating_sub(fixed.len());
        let bound = u32::try_from(bound).unwrap_or(u32::MAX);
        let records = self.ledger.records();
        let edited = records.edit_members(name, edit, seats, bound).await;
        let Edited {
            changed,
            total: given,
            is_full,
        } = edited.map_err(|error| failed(&error))?;
        if is_full {
            let text = format!("a group has {MEMBERS} members at most; {changed} were added");
            return Err(Problem::new(Fault::Exhausted, text));
        }
        let total = total(&fixed, given);
        Ok(Done { changed, total })
    }
}

/// The group that a caller owns.
fn owned(caller: &Caller) -> Result<&Config, Problem> {
    let agent = caller.agent();
    let Some(group) = &agent.config.group else {
        let text = format!("{} is no group", agent.name());
        return Err(Problem::new(Fault::MethodNotFound, text));
    };
    let principal = caller.principal();
    if principal.is_empty() {
        let text = "say who you are, by a bearer token of one of its owners";
        return Err(Problem::new(Fault::Unauthenticated, text));
    }
    if agent.owners.iter().any(|owner| owner == principal) {
        return Ok(group);
    }
    let text = "only its owners may read and change the members of a group";
    Err(Problem::new(Fault::PermissionDenied, text))
}

fn checked(member: &Member, group: &AgentName) -> Result<Seat, Problem> {
    let seat = member.seat();
    if seat.agent == group.as_str() {
        return Err(wrong("a group is no member of itself"));
    }
    if let Member::Within { context, .. } = member {
        ids::TaskId::parse(context)
            .map_err(|error| wrong(&format!("context {context:?} {error}")))?;
    }
    Ok(seat)
}

/// The members of the file, with their names.
fn fixed(group: &Config) -> Vec<(String, Seat)> {
    let seats = group.members.iter().map(Member::seat);
    seats.map(|seat| (seat.name(), seat)).collect()
}

fn total(fixed: &[(String, Seat)], given: u32) -> u32 {
    u32::try_from(fixed.len())
        .unwrap_or(u32::MAX)
        .saturating_add(given)
}

fn member(seat: &Seat) -> Option<Member> {
    let agent = seat.agent.parse().ok()?;
    let context = seat.context.clone();
    Some(if context.is_empty() {
        Member::Agent(agent)
    } else {
        Member::Within { agent, context }
    })
}

fn wrong(text: &str) -> Problem {
    Problem::new(Fault::InvalidParams, text).with("field", "members")
}

fn failed(error: &record::Error) -> Problem {
    tracing::warn!(%error, "the members of a group can't be read or written");
    let text = "the members can't be read or written now";
    Problem::new(Fault::Unavailable, text)
}
