//! Tasks, messages, parts, artifacts and events of `a2a.v1`.
//!
//! # Invariants
//! - `file_with_bytes` is written as the base64 of the bytes: so do the Python, the Go and the Java SDK,
//!   of which the Python one can't read anything else. The JS SDK writes the bytes themselves, so what is
//!   read is taken for base64 only where it is: in whole quanta, with its padding.
//! - States and roles have the same numbers in both versions.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost_types::{Value, value::Kind};

use super::super::{
    is_final,
    json::{unwrap, wrap},
};
use crate::{
    a2a::{self, part::Content, send_message_response as sent, stream_response as event},
    a2a_v03::{
        self as old, file_part::File, part::Part as OldContent, send_message_response as old_sent,
        stream_response as old_event,
    },
};

impl From<&a2a::Task> for old::Task {
    fn from(new: &a2a::Task) -> Self {
        Self {
            id: new.id.clone(),
            context_id: new.context_id.clone(),
            status: new.status.as_ref().map(Into::into),
            artifacts: new.artifacts.iter().map(Into::into).collect(),
            history: new.history.iter().map(Into::into).collect(),
            metadata: new.metadata.clone(),
        }
    }
}

impl From<old::Task> for a2a::Task {
    fn from(old: old::Task) -> Self {
        Self {
            id: old.id,
            context_id: old.context_id,
            status: old.status.map(Into::into),
            artifacts: old.artifacts.into_iter().map(Into::into).collect(),
            history: old.history.into_iter().map(Into::into).collect(),
            metadata: old.metadata,
        }
    }
}

impl From<&a2a::TaskStatus> for old::TaskStatus {
    fn from(new: &a2a::TaskStatus) -> Self {
        Self {
            state: new.state,
            update: new.message.as_ref().map(Into::into),
            timestamp: new.timestamp,
        }
    }
}

impl From<old::TaskStatus> for a2a::TaskStatus {
    fn from(old: old::TaskStatus) -> Self {
        Self {
            state: old.state,
            message: old.update.map(Into::into),
            timestamp: old.timestamp,
        }
    }
}

impl From<&a2a::Message> for old::Message {
    fn from(new: &a2a::Message) -> Self {
        Self {
            message_id: new.message_id.clone(),
            context_id: new.context_id.clone(),
            task_id: new.task_id.clone(),
            role: new.role,
            content: new.parts.iter().map(Into::into).collect(),
            metadata: new.metadata.clone(),
            extensions: new.extensions.clone(),
        }
    }
}

impl From<old::Message> for a2a::Message {
    fn from(old: old::Message) -> Self {
        Self {
            message_id: old.message_id,
            context_id: old.context_id,
            task_id: old.task_id,
            role: old.role,
            parts: old.content.into_iter().map(Into::into).collect(),
            metadata: old.metadata,
            extensions: old.extensions,
            reference_task_ids: Vec::new(),
        }
    }
}

impl From<&a2a::Artifact> for old::Artifact {
    fn from(new: &a2a::Artifact) -> Self {
        Self {
            artifact_id: new.artifact_id.clone(),
            name: new.name.clone(),
            description: new.description.clone(),
            parts: new.parts.iter().map(Into::into).collect(),
            metadata: new.metadata.clone(),
            extensions: new.extensions.clone(),
        }
    }
}

impl From<old::Artifact> for a2a::Artifact {
    fn from(old: old::Artifact) -> Self {
        Self {
            artifact_id: old.artifact_id,
            name: old.name,
            description: old.description,
            parts: old.parts.into_iter().map(Into::into).collect(),
            metadata: old.metadata,
            extensions: old.extensions,
        }
    }
}

impl From<&a2a::Part> for old::Part {
    fn from(new: &a2a::Part) -> Self {
        let file = |file| {
            OldContent::File(old::FilePart {
                mime_type: new.media_type.clone(),
                name: new.filename.clone(),
                file: Some(file),
            })
        };
        let mut metadata = new.metadata.clone();
        let part = match &new.content {
            Some(Content::Text(text)) => Some(OldContent::Text(text.clone())),
            Some(Content::Raw(bytes)) => {
                let text = Bytes::from(STANDARD.encode(bytes));
                Some(file(File::FileWithBytes(text)))
            }
            Some(Content::Url(url)) => Some(file(File::FileWithUri(url.clone()))),
            Some(Content::Data(value)) => {
                let (data, marked) = wrap(value, new.metadata.as_ref());
                metadata = marked;
                Some(OldContent::Data(old::DataPart { data: Some(data) }))
            }
            None => None,
        };
        Self { metadata, part }
    }
}

