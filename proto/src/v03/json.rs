//! The objects of 0.3 in JSON, as JSON-RPC carries them and pushes do: told apart by `kind`, with small
//! words for states and roles.
//!
//! Facts: the JSON schema of 0.3, and what the SDKs' servers write and take. Names are read in camelCase
//! and in snake_case: pydantic takes both, and the Go SDK writes snake_case over HTTP+JSON.
//!
//! # Invariants
//! - `kind` may stand anywhere in its object, and may be missing: the fields that only one of the kinds
//!   has tell it then, as they do for the SDKs.
//! - What 0.3 requires is written even when it is empty.

mod config;
mod part;
mod word;

use prost_types::Struct;
use serde::{de::MapAccess, ser::SerializeMap};

use super::shape::{As, Shape, get, put, put_list, put_some, put_text, take};
use crate::{
    a2a::{self, stream_response::Payload},
    protojson::{Field, Flag, List, Object, Text},
};

pub(super) use config::{ConfigQuery, SendParams, TaskConfig, TaskParams, TaskQuery};
pub(super) use part::{Part, unwrap, wrap};
pub(super) use word::{Role, Stamp, State};

/// `Task`.
pub(super) struct Task;

impl Shape for Task {
    type Value = a2a::Task;
    type Draft = a2a::Task;
    const NAME: &'static str = "Task";

    fn write<M: SerializeMap>(task: &a2a::Task, out: &mut M) -> Result<(), M::Error> {
        out.serialize_entry("kind", "task")?;
        put::<Text, M>(out, "id", &task.id)?;
        put::<Text, M>(out, "contextId", &task.context_id)?;
        put_status(out, task.status.as_ref())?;
        put_list::<As<Artifact>, M>(out, "artifacts", &task.artifacts)?;
        put_list::<As<Message>, M>(out, "history", &task.history)?;
        put_some::<Object, M>(out, "metadata", task.metadata.as_ref())
    }

    fn read<'de, A: MapAccess<'de>>(
        task: &mut a2a::Task,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "id" => task.id = get::<Text, A>(from)?,
            "contextId" | "context_id" => task.context_id = get::<Text, A>(from)?,
            "status" => task.status = take::<As<Status>, A>(from)?,
            "artifacts" => task.artifacts = get::<List<As<Artifact>>, A>(from)?,
            "history" => task.history = get::<List<As<Message>>, A>(from)?,
            "metadata" => task.metadata = take::<Object, A>(from)?,
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(task: a2a::Task) -> Result<a2a::Task, &'static str> {
        Ok(task)
    }
}

/// `TaskStatus`.
pub(super) struct Status;

impl Shape for Status {
    type Value = a2a::TaskStatus;
    type Draft = a2a::TaskStatus;
    const NAME: &'static str = "TaskStatus";

    fn write<M: SerializeMap>(status: &a2a::TaskStatus, out: &mut M) -> Result<(), M::Error> {
        put::<State, M>(out, "state", &status.state)?;
        put_some::<As<Message>, M>(out, "message", status.message.as_ref())?;
        let time = Some(&status.timestamp).filter(|time| time.is_some());
        put_some::<Stamp, M>(out, "timestamp", time)
    }

    fn read<'de, A: MapAccess<'de>>(
        status: &mut a2a::TaskStatus,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "state" => status.state = get::<State, A>(from)?,
            "message" => status.message = take::<As<Message>, A>(from)?,
            "timestamp" => status.timestamp = get::<Stamp, A>(from)?,
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(status: a2a::TaskStatus) -> Result<a2a::TaskStatus, &'static str> {
        Ok(status)
    }
}

/// A status is required in 0.3; where the pivot has none, its state is unknown.
fn put_status<M: SerializeMap>(
    out: &mut M,
    status: Option<&a2a::TaskStatus>,
) -> Result<(), M::Error> {
    match status {
        Some(status) => put::<As<Status>, M>(out, "status", status),
        None => put::<As<Status>, M>(out, "status", &a2a::TaskStatus::default()),
    }
}

/// `Message`.
pub(super) struct Message;

impl Shape for Message {
    type Value = a2a::Message;
    type Draft = a2a::Message;
    const NAME: &'static str = "Message";

    fn write<M: SerializeMap>(message: &a2a::Message, out: &mut M) -> Result<(), M::Error> {
        out.serialize_entry("kind", "message")?;
        put::<Text, M>(out, "messageId", &message.message_id)?;
        put_text(out, "contextId", &message.context_id)?;
        put_text(out, "taskId", &message.task_id)?;
        put::<Role, M>(out, "role", &message.role)?;
        put::<List<As<Part>>, M>(out, "parts", &message.parts)?;
        put_some::<Object, M>(out, "metadata", message.metadata.as_ref())?;
        put_list::<Text, M>(out, "extensions", &message.extensions)?;
        put_list::<Text, M>(out, "referenceTaskIds", &message.reference_task_ids)
    }

    fn read<'de, A: MapAccess<'de>>(
        message: &mut a2a::Message,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "messageId" | "message_id" => message.message_id = get::<Text, A>(from)?,
            "contextId" | "context_id" => message.context_id = get::<Text, A>(from)?,
            "taskId" | "task_id" => message.task_id = get::<Text, A>(from)?,
            "role" => message.role = get::<Role, A>(from)?,
            "parts" => message.parts = get::<List<As<Part>>, A>(from)?,
            "metadata" => message.metadata = take::<Object, A>(from)?,
            "extensions" => message.extensions = get::<List<Text>, A>(from)?,
            "referenceTaskIds" | "reference_task_ids" => {
                message.reference_task_ids = get::<List<Text>, A>(from)?;
            }
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(message: a2a::Message) -> Result<a2a::Message, &'static str> {
        Ok(message)
    }
}

