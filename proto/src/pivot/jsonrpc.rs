//! The pivot in JSON-RPC of 1.0.
//!
//! # Invariants
//! - The status is 200 but for what the infrastructure in between must see; the body tells more.

use bytes::Bytes;
use http::{Method, StatusCode};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

use super::{Event, JSON, Request, Response, Sink, Source, WireRequest, WireResponse, foreign};
use crate::{
    error::Problem,
    json::Empty,
    jsonrpc::{self, RawId},
    operation::Operation,
    sse,
};

/// A request, of which only the params are read.
pub(super) struct Params<'a>(pub(super) &'a [u8]);

impl Source for Params<'_> {
    fn message<T: Message + Default + DeserializeOwned>(&self) -> Result<T, Problem> {
        jsonrpc::params(self.0)
    }

    fn nothing(&self) -> Result<(), Problem> {
        jsonrpc::params(self.0).map(|Empty {}| ())
    }
}

/// An answer, or the data of an event.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) body: &'a [u8],
}

impl Answer<'_> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        match jsonrpc::answer(self.body) {
            Ok(outcome) => outcome.map_err(|problem| jsonrpc::sharpen(problem, self.status)),
            // A gateway's page: what is no answer at all is told by its status.
            Err(_) if !self.status.is_success() => Err(foreign(self.status)),
            Err(problem) => Err(problem),
        }
    }
}

impl Source for Answer<'_> {
    fn message<T: Message + Default + DeserializeOwned>(&self) -> Result<T, Problem> {
        self.read()
    }

    fn nothing(&self) -> Result<(), Problem> {
        self.read().map(|Empty {}| ())
    }
}

struct Call<'a> {
    id: &'a RawId,
    operation: Operation,
}

impl Sink for Call<'_> {
    type Out = Result<Bytes, Problem>;

    fn message<T: Message + Serialize>(self, message: &T) -> Self::Out {
        jsonrpc::request(self.id, self.operation, message)
    }

    fn nothing(self) -> Self::Out {
        jsonrpc::request(self.id, self.operation, &Empty {})
    }
}

struct Outcome<'a>(&'a RawId);

impl Sink for Outcome<'_> {
    type Out = Bytes;

    fn message<T: Message + Serialize>(self, message: &T) -> Bytes {
        jsonrpc::result(self.0, message)
    }

    fn nothing(self) -> Bytes {
        jsonrpc::result(self.0, &Empty {})
    }
}

pub(super) fn write_request(id: &RawId, request: &Request) -> Result<WireRequest, Problem> {
    let operation = request.operation();
    Ok(WireRequest {
        method: Method::POST,
        path: String::new(),
        content_type: Some(JSON),
        body: request.write(Call { id, operation })?,
    })
}

pub(super) fn write_response(
    id: Option<&RawId>,
    outcome: Result<&Response, &Problem>,
) -> WireResponse {
    let null = RawId::null();
    let id = id.unwrap_or(&null);
    let (status, body) = match outcome {
        Ok(response) => (StatusCode::OK, response.write(Outcome(id))),
        Err(problem) => (jsonrpc::status(problem.fault), jsonrpc::error(id, problem)),
    };
    WireResponse {
        status,
        content_type: JSON,
        body,
        trailers: None,
    }
}

pub(super) fn write_event(id: Option<&RawId>, outcome: Result<&Event, &Problem>) -> Bytes {
    let null = RawId::null();
    let id = id.unwrap_or(&null);
    let data = match outcome {
        Ok(event) => jsonrpc::result(id, event),
        Err(problem) => jsonrpc::error(id, problem),
    };
    sse::write(&sse::Event {
        id: None,
        event: None,
        data,
    })
}
