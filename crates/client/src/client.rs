//! The client itself: the eleven operations, each one line over the same two spines.
//!
//! # Invariants
//! - One call is one request, but for a subscription whose method the agent refuses
//!   ([`wire::other_form`]). Only the three that take a [`Resume`] try again.
//! - A request's tenant is the caller's own if it is set, else the client's, else the card's.

use std::sync::Arc;

use http::HeaderMap;
use http_body_util::Full;
use hyper::body::Bytes;
use mesh_proto::{
    Binding, Fault, Problem, Version,
    a2a::{
        AgentCard, CancelTaskRequest, DeleteTaskPushNotificationConfigRequest,
        GetExtendedAgentCardRequest, GetTaskPushNotificationConfigRequest, GetTaskRequest,
        ListTaskPushNotificationConfigsRequest, ListTaskPushNotificationConfigsResponse,
        ListTasksRequest, ListTasksResponse, SendMessageRequest, SendMessageResponse,
        SubscribeToTaskRequest, Task, TaskPushNotificationConfig,
    },
    card::Card,
    pivot::{Request, Response},
};

use crate::{
    discovery::{self, Endpoint},
    error::Error,
    events::{Decoder, Events},
    follow::{self, Follow, Resume},
    options::{Call, Options},
    transport::{self, Transport, Wire},
    wire,
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
        let endpoint = discovery::choose(&card, Some(url), &options)?;
        Ok(Self::new(endpoint, Some(card), transport, options))
    }

    /// Talks to the agent that a card names.
    ///
    /// # Errors
    /// [`Error::NoInterface`] if the card offers nothing that is spoken here, [`Error::Url`] if
    /// what it offers has no usable URL.
    pub fn from_card(card: Card, options: Options) -> Result<Self, Error> {
        let endpoint = discovery::choose(&card, None, &options)?;
        let transport = Transport::new(&options);
        Ok(Self::new(endpoint, Some(card), transport, options))
    }

    /// Talks to `url` over `binding` without a look at any card; the tenant is
    /// [`Options::tenant`], the version [`Options::version`] or 1.0.
    ///
    /// # Errors
    /// [`Error::Url`] if nothing can be sent there.
    pub fn direct(binding: Binding, url: &str, options: Options) -> Result<Self, Error> {
        let endpoint = Endpoint {
            binding,
            version: options.version.unwrap_or(Version::V1_0),
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
        match self.unary(Request::SendMessage(ask), call).await? {
            Response::Sent(answer) => Ok(answer),
            _ => Err(unasked()),
        }
    }

    /// Sends a message and follows what comes of it.
    ///
    /// # Errors
    /// See [`Error`]; what goes wrong after the stream began is an item of it.
    pub async fn stream(&self, ask: SendMessageRequest, call: &Call) -> Result<Events, Error> {
        self.streaming(Request::SendStreamingMessage(ask), call)
            .await
    }

    /// Reads one task.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_task(&self, ask: GetTaskRequest, call: &Call) -> Result<Task, Error> {
        match self.unary(Request::GetTask(ask), call).await? {
            Response::Task(answer) => Ok(answer),
            _ => Err(unasked()),
        }
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
        match self.unary(Request::ListTasks(ask), call).await? {
            Response::Tasks(answer) => Ok(answer),
            _ => Err(unasked()),
        }
    }

    /// Asks for a task to be stopped.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn cancel_task(&self, ask: CancelTaskRequest, call: &Call) -> Result<Task, Error> {
        match self.unary(Request::CancelTask(ask), call).await? {
            Response::Task(answer) => Ok(answer),
            _ => Err(unasked()),
        }
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
        self.streaming(Request::SubscribeToTask(ask), call).await
    }

    /// As [`Client::send`], but sends again what provably was not sent, and what `resume` allows.
    ///
    /// # Errors
    /// Those of the last attempt.
    pub async fn send_with(
        &self,
        ask: SendMessageRequest,
        call: &Call,
        resume: &Resume,
    ) -> Result<SendMessageResponse, Error> {
        follow::send(self, ask, call, resume).await
    }

    /// Sends a message and follows what comes of it to the task's rest, over as many streams as that
    /// takes.
    #[must_use]
    pub fn follow(&self, ask: SendMessageRequest, call: Call, resume: Resume) -> Follow {
        Follow::of_message(self.clone(), ask, call, resume)
    }

    /// Follows a task that runs to its rest, over as many streams as that takes.
    #[must_use]
    pub fn follow_task(&self, ask: SubscribeToTaskRequest, call: Call, resume: Resume) -> Follow {
        Follow::of_task(self.clone(), ask, call, resume)
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
        match self
            .unary(Request::CreateTaskPushNotificationConfig(ask), call)
            .await?
        {
            Response::Config(answer) => Ok(answer),
            _ => Err(unasked()),
        }
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
        match self
            .unary(Request::GetTaskPushNotificationConfig(ask), call)
            .await?
        {
            Response::Config(answer) => Ok(answer),
            _ => Err(unasked()),
        }
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
        match self
            .unary(Request::ListTaskPushNotificationConfigs(ask), call)
            .await?
        {
            Response::Configs(answer) => Ok(answer),
            _ => Err(unasked()),
        }
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
        let ask = Request::DeleteTaskPushNotificationConfig(ask);
        match self.unary(ask, call).await? {
            Response::Deleted => Ok(()),
            _ => Err(unasked()),
        }
    }

    /// Reads the card that authenticated callers get.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn extended_card(&self, call: &Call) -> Result<AgentCard, Error> {
        let ask = Request::GetExtendedAgentCard(GetExtendedAgentCardRequest::default());
        match self.unary(ask, call).await? {
            Response::Card(card) => Ok(*card),
            _ => Err(unasked()),
        }
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

    async fn unary(&self, ask: Request, call: &Call) -> Result<Response, Error> {
        let inner = &*self.0;
        let (dialect, operation) = (inner.endpoint.dialect(), ask.operation());
        let request = self.request(ask, call)?;
        let limit = inner.options.limits.answer;
        transport::within(self.deadline(call), async {
            let response = inner.transport.send(self.wire(), request).await?;
            wire::answer(dialect, operation, response, limit).await
        })
        .await
    }

    async fn streaming(&self, ask: Request, call: &Call) -> Result<Events, Error> {
        let inner = &*self.0;
        let (dialect, operation) = (inner.endpoint.dialect(), ask.operation());
        let request = self.request(ask, call)?;
        let limits = &inner.options.limits;
        transport::within(self.deadline(call), async {
            let mut response = inner.transport.send(self.wire(), request.clone()).await?;
            if let Some(other) = wire::other_form(dialect, operation, &request, &response) {
                response = inner.transport.send(self.wire(), other).await?;
            }
            let mut decoder = Decoder::new(dialect, operation, limits.event);
            decoder.begin(response.headers());
            let body = wire::begin(dialect, operation, response, limits.answer).await?;
            Ok(Events::new(body, decoder, inner.options.idle_timeout))
        })
        .await
    }

    fn request(&self, mut ask: Request, call: &Call) -> Result<http::Request<Full<Bytes>>, Error> {
        let endpoint = &self.0.endpoint;
        if let Some(tenant) = &endpoint.tenant
            && ask.tenant().is_empty()
        {
            ask.set_tenant(tenant.as_str());
        }
        let mut request = wire::request(endpoint.dialect(), &endpoint.base, &ask)?;
        let headers = request.headers_mut();
        if !ask.operation().streams()
            && let Some(within) = self.deadline(call)
        {
            wire::deadline(headers, endpoint.binding, within);
        }
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

/// An answer to another operation than the one asked for. The codecs read by the operation, so that it
/// takes a codec's own fault to come here.
fn unasked() -> Error {
    Error::Problem(Problem::new(
        Fault::InvalidAgentResponse,
        "the answer is to something else than was asked",
    ))
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