/// `Artifact`.
pub(super) struct Artifact;

impl Shape for Artifact {
    type Value = a2a::Artifact;
    type Draft = a2a::Artifact;
    const NAME: &'static str = "Artifact";

    fn write<M: SerializeMap>(artifact: &a2a::Artifact, out: &mut M) -> Result<(), M::Error> {
        put::<Text, M>(out, "artifactId", &artifact.artifact_id)?;
        put_text(out, "name", &artifact.name)?;
        put_text(out, "description", &artifact.description)?;
        put::<List<As<Part>>, M>(out, "parts", &artifact.parts)?;
        put_some::<Object, M>(out, "metadata", artifact.metadata.as_ref())?;
        put_list::<Text, M>(out, "extensions", &artifact.extensions)
    }

    fn read<'de, A: MapAccess<'de>>(
        artifact: &mut a2a::Artifact,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "artifactId" | "artifact_id" => artifact.artifact_id = get::<Text, A>(from)?,
            "name" => artifact.name = get::<Text, A>(from)?,
            "description" => artifact.description = get::<Text, A>(from)?,
            "parts" => artifact.parts = get::<List<As<Part>>, A>(from)?,
            "metadata" => artifact.metadata = take::<Object, A>(from)?,
            "extensions" => artifact.extensions = get::<List<Text>, A>(from)?,
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(artifact: a2a::Artifact) -> Result<a2a::Artifact, &'static str> {
        Ok(artifact)
    }
}

/// What a send answers, and each event of a stream: one of four objects, not wrapped.
pub(super) struct Happening;

/// The fields of all four. No two kinds use a name differently, so `kind` need not come first.
#[derive(Default)]
pub(super) struct Bare {
    kind: String,
    task: a2a::Task,
    message: a2a::Message,
    artifact: Option<a2a::Artifact>,
    metadata: Option<Struct>,
    append: bool,
    last_chunk: bool,
}

impl Bare {
    /// The kind that is said, or that the fields tell.
    fn kind(&self) -> &str {
        match self.kind.as_str() {
            "" if !self.message.message_id.is_empty() => "message",
            "" if self.artifact.is_some() => "artifact-update",
            "" if !self.message.task_id.is_empty() && self.task.status.is_some() => "status-update",
            "" if !self.task.id.is_empty() => "task",
            said => said,
        }
    }
}

impl Shape for Happening {
    type Value = Payload;
    type Draft = Bare;
    const NAME: &'static str = "Task, Message or event";

    fn write<M: SerializeMap>(payload: &Payload, out: &mut M) -> Result<(), M::Error> {
        match payload {
            Payload::Task(task) => Task::write(task, out),
            Payload::Message(message) => Message::write(message, out),
            Payload::StatusUpdate(update) => {
                out.serialize_entry("kind", "status-update")?;
                put::<Text, M>(out, "taskId", &update.task_id)?;
                put::<Text, M>(out, "contextId", &update.context_id)?;
                put_status(out, update.status.as_ref())?;
                put::<Flag, M>(out, "final", &super::is_final(update.status.as_ref()))?;
                put_some::<Object, M>(out, "metadata", update.metadata.as_ref())
            }
            Payload::ArtifactUpdate(update) => {
                out.serialize_entry("kind", "artifact-update")?;
                put::<Text, M>(out, "taskId", &update.task_id)?;
                put::<Text, M>(out, "contextId", &update.context_id)?;
                let none = a2a::Artifact::default();
                let artifact = update.artifact.as_ref().unwrap_or(&none);
                put::<As<Artifact>, M>(out, "artifact", artifact)?;
                put::<Flag, M>(out, "append", &update.append)?;
                put::<Flag, M>(out, "lastChunk", &update.last_chunk)?;
                put_some::<Object, M>(out, "metadata", update.metadata.as_ref())
            }
        }
    }

    fn read<'de, A: MapAccess<'de>>(
        bare: &mut Bare,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "kind" => bare.kind = get::<Text, A>(from)?,
            "metadata" => bare.metadata = take::<Object, A>(from)?,
            "contextId" | "context_id" => bare.task.context_id = get::<Text, A>(from)?,
            "artifact" => bare.artifact = take::<As<Artifact>, A>(from)?,
            "append" => bare.append = get::<Flag, A>(from)?,
            "lastChunk" | "last_chunk" => bare.last_chunk = get::<Flag, A>(from)?,
            _ if Task::read(&mut bare.task, key, from)? == Field::Known => {}
            _ => return Message::read(&mut bare.message, key, from),
        }
        Ok(Field::Known)
    }

    fn finish(bare: Bare) -> Result<Payload, &'static str> {
        Ok(match bare.kind() {
            "task" => Payload::Task(a2a::Task {
                metadata: bare.metadata,
                ..bare.task
            }),
            "message" => Payload::Message(a2a::Message {
                context_id: bare.task.context_id,
                metadata: bare.metadata,
                ..bare.message
            }),
            "status-update" => Payload::StatusUpdate(a2a::TaskStatusUpdateEvent {
                task_id: bare.message.task_id,
                context_id: bare.task.context_id,
                status: bare.task.status,
                metadata: bare.metadata,
            }),
            "artifact-update" => Payload::ArtifactUpdate(a2a::TaskArtifactUpdateEvent {
                task_id: bare.message.task_id,
                context_id: bare.task.context_id,
                artifact: bare.artifact,
                append: bare.append,
                last_chunk: bare.last_chunk,
                metadata: bare.metadata,
            }),
            _ => return Err("of no kind that 0.3 has"),
        })
    }
}
