//! `Part`: text, a file or data, and how data that 0.3 can't carry comes through all the same.
//!
//! # Invariants
//! - Data of 0.3 is an object. Any other value goes as `{"value": ..}` under the mark `data_part_compat`
//!   in the part's metadata, as the Python, JS and Go SDKs do it, and comes out as it was.
//! - A file's bytes are base64 in JSON; with both bytes and an address, the bytes count.

use bytes::Bytes;
use prost_types::{Struct, Value, value::Kind};
use serde::{
    de::MapAccess,
    ser::{Error as _, SerializeMap},
};

use super::super::shape::{As, Shape, get, put, put_some, put_text, take};
use crate::{
    a2a::{self, part::Content},
    protojson::{Any, Base64, Field, Object, Text},
};

/// In a part's metadata: the data is not the object, but its `value`.
const WRAPPED: &str = "data_part_compat";

/// `Part`.
pub(in super::super) struct Part;

#[derive(Default)]
pub(in super::super) struct Draft {
    kind: String,
    text: Option<String>,
    file: Option<a2a::Part>,
    data: Option<Value>,
    metadata: Option<Struct>,
}

impl Shape for Part {
    type Value = a2a::Part;
    type Draft = Draft;
    const NAME: &'static str = "Part";

    fn write<M: SerializeMap>(part: &a2a::Part, out: &mut M) -> Result<(), M::Error> {
        let metadata = part.metadata.as_ref();
        match &part.content {
            Some(Content::Text(text)) => {
                out.serialize_entry("kind", "text")?;
                put::<Text, M>(out, "text", text)?;
                put_some::<Object, M>(out, "metadata", metadata)
            }
            Some(Content::Raw(_) | Content::Url(_)) => {
                out.serialize_entry("kind", "file")?;
                put::<As<File>, M>(out, "file", part)?;
                put_some::<Object, M>(out, "metadata", metadata)
            }
            Some(Content::Data(value)) => {
                out.serialize_entry("kind", "data")?;
                let (data, metadata) = wrap(value, metadata);
                put::<Object, M>(out, "data", &data)?;
                put_some::<Object, M>(out, "metadata", metadata.as_ref())
            }
            None => Err(M::Error::custom("a part has no content that 0.3 knows")),
        }
    }

    fn read<'de, A: MapAccess<'de>>(
        draft: &mut Draft,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "kind" => draft.kind = get::<Text, A>(from)?,
            "text" => draft.text = take::<Text, A>(from)?,
            "file" => draft.file = take::<As<File>, A>(from)?,
            "data" => draft.data = take::<Any, A>(from)?,
            "metadata" => draft.metadata = take::<Object, A>(from)?,
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(draft: Draft) -> Result<a2a::Part, &'static str> {
        let kind = match draft.kind.as_str() {
            "" if draft.text.is_some() => "text",
            "" if draft.file.is_some() => "file",
            "" if draft.data.is_some() => "data",
            said => said,
        };
        match kind {
            "text" => Ok(a2a::Part {
                content: Some(Content::Text(draft.text.ok_or("a text part without text")?)),
                metadata: draft.metadata,
                ..a2a::Part::default()
            }),
            "file" => Ok(a2a::Part {
                metadata: draft.metadata,
                ..draft.file.ok_or("a file part without a file")?
            }),
            "data" => {
                let value = draft.data.unwrap_or_else(crate::protojson::null);
                let (value, metadata) = unwrap(value, draft.metadata);
                Ok(a2a::Part {
                    content: Some(Content::Data(value)),
                    metadata,
                    ..a2a::Part::default()
                })
            }
            _ => Err("neither text nor file nor data"),
        }
    }
}

/// `FileWithBytes` and `FileWithUri`: the pivot has their fields in the part itself.
struct File;

#[derive(Default)]
struct FileDraft {
    bytes: Option<Bytes>,
    uri: Option<String>,
    media_type: String,
    name: String,
}

impl Shape for File {
    type Value = a2a::Part;
    type Draft = FileDraft;
    const NAME: &'static str = "File";

    fn write<M: SerializeMap>(part: &a2a::Part, out: &mut M) -> Result<(), M::Error> {
        match &part.content {
            Some(Content::Raw(bytes)) => put::<Base64, M>(out, "bytes", bytes)?,
            Some(Content::Url(uri)) => put::<Text, M>(out, "uri", uri)?,
            Some(Content::Text(_) | Content::Data(_)) | None => {}
        }
        put_text(out, "mimeType", &part.media_type)?;
        put_text(out, "name", &part.filename)
    }

    fn read<'de, A: MapAccess<'de>>(
        draft: &mut FileDraft,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "bytes" => draft.bytes = take::<Base64, A>(from)?,
            "uri" => draft.uri = take::<Text, A>(from)?,
            "mimeType" | "mime_type" => draft.media_type = get::<Text, A>(from)?,
            "name" => draft.name = get::<Text, A>(from)?,
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(draft: FileDraft) -> Result<a2a::Part, &'static str> {
        let content = match (draft.bytes, draft.uri) {
            (Some(bytes), _) => Content::Raw(bytes),
            (None, Some(uri)) => Content::Url(uri),
            (None, None) => return Err("a file with neither bytes nor uri"),
        };
        Ok(a2a::Part {
            content: Some(content),
            media_type: draft.media_type,
            filename: draft.name,
            metadata: None,
        })
    }
}

/// Makes an object of any value, and says so in the metadata.
pub(in super::super) fn wrap(value: &Value, metadata: Option<&Struct>) -> (Struct, Option<Struct>) {
    if let Some(Kind::StructValue(object)) = &value.kind {
        return (object.clone(), metadata.cloned());
    }
    let mut marked = metadata.cloned().unwrap_or_default();
    let mark = Value {
        kind: Some(Kind::BoolValue(true)),
    };
    marked.fields.insert(WRAPPED.to_owned(), mark);
    let fields = [("value".to_owned(), value.clone())].into();
    (Struct { fields }, Some(marked))
}

/// Takes a value out of its object, where the metadata say that it is in one.
pub(in super::super) fn unwrap(value: Value, metadata: Option<Struct>) -> (Value, Option<Struct>) {
    let mark = metadata
        .as_ref()
        .and_then(|fields| fields.fields.get(WRAPPED));
    let marked = matches!(
        mark.and_then(|mark| mark.kind.as_ref()),
        Some(Kind::BoolValue(true))
    );
    let (true, Some(Kind::StructValue(object))) = (marked, &value.kind) else {
        return (value, metadata);
    };
    let Some(inside) = object.fields.get("value").cloned() else {
        return (value, metadata);
    };
    let mut metadata = metadata.unwrap_or_default();
    metadata.fields.remove(WRAPPED);
    (
        inside,
        Some(metadata).filter(|rest| !rest.fields.is_empty()),
    )
}
