//! The JSON-RPC binding: one envelope in, one envelope or a stream of envelopes out.
//!
//! # Invariants
//! - Every answer has the caller's id, `null` where there is none to be known, and HTTP status 200, but for
//!   what a router must see without reading it: that the worker is full, or another holds the task.
//! - An error before the first event is an ordinary answer, never a stream.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Response, StatusCode};
use mesh_proto::{
    Fault, Operation, Problem,
    jsonrpc::{self, RawId},
    scan,
};

use super::{
    JSON,
    body::{self, Body, Piece},
    moved, version,
};
use crate::{
    desk::{Caller, Desk},
    task::Events,
};

/// Answers a request whose body was read.
pub(super) async fn answer(
    desk: &Desk,
    caller: &Caller,
    version: Result<(), Problem>,
    body: &[u8],
) -> Response<Body> {
    let call = match scan::json_rpc(body) {
        Ok(call) => call,
        Err(rejected) => return write(jsonrpc::error(&rejected.id, &rejected.problem)),
    };
    let spoken = version.and_then(|()| version::check(call.version));
    let answered = match spoken {
        Ok(()) => operate(desk, caller, call.operation, &call.id, body).await,
        Err(problem) => Err(problem),
    };
    match answered {
        Ok(Answer::Whole(bytes)) => write(bytes),
        Ok(Answer::Stream(events)) => {
            let id = call.id;
            let task = events.task_id().to_owned();
            let pieces = events.map(move |event| match event {
                Ok(told) => Piece::Event(told.id, jsonrpc::result(&id, &*told.event)),
                Err(problem) if moved::is_moved(&problem) => Piece::Break,
                Err(problem) => Piece::Problem(jsonrpc::error(&id, &problem)),
            });
            body::of_task(body::events(pieces), &task)
        }
        Err(mut problem) => {
            let owner = moved::owner(&mut problem);
            let mut response = write(jsonrpc::error(&call.id, &problem));
            *response.status_mut() = status(&problem);
            moved::to(owner, response)
        }
    }
}

/// What a router must see without reading the answer: that nothing was done, and another may be asked.
fn status(problem: &Problem) -> StatusCode {
    match problem.fault {
        Fault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Fault::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::OK,
    }
}

/// Answers a request whose body could not be read.
pub(super) fn refuse(problem: &Problem) -> Response<Body> {
    write(jsonrpc::error(&RawId::null(), problem))
}

enum Answer {
    Whole(Bytes),
    Stream(Events),
}

async fn operate(
    desk: &Desk,
    caller: &Caller,
    operation: Operation,
    id: &RawId,
    body: &[u8],
) -> Result<Answer, Problem> {
    let whole = match operation {
        Operation::SendMessage => {
            jsonrpc::result(id, &desk.send(caller, jsonrpc::params(body)?).await?)
        }
        Operation::SendStreamingMessage => {
            let events = desk.stream(caller, jsonrpc::params(body)?).await?;
            return Ok(Answer::Stream(events));
        }
        Operation::SubscribeToTask => {
            let events = desk.subscribe(caller, jsonrpc::params(body)?).await?;
            return Ok(Answer::Stream(events));
        }
        Operation::GetTask => {
            jsonrpc::result(id, &desk.task(caller, jsonrpc::params(body)?).await?)
        }
        Operation::ListTasks => {
            jsonrpc::result(id, &desk.tasks(caller, jsonrpc::params(body)?).await?)
        }
        Operation::CancelTask => {
            jsonrpc::result(id, &desk.cancel(caller, jsonrpc::params(body)?).await?)
        }
        Operation::CreateTaskPushNotificationConfig => jsonrpc::result(
            id,
            &desk.create_config(caller, jsonrpc::params(body)?).await?,
        ),
        Operation::GetTaskPushNotificationConfig => {
            jsonrpc::result(id, &desk.config(caller, jsonrpc::params(body)?).await?)
        }
        Operation::ListTaskPushNotificationConfigs => {
            jsonrpc::result(id, &desk.configs(caller, jsonrpc::params(body)?).await?)
        }
        Operation::DeleteTaskPushNotificationConfig => {
            desk.delete_config(caller, jsonrpc::params(body)?).await?;
            jsonrpc::result(id, &serde_json::Map::new())
        }
        Operation::GetExtendedAgentCard => return Err(Desk::no_extended_card()),
    };
    Ok(Answer::Whole(whole))
}

fn write(bytes: Bytes) -> Response<Body> {
    body::full(StatusCode::OK, JSON, bytes)
}
