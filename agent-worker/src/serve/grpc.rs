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
use tonic::{
    Code, Extensions, Request, Response, Status,
    codec::CompressionEncoding,
    metadata::{MetadataMap, MetadataValue},
    server::NamedService,
    service::Routes,
};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{moved, offered, version};
use crate::{
    desk::{Caller, Desk},
    task::Events,
};

/// All services of the gRPC side, and the say on whether they serve.
pub(super) async fn routes(desk: &Arc<Desk>, max_body: usize) -> (Routes, Health) {
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
    (routes.prepare(), Health(reporter))
}

/// What the health service says.
#[derive(Clone, Debug)]
pub(super) struct Health(HealthReporter);

impl Health {
    /// From now on: not serving.
    pub(super) async fn end(&self) {
        for service in ["", A2A_SERVICE] {
            self.0
                .set_service_status(service, ServingStatus::NotServing)
                .await;
        }
    }
}

const A2A_SERVICE: &str = <A2aServiceServer<Binding> as NamedService>::NAME;

/// Whether a path is one of the A2A service; health and reflection have errors of their own.
pub(super) fn is_a2a(path: &str) -> bool {
    let service = path
        .strip_prefix('/')
        .and_then(|path| path.split('/').next());
    service == Some(A2A_SERVICE)
}

/// What tonic itself refuses, a message that does not decode for instance, gets the error's details
/// that every other refusal has.
pub(super) fn explain<B>(response: &mut http::Response<B>) {
    let headers = response.headers_mut();
    if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return;
    }
    let Some(status) = Status::from_header_map(headers) else {
        return;
    };
    let fault = match status.code() {
        Code::Internal | Code::InvalidArgument => Fault::Parse,
        Code::OutOfRange | Code::ResourceExhausted => Fault::TooLarge,
        Code::Unimplemented => Fault::MethodNotFound,
        _ => return,
    };
    let status = Status::from(Problem::new(fault, status.message()));
    if let Err(error) = status.add_header(headers) {
        tracing::debug!(%error, "a status is not told in full");
    }
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
    let mut metadata = MetadataMap::new();
    let first = events.first_id().to_string();
    for (name, value) in [(mesh::TASK, events.task_id()), (mesh::EVENT_ID, &first)] {
        if let Ok(value) = MetadataValue::try_from(value) {
            metadata.insert(name, value);
        }
    }
    let events = events.map(|event| match event {
        Ok(told) => Ok(Arc::unwrap_or_clone(told.event)),
        Err(problem) => Err(refused(problem)),
    });
    Response::from_parts(metadata, Box::pin(events), Extensions::default())
}

/// A problem as a status. Who holds a task goes into the metadata.
fn refused(mut problem: Problem) -> Status {
    let owner = moved::owner(&mut problem);
    let mut status = Status::from(problem);
    if let Some(owner) = owner.and_then(|boot| MetadataValue::try_from(boot.as_bytes()).ok()) {
        status.metadata_mut().insert(mesh::OWNER, owner);
    }
    status
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
        Ok(Response::new(
            self.0.send(&caller, request).await.map_err(refused)?,
        ))
    }

    async fn send_streaming_message(
        &self,
        request: Request<a2a::SendMessageRequest>,
    ) -> Result<Response<Streamed>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        Ok(streamed(
            self.0.stream(&caller, request).await.map_err(refused)?,
        ))
    }

    async fn get_task(
        &self,
        request: Request<a2a::GetTaskRequest>,
    ) -> Result<Response<a2a::Task>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        Ok(Response::new(
            self.0.task(&caller, request).await.map_err(refused)?,
        ))
    }

    async fn list_tasks(
        &self,
        request: Request<a2a::ListTasksRequest>,
    ) -> Result<Response<a2a::ListTasksResponse>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        Ok(Response::new(
            self.0.tasks(&caller, request).await.map_err(refused)?,
        ))
    }

    async fn cancel_task(
        &self,
        request: Request<a2a::CancelTaskRequest>,
    ) -> Result<Response<a2a::Task>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        Ok(Response::new(
            self.0.cancel(&caller, request).await.map_err(refused)?,
        ))
    }

    async fn subscribe_to_task(
        &self,
        request: Request<a2a::SubscribeToTaskRequest>,
    ) -> Result<Response<Streamed>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        Ok(streamed(
            self.0.subscribe(&caller, request).await.map_err(refused)?,
        ))
    }

    async fn create_task_push_notification_config(
        &self,
        request: Request<a2a::TaskPushNotificationConfig>,
    ) -> Result<Response<a2a::TaskPushNotificationConfig>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        let answered = self.0.create_config(&caller, request).await;
        Ok(Response::new(answered.map_err(refused)?))
    }

    async fn get_task_push_notification_config(
        &self,
        request: Request<a2a::GetTaskPushNotificationConfigRequest>,
    ) -> Result<Response<a2a::TaskPushNotificationConfig>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        let answered = self.0.config(&caller, request).await;
        Ok(Response::new(answered.map_err(refused)?))
    }

    async fn list_task_push_notification_configs(
        &self,
        request: Request<a2a::ListTaskPushNotificationConfigsRequest>,
    ) -> Result<Response<a2a::ListTaskPushNotificationConfigsResponse>, Status> {
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        let answered = self.0.configs(&caller, request).await;
        Ok(Response::new(answered.map_err(refused)?))
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
        let (caller, request) = self.open(request, |r| &mut r.tenant)?;
        let answered = self.0.delete_config(&caller, request).await;
        Ok(Response::new(answered.map_err(refused)?))
    }
}

#[cfg(test)]
mod tests {
    use mesh_proto::grpc::problem_of;

    use super::*;

    #[test]
    fn what_tonic_refuses_is_told_like_every_other_refusal() {
        let of_tonic = [
            (Status::internal("no message"), Some(Fault::Parse)),
            (Status::out_of_range("too long"), Some(Fault::TooLarge)),
            (
                Status::unimplemented("no such"),
                Some(Fault::MethodNotFound),
            ),
            (Status::unavailable("as it is"), None),
        ];
        for (status, fault) in of_tonic {
            let mut response = status.clone().into_http::<()>();
            explain(&mut response);
            let told = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(told.message(), status.message());
            assert_eq!(!told.details().is_empty(), fault.is_some());
            if let Some(fault) = fault {
                assert_eq!(problem_of(&told).fault, fault);
            }
        }
        let own: Status = Problem::new(Fault::Internal, "x").into();
        let mut response = own.clone().into_http::<()>();
        explain(&mut response);
        let told = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(told.code(), own.code(), "our own stay as they are");
        assert!(is_a2a("/lf.a2a.v1.A2AService/SendMessage"));
        assert!(!is_a2a("/grpc.health.v1.Health/Check"));
    }
}
