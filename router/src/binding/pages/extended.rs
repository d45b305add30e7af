//! Extended cards: what an agent tells only to callers that it knows, with the router's addresses.
//!
//! The call goes to the agent with the caller's own credentials, and the answer belongs to that caller
//! alone. On its way back the places in it are rewritten as those of the public card are: a client
//! replaces the one by the other (spec 3.1.11) and would else go around the router.
//!
//! # Invariants
//! - Nothing of an answer is kept, and nobody on the way may keep it either.
//! - An error passes as it came.
//! - JSON keeps the fields that nobody here knows. Over gRPC a card has only the fields of its message.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use mesh_core::error::CallError;
use mesh_proto::{
    Binding, Dialect, Operation, Version, a2a,
    card::{Card, Wording},
    json,
    pivot::{self, Response},
};
use serde_json::{Map, Value};

use super::{Caller, Front, card::Way};
use crate::{
    binding::intake,
    call::{Ask, Reply, whole},
    catalogue::{Agent, cards::Mode},
};

/// The most that is read of an answer: as much as of a public card.
const MOST: usize = 1 << 20;

/// Who will be told what in an answer.
struct Told {
    agent: Arc<Agent>,
    way: Way,
    dialect: Dialect,
}

impl Front {
    /// Carries a call; of an extended card, with its places rewritten.
    ///
    /// # Errors
    /// [`CallError`], as the relay has it; a card that can't be read is the agent's fault.
    pub(in crate::binding) async fn carried(
        &self,
        mut ask: Ask,
        caller: &Caller,
    ) -> Result<Reply, CallError> {
        let told = self.told_by(&ask, caller);
        if told.is_some() {
            // It is read on its way back.
            ask.headers.remove(header::ACCEPT_ENCODING);
            ask.headers.remove("grpc-accept-encoding");
        }
        let mut reply = self.relay.call(ask).await?;
        if let Some(told) = told {
            reply = self.private(reply, &told).await?;
        }
        Ok(reply)
    }

    fn told_by(&self, ask: &Ask, caller: &Caller) -> Option<Told> {
        if ask.operation != Operation::GetExtendedAgentCard {
            return None;
        }
        let snapshot = self.catalogue.snapshot();
        let agent = snapshot.agent(ask.agent.as_str())?;
        Some(Told {
            agent: Arc::clone(agent),
            way: self.way(agent, caller),
            dialect: ask.dialect,
        })
    }

    async fn private(&self, mut reply: Reply, told: &Told) -> Result<Reply, CallError> {
        let headers = &mut reply.headers;
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-store"),
        );
        for name in [
            header::ETAG,
            header::LAST_MODIFIED,
            header::EXPIRES,
            header::AGE,
        ] {
            headers.remove(name);
        }
        if self.catalogue.cards().mode(&told.agent.name) == Mode::Preserve {
            return Ok(reply);
        }
        let body = Limited::new(reply.body, MOST).collect().await;
        let body = body.map_err(|_| CallError::BadAnswer)?;
        let trailers = body.trailers().cloned();
        let bytes = body.to_bytes();
        let plain = intake::readable(&reply.headers, &bytes, &self.settings.body)
            .map_err(|_| CallError::BadAnswer)?;
        let rewritten = match told.dialect.binding {
            Binding::JsonRpc => self.in_envelope(&plain, told)?,
            Binding::Rest if reply.status.is_success() => Some(self.bare(&plain, told)?),
            Binding::Rest => None,
            Binding::Grpc if bytes.is_empty() => None,
            Binding::Grpc => {
                let head = (&reply.headers, trailers.as_ref());
                Some(self.framed_card(&plain, head, told)?)
            }
        };
        reply.headers.remove(header::CONTENT_LENGTH);
        let rewritten = match rewritten {
            Some(rewritten) => {
                reply.headers.remove(header::CONTENT_ENCODING);
                rewritten
            }
            None => bytes,
        };
        reply.body = match trailers {
            None => whole(rewritten),
            Some(trailers) => whole(rewritten)
                .with_trailers(async move { Some(Ok(trailers)) })
                .boxed_unsync(),
        };
        Ok(reply)
    }

    /// A JSON-RPC answer; `None` for an error.
    fn in_envelope(&self, body: &[u8], told: &Told) -> Result<Option<Bytes>, CallError> {
        let mut envelope: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| CallError::BadAnswer)?;
        let card = match envelope.remove("result") {
            Some(Value::Object(card)) => Card::from(card),
            None if envelope.contains_key("error") => return Ok(None),
            Some(_) | None => return Err(CallError::BadAnswer),
        };
        let card = self.rewritten(&card, told, told.dialect.version)?;
        envelope.insert("result".to_owned(), Value::Object(card.into_fields()));
        let bytes = serde_json::to_vec(&envelope).map_err(|_| CallError::BadAnswer)?;
        Ok(Some(Bytes::from(bytes)))
    }

    /// An HTTP+JSON answer.
    fn bare(&self, body: &[u8], told: &Told) -> Result<Bytes, CallError> {
        let card = Card::parse(body).map_err(|_| CallError::BadAnswer)?;
        let card = self.rewritten(&card, told, told.dialect.version)?;
        Ok(card.to_bytes())
    }

    /// A gRPC answer: by way of the pivot, which is a card of 1.0.
    fn framed_card(
        &self,
        frame: &[u8],
        (headers, trailers): (&HeaderMap, Option<&HeaderMap>),
        told: &Told,
    ) -> Result<Bytes, CallError> {
        let Some((&[0, _, _, _, _], message)) = frame.split_first_chunk::<5>() else {
            return Err(CallError::BadAnswer);
        };
        let (dialect, operation) = (told.dialect, Operation::GetExtendedAgentCard);
        let read = pivot::decode_response(
            dialect,
            operation,
            StatusCode::OK,
            headers,
            trailers,
            message,
        );
        let Ok(Response::Card(card)) = read else {
            return Err(CallError::BadAnswer);
        };
        let card = Card::parse(&json::to_bytes(&card)).map_err(|_| CallError::BadAnswer)?;
        let card = self.rewritten(&card, told, Version::V1_0)?;
        let card: a2a::AgentCard =
            json::from_slice(&card.to_bytes()).map_err(|_| CallError::BadAnswer)?;
        let card = Response::Card(Box::new(card));
        Ok(pivot::encode_response(dialect, None, Ok(&card)).body)
    }

    fn rewritten(&self, card: &Card, told: &Told, version: Version) -> Result<Card, CallError> {
        let card = told.way.told(&told.agent, card, Wording::Only(version));
        let sealed = self.catalogue.cards().sealed(&told.agent.name, &card);
        Card::parse(&sealed).map_err(|_| CallError::BadAnswer)
    }
}
