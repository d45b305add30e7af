//! The client itself: the eleven operations, each one line over the same two spines.
//!
//! # Invariants
//! - One call is one request: nothing here retries, but for a subscription whose method the agent
//!   refuses ([`rest::other_form`]).
//! - A request's tenant is the caller's own if it is set, else the client's, else the card's.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use mesh_proto::{
    Binding, Operation, Version,
    a2a::{
        AgentCard, CancelTaskRequest, DeleteTaskPushNotificationConfigRequest,
        GetExtendedAgentCardRequest, GetTaskPushNotificationConfigRequest, GetTaskRequest,
        ListTaskPushNotificationConfigsRequest, ListTaskPushNotificationConfigsResponse,
        ListTasksRequest, ListTasksResponse, SendMessageRequest, SendMessageResponse,
        SubscribeToTaskRequest, Task, TaskPushNotificationConfig,
    },
    card::Card,
    mesh,
};

use crate::{
    ask::{Answer, Ask, Nothing},
    discovery::{self, Endpoint},
    error::Error,
    events::{Decoder, Events},
    grpc, jsonrpc,
    options::{Call, Options},
    rest,
    transport::{self, Transport, Wire},
};

/// A client of one agent over one binding. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    card: Option<Card>,
    transport: Transport,
    options: Options,
}

impl Client {
    /// Reads the card at `url` (`<url>/.well-known/agent-card.json`, or `url` itself if it ends in
    /// `.json`) and talks to the first interface that is spoken here, or to the first one of
    /// [`Options::binding`].
    ///
    /// # Errors
    /// Those of [`discovery::fetch_card`] and of [`Client::from_card`].
    pub async fn from_url(url: &str, options: Options) -> Result<Self, Error> {
        let transport = Transport::new(&options);
        let card = discovery::card_over(&transport, url, &options).await?;
        let endpoint = discovery::choose(&card, Some(url), options.binding)?;
        Ok(Self::new(endpoint, Some(card), transport, options))
    }

    /// Talks to the agent that a card names.
    ///
    /// # Errors
    /// [`Error::NoInterface`] if the card offers nothing that is spoken here, [`Error::Url`] if
    /// what it offers has no usable URL.
    pub fn from_card(card: Card, options: Options) -> Result<Self, Error> {
        let endpoint = discovery::choose(&card, None, options.binding)?;
        let transport = Transport::new(&options);
        Ok(Self::new(endpoint, Some(card), transport, options))
    }

    /// Talks to `url` over `binding` without a look at any card; the tenant is
    /// [`Options::tenant`].
    ///
    /// # Errors
    /// [`Error::Url`] if nothing can be sent there.
    pub fn direct(binding: Binding, url: &str, options: Options) -> Result<Self, Error> {
        let endpoint = Endpoint {
            binding,
            base: discovery::base(binding, url, false)?,
            tenant: None,
        };
        let transport = Transport::new(&options);
        Ok(Self::new(endpoint, None, transport, options))
    }

    fn new(
        mut endpoint: Endpoint,
        card: Option<Card>,
        transport: Transport,
        options: Options,
    ) -> Self {
        if options.tenant.is_some() {
            endpoint.tenant.clone_from(&options.tenant);
        }
        Self(Arc::new(Inner {
            endpoint,
            card,
            transport,
            options,
        }))
    }

