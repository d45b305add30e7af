//! How a list of chat messages becomes one A2A message.
//!
//! A chat client sends the whole conversation with every request; an agent remembers it, under a
//! context id. So the question is which conversation a request goes on with, and it is answered by
//! the first of these that names one:
//!
//! 1. the headers `a2a-context-id` and `a2a-task-id`;
//! 2. the request's extension field `a2a: {context_id, task_id}`;
//! 3. OpenAI's own `metadata`: `a2a_context_id`, `a2a_task_id`;
//! 4. the last assistant message, where the client sends it back with the `a2a` that our answer had
//!    put on it. A client that appends our message to its list as it came needs nothing else.
//!
//! With a conversation, only what is new is sent: the messages after the last assistant's. A task is
//! gone on with where the client names it, or where the last answer left it waiting for input.
//!
//! Without one the agent knows nothing yet. It gets the earlier turns as one text in front of what is
//! new, each with the name of who spoke; a first message alone is sent as it is.
//!
//! System and developer messages go in front likewise, where they are new: an agent has instructions
//! of its own, and treats these as the caller's wishes.
//!
//! # Invariants
//! - What the user says now is the last thing in the message, part by part, unchanged.

use mesh_proto::{a2a, json, mesh};
use serde_json::Value;

use super::{
    content,
    failure::Failure,
    request::{Message, Place, Request, Role},
};

/// Makes the message. `named` is what the headers say.
pub(super) fn message(
    request: Request,
    named: Place,
    message_id: String,
) -> Result<a2a::SendMessageRequest, Failure> {
    let Request {
        mut messages,
        metadata,
        a2a,
        ..
    } = request;
    let mut metadata = metadata.unwrap_or_default();
    let in_metadata = Place::of_metadata(&mut metadata);
    let answered = messages
        .iter()
        .rposition(|message| message.role == Role::Assistant);
    let remembered = answered.and_then(|at| messages.get_mut(at)?.a2a.take());
    let stated = match named.checked()? {
        Some(place) => Some(place),
        None => match a2a.unwrap_or_default().checked()? {
            Some(place) => Some(place),
            None => in_metadata.checked()?,
        },
    };
    let place = placed(stated, remembered.unwrap_or_default().checked()?);
    let first_new = answered.map_or(0, |at| at + 1);
    let new = messages.split_off(first_new);
    let earlier = if place == Place::default() {
        messages
    } else {
        Vec::new()
    };
    let mut parts: Vec<a2a::Part> = preamble(&earlier, &new)
        .map(content::text_part)
        .into_iter()
        .collect();
    let mut is_said = false;
    for (number, message) in (first_new..).zip(new) {
        if !message.role.instructs() {
            let said = content::parts(message.content, &format!("messages[{number}]"))?;
            is_said |= !said.is_empty();
            parts.extend(said);
        }
    }
    if !is_said {
        let why = "there is nothing new to send: the last message must be the user's";
        return Err(Failure::param("messages", why));
    }
    Ok(a2a::SendMessageRequest {
        message: Some(a2a::Message {
            message_id,
            context_id: place.context_id.unwrap_or_default(),
            task_id: place.task_id.unwrap_or_default(),
            role: a2a::Role::User.into(),
            parts,
            ..a2a::Message::default()
        }),
        metadata: json::object(&Value::Object(metadata)).filter(|all| !all.fields.is_empty()),
        ..a2a::SendMessageRequest::default()
    })
}

/// What is stated goes before what is remembered; but a task that waits for this very answer is gone
/// on with also where only its conversation is stated.
fn placed(stated: Option<Place>, remembered: Option<Place>) -> Place {
    let waits = |place: &Place| {
        let state = place.state.as_deref();
        let state = state.and_then(a2a::TaskState::from_str_name);
        matches!(
            state,
            Some(a2a::TaskState::InputRequired | a2a::TaskState::AuthRequired)
        )
    };
    let remembered = remembered.map(|mut place| {
        if !waits(&place) {
            place.task_id = None;
        }
        place
    });
    match (stated, remembered) {
        (Some(mut stated), Some(remembered)) => {
            let is_same = stated.context_id == remembered.context_id;
            if is_same && stated.task_id.is_none() {
                stated.task_id = remembered.task_id;
            }
            stated
        }
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => Place::default(),
    }
}

/// What goes in front of the user's words: instructions, and turns that the agent was not there for.
fn preamble(earlier: &[Message], new: &[Message]) -> Option<String> {
    let all = || earlier.iter().chain(new);
    let instructions: Vec<String> = all()
        .filter(|message| message.role.instructs())
        .map(|message| content::told(&message.content))
        .filter(|text| !text.is_empty())
        .collect();
    let turns: Vec<String> = earlier
        .iter()
        .filter_map(|message| {
            let text = content::told(&message.content);
            let speaker = message.role.speaker()?;
            (!text.is_empty()).then(|| format!("{speaker}: {text}"))
        })
        .collect();
    let mut blocks = Vec::new();
    if !instructions.is_empty() {
        blocks.push(format!("Instructions:\n{}", instructions.join("\n\n")));
    }
    if !turns.is_empty() {
        blocks.push(format!("The conversation so far:\n{}", turns.join("\n")));
    }
    if blocks.is_empty() {
        return None;
    }
    blocks.push(format!("{}\n", mesh::TO_ANSWER));
    Some(blocks.join("\n\n"))
}

