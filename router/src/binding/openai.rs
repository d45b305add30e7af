//! Chat completions, as OpenAI's clients speak them, over A2A: every agent of the mesh is a model.
//!
//! The base to give a client is `http://HOST:PORT/v1`. `v1` names no agent, and none of the paths
//! here is one of A2A's (0.3 has `/v1/message:send`, `/v1/tasks` and so on), so the default agent
//! loses nothing. On a port of one agent's own that agent is the only model.
//!
//! A request is translated into one A2A message in the HTTP+JSON 1.0 dialect and goes through the
//! relay like every other call; the answer is translated back. `conversation` tells how a list of
//! messages becomes one message, `talk` how a task becomes one answer.
//!
//! What an agent has of its own is not the client's to set: `tools` and `response_format` are
//! refused, since an answer without them would mean something else than the client takes it for;
//! `temperature` and the like are not read. Tokens are not counted, since agents do not tell them.
//!
//! # Invariants
//! - Every answer is one that OpenAI's clients understand, errors included; none names a worker.
//! - A client whose request may have been seen is told not to send it again by itself: its own
//!   retries would otherwise start the work twice (`x-should-retry: false`).
//! - A stream that breaks never ends in `[DONE]`.

mod content;
mod conversation;
mod failure;
mod models;
mod request;
mod stream;
mod talk;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use mesh_proto::{
    AgentName, Binding, Dialect, Operation, Version,
    a2a::{self, send_message_response::Payload},
    json, mesh,
    rest::{self, Request as _},
    sse,
};
use serde_json::{Value, json};

use self::{
    failure::Failure,
    request::{Place, Request},
    stream::Chunks,
    talk::Talk,
};
use super::{Caller, Door, Front, intake};
use crate::{
    call::{Ask, Body, Farewell, Keys, LastWords, Reply},
    catalogue::Agent,
};

/// The header that names the conversation, in requests and answers.
pub(super) const CONTEXT: HeaderName = HeaderName::from_static("a2a-context-id");
/// The header that names the task, likewise.
pub(super) const TASK: HeaderName = HeaderName::from_static("a2a-task-id");

/// Headers that mean something to this binding only, or that our own request sets anew.
const NOT_ONWARD: [HeaderName; 7] = [
    CONTEXT,
    TASK,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    HeaderName::from_static("idempotency-key"),
];

/// A path of this binding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Page {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/models`.
    Models,
    /// `/v1/models/{id}`.
    Model(String),
    /// A path of OpenAI's that is not served, so that its client is told so in its own words.
    Other,
}

impl Page {
    pub(super) fn of(path: &str) -> Option<Self> {
        let below = path.strip_prefix("/v1/")?;
        let below = below.strip_suffix('/').unwrap_or(below);
        Some(match below {
            "chat/completions" => Self::Chat,
            "models" => Self::Models,
            "responses" | "completions" | "embeddings" => Self::Other,
            _ => Self::Model(below.strip_prefix("models/")?.to_owned()),
        })
    }
}

/// What every object of one answer repeats.
#[derive(Clone, Debug)]
struct Stamp {
    id: String,
    /// Seconds since 1970.
    created: u64,
    model: AgentName,
}

/// A call that is ready to go, and what its answer needs to know of it.
struct Prepared {
    ask: Ask,
    stamp: Stamp,
    talk: Talk,
    form: Form,
}

/// In which form the client wants its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Whole,
    Stream { with_usage: bool },
}

impl Front {
    pub(super) async fn answer_openai(
        &self,
        page: Page,
        caller: Caller,
        body: Incoming,
    ) -> Response<Body> {
        let reads = matches!(caller.method, Method::GET | Method::HEAD);
        match page {
            Page::Chat if caller.method != Method::POST => Failure::method("POST").response(),
            Page::Models | Page::Model(_) if !reads => Failure::method("GET, HEAD").response(),
            Page::Chat => match Box::pin(self.chat(&caller, body)).await {
                Ok(answer) => answer,
                Err(failure) => failure.response(),
            },
            Page::Models => answer(&self.models(&caller), &Place::default()),
            Page::Model(id) => match self.agent_of(&caller, &id) {
                Ok(agent) => answer(&models::model(&agent), &Place::default()),
                Err(failure) => failure.response(),
            },
            Page::Other => Failure::not_served().response(),
        }
    }