    /// Sends a message and waits for the task or the message that answers it; as long as the task
    /// takes, unless the request says `return_immediately`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn send(
        &self,
        ask: SendMessageRequest,
        call: &Call,
    ) -> Result<SendMessageResponse, Error> {
        self.unary(Operation::SendMessage, ask, call).await
    }

    /// Sends a message and follows what comes of it.
    ///
    /// # Errors
    /// See [`Error`]; what goes wrong after the stream began is an item of it.
    pub async fn stream(&self, ask: SendMessageRequest, call: &Call) -> Result<Events, Error> {
        self.streaming(Operation::SendStreamingMessage, ask, call)
            .await
    }

    /// Reads one task.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_task(&self, ask: GetTaskRequest, call: &Call) -> Result<Task, Error> {
        self.unary(Operation::GetTask, ask, call).await
    }

    /// Reads a page of tasks.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_tasks(
        &self,
        ask: ListTasksRequest,
        call: &Call,
    ) -> Result<ListTasksResponse, Error> {
        self.unary(Operation::ListTasks, ask, call).await
    }

    /// Asks for a task to be stopped.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn cancel_task(&self, ask: CancelTaskRequest, call: &Call) -> Result<Task, Error> {
        self.unary(Operation::CancelTask, ask, call).await
    }

    /// Follows a task that runs; the first event is the task as it is.
    ///
    /// # Errors
    /// See [`Error`]; what goes wrong after the stream began is an item of it.
    pub async fn subscribe(
        &self,
        ask: SubscribeToTaskRequest,
        call: &Call,
    ) -> Result<Events, Error> {
        self.streaming(Operation::SubscribeToTask, ask, call).await
    }

    /// Has a task's events pushed to a URL.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_push_config(
        &self,
        ask: TaskPushNotificationConfig,
        call: &Call,
    ) -> Result<TaskPushNotificationConfig, Error> {
        self.unary(Operation::CreateTaskPushNotificationConfig, ask, call)
            .await
    }

    /// Reads one push configuration.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_push_config(
        &self,
        ask: GetTaskPushNotificationConfigRequest,
        call: &Call,
    ) -> Result<TaskPushNotificationConfig, Error> {
        self.unary(Operation::GetTaskPushNotificationConfig, ask, call)
            .await
    }

    /// Reads a task's push configurations.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_push_configs(
        &self,
        ask: ListTaskPushNotificationConfigsRequest,
        call: &Call,
    ) -> Result<ListTaskPushNotificationConfigsResponse, Error> {
        self.unary(Operation::ListTaskPushNotificationConfigs, ask, call)
            .await
    }

    /// Removes a push configuration.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_push_config(
        &self,
        ask: DeleteTaskPushNotificationConfigRequest,
        call: &Call,
    ) -> Result<(), Error> {
        let Nothing = self
            .unary(Operation::DeleteTaskPushNotificationConfig, ask, call)
            .await?;
        Ok(())
    }

    /// Reads the card that authenticated callers get.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn extended_card(&self, call: &Call) -> Result<AgentCard, Error> {
        let ask = GetExtendedAgentCardRequest::default();
        self.unary(Operation::GetExtendedAgentCard, ask, call).await
    }

    /// Where this client talks to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// The card that it was made from, if any.
    #[must_use]
    pub fn card(&self) -> Option<&Card> {
        self.0.card.as_ref()
    }

    async fn unary<Q: Ask, A: Answer>(
        &self,
        operation: Operation,
        ask: Q,
        call: &Call,
    ) -> Result<A, Error> {
        let inner = &*self.0;
        let request = self.request(operation, ask, call)?;
        let limit = inner.options.limits.answer;
        transport::within(self.deadline(call), async {
            let response = inner.transport.send(self.wire(), request).await?;
            match inner.endpoint.binding {
                Binding::JsonRpc => jsonrpc::answer(response, limit).await,
                Binding::Rest => rest::answer(response, limit).await,
                Binding::Grpc => grpc::answer(response, limit).await,
            }
        })
        .await
    }

    async fn streaming<Q: Ask>(
        &self,
        operation: Operation,
        ask: Q,
        call: &Call,
    ) -> Result<Events, Error> {
        let inner = &*self.0;
        let request = self.request(operation, ask, call)?;
        let limit = inner.options.limits.event;
        transport::within(self.deadline(call), async {
            let mut response = inner.transport.send(self.wire(), request.clone()).await?;
            if let Some(other) = rest::other_form(operation, &request, &response) {
                response = inner.transport.send(self.wire(), other).await?;
            }
            let (body, decoder) = match inner.endpoint.binding {
                Binding::JsonRpc => {
                    let body = jsonrpc::begin(response, inner.options.limits.answer).await?;
                    (body, Decoder::JsonRpc(jsonrpc::Decoder::new(limit)))
                }
                Binding::Rest => {
                    let body = rest::begin(response, inner.options.limits.answer).await?;
                    (body, Decoder::Rest(rest::Decoder::new(limit)))
                }
                Binding::Grpc => (
                    grpc::begin(response)?,
                    Decoder::Grpc(grpc::Decoder::new(limit)),
                ),
            };
            Ok(Events::new(body, decoder, inner.options.idle_timeout))
        })
        .await
    }

    fn request<Q: Ask>(
        &self,
        operation: Operation,
        mut ask: Q,
        call: &Call,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let Endpoint {
            binding,
            base,
            tenant,
        } = &self.0.endpoint;
        if let Some(tenant) = tenant
            && ask.tenant().is_empty()
        {
            ask.tenant().clone_from(tenant);
        }
        let mut request = match binding {
            Binding::JsonRpc => jsonrpc::request(base, operation, &ask),
            Binding::Rest => rest::request(base, operation, &ask),
            Binding::Grpc => grpc::request(base, operation, &ask),
        }?;
        let headers = request.headers_mut();
        headers.insert(
            mesh::A2A_VERSION,
            HeaderValue::from_static(Version::V1_0.as_str()),
        );
        replace(headers, &self.0.options.headers);
        replace(headers, &call.headers);
        Ok(request)
    }

    fn deadline(&self, call: &Call) -> Option<std::time::Duration> {
        call.answer_timeout.or(self.0.options.answer_timeout)
    }

    fn wire(&self) -> Wire {
        match self.0.endpoint.binding {
            Binding::JsonRpc | Binding::Rest => Wire::H1,
            Binding::Grpc => Wire::H2,
        }
    }
}

/// Copies headers; all values of a name replace what was there under it.
fn replace(headers: &mut HeaderMap, with: &HeaderMap) {
    for name in with.keys() {
        headers.remove(name);
        for value in with.get_all(name) {
            headers.append(name, value.clone());
        }
    }
}
