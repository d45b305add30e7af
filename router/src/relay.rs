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
    admission::{Admission, deadline},
    call::{Ask, Outcome, Reply},
    catalogue::Catalogue,
    dispatch::{Dispatch, lookup::Answer},
    gather::{self, List},
    journal::Journal,
    meter::CallMeter,
    passage::{Account, Passage},
    stream::{self, Carrier, Keeping, Pump, Splice, Way},
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
    dispatch: Arc<Dispatch>,
    gather: gather::Settings,
    keeping: Keeping,
    journal: Journal,
}

impl Relay {
    /// Wires the steps.
    #[must_use]
    pub fn new(
        admission: Arc<Admission>,
        catalogue: Arc<Catalogue>,
        dispatch: Dispatch,
        gather: gather::Settings,
        keeping: Keeping,
        journal: Journal,
    ) -> Self {
        Self {
            admission,
            catalogue,
            dispatch: Arc::new(dispatch),
            gather,
            keeping,
            journal,
        }
    }

    /// Carries one call.
    ///
    /// # Errors
    /// [`CallError`], whose `answer` is the row of the error table.
    pub async fn call(&self, ask: Ask) -> Result<Reply, CallError> {
        let now = Instant::now();
        let ticket = self.admission.admit(&ask)?;
        let patience = deadline::read(&ask.headers, ask.dialect.binding)?;
        let passage = Passage::decide(&self.catalogue, &ask, now).inspect_err(|error| {
            if matches!(error, CallError::Overloaded { .. }) {
                self.admission.overloaded(&ask);
            }
        })?;
        let passage = passage.until(patience.map(|patience| now + patience));
        let meter = CallMeter::new(Arc::clone(&passage.agent.meter), ask.dialect, ask.operation);
        let account = Account::open(meter, ticket, Instant::now());
        let mut account = account.recorded(self.journal.entry(&ask));
        match self.answer(&ask, &passage).await {
            Ok(Answered::One(answer)) => Ok(self.carry(&ask, &passage, *answer, account)),
            Ok(Answered::All(mut reply)) => {
                account.answered(None, Instant::now());
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

    /// Hands the body over to its pump; the head goes down as it came, but for what ends at this hop.
    fn carry(&self, ask: &Ask, passage: &Passage, answer: Answer, mut account: Account) -> Reply {
        let now = Instant::now();
        let by = (answer.endpoint.id.as_str(), answer.status.as_u16());
        account.answered(Some(by), now);
        debug!(
            target: "daca::call", trace = %ask.trace.trace_id(), agent = %ask.agent,
            operation = ask.operation.name(), binding = ask.dialect.binding.label(),
            hops = ask.hops, endpoint = %answer.endpoint.id, reason = %passage.reason,
            status = answer.status.as_u16(), seconds = account.seconds(now), "call answered"
        );
        let way = self.way(ask, passage, &answer);
        let Answer {
            endpoint,
            status,
            headers,
            body,
            ..
        } = answer;
        let carrier = match way {
            None => Carrier::Plain(body),
            Some(way) => {
                let spliced = self.keeping.spliced();
                let splice = Splice::new(way, body, &headers, &endpoint, spliced);
                Carrier::Spliced(Box::new(splice))
            }
        };
        let headers = end_to_end(headers);
        let farewell = ask.farewell.clone();
        let body = Pump::new(carrier, &headers, farewell, account, &self.keeping).boxed_unsync();
        Reply {
            status,
            headers,
            body,
        }
    }

    /// How a stream of a worker of ours could go on elsewhere, where it could.
    fn way(&self, ask: &Ask, passage: &Passage, answer: &Answer) -> Option<Way> {
        let is_ours = answer.endpoint.third_party().is_none();
        if !(is_ours && self.keeping.splices() && stream::is_stream(answer)) {
            return None;
        }
        let task = answer.headers.get(mesh_proto::mesh::TASK)?.to_str().ok()?;
        let patience = self.keeping.patience(answer.endpoint.shares_its_store());
        let until = passage.deadline;
        Some(Way::new(&self.dispatch, ask, task, until, patience))
    }
}

/// Who answered.
enum Answered {
    /// One member; its body is still to come.
    One(Box<Answer>),
    /// Every member, in one list.
    All(Reply),
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