    async fn chat(&self, caller: &Caller, body: Incoming) -> Result<Response<Body>, Failure> {
        super::check_json(&caller.headers).map_err(|problem| Failure::of(&problem))?;
        let body = intake::read(body, &self.settings.body).await?;
        let body = intake::readable(&caller.headers, &body, &self.settings.body)?;
        let request = Request::read(&body)?;
        let prepared = self.prepare(caller, request)?;
        drop(body);
        let Prepared {
            ask,
            stamp,
            talk,
            form,
        } = prepared;
        let reply = self.relay.call(ask).await?;
        if !reply.status.is_success() {
            return Err(self.refusal(reply).await);
        }
        if let Form::Stream { with_usage } = form
            && is_event_stream(&reply.headers)
        {
            let limit = self.settings.body.body_bytes;
            let chunks = Chunks::new(reply.body, limit, stamp, talk, with_usage);
            return Box::pin(stream::respond(chunks)).await;
        }
        self.whole(reply, form, stamp, talk).await
    }

    /// Makes the call of a request.
    fn prepare(&self, caller: &Caller, request: Request) -> Result<Prepared, Failure> {
        request.check()?;
        let agent = self.agent_of(caller, &request.model)?;
        let named = Place::of_headers(&caller.headers);
        let message_id = message_id(&caller.headers);
        let stamp = Stamp {
            id: format!("chatcmpl-{message_id}"),
            created: mesh_runtime::clock::unix_millis() / 1000,
            model: agent.name.clone(),
        };
        let form = request.form();
        let mut sent = conversation::message(request, named, message_id)?;
        sent.tenant = agent.tenant(Binding::Rest).unwrap_or_default();
        let operation = match form {
            Form::Stream { .. } if streams(&agent) => Operation::SendStreamingMessage,
            Form::Stream { .. } | Form::Whole => Operation::SendMessage,
        };
        let ask = ask(caller, &agent, operation, &sent)?;
        let is_follow_up = ask.keys.task.is_some();
        Ok(Prepared {
            ask,
            stamp,
            talk: Talk::new(is_follow_up),
            form,
        })
    }

    /// The agent that a model's name means.
    fn agent_of(&self, caller: &Caller, model: &str) -> Result<std::sync::Arc<Agent>, Failure> {
        let snapshot = self.catalogue.snapshot();
        let is_here = match &caller.door {
            Door::Main => true,
            Door::Agent(own) => own.as_str() == model,
        };
        let found = snapshot.agent(model).filter(|_| is_here);
        found.cloned().ok_or_else(|| Failure::no_model(model))
    }

    /// An answer that came in one piece, in the form that the client wants.
    async fn whole(
        &self,
        reply: Reply,
        form: Form,
        stamp: Stamp,
        mut talk: Talk,
    ) -> Result<Response<Body>, Failure> {
        let body = self.collect(reply.body).await?;
        let sent: a2a::SendMessageResponse =
            json::from_slice(&body).map_err(|_| Failure::not_understood())?;
        let event = match sent.payload {
            Some(Payload::Task(task)) => a2a::stream_response::Payload::Task(task),
            Some(Payload::Message(message)) => a2a::stream_response::Payload::Message(message),
            None => return Err(Failure::not_understood()),
        };
        let said = talk.whole(event)?;
        let place = talk.place();
        if let Form::Stream { with_usage } = form {
            let written = stream::written(&stamp, place, &said, with_usage);
            return Ok(stream::head(place, crate::call::whole(written)));
        }
        let completion = json!({
            "id": stamp.id, "object": "chat.completion", "created": stamp.created,
            "model": stamp.model.as_str(),
            "choices": [{
                "index": 0, "finish_reason": said.ending.as_str(), "logprobs": null,
                "message": {
                    "role": "assistant", "content": said.content, "refusal": null, "a2a": place,
                },
            }],
            "usage": usage(),
            "a2a": place,
        });
        Ok(answer(&completion, place))
    }

    /// The agent's own refusal, or that of a router behind this one.
    async fn refusal(&self, reply: Reply) -> Failure {
        let status = reply.status;
        let mut failure = match self.collect(reply.body).await {
            Ok(body) => Failure::answered(&rest::problem(status, &body)),
            Err(failure) => failure,
        };
        // What a client needs in order to come back with better credentials, or later.
        failure.keep(&reply.headers);
        failure
    }

