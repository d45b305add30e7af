//! What an agent hears of a message: its text, and the fields of its structured parts.

use mesh_proto::{
    a2a::{Message, part::Content},
    json,
};
use serde_json::{Map, Value};

use crate::session::Entry;

/// Reads a message.
///
/// # Errors
/// A sentence for the caller when there is nothing in it that an agent can read.
pub(super) fn read(message: &Message) -> Result<Entry, String> {
    let mut texts = Vec::new();
    let mut fields = Map::new();
    for part in &message.parts {
        let file = || {
            if part.filename.is_empty() {
                "a file"
            } else {
                part.filename.as_str()
            }
        };
        match &part.content {
            Some(Content::Text(text)) => texts.push(text.clone()),
            Some(Content::Data(value)) => match json::of_value(value) {
                Value::Object(object) => fields.extend(object),
                other => texts.push(other.to_string()),
            },
            Some(Content::Url(url)) => texts.push(format!("[{} at {url}]", file())),
            Some(Content::Raw(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) if part.media_type.starts_with("text/") => texts.push(text.to_owned()),
                _ => texts.push(format!("[{}, {} bytes]", file(), bytes.len())),
            },
            None => {}
        }
    }
    let text = texts.join("\n");
    if text.trim().is_empty() && fields.is_empty() {
        return Err("the message has no part with text or data".to_owned());
    }
    Ok(Entry::User { text, fields })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use mesh_proto::a2a::Part;

    use super::*;

    fn heard(contents: Vec<(Option<Content>, &str)>) -> String {
        let part = |(content, media_type): (Option<Content>, &str)| Part {
            content,
            media_type: media_type.to_owned(),
            ..Part::default()
        };
        let parts = contents.into_iter().map(part).collect();
        match read(&Message {
            parts,
            ..Message::default()
        }) {
            Ok(entry) => serde_json::to_string(&entry).unwrap(),
            Err(error) => error,
        }
    }

    #[test]
    fn every_kind_of_part_is_heard_or_named() {
        let data = |value: Value| Some(Content::Data(json::value(&value).unwrap()));
        let shown = heard(vec![
            (Some(Content::Text("hello".to_owned())), ""),
            (data(serde_json::json!({"zone": "UTC"})), ""),
            (data(serde_json::json!([1])), ""),
            (Some(Content::Url("http://a.example/f".to_owned())), ""),
            (Some(Content::Raw("notes".into())), "text/plain"),
            (Some(Content::Raw(vec![0xff, 0].into())), "image/png"),
            (None, ""),
        ]);
        expect![[
            r#"{"role":"user","text":"hello\n[1]\n[a file at http://a.example/f]\nnotes\n[a file, 2 bytes]","fields":{"zone":"UTC"}}"#
        ]]
        .assert_eq(&shown);
    }

    #[test]
    fn a_message_without_content_is_refused_with_a_reason() {
        assert_eq!(heard(vec![]), "the message has no part with text or data");
        assert_eq!(
            heard(vec![(Some(Content::Text(" \n".to_owned())), "")]),
            "the message has no part with text or data"
        );
    }
}
