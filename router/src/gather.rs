//! ListTasks over several members: every member asked, their answers made one list.
//!
//! Who shares a store with others holds the same tasks as they do: such members are asked as one, by
//! whichever can be reached. Everybody else is asked for its own.
//!
//! # Invariants
//! - All or an error: a list without a member's part would look whole and be short (`ShortList`).
//! - Where one store or one member has the whole list, nothing is decoded: the call passes as any other.
//! - Each member's ids are sealed with its own life before its tasks are laid beside others'.
//! - A member's refusal reaches the caller as the member wrote it.
//! - A list is over the members that it was begun with. One that has left takes its part with it, one
//!   that has joined is asked when a list is begun anew.
//! - What is held is bounded: [`Settings::bytes`] over all members of a call.

mod cursor;
mod merge;
mod wire;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::BytesMut;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body_util::{BodyExt as _, Full};
use mesh_core::{error::CallError, placement::Reason, token::Keys};
use mesh_proto::{
    Fault, Operation, Problem,
    a2a::{ListTasksRequest, ListTasksResponse},
    mesh,
};
use serde::Deserialize;
use tracing::debug;
use xxhash_rust::xxh3;

use self::{
    cursor::Cursor,
    merge::{Merge, Wanted},
    wire::Whole,
};
use crate::{
    call::{Ask, Body, Reply, whole},
    dispatch::{Dispatch, lookup::Answer},
    passage::{Candidate, Passage},
    upstream::Endpoint,
};

/// Bounds of one list over several members.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How many members are asked at a time. Default 16.
    pub at_once: usize,
    /// The most that all members' answers to one call may take, in bytes; over it the call fails. A
    /// client that asks for smaller pages needs less. Default 64 MiB.
    pub bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            at_once: 16,
            bytes: 64 << 20,
        }
    }
}

/// One call that needs several members.
#[derive(Debug)]
pub struct List<'c> {
    ask: &'c Ask,
    request: ListTasksRequest,
    /// The way to each part, by what it is called in cursors.
    sources: BTreeMap<u64, Passage>,
    merge: Merge,
    size: usize,
}

/// Why there is no list.
enum Stop {
    /// A member's own answer says why.
    Refused(Box<Whole>),
    /// Nobody said why.
    Failed(CallError),
}

impl<'c> List<'c> {
    /// The list that a call asks for, if more than one store has a part of it, or it was begun as such a
    /// one. A request that can't be read is the agent's to refuse.
    ///
    /// # Errors
    /// [`CallError::BadRequest`]: a page size out of bounds, a page token that is none.
    pub fn of(ask: &'c Ask, passage: &Passage, keys: &Keys) -> Result<Option<Self>, CallError> {
        if ask.operation != Operation::ListTasks || ask.keys.context.is_some() {
            return Ok(None);
        }
        let sources = sources(passage);
        let Some(request) = wire::request(ask) else {
            return Ok(None);
        };
        let token = request.page_token.as_str();
        let begun = Cursor::open(token, keys, &ask.agent, ask.keys.tenant.as_deref());
        if sources.len() < 2 && begun.is_none() {
            return Ok(None);
        }
        let size = match request.page_size {
            None => merge::PAGE,
            Some(size) => usize::try_from(size)
                .ok()
                .filter(|size| (1..=merge::LARGEST_PAGE).contains(size))
                .ok_or_else(|| wrong("pageSize", "must be from 1 to 100"))?,
        };
        let merge = match begun {
            Some(cursor) => Merge::resume(cursor, |source| sources.contains_key(&source), size),
            None if token.is_empty() => Merge::begin(sources.keys().copied(), size),
            None => return Err(wrong("pageToken", "is none of this list; begin it anew")),
        };
        Ok(Some(Self {
            ask,
            request,
            sources,
            merge,
            size,
        }))
    }

