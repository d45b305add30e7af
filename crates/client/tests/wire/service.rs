//! The gRPC side of the test agent: tonic's own server, so that our client meets another's framing.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};
use mesh_proto::a2a::{self, TaskState, a2a_service_server::A2aService};
use tonic::{Request, Response, Status};

use crate::script;

#[derive(Debug)]
pub(crate) struct Service;

type Answer<T> = Result<Response<T>, Status>;
type Events = Pin<Box<dyn Stream<Item = Result<a2a::StreamResponse, Status>> + Send>>;

#[tonic::async_trait]
impl A2aService for Service {
    type SendStreamingMessageStream = Events;
    type SubscribeToTaskStream = Events;

    async fn send_message(
        &self,
        request: Request<a2a::SendMessageRequest>,
    ) -> Answer<a2a::SendMessageResponse> {
        let ask = request.into_inner();
        if script::said(&ask) == "tenant" {
            return Err(Status::unauthenticated(ask.tenant));
        }
        Ok(Response::new(
            script::unary(&script::said(&ask)).map_err(Status::from)?,
        ))
    }

    async fn send_streaming_message(
        &self,
        request: Request<a2a::SendMessageRequest>,
    ) -> Answer<Events> {
        let said = script::said(&request.into_inner());
        if said == "missing" {
            return Err(script::missing().into());
        }
        let events = stream::iter(script::events(&said)).map(|event| event.map_err(Status::from));
        let events: Events = if said == "silence" {
            Box::pin(events.chain(stream::pending()))
        } else {
            Box::pin(events)
        };
        Ok(Response::new(events))
    }

    async fn get_task(&self, _: Request<a2a::GetTaskRequest>) -> Answer<a2a::Task> {
        Ok(Response::new(script::task("t/1", TaskState::Working)))
    }

    async fn list_tasks(
        &self,
        _: Request<a2a::ListTasksRequest>,
    ) -> Answer<a2a::ListTasksResponse> {
        Err(Status::unimplemented("not here"))
    }

    async fn cancel_task(&self, _: Request<a2a::CancelTaskRequest>) -> Answer<a2a::Task> {
        Err(Status::unimplemented("not here"))
    }

    async fn subscribe_to_task(&self, _: Request<a2a::SubscribeToTaskRequest>) -> Answer<Events> {
        let events = stream::iter(script::events("hello"));
        Ok(Response::new(Box::pin(
            events.map(|event| event.map_err(Status::from)),
        )))
    }

    async fn create_task_push_notification_config(
        &self,
        _: Request<a2a::TaskPushNotificationConfig>,
    ) -> Answer<a2a::TaskPushNotificationConfig> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_task_push_notification_config(
        &self,
        _: Request<a2a::GetTaskPushNotificationConfigRequest>,
    ) -> Answer<a2a::TaskPushNotificationConfig> {
        Err(Status::unimplemented("not here"))
    }

    async fn list_task_push_notification_configs(
        &self,
        _: Request<a2a::ListTaskPushNotificationConfigsRequest>,
    ) -> Answer<a2a::ListTaskPushNotificationConfigsResponse> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_extended_agent_card(
        &self,
        _: Request<a2a::GetExtendedAgentCardRequest>,
    ) -> Answer<a2a::AgentCard> {
        Err(Status::unimplemented("not here"))
    }

    async fn delete_task_push_notification_config(
        &self,
        _: Request<a2a::DeleteTaskPushNotificationConfigRequest>,
    ) -> Answer<()> {
        Ok(Response::new(()))
    }
}
