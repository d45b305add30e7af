//! What a request must be before anything is done: the problem names the field that is wrong.

use mesh_proto::{
    Fault, Problem,
    a2a::{Message, Part, Role, part::Content},
    ids,
};

/// How many parts a message may have; one more is refused.
const PARTS: usize = 1000;

/// Checks an id of the caller's.
pub(super) fn id(field: &str, text: &str) -> Result<(), Problem> {
    ids::TaskId::parse(text)
        .map(|_| ())
        .map_err(|error| wrong(field, &error.to_string()))
}

/// Checks a number of messages.
pub(super) fn history_length(length: Option<i32>) -> Result<Option<usize>, Problem> {
    length
        .map(|length| {
            usize::try_from(length).map_err(|_| wrong("historyLength", "must not be negative"))
        })
        .transpose()
}

/// Checks a message that is sent to the agent.
pub(super) fn message(message: Option<Message>) -> Result<Message, Problem> {
    let message = message.ok_or_else(|| wrong("message", "is required"))?;
    if message.message_id.is_empty() {
        return Err(wrong("message.messageId", "is required"));
    }
    id("message.messageId", &message.message_id)?;
    for (field, text) in [
        ("message.contextId", &message.context_id),
        ("message.taskId", &message.task_id),
    ] {
        if !text.is_empty() {
            id(field, text)?;
        }
    }
    match message.role() {
        Role::User => {}
        Role::Agent => return Err(wrong("message.role", "must be ROLE_USER")),
        Role::Unspecified => return Err(wrong("message.role", "is required")),
    }
    if message.parts.is_empty() {
        return Err(wrong("message.parts", "must not be empty"));
    }
    if message.parts.len() > PARTS {
        return Err(wrong("message.parts", "are too many"));
    }
    if let Some(at) = message.parts.iter().position(|part| part.content.is_none()) {
        let field = format!("message.parts[{at}]");
        return Err(wrong(&field, "has neither text nor raw nor url nor data"));
    }
    if !message.parts.iter().any(is_readable) {
        return Err(Problem::new(
            Fault::ContentTypeNotSupported,
            "no part of the message is of a media type that this agent reads: text/* or \
             application/json",
        ));
    }
    Ok(message)
}

/// Whether an agent can make something of a part. A text says by itself what it is, unless it names a
/// type that is no text.
fn is_readable(part: &Part) -> bool {
    let kind = part.media_type.split(';').next().unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    let textual =
        kind.starts_with("text/") || kind == "application/json" || kind.ends_with("+json");
    match &part.content {
        Some(Content::Text(_) | Content::Data(_)) => textual || kind.is_empty(),
        Some(Content::Raw(_)) => kind.starts_with("text/"),
        // It is named to the model, which may have a tool for it.
        Some(Content::Url(_)) => textual || kind.is_empty(),
        None => false,
    }
}

pub(super) fn wrong(field: &str, why: &str) -> Problem {
    Problem::new(Fault::InvalidParams, format!("{field} {why}")).with("field", field)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn part(content: Content, media_type: &str) -> Part {
        Part {
            content: Some(content),
            media_type: media_type.to_owned(),
            ..Part::default()
        }
    }

    fn fine() -> Message {
        Message {
            message_id: "m".to_owned(),
            role: Role::User.into(),
            parts: vec![part(Content::Text("hi".to_owned()), "")],
            ..Message::default()
        }
    }

    #[test]
    fn a_problem_names_the_field() {
        assert!(message(Some(fine())).is_ok());
        let spoilt = |spoil: fn(&mut Message)| {
            let mut spoilt = fine();
            spoil(&mut spoilt);
            let problem = message(Some(spoilt)).unwrap_err();
            (problem.fault, problem.metadata.get("field").cloned())
        };
        let invalid = |field: &str| (Fault::InvalidParams, Some(field.to_owned()));
        assert_eq!(message(None).unwrap_err().fault, Fault::InvalidParams);
        assert_eq!(
            spoilt(|m| m.message_id.clear()),
            invalid("message.messageId")
        );
        assert_eq!(
            spoilt(|m| m.role = Role::Agent.into()),
            invalid("message.role")
        );
        assert_eq!(spoilt(|m| m.role = 0), invalid("message.role"));
        assert_eq!(spoilt(|m| m.parts.clear()), invalid("message.parts"));
        assert_eq!(
            spoilt(|m| m.parts.push(Part::default())),
            invalid("message.parts[1]")
        );
        assert_eq!(
            spoilt(|m| m.context_id = "x".repeat(5000)),
            invalid("message.contextId")
        );
        assert_eq!(
            spoilt(|m| m.task_id = "\n".to_owned()),
            invalid("message.taskId")
        );
    }

    #[test]
    fn one_readable_part_is_enough() {
        let raw = |kind| part(Content::Raw(Bytes::from_static(b"x")), kind);
        let text = |kind| part(Content::Text("x".to_owned()), kind);
        let judge = |parts: Vec<Part>| {
            let judged = message(Some(Message { parts, ..fine() }));
            judged.err().map(|problem| problem.fault)
        };
        let refused = Some(Fault::ContentTypeNotSupported);
        assert_eq!(judge(vec![raw("image/png")]), refused);
        assert_eq!(judge(vec![raw("")]), refused);
        assert_eq!(judge(vec![text("application/x-unreadable")]), refused);
        assert_eq!(judge(vec![raw("image/png"), text("")]), None);
        assert_eq!(judge(vec![raw("text/plain; charset=utf-8")]), None);
        assert_eq!(judge(vec![text("text/markdown")]), None);
    }

    #[test]
    fn a_history_has_no_negative_length() {
        assert_eq!(history_length(None), Ok(None));
        assert_eq!(history_length(Some(0)), Ok(Some(0)));
        assert!(history_length(Some(-1)).is_err());
    }
}
