//! gRPC: one protobuf message in, messages and trailers out; health and reflection of our own.
//!
//! # Invariants
//! - A message is passed as it came. The one change that can be made is the tenant field, where its
//!   first segment was our agent's name; no other byte moves.
//! - Every answer is gRPC: an error is a head with `grpc-status` and `ErrorInfo` details (spec 10.6).

use std::{fmt, net::SocketAddr};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mesh_core::error::CallError;
use mesh_proto::{
    AgentName, Binding, Dialect, FILE_DESCRIPTOR_SET, Fault, Operation, Problem, Version, grpc,
    mesh, scan,
};
use tonic::{body::Body as TonicBody, service::Routes};
use tonic_health::ServingStatus;
use tower::ServiceExt as _;

use super::{
    Caller, Door, Front, intake, pass, refuse,
    skill::{Skill, To},
    version,
};
use crate::{
    call::{Ask, Body, Broken, Keys},
    refusal::farewell,
};

/// Bytes before each message: a flag and a length.
const PREFIX: usize = 5;

/// Whether a request is gRPC.
pub(super) fn speaks(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| {
        kind == "application/grpc"
            || kind.starts_with("application/grpc+")
            || kind.starts_with("application/grpc;")
    })
}

/// The services that the router answers itself.
#[derive(Clone)]
pub(super) struct Services {
    routes: Routes,
    health: tonic_health::server::HealthReporter,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Services")
    }
}

/// One call's message, found in its frame.
struct Framed {
    /// The message to read ids in.
    plain: Bytes,
    /// The frames as they came.
    whole: Bytes,
}

impl Framed {
    /// The message, where it came compressed.
    fn inflated(&self) -> Option<Bytes> {
        let is_compressed = self.whole.first() == Some(&1);
        is_compressed.then(|| self.plain.clone())
    }
}

impl Front {
    pub(super) async fn answer_grpc(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        door: Door,
    ) -> Response<Body> {
        if self.services.serve(request.uri().path()) {
            return self.services.answer(request).await;
        }
        let (parts, body) = request.into_parts();
        let caller = Caller {
            door,
            peer,
            method: parts.method,
            headers: parts.headers,
            uri: parts.uri,
        };
        let Some((operation, version)) = grpc::route(caller.uri.path()) else {
            let path = super::shortened(caller.uri.path());
            let message = format!("there is no method {path} here");
            let dialect = Dialect::new(Binding::Grpc, version::guess(&caller));
            return refuse(dialect, None, &Problem::new(Fault::MethodNotFound, message));
        };
        let dialect = Dialect::new(Binding::Grpc, version);
        let failure = |problem: &Problem| refuse(dialect, None, problem);
        if let Err(problem) = version::settle(&caller, dialect.version) {
            return failure(&problem);
        }
        match self.ask_grpc(dialect, operation, &caller, body).await {
            Ok(ask) => match self.carried(ask, &caller).await {
                Ok(reply) => pass(reply),
                Err(error) => failure(&error.answer()),
            },
            Err(error) => failure(&error.answer()),
        }
    }

    async fn ask_grpc(
        &self,
        dialect: Dialect,
        operation: Operation,
        caller: &Caller,
        body: Incoming,
    ) -> Result<Ask, CallError> {
        let whole = intake::read(body, &self.settings.body).await?;
        let framed = self.framed(caller, whole)?;
        let ids = scan::protobuf_in(dialect.version, operation, &framed.plain)
            .map_err(CallError::BadRequest)?;
        let mut keys = Keys::from(&ids);
        let mut headers = caller.onward();
        let (agent, tenant) = match self.skill_grpc(caller, keys.tenant.as_deref()) {
            Some((skill, own)) => {
                keys.tenant = own.as_deref().map(Box::from);
                headers.remove(mesh::SKILL);
                let agent = self.settle(To::Skill(skill), operation, &mut keys)?;
                let tenant = self.cut(&agent, own.as_deref());
                (agent, tenant)
            }
            None => self.find_grpc(caller, keys.tenant.as_deref())?,
        };
        headers.remove(mesh::AGENT);
        let mut plain = framed.inflated();
        let tenant = match dialect.version {
            Version::V1_0 => tenant,
            // 0.3 has no field for one.
            Version::V0_3 => Tenant::AsItCame,
        };
        let body = match tenant {
            Tenant::AsItCame => {
                // No byte changes; an agent that shares its port gets its name as we got it.
                if let Some(name) = self.name_upstream(&agent) {
                    headers.insert(mesh::AGENT, name);
                }
                framed.whole
            }
            Tenant::Cut { own, sent } => {
                keys.tenant = own;
                // The message is written anew, so it goes uncompressed.
                headers.remove("grpc-encoding");
                plain = None;
                let message = scan::protobuf_tenant(operation, &framed.plain, sent.as_deref());
                frame(&message)
            }
        };
        Ok(Ask {
            agent,
            dialect,
            operation,
            keys,
            method: Method::POST,
            path: Box::default(),
            headers,
            body,
            plain,
            hops: caller.hops(),
            trace: caller.trace(),
            farewell: farewell(dialect, None),
        })
    }