    async fn collect(&self, body: Body) -> Result<Bytes, Failure> {
        let limited = Limited::new(body, self.settings.body.body_bytes);
        let collected = limited.collect().await;
        collected
            .map(http_body_util::Collected::to_bytes)
            .map_err(|_| Failure::broken())
    }
}

fn ask(
    caller: &Caller,
    agent: &Agent,
    operation: Operation,
    sent: &a2a::SendMessageRequest,
) -> Result<Ask, Failure> {
    let mut headers = caller.onward();
    for name in NOT_ONWARD {
        headers.remove(name);
    }
    let accepted = match operation {
        Operation::SendStreamingMessage => "text/event-stream",
        _ => "application/json",
    };
    headers.insert(header::ACCEPT, HeaderValue::from_static(accepted));
    let kind = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, kind);
    let version = HeaderValue::from_static(Version::V1_0.as_str());
    headers.insert(HeaderName::from_static(mesh::A2A_VERSION), version);
    let own = |id: &str| (!id.is_empty()).then(|| Box::from(id));
    let message = sent.message.as_ref();
    let keys = Keys {
        tenant: sent.ids().tenant.and_then(own),
        task: message.and_then(|message| own(&message.task_id)),
        context: message.and_then(|message| own(&message.context_id)),
        message: message.and_then(|message| own(&message.message_id)),
        skill: None,
    };
    let call = rest::call(operation, sent).map_err(|problem| Failure::of(&problem))?;
    Ok(Ask {
        agent: agent.name.clone(),
        dialect: Dialect::new(Binding::Rest, Version::V1_0),
        operation,
        keys,
        method: call.method,
        path: call.path.into(),
        headers,
        body: call.body.unwrap_or_default(),
        plain: None,
        hops: caller.hops(),
        trace: caller.trace(),
        farewell: Farewell {
            id: None,
            write: |_, problem| {
                let (_, data) = rest::error(problem);
                LastWords::Event(sse::write(&sse::Event::of_data(&data)))
            },
        },
    })
}

/// Whether an agent streams, by its card. One that does not say so is asked in one piece, and its
/// answer is written as a stream: the client can't know which agents do.
fn streams(agent: &Agent) -> bool {
    agent
        .card()
        .is_none_or(|card| models::says_that_it_streams(&card))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// The id of the message that is sent: the caller's own key for this request, where it has one, so
/// that a repeated request is recognised by agents that look at it; else a new one.
fn message_id(headers: &HeaderMap) -> String {
    let key = headers.get("idempotency-key");
    let key = key.and_then(|key| key.to_str().ok());
    key.filter(|key| mesh_proto::MessageId::parse(key).is_ok())
        .map_or_else(|| mesh_runtime::dice::uuid().to_string(), str::to_owned)
}

/// OpenAI's clients expect the numbers; an agent tells none.
fn usage() -> Value {
    json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})
}

fn answer(body: &Value, place: &Place) -> Response<Body> {
    let mut response = super::json(StatusCode::OK, "application/json", json::to_bytes(body));
    place.tell(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_of_a2a_is_one_of_openais() {
        for path in [
            "/v1/message:send",
            "/v1/message:stream",
            "/v1/tasks/t",
            "/v1/card",
            "/v1",
            "/v1/",
            "/models",
            "/assistant/v1/models",
        ] {
            assert_eq!(Page::of(path), None, "{path}");
        }
        assert_eq!(Page::of("/v1/chat/completions/"), Some(Page::Chat));
        assert_eq!(
            Page::of("/v1/models/desk"),
            Some(Page::Model("desk".to_owned()))
        );
    }

    #[test]
    fn a_callers_own_key_is_the_messages_id_where_it_can_be_one() {
        let keyed = |key: &str| {
            HeaderMap::from_iter([(
                HeaderName::from_static("idempotency-key"),
                HeaderValue::from_str(key).unwrap(),
            )])
        };
        assert_eq!(message_id(&keyed("mine")), "mine");
        for none in [HeaderMap::new(), keyed(""), keyed(&"x".repeat(5000))] {
            assert_eq!(message_id(&none).len(), 36);
        }
    }
}