impl Role {
    const fn instructs(self) -> bool {
        matches!(self, Self::System | Self::Developer)
    }

    const fn speaker(self) -> Option<&'static str> {
        match self {
            Self::User => Some("user"),
            Self::Assistant => Some("assistant"),
            Self::Tool | Self::Function => Some("tool"),
            Self::System | Self::Developer => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use mesh_proto::a2a::part::Content;
    use serde_json::json;

    use super::*;

    fn made(request: &Value, named: Place) -> Result<a2a::Message, Failure> {
        let mut request = request.clone();
        request["model"] = "a".into();
        let request = Request::read(request.to_string().as_bytes())?;
        let made = message(request, named, "m".to_owned())?;
        Ok(made.message.unwrap())
    }

    fn texts(message: &a2a::Message) -> Vec<&str> {
        let parts = message.parts.iter();
        parts
            .map(|part| match &part.content {
                Some(Content::Text(text)) => text.as_str(),
                _ => "(no text)",
            })
            .collect()
    }

    fn place(context: &str, task: &str) -> Place {
        Place {
            context_id: Some(context.to_owned()),
            task_id: Some(task.to_owned()),
            state: None,
        }
    }

    #[test]
    fn a_first_message_is_sent_as_it_is() {
        let request = json!({"messages": [{"role": "user", "content": "hello"}]});
        let message = made(&request, Place::default()).unwrap();
        assert_eq!(texts(&message), ["hello"]);
        assert_eq!((message.context_id, message.task_id), Default::default());
        assert_eq!(message.message_id, "m");
    }

    #[test]
    fn an_agent_that_was_not_there_is_told_what_was_said() {
        let request = json!({"messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "image_url"}]},
            {"role": "assistant", "content": "two", "tool_calls": []},
            {"role": "user", "content": "three"}, {"role": "user", "content": "four"}]});
        let message = made(&request, Place::default()).unwrap();
        let first = "Instructions:\nBe brief.\n\nThe conversation so far:\nuser: one\n[image_url]\n\
                     assistant: two\n\nThe message to answer:\n";
        assert_eq!(texts(&message), [first, "three", "four"]);
    }

    #[test]
    fn in_a_named_conversation_only_what_is_new_is_sent() {
        let mut request = json!({"messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"}]});
        let by_header = made(&request, place("c", "")).unwrap();
        assert_eq!(
            (texts(&by_header), by_header.context_id.as_str()),
            (vec!["three"], "c")
        );
        request["metadata"] = json!({"a2a_context_id": "d", "a2a_task_id": "t"});
        let by_metadata = made(&request, Place::default()).unwrap();
        assert_eq!(
            (
                by_metadata.context_id.as_str(),
                by_metadata.task_id.as_str()
            ),
            ("d", "t")
        );
        request["a2a"] = json!({"context_id": "e"});
        let by_field = made(&request, Place::default()).unwrap();
        assert_eq!(
            (by_field.context_id.as_str(), by_field.task_id.as_str()),
            ("e", "")
        );
        assert_eq!(made(&request, place("c", "")).unwrap().context_id, "c");
    }

    #[test]
    fn an_answer_that_is_sent_back_as_it_came_goes_on_with_its_conversation() {
        let after = |state: &str| {
            json!({"messages": [
                {"role": "user", "content": "book a desk"},
                {"role": "assistant", "content": "for whom?",
                    "a2a": {"context_id": "c", "task_id": "t", "state": state}},
                {"role": "user", "content": "me"}]})
        };
        let waits = made(&after("TASK_STATE_INPUT_REQUIRED"), Place::default()).unwrap();
        assert_eq!(
            (waits.context_id.as_str(), waits.task_id.as_str()),
            ("c", "t")
        );
        assert_eq!(texts(&waits), ["me"]);
        let done = made(&after("TASK_STATE_COMPLETED"), Place::default()).unwrap();
        assert_eq!((done.context_id.as_str(), done.task_id.as_str()), ("c", ""));
        let same = made(&after("TASK_STATE_INPUT_REQUIRED"), place("c", "")).unwrap();
        assert_eq!(same.task_id, "t");
        let other = made(&after("TASK_STATE_INPUT_REQUIRED"), place("d", "")).unwrap();
        assert_eq!(
            (other.context_id.as_str(), other.task_id.as_str()),
            ("d", "")
        );
    }

    #[test]
    fn a_conversation_that_ends_with_the_assistant_has_nothing_to_send() {
        for messages in [
            json!([]),
            json!([{"role": "system", "content": "Be brief."}]),
            json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]),
            json!([{"role": "user"}]),
        ] {
            let failure = made(&json!({"messages": messages}), Place::default()).unwrap_err();
            assert_eq!(failure.to_json()["error"]["param"], "messages");
        }
    }
}
