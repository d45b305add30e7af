//! The gRPC binding, with health and reflection beside it.
//!
//! The agent is found in the order of the mesh: metadata `a2a-agent`; the first segment of the tenant,
//! where it names an agent (that segment is then cut); the default agent, tenant untouched.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _};
use mesh_proto::{
    FILE_DESCRIPTOR_SET, Fault, Problem,
    a2a::{
        self,
        a2a_service_server::{A2aService, A2aServiceServer},
    },
    mesh,
};
use tonic::{Request, Response, Status, codec::CompressionEncoding, service::Routes};

use super::{offered, version};
use crate::{
    desk::{Caller, Desk},
    task::Events,
};

/// All services of the gRPC side.
pub(super) async fn routes(desk: &Arc<Desk>, max_body: usize) -> Routes {
    let service = A2aServiceServer::new(Binding(Arc::clone(desk)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(max_body);
    let (reporter, health) = tonic_health::server::health_reporter();
    // The server as a whole is serving from the start; probes ask for the service by its name, too.
    reporter.set_serving::<A2aServiceServer<Binding>>().await;
    let mut routes = Routes::new(service).add_service(health);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    match reflection.build_v1() {
        Ok(reflection) => routes = routes.add_service(reflection),
        Err(error) => tracing::error!(%error, "gRPC reflection is not offered"),
    }
    routes.prepare()
}

struct Binding(Arc<Desk>);

type Streamed = Pin<Box<dyn Stream<Item = Result<a2a::StreamResponse, Status>> + Send>>;

impl Binding {
    /// Reads the metadata, and cuts the agent's name off the tenant where it stands there.
    fn open<T>(
        &self,
        request: Request<T>,
        tenant: impl FnOnce(&mut T) -> &mut String,
    ) -> Result<(Caller, T), Status> {
        let (metadata, _, mut message) = request.into_parts();
        let headers = metadata.into_headers();
        version::of(&headers, None)?;
        let named = headers.get(mesh::AGENT).and_then(|name| name.to_str().ok());
        let agent = match named {
            Some(name) => self.0.agent(name),
            None => {
                let tenant = tenant(&mut message);
                let (first, rest) = tenant.split_once('/').unwrap_or((tenant, ""));
                match self.0.agent(first) {
                    Some(agent) => {
                        *tenant = rest.to_owned();
                        Some(agent)
                    }
                    None => self.0.default_agent(),
                }
            }
        };
        let Some(agent) = agent.cloned() else {
            let names: Vec<_> = self.0.names().map(|name| name.as_str()).collect();
            let text = format!(
                "say which agent in the metadata {} or as the tenant: {}",
                mesh::AGENT,
                names.join(", ")
            );
            return Err(Problem::new(Fault::InvalidParams, text).into());
        };
        offered(&agent, mesh_proto::Binding::Grpc)?;
        Ok((Caller::new(agent, &headers), message))
    }
}

fn streamed(events: Events) -> Response<Streamed> {
    Response::new(Box::pin(events.map(|event| event.map_err(Status::from))))
}

#[tonic::async_trait]
impl A2aService for Binding {
    type SendStreamingMessageStream = Streamed;
    type SubscribeToTaskStream = Streamed;

    async fn send_message(
        &self,
        request: Request<a2a::SendMessageRequest>,
    ) -> Result<Response<a2a::SendMessageResponse>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        Ok(Response::new(self.0.send(&caller, request).await?))
    }

    async fn send_streaming_message(
        &self,
        request: Request<a2a::SendMessageRequest>,
    ) -> Result<Response<Streamed>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        Ok(streamed(self.0.stream(&caller, request).await?))
    }

    async fn get_task(
        &self,
        request: Request<a2a::GetTaskRequest>,
    ) -> Result<Response<a2a::Task>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        Ok(Response::new(self.0.task(&caller, request).await?))
    }

    async fn list_tasks(
        &self,
        request: Request<a2a::ListTasksRequest>,
    ) -> Result<Response<a2a::ListTasksResponse>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        Ok(Response::new(self.0.tasks(&caller, request).await?))
    }

    async fn cancel_task(
        &self,
        request: Request<a2a::CancelTaskRequest>,
    ) -> Result<Response<a2a::Task>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        Ok(Response::new(self.0.cancel(&caller, request).await?))
    }

    async fn subscribe_to_task(
        &self,
        request: Request<a2a::SubscribeToTaskRequest>,
    ) -> Result<Response<Streamed>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        Ok(streamed(self.0.subscribe(&caller, request).await?))
    }

    async fn create_task_push_notification_config(
        &self,
        request: Request<a2a::TaskPushNotificationConfig>,
    ) -> Result<Response<a2a::TaskPushNotificationConfig>, Status> {
        self.open(request, |r| &mut r.tenant)?;
        Err(Desk::no_push().into())
    }

    async fn get_task_push_notification_config(
        &self,
        request: Request<a2a::GetTaskPushNotificationConfigRequest>,
    ) -> Result<Response<a2a::TaskPushNotificationConfig>, Status> {
        self.open(request, |r| &mut r.tenant)?;
        Err(Desk::no_push().into())
    }

    async fn list_task_push_notification_configs(
        &self,
        request: Request<a2a::ListTaskPushNotificationConfigsRequest>,
    ) -> Result<Response<a2a::ListTaskPushNotificationConfigsResponse>, Status> {
        self.open(request, |r| &mut r.tenant)?;
        Err(Desk::no_push().into())
    }

    async fn get_extended_agent_card(
        &self,
        request: Request<a2a::GetExtendedAgentCardRequest>,
    ) -> Result<Response<a2a::AgentCard>, Status> {
        self.open(request, |r| &mut r.tenant)?;
        Err(Desk::no_extended_card().into())
    }

    async fn delete_task_push_notification_config(
        &self,
        request: Request<a2a::DeleteTaskPushNotificationConfigRequest>,
    ) -> Result<Response<()>, Status> {
        self.open(request, |r| &mut r.tenant)?;
        Err(Desk::no_push().into())
    }
}
