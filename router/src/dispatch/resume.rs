//! A stream of ours that broke, taken up again: the same caller asks for the task anew.
//!
//! # Invariants
//! - The task's place is decided anew, by the view as it is now: its worker while that lives, else
//!   whoever has its slot, who is asked to adopt it.
//! - Nobody else than the caller of the broken stream asks: the credentials are those that it sent.

use http::HeaderValue;
use mesh_core::error::CallError;
use mesh_proto::{a2a, mesh, pivot};
use tokio::time::Instant;

use super::{Dispatch, lookup::Answer};
use crate::{
    call::{Ask, Keys},
    passage::Passage,
};

impl Dispatch {
    /// Subscribes to the task of a stream that broke, in the dialect of `ask`, which opened it. With the
    /// last event that was seen the answer begins after that one, where it is still held; else it begins
    /// with the task as it is. The caller waits until then.
    ///
    /// # Errors
    /// [`CallError`], where nobody took the question. What the worker itself refuses is an answer.
    pub async fn resume(
        &self,
        ask: &Ask,
        task: &str,
        last_event: Option<&str>,
        until: Option<Instant>,
    ) -> Result<Answer, CallError> {
        let request = pivot::Request::SubscribeToTask(a2a::SubscribeToTaskRequest {
            tenant: tenant(ask),
            id: task.to_owned(),
        });
        let mut again = about(ask, task, &request)?;
        again.headers.remove(mesh::LAST_EVENT_ID);
        if let Some(last) = last_event.and_then(|last| HeaderValue::from_str(last).ok()) {
            again.headers.insert(mesh::LAST_EVENT_ID, last);
        }
        self.ask_anew(&again, until).await
    }

    /// Reads the task of a stream that broke: where it has come to its end, nobody can subscribe to it.
    ///
    /// # Errors
    /// As [`Dispatch::resume`].
    pub async fn reread(
        &self,
        ask: &Ask,
        task: &str,
        until: Option<Instant>,
    ) -> Result<Answer, CallError> {
        let request = pivot::Request::GetTask(a2a::GetTaskRequest {
            tenant: tenant(ask),
            id: task.to_owned(),
            history_length: None,
        });
        self.ask_anew(&about(ask, task, &request)?, until).await
    }

    async fn ask_anew(&self, again: &Ask, until: Option<Instant>) -> Result<Answer, CallError> {
        let passage = Passage::decide(&self.catalogue, again, Instant::now())?;
        let passage = passage.until(until);
        self.run(again, &passage).await
    }
}

fn tenant(ask: &Ask) -> String {
    ask.keys.tenant.as_deref().unwrap_or_default().to_owned()
}

/// A call of the same caller about one task.
fn about(ask: &Ask, task: &str, request: &pivot::Request) -> Result<Ask, CallError> {
    let mut again = ask.rewritten(request).map_err(CallError::BadRequest)?;
    again.keys = Keys {
        tenant: ask.keys.tenant.clone(),
        task: Some(task.into()),
        skill: ask.keys.skill.clone(),
        ..Keys::default()
    };
    Ok(again)
}