    /// Asks the members and answers with their lists made one.
    ///
    /// # Errors
    /// [`CallError::ShortList`] where a member did not give its part.
    pub async fn run(
        mut self,
        dispatch: &Dispatch,
        settings: Settings,
        keys: &Keys,
    ) -> Result<Reply, CallError> {
        match self.gather(dispatch, settings).await {
            Ok(()) => self.reply(keys),
            Err(Stop::Refused(answer)) => Ok(answer.into_reply()),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    async fn gather(&mut self, dispatch: &Dispatch, settings: Settings) -> Result<(), Stop> {
        let room = AtomicUsize::new(settings.bytes);
        loop {
            self.merge.advance();
            let wanted = self.merge.wanted();
            if wanted.is_empty() {
                return Ok(());
            }
            let this = &*self;
            let pages = wanted
                .into_iter()
                .map(|wanted| this.page(dispatch, wanted, &room));
            let pages: Vec<_> = futures_util::stream::iter(pages)
                .buffered(settings.at_once.max(1))
                .try_collect()
                .await?;
            for (source, page) in pages {
                let fed = self.merge.feed(source, page);
                fed.map_err(|error| self.failed(&error))?;
            }
        }
    }

    /// One page of one member's.
    async fn page(
        &self,
        dispatch: &Dispatch,
        wanted: Wanted,
        room: &AtomicUsize,
    ) -> Result<(u64, ListTasksResponse), Stop> {
        let passage = self.sources.get(&wanted.source);
        let passage = passage.ok_or(Stop::Failed(CallError::BadAnswer))?;
        let source = wanted.source;
        let ask = wire::ask(
            self.ask,
            ListTasksRequest {
                page_size: i32::try_from(wanted.size).ok(),
                page_token: wanted.token,
                ..self.request.clone()
            },
        )
        .map_err(|problem| Stop::Failed(CallError::BadRequest(problem)))?;
        let answer = dispatch
            .run(&ask, passage)
            .await
            .map_err(|error| match error {
                // What is wrong with the call is wrong with it everywhere.
                CallError::BadRequest(_) | CallError::BindingNotOffered { .. } => {
                    Stop::Failed(error)
                }
                error => self.failed(&error),
            })?;
        let answer = Whole::read(answer, room).await;
        let answer = answer.ok_or_else(|| self.failed(&CallError::UpstreamReset))?;
        match wire::answer(self.ask.dialect, &answer) {
            Ok(page) => Ok((source, page)),
            Err(problem) if problem.fault == Fault::InvalidAgentResponse => {
                Err(Stop::Failed(CallError::BadAnswer))
            }
            Err(_) => Err(Stop::Refused(Box::new(answer))),
        }
    }

    fn reply(self, keys: &Keys) -> Result<Reply, CallError> {
        let Self { ask, merge, .. } = self;
        let merged = merge.finish().map_err(|_| CallError::BadAnswer)?;
        let token = match merged.next {
            None => String::new(),
            Some(cursor) => cursor
                .seal(keys, &ask.agent, ask.keys.tenant.as_deref())
                .ok_or_else(|| CallError::BadRequest(too_many()))?,
        };
        let list = ListTasksResponse {
            tasks: merged.tasks,
            next_page_token: token,
            page_size: i32::try_from(self.size).unwrap_or_default(),
            total_size: merged.total,
        };
        Ok(wire::whole(ask, list).into_reply())
    }

    fn failed(&self, error: &dyn std::error::Error) -> Stop {
        debug!(agent = %self.ask.agent, %error, "a member did not give its part of a list");
        Stop::Failed(CallError::ShortList {
            agent: self.ask.agent.clone(),
        })
    }
}

impl Whole {
    /// Reads an answer to its end; `None` where it breaks off, or is more than there is room for.
    async fn read(answer: Answer, room: &AtomicUsize) -> Option<Self> {
        let Answer {
            status,
            headers,
            mut body,
            ..
        } = answer;
        let (mut held, mut trailers) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            match frame.ok()?.into_data() {
                Ok(data) => {
                    let less = |room: usize| room.checked_sub(data.len());
                    room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
                        .ok()?;
                    held.extend_from_slice(&data);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Some(Self {
            status,
            headers,
            body: held.freeze(),
            trailers,
        })
    }

    fn into_reply(self) -> Reply {
        let body: Body = match self.trailers {
            None => whole(self.body),
            Some(trailers) => Full::new(self.body)
                .with_trailers(std::future::ready(Some(Ok(trailers))))
                .map_err(|never| match never {})
                .boxed_unsync(),
        };
        Reply {
            status: self.status,
            headers: self.headers,
            body,
        }
    }
}

/// Who has which part: members of one store are one source, in the order in which they can be had.
/// Those that this router takes for gone stand last: what it believes must not be what makes a list fail.
fn sources(passage: &Passage) -> BTreeMap<u64, Passage> {
    let is_candidate = |endpoint: &Endpoint| {
        let mut candidates = passage.candidates.iter();
        candidates.any(|candidate| candidate.endpoint.id == endpoint.id)
    };
    let mut members: Vec<_> = passage.agent.endpoints.iter().collect();
    members.sort_by_key(|endpoint| !is_candidate(endpoint));
    let mut sources = BTreeMap::new();
    for endpoint in members {
        let source = sources.entry(source(endpoint)).or_insert_with(|| Passage {
            agent: passage.agent.clone(),
            candidates: Vec::new(),
            slot: None,
            reason: Reason::Any,
            view: passage.view,
            deadline: passage.deadline,
        });
        source.candidates.push(Candidate {
            endpoint: endpoint.clone(),
            orphan: false,
        });
    }
    sources
}

/// What cursors call a part: by its store, or by the life of the one member that has it.
fn source(endpoint: &Endpoint) -> u64 {
    match &endpoint.facts().store {
        Some(store) => xxh3::xxh3_64(store.as_bytes()) | (1 << 63),
        None if endpoint.life() == mesh::Incarnation::default() => {
            u64::from(mesh_core::token::third_party(&endpoint.id).0)
        }
        None => u64::from(endpoint.life().0),
    }
}

fn wrong(field: &'static str, why: &str) -> CallError {
    let problem = Problem::new(Fault::InvalidParams, format!("{field} {why}"));
    CallError::BadRequest(problem.with("field", field))
}

fn too_many() -> Problem {
    Problem::new(
        Fault::UnsupportedOperation,
        "the list is spread over too many workers to be read in pages; name a context",
    )
}
