//! The pivot in gRPC of 1.0.
//!
//! # Invariants
//! - A failed call has no message, only a status.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

use super::{GRPC, Request, Response, Sink, Source, WireRequest, WireResponse, foreign};
use crate::{
    error::{Fault, Problem},
    grpc,
};

/// A message without its frame.
pub(super) struct Bare<'a>(pub(super) &'a [u8]);

impl Source for Bare<'_> {
    fn message<T: Message + Default + DeserializeOwned>(&self) -> Result<T, Problem> {
        T::decode(self.0).map_err(|error| Problem::new(Fault::Parse, error.to_string()))
    }

    /// Whatever stands in an empty message is an unknown field.
    fn nothing(&self) -> Result<(), Problem> {
        Ok(())
    }
}

struct Framed;

impl Sink for Framed {
    type Out = Bytes;

    fn message<T: Message + Serialize>(self, message: &T) -> Bytes {
        grpc::frame(message)
    }

    fn nothing(self) -> Bytes {
        grpc::frame(&())
    }
}

pub(super) fn write_request(request: &Request) -> WireRequest {
    WireRequest {
        method: Method::POST,
        path: grpc::path(request.operation()).to_owned(),
        content_type: Some(GRPC),
        body: request.write(Framed),
    }
}

pub(super) fn write_response(outcome: Result<&Response, &Problem>) -> WireResponse {
    let (body, trailers) = match outcome {
        Ok(response) => (response.write(Framed), grpc::success()),
        Err(problem) => (Bytes::new(), grpc::trailers(problem)),
    };
    WireResponse {
        status: StatusCode::OK,
        content_type: GRPC,
        body,
        trailers: Some(trailers),
    }
}

/// Judges an answer by its status, which an answer without a body has in its head.
pub(crate) fn check(
    status: StatusCode,
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
) -> Result<(), Problem> {
    let told = trailers
        .filter(|trailers| grpc::has_status(trailers))
        .or_else(|| Some(headers).filter(|headers| grpc::has_status(headers)));
    match told {
        Some(told) => grpc::problem(told).map_or(Ok(()), Err),
        None if !status.is_success() => Err(foreign(status)),
        None => Err(Problem::new(
            Fault::InvalidAgentResponse,
            "the agent's answer has no gRPC status",
        )),
    }
}