    /// The skill by metadata, else by the tenant's beginning, where no agent is named; and the tenant
    /// that is not ours.
    fn skill_grpc(&self, caller: &Caller, tenant: Option<&str>) -> Option<(Skill, Option<String>)> {
        let first = tenant.and_then(|tenant| tenant.split('/').next());
        let names_agent = caller.headers.contains_key(mesh::AGENT)
            || first.is_some_and(|first| self.catalogue.snapshot().agent(first).is_some());
        if caller.door != Door::Main || names_agent {
            return None;
        }
        if let Some(skill) = Skill::of_metadata(&caller.headers) {
            return Some((skill, tenant.map(str::to_owned)));
        }
        let (skill, below) = Skill::of_path(tenant?)?;
        let own = below.strip_prefix('/').filter(|own| !own.is_empty());
        Some((skill, own.map(str::to_owned)))
    }

    /// A tenant whose beginning named the agent: its own part goes on, or where there is none the one
    /// that the agent's card asks for.
    fn cut(&self, agent: &AgentName, own: Option<&str>) -> Tenant {
        let snapshot = self.catalogue.snapshot();
        let agent = snapshot.agent(agent.as_str());
        let asked = || agent.and_then(|agent| agent.tenant(Binding::Grpc));
        Tenant::Cut {
            own: own.map(Box::from),
            sent: own.map(str::to_owned).or_else(asked),
        }
    }

    /// The agent by metadata, else by the tenant's first segment, else the default.
    fn find_grpc(
        &self,
        caller: &Caller,
        tenant: Option<&str>,
    ) -> Result<(AgentName, Tenant), CallError> {
        let snapshot = self.catalogue.snapshot();
        if let Door::Agent(name) = &caller.door {
            return Ok((name.clone(), Tenant::AsItCame));
        }
        if let Some(named) = caller.headers.get(mesh::AGENT) {
            let named = named.to_str().unwrap_or_default();
            let agent = snapshot
                .agent(named)
                .ok_or_else(|| CallError::no_such_agent(named))?;
            return Ok((agent.name.clone(), Tenant::AsItCame));
        }
        let (first, own) = match tenant.unwrap_or_default().split_once('/') {
            Some((first, own)) => (first, Some(own).filter(|own| !own.is_empty())),
            None => (tenant.unwrap_or_default(), None),
        };
        if let Some(agent) = snapshot.agent(first) {
            return Ok((agent.name.clone(), self.cut(&agent.name, own)));
        }
        match snapshot.default_agent() {
            Some(agent) => Ok((agent.clone(), Tenant::AsItCame)),
            None if first.is_empty() => Err(CallError::BadRequest(Problem::new(
                Fault::InvalidParams,
                "no agent is named: send metadata `a2a-agent`, or the tenant that the agent's card gives",
            ))),
            None => Err(CallError::no_such_agent(first)),
        }
    }

    /// The metadata that tells an upstream which of its agents is meant: the first segment of the
    /// tenant that the agent's own card asks for. Without it a worker that serves several agents on
    /// one port could not tell, since the tenant of such a call is the caller's own.
    fn name_upstream(&self, agent: &AgentName) -> Option<HeaderValue> {
        let snapshot = self.catalogue.snapshot();
        let tenant = snapshot.agent(agent.as_str())?.tenant(Binding::Grpc)?;
        HeaderValue::from_str(tenant.split('/').next()?).ok()
    }

    /// Finds the one message of a request.
    fn framed(&self, caller: &Caller, whole: Bytes) -> Result<Framed, CallError> {
        let bad = |why: &str| CallError::BadRequest(Problem::new(Fault::InvalidRequest, why));
        let (Some(flag), Some(length)) = (whole.first().copied(), whole.get(1..PREFIX)) else {
            return Err(bad("the request has no message"));
        };
        let length = length
            .iter()
            .fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        if whole.len() != PREFIX + length {
            return Err(bad("the request is not exactly one message"));
        }
        let message = whole.slice(PREFIX..);
        let plain = match flag {
            0 => message,
            1 => {
                let settings = &self.settings.body;
                Bytes::from(intake::readable_message(
                    &caller.headers,
                    &message,
                    settings,
                )?)
            }
            _ => return Err(bad("the message's flag is neither 0 nor 1")),
        };
        Ok(Framed { plain, whole })
    }
}

/// A message in its frame, uncompressed. Its length fits: it is at most the body's bound.
fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(length);
    framed.extend_from_slice(message);
    framed.freeze()
}

/// What becomes of the tenant.
enum Tenant {
    /// Nothing: it was not ours.
    AsItCame,
    /// Its first segment named the agent.
    Cut {
        /// What remains: the tenant by which calls are placed.
        own: Option<Box<str>>,
        /// What is sent: what remains, or the tenant that the agent's card asks for.
        sent: Option<String>,
    },
}

impl Services {
    pub(super) fn new() -> Self {
        let (health, service) = tonic_health::server::health_reporter();
        let mut routes = Routes::default().add_service(service);
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        // The newer name first; older tools (grpcurl before 1.9) ask for the alpha one.
        if let Ok(service) = reflection.build_v1() {
            routes = routes.add_service(service);
        }
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        if let Ok(service) = reflection.build_v1alpha() {
            routes = routes.add_service(service);
        }
        Self {
            routes: routes.prepare(),
            health,
        }
    }

    /// From now on the health service says: not serving.
    pub(super) async fn end(&self) {
        self.health
            .set_service_status("", ServingStatus::NotServing)
            .await;
    }

    /// Whether a path is one of ours.
    fn serve(&self, path: &str) -> bool {
        path.starts_with("/grpc.health.v1.Health/") || path.starts_with("/grpc.reflection.v1")
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let request = request.map(TonicBody::new);
        let answered = self.routes.clone().oneshot(request).await;
        let response = answered.unwrap_or_else(|never| match never {});
        response.map(|body| body.map_err(|_| Broken).boxed_unsync())
    }
}
