//! THE LIFE OF A CALL: admit -> decide -> dispatch -> carry -> settle.
//!
//! A binding has read the call into an [`Ask`]; what it gets back is the upstream's [`Reply`], or a
//! [`CallError`] that it writes in its own words.
//!
//! # Invariants
//! - `decide` is synchronous and loads the view once; what it finds is good for the whole call.
//! - Every admitted call is settled exactly once, also when its client goes away (`passage::Account`).
//! - The relay reads no body and knows no binding; a list over several members is `gather`'s.

use std::sync::Arc;

use http::HeaderMap;
use http_body_util::BodyExt as _;
use mesh_core::error::CallError;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{
    admission::Admission,
    call::{Ask, Outcome, Reply},
    catalogue::Catalogue,
    dispatch::{Dispatch, lookup::Answer},
    gather::{self, List},
    meter::CallMeter,
    passage::{Account, Passage},
    stream::Pump,
};

/// Headers of an upstream's answer that end at this hop (RFC 9110, 7.6.1).
const HOP_HEADERS: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "te",
];

/// See the module.
#[derive(Debug)]
pub struct Relay {
    admission: Arc<Admission>,
    catalogue: Arc<Catalogue>,
    dispatch: Dispatch,
    gather: gather::Settings,
}

impl Relay {
    /// Wires the steps.
    #[must_use]
    pub const fn new(
        admission: Arc<Admission>,
        catalogue: Arc<Catalogue>,
        dispatch: Dispatch,
        gather: gather::Settings,
    ) -> Self {
        Self {
            admission,
            catalogue,
            dispatch,
            gather,
        }
    }

    /// Carries one call.
    ///
    /// # Errors
    /// [`CallError`], whose `answer` is the row of the error table.
    pub async fn call(&self, ask: Ask) -> Result<Reply, CallError> {
        let ticket = self.admission.admit(&ask)?;
        let passage = Passage::decide(&self.catalogue, &ask, Instant::now())?;
        let meter = CallMeter::new(Arc::clone(&passage.agent.meter), ask.dialect, ask.operation);
        let mut account = Account::open(meter, ticket, Instant::now());
        match self.answer(&ask, &passage).await {
            Ok(Answered::One(answer)) => Ok(carry(&ask, &passage, *answer, account)),
            Ok(Answered::All(mut reply)) => {
                account.answered(Instant::now());
                account.settle(Outcome::Answered);
                reply.headers = end_to_end(reply.headers);
                Ok(reply)
            }
            Err(error) => {
                account.settle(Outcome::from(&error));
                warn!(
                    target: "daca::call", trace = %ask.trace.trace_id(), agent = %ask.agent,
                    operation = ask.operation.name(), binding = ask.dialect.binding.label(),
                    hops = ask.hops, reason = %passage.reason, %error, "call failed"
                );
                Err(error)
            }
        }
    }

    async fn answer(&self, ask: &Ask, passage: &Passage) -> Result<Answered, CallError> {
        let keys = self.catalogue.keys();
        match List::of(ask, passage, keys)? {
            Some(list) => {
                let reply = Box::pin(list.run(&self.dispatch, self.gather, keys)).await?;
                Ok(Answered::All(reply))
            }
            None => {
                let answer = self.dispatch.run(ask, passage).await?;
                Ok(Answered::One(Box::new(answer)))
            }
        }
    }
}

/// Who answered.
enum Answered {
    /// One member; its body is still to come.
    One(Box<Answer>),
    /// Every member, in one list.
    All(Reply),
}

/// Hands the body over to its pump; the head goes down as it came, but for what ends at this hop.
fn carry(ask: &Ask, passage: &Passage, answer: Answer, account: Account) -> Reply {
    let now = Instant::now();
    account.answered(now);
    debug!(
        target: "daca::call", trace = %ask.trace.trace_id(), agent = %ask.agent,
        operation = ask.operation.name(), binding = ask.dialect.binding.label(),
        hops = ask.hops, endpoint = %answer.endpoint.id, reason = %passage.reason,
        status = answer.status.as_u16(), seconds = account.seconds(now), "call answered"
    );
    let Answer {
        status,
        headers,
        body,
        ..
    } = answer;
    let headers = end_to_end(headers);
    let body = Pump::new(body, &headers, ask.farewell.clone(), account).boxed_unsync();
    Reply {
        status,
        headers,
        body,
    }
}

fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in HOP_HEADERS {
        headers.remove(name);
    }
    for name in mesh_proto::mesh::INTERNAL {
        headers.remove(name);
    }
    headers
}