impl From<old::Part> for a2a::Part {
    fn from(old: old::Part) -> Self {
        let mut new = Self {
            metadata: old.metadata,
            ..Self::default()
        };
        new.content = match old.part {
            Some(OldContent::Text(text)) => Some(Content::Text(text)),
            Some(OldContent::File(file)) => {
                new.media_type = file.mime_type;
                new.filename = file.name;
                file.file.map(|file| match file {
                    File::FileWithUri(uri) => Content::Url(uri),
                    File::FileWithBytes(bytes) => Content::Raw(plain(bytes)),
                })
            }
            Some(OldContent::Data(part)) => {
                let kind = Some(Kind::StructValue(part.data.unwrap_or_default()));
                let (value, metadata) = unwrap(Value { kind }, new.metadata);
                new.metadata = metadata;
                Some(Content::Data(value))
            }
            None => None,
        };
        new
    }
}

/// The bytes of a file, which may have come as base64.
fn plain(bytes: Bytes) -> Bytes {
    match STANDARD.decode(&bytes) {
        Ok(plain) => Bytes::from(plain),
        Err(_) => bytes,
    }
}

impl From<&a2a::SendMessageResponse> for old::SendMessageResponse {
    fn from(new: &a2a::SendMessageResponse) -> Self {
        let payload = new.payload.as_ref().map(|payload| match payload {
            sent::Payload::Task(task) => old_sent::Payload::Task(task.into()),
            sent::Payload::Message(message) => old_sent::Payload::Msg(message.into()),
        });
        Self { payload }
    }
}

impl From<old::SendMessageResponse> for a2a::SendMessageResponse {
    fn from(old: old::SendMessageResponse) -> Self {
        let payload = old.payload.map(|payload| match payload {
            old_sent::Payload::Task(task) => sent::Payload::Task(task.into()),
            old_sent::Payload::Msg(message) => sent::Payload::Message(message.into()),
        });
        Self { payload }
    }
}

impl From<&a2a::StreamResponse> for old::StreamResponse {
    fn from(new: &a2a::StreamResponse) -> Self {
        let payload = new.payload.as_ref().map(|payload| match payload {
            event::Payload::Task(task) => old_event::Payload::Task(task.into()),
            event::Payload::Message(message) => old_event::Payload::Msg(message.into()),
            event::Payload::StatusUpdate(update) => {
                old_event::Payload::StatusUpdate(old::TaskStatusUpdateEvent {
                    task_id: update.task_id.clone(),
                    context_id: update.context_id.clone(),
                    r#final: is_final(update.status.as_ref()),
                    status: update.status.as_ref().map(Into::into),
                    metadata: update.metadata.clone(),
                })
            }
            event::Payload::ArtifactUpdate(update) => {
                old_event::Payload::ArtifactUpdate(old::TaskArtifactUpdateEvent {
                    task_id: update.task_id.clone(),
                    context_id: update.context_id.clone(),
                    artifact: update.artifact.as_ref().map(Into::into),
                    append: update.append,
                    last_chunk: update.last_chunk,
                    metadata: update.metadata.clone(),
                })
            }
        });
        Self { payload }
    }
}

impl From<old::StreamResponse> for a2a::StreamResponse {
    fn from(old: old::StreamResponse) -> Self {
        let payload = old.payload.map(|payload| match payload {
            old_event::Payload::Task(task) => event::Payload::Task(task.into()),
            old_event::Payload::Msg(message) => event::Payload::Message(message.into()),
            old_event::Payload::StatusUpdate(update) => {
                event::Payload::StatusUpdate(a2a::TaskStatusUpdateEvent {
                    task_id: update.task_id,
                    context_id: update.context_id,
                    status: update.status.map(Into::into),
                    metadata: update.metadata,
                })
            }
            old_event::Payload::ArtifactUpdate(update) => {
                event::Payload::ArtifactUpdate(a2a::TaskArtifactUpdateEvent {
                    task_id: update.task_id,
                    context_id: update.context_id,
                    artifact: update.artifact.map(Into::into),
                    append: update.append,
                    last_chunk: update.last_chunk,
                    metadata: update.metadata,
                })
            }
        });
        Self { payload }
    }
}
