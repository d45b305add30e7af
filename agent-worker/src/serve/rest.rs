//! The HTTP+JSON binding.
//!
//! # Invariants
//! - An error has the status of the table and a body in the form of `google.rpc.Status`, before a
//!   stream and, as its last event, in one.

use futures_util::StreamExt as _;
use http::{Response, StatusCode};
use mesh_proto::{
    Operation, Problem, json,
    rest::{self, Route},
};

use super::{
    JSON,
    body::{self, Body, Piece},
    moved,
};
use crate::{
    desk::{Caller, Desk},
    task::Events,
};

/// Answers a request whose body was read.
pub(super) async fn answer(
    desk: &Desk,
    caller: &Caller,
    route: &Route,
    body: &[u8],
) -> Response<Body> {
    match operate(desk, caller, route, body).await {
        Ok(response) => response,
        Err(mut problem) => moved::to(moved::owner(&mut problem), refuse(&problem)),
    }
}

/// Answers with an error.
pub(super) fn refuse(problem: &Problem) -> Response<Body> {
    let (status, bytes) = rest::error(problem);
    body::full(status, JSON, bytes)
}

async fn operate(
    desk: &Desk,
    caller: &Caller,
    route: &Route,
    body: &[u8],
) -> Result<Response<Body>, Problem> {
    Ok(match route.operation {
        Operation::SendMessage => whole(&desk.send(caller, route.send(body)?).await?),
        Operation::SendStreamingMessage => stream(desk.stream(caller, route.send(body)?).await?),
        Operation::SubscribeToTask => stream(desk.subscribe(caller, route.subscribe()).await?),
        Operation::GetTask => whole(&desk.task(caller, route.get_task()?).await?),
        Operation::ListTasks => whole(&desk.tasks(caller, route.list_tasks()?).await?),
        Operation::CancelTask => whole(&desk.cancel(caller, route.cancel_task(body)?).await?),
        Operation::CreateTaskPushNotificationConfig => whole(
            &desk
                .create_config(caller, route.create_config(body)?)
                .await?,
        ),
        Operation::GetTaskPushNotificationConfig => {
            whole(&desk.config(caller, route.get_config()).await?)
        }
        Operation::ListTaskPushNotificationConfigs => {
            whole(&desk.configs(caller, route.list_configs()?).await?)
        }
        Operation::DeleteTaskPushNotificationConfig => {
            desk.delete_config(caller, route.delete_config()).await?;
            whole(&serde_json::Map::new())
        }
        Operation::GetExtendedAgentCard => return Err(Desk::no_extended_card()),
    })
}

fn whole(answer: &impl serde::Serialize) -> Response<Body> {
    match json::try_to_bytes(answer) {
        Ok(bytes) => body::full(StatusCode::OK, JSON, bytes),
        Err(problem) => refuse(&problem),
    }
}

fn stream(events: Events) -> Response<Body> {
    let task = events.task_id().to_owned();
    let pieces = events.map(|event| match event {
        Ok(told) => Piece::Event(told.id, json::to_bytes(&*told.event)),
        Err(problem) if moved::is_moved(&problem) => Piece::Break,
        Err(problem) => Piece::Problem(rest::error(&problem).1),
    });
    body::of_task(body::events(pieces), &task)
}
