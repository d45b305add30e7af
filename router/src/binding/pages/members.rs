//! The members of a group of our workers, as its owners read and change them: any worker that serves the
//! group can answer, since all of them read the same store.
//!
//! # Invariants
//! - Nothing is decided here: who is an owner, and what may be a member, is the worker's to say.
//! - An edit may come to several workers. Made twice, it changes nothing more.

use std::sync::Arc;

use http::{HeaderMap, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use mesh_proto::{Fault, Problem, mesh};
use tokio::time::Instant;
use tracing::warn;

use super::{Caller, Front, To};
use crate::{
    binding::{intake, rest},
    call::Body,
    upstream::{Endpoint, page::Page},
};

/// Where the members of a group are, below its agent's path.
pub(in crate::binding) const MEMBERS: &str = "/members";

/// How many workers are tried.
const TRIES: usize = 3;

impl Front {
    /// The workers of ours that serve an agent, those first that answer; `None` where it is another's.
    pub(in crate::binding) fn worker_of(&self, to: &To) -> Option<Vec<Arc<Endpoint>>> {
        let To::Agent(name) = to else { return None };
        let snapshot = self.catalogue.snapshot();
        let all = &snapshot.agent(name.as_str())?.endpoints;
        let ours = all.iter().filter(|each| each.third_party().is_none());
        let mut ours: Vec<_> = ours.cloned().collect();
        let now = Instant::now();
        ours.sort_by_key(|each| each.is_ejected(now));
        (!ours.is_empty()).then_some(ours)
    }

    pub(in crate::binding) async fn members(
        &self,
        workers: &[Arc<Endpoint>],
        caller: Caller,
        body: Incoming,
    ) -> Response<Body> {
        let body = match intake::read(body, &self.settings.body).await {
            Ok(body) => body,
            Err(error) => return rest::failure(&error.answer()),
        };
        let path = match caller.uri.query() {
            Some(query) => format!("{MEMBERS}?{query}"),
            None => MEMBERS.to_owned(),
        };
        let headers = onward(&caller);
        for worker in workers.iter().take(TRIES) {
            let page = Page::Below(&path);
            let (method, headers) = (caller.method.clone(), headers.clone());
            match worker.forward(page, method, headers, body.clone()).await {
                Ok(answer) => return back(answer),
                Err(error) => warn!(%error, endpoint = %worker.id, "members were not answered"),
            }
        }
        let text = "no worker of this group answers at present";
        rest::failure(&Problem::new(Fault::Unavailable, text))
    }
}

/// What a worker has to know of the caller.
fn onward(caller: &Caller) -> HeaderMap {
    let mut headers = caller.onward();
    headers.remove(header::CONTENT_LENGTH);
    headers
}

fn back(answer: Response<bytes::Bytes>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    for name in mesh::INTERNAL {
        head.headers.remove(name);
    }
    // They were about the connection to the worker.
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    let whole = Full::new(body).map_err(|never| match never {});
    Response::from_parts(head, whole.boxed_unsync())
}
