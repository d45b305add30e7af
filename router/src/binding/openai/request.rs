//! The request as OpenAI's clients write it, as far as it means something to an agent.
//!
//! # Invariants
//! - Unknown fields are not read; a field that would change what the answer means is refused, never
//!   silently dropped.

use http::{HeaderMap, HeaderValue};
use mesh_proto::{ContextId, Fault, Problem, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Form, failure::Failure};

/// Where in the mesh's own terms a conversation stands: the extension field `a2a`, in requests and
/// in answers.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Place {
    /// The conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) context_id: Option<String>,
    /// The task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) task_id: Option<String>,
    /// The task's state, by the name that A2A 1.0 has for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
}

/// One request.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    pub(super) model: String,
    pub(super) messages: Vec<Message>,
    #[serde(default)]
    pub(super) metadata: Option<Map<String, Value>>,
    /// The extension by which a client names a conversation or a task.
    #[serde(default)]
    pub(super) a2a: Option<Place>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    n: Option<u64>,
    #[serde(default)]
    tools: Option<Vec<Value>>,
    #[serde(default)]
    functions: Option<Vec<Value>>,
    #[serde(default)]
    tool_choice: Option<Value>,
    #[serde(default)]
    response_format: Option<Kind>,
    #[serde(default)]
    modalities: Option<Vec<String>>,
}

/// One message of the conversation.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) role: Role,
    #[serde(default)]
    pub(super) content: Value,
    /// What an answer of ours carried, where the client sends the message back as it came.
    #[serde(default)]
    pub(super) a2a: Option<Place>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
    Function,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    r#type: String,
}

impl Place {
    /// What the request's headers name.
    pub(super) fn of_headers(headers: &HeaderMap) -> Self {
        let said = |name| headers.get(name)?.to_str().ok().map(str::to_owned);
        Self {
            context_id: said(super::CONTEXT),
            task_id: said(super::TASK),
            state: None,
        }
    }

    /// What OpenAI's own `metadata` names, for clients that can set nothing else.
    pub(super) fn of_metadata(metadata: &mut Map<String, Value>) -> Self {
        let mut said = |name| match metadata.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        Self {
            context_id: said("a2a_context_id"),
            task_id: said("a2a_task_id"),
            state: None,
        }
    }

    /// The same without empty ids, which are as good as none; none at all where none is left.
    ///
    /// # Errors
    /// An id that can be none.
    pub(super) fn checked(self) -> Result<Option<Self>, Failure> {
        let set = |id: Option<String>| id.filter(|id| !id.is_empty());
        let (context_id, task_id) = (set(self.context_id), set(self.task_id));
        let wrong = |what: &str, why| Failure::param("a2a", format!("the {what} id {why}"));
        if let Some(id) = &context_id {
            ContextId::parse(id).map_err(|why| wrong("context", why))?;
        }
        if let Some(id) = &task_id {
            TaskId::parse(id).map_err(|why| wrong("task", why))?;
        }
        let any = context_id.is_some() || task_id.is_some();
        Ok(any.then_some(Self {
            context_id,
            task_id,
            state: self.state,
        }))
    }

    /// Repeats the ids in an answer's head.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        for (name, id) in [
            (super::CONTEXT, &self.context_id),
            (super::TASK, &self.task_id),
        ] {
            if let Some(id) = id
                && let Ok(value) = HeaderValue::from_str(id)
            {
                headers.insert(name, value);
            }
        }
    }
}

impl Request {
    pub(super) fn read(body: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(body).map_err(|error| {
            let fault = match error.classify() {
                serde_json::error::Category::Data => Fault::InvalidParams,
                _ => Fault::Parse,
            };
            Failure::of(&Problem::new(fault, error.to_string()))
        })
    }

    /// Refuses what an agent can't be asked for.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.n.is_some_and(|n| n != 1) {
            let message = "an agent gives one answer; n must be 1";
            return Err(Failure::unsupported("n", message));
        }
        // A client that offers tools waits for them to be called. With `none` it does not.
        let calls = self.tool_choice.as_ref().and_then(Value::as_str) != Some("none");
        let offers = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let message = "an agent has tools of its own and calls none of the client's; leave them \
                       out, or send tool_choice \"none\"";
        if calls && offers(&self.tools) {
            return Err(Failure::unsupported("tools", message));
        }
        if calls && offers(&self.functions) {
            return Err(Failure::unsupported("functions", message));
        }
        let format = self.response_format.as_ref();
        if format.is_some_and(|format| format.r#type != "text") {
            let message = "the form of an agent's answer is its own; only the type text is taken";
            return Err(Failure::unsupported("response_format", message));
        }
        let modes = self.modalities.iter().flatten();
        if modes.into_iter().any(|mode| mode != "text") {
            let message = "an agent's answer comes as text";
            return Err(Failure::unsupported("modalities", message));
        }
        Ok(())
    }

    pub(super) fn form(&self) -> Form {
        if !self.stream.unwrap_or(false) {
            return Form::Whole;
        }
        let options = self.stream_options.as_ref();
        let with_usage = options.and_then(|options| options.include_usage);
        Form::Stream {
            with_usage: with_usage.unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> String {
        let request = format!(r#"{{"model":"a","messages":[],{body}}}"#);
        match Request::read(request.as_bytes()).unwrap().check() {
            Ok(()) => "fine".to_owned(),
            Err(failure) => failure.to_json()["error"]["param"]
                .as_str()
                .unwrap()
                .to_owned(),
        }
    }

    #[test]
    fn what_would_change_the_answers_meaning_is_refused_and_the_rest_is_not_read() {
        for (body, refused) in [
            (r#""n":2"#, "n"),
            (r#""tools":[{"type":"function"}]"#, "tools"),
            (r#""functions":[{"name":"f"}]"#, "functions"),
            (
                r#""response_format":{"type":"json_object"}"#,
                "response_format",
            ),
            (r#""modalities":["text","audio"]"#, "modalities"),
            (
                r#""tools":[{"type":"function"}],"tool_choice":"none""#,
                "fine",
            ),
            (
                r#""tools":[],"n":1,"stream":null,"stop":["x"],"seed":7"#,
                "fine",
            ),
            (
                r#""temperature":0.2,"response_format":{"type":"text"}"#,
                "fine",
            ),
        ] {
            assert_eq!(code(body), refused, "{body}");
        }
    }

    #[test]
    fn an_id_that_is_empty_is_none_and_one_that_can_be_none_is_refused() {
        let place = |context: &str| Place {
            context_id: Some(context.to_owned()),
            ..Place::default()
        };
        assert_eq!(place("").checked().unwrap(), None);
        assert_eq!(place("c").checked().unwrap(), Some(place("c")));
        assert!(place("a\nb").checked().is_err());
        assert!(place(&"x".repeat(2000)).checked().is_err());
    }
}
