//! Content in both directions: what a client says becomes parts, and parts become text for a chat.
//!
//! | OpenAI's content part | A2A's part |
//! |---|---|
//! | `text` | text |
//! | `image_url` with a `data:` URL | raw, with its media type |
//! | `image_url` with another URL | url |
//! | `input_audio` | raw, `audio/wav` or `audio/mpeg` |
//! | `file` with `file_data` | raw, with media type and file name |
//! | `file` with `file_id` | refused: no files are kept here |
//!
//! The other way: text as it is; data as JSON; a URL as a link; bytes as a link that holds them
//! (`data:`). Pictures are links that show them.
//!
//! # Invariants
//! - Text parts that follow each other make one text, with nothing between: agents send text in
//!   pieces, and no piece knows where it was cut. Anything else stands on lines of its own.

use bytes::Bytes;
use mesh_proto::{
    a2a::{Part, part::Content},
    json,
    protojson::{Base64, In, Out},
};
use percent_encoding::percent_decode_str;
use serde::{
    Deserialize,
    de::value::{Error, StrDeserializer},
};
use serde_json::Value;

use super::failure::Failure;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece {
    Text { text: String },
    Refusal { refusal: String },
    ImageUrl { image_url: Link },
    InputAudio { input_audio: Audio },
    File { file: File },
}

#[derive(Deserialize)]
struct Link {
    url: String,
}

#[derive(Deserialize)]
struct Audio {
    data: String,
    #[serde(default)]
    format: String,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    file_data: Option<String>,
    #[serde(default)]
    filename: Option<String>,
}

/// The parts of a message's content; `at` is where it stands in the request.
pub(super) fn parts(content: Value, at: &str) -> Result<Vec<Part>, Failure> {
    match content {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text_part(text)]),
        Value::Array(pieces) => {
            let numbered = pieces.into_iter().enumerate();
            numbered
                .map(|(number, piece)| part(piece, &format!("{at}.content[{number}]")))
                .collect()
        }
        _ => {
            let message = "content is a string, or a list of parts";
            Err(Failure::param(format!("{at}.content"), message))
        }
    }
}

/// What of a message's content can be told in text: for turns that are only reported.
pub(super) fn told(content: &Value) -> String {
    let pieces = match content {
        Value::String(text) => return text.clone(),
        Value::Array(pieces) => pieces,
        _ => return String::new(),
    };
    let told = pieces.iter().map(|piece| {
        let text = piece.get("text").or_else(|| piece.get("refusal"));
        let kind = piece.get("type").and_then(Value::as_str);
        match (text.and_then(Value::as_str), kind) {
            (Some(text), _) => text.to_owned(),
            (None, Some(kind)) => format!("[{}]", crate::binding::shortened(kind)),
            (None, None) => String::new(),
        }
    });
    told.collect::<Vec<_>>().join("\n")
}

pub(super) fn text_part(text: String) -> Part {
    Part {
        content: Some(Content::Text(text)),
        ..Part::default()
    }
}

fn part(piece: Value, at: &str) -> Result<Part, Failure> {
    let piece = Piece::deserialize(piece).map_err(|error| Failure::param(at, error.to_string()))?;
    match piece {
        Piece::Text { text } | Piece::Refusal { refusal: text } => Ok(text_part(text)),
        Piece::ImageUrl { image_url } => match DataUrl::parse(&image_url.url) {
            Some(data) => data.part("image/png", at),
            None => Ok(Part {
                content: Some(Content::Url(image_url.url)),
                ..Part::default()
            }),
        },
        Piece::InputAudio { input_audio } => Ok(Part {
            media_type: match input_audio.format.as_str() {
                "mp3" => "audio/mpeg".to_owned(),
                "" => "audio/wav".to_owned(),
                format => format!("audio/{format}"),
            },
            content: Some(Content::Raw(bytes(&input_audio.data, at)?)),
            ..Part::default()
        }),
        Piece::File { file } => {
            let Some(data) = file.file_data else {
                let message = "no files are kept here; send file_data";
                return Err(Failure::param(at, message));
            };
            let part = match DataUrl::parse(&data) {
                Some(data) => data.part("application/octet-stream", at)?,
                None => Part {
                    media_type: "application/octet-stream".to_owned(),
                    content: Some(Content::Raw(bytes(&data, at)?)),
                    ..Part::default()
                },
            };
            Ok(Part {
                filename: file.filename.unwrap_or_default(),
                ..part
            })
        }
    }
}

/// A `data:` URL (RFC 2397), not decoded yet.
struct DataUrl<'a> {
    kind: &'a str,
    encoding: Encoding,
    data: &'a str,
}

enum Encoding {
    Base64,
    Percent,
}

impl<'a> DataUrl<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let scheme = url.get(..5)?;
        let rest = scheme
            .eq_ignore_ascii_case("data:")
            .then(|| url.get(5..))??;
        let (head, data) = rest.split_once(',')?;
        let (kind, encoding) = match head.strip_suffix(";base64") {
            Some(kind) => (kind, Encoding::Base64),
            None => (head, Encoding::Percent),
        };
        Some(Self {
            kind,
            encoding,
            data,
        })
    }

    fn part(&self, otherwise: &str, at: &str) -> Result<Part, Failure> {
        let raw = match self.encoding {
            Encoding::Base64 => bytes(self.data, at)?,
            Encoding::Percent => percent_decode_str(self.data).collect::<Vec<u8>>().into(),
        };
        let kind = if self.kind.is_empty() {
            otherwise
        } else {
            self.kind
        };
        Ok(Part {
            media_type: kind.to_owned(),
            content: Some(Content::Raw(raw)),
            ..Part::default()
        })
    }
}

fn bytes(text: &str, at: &str) -> Result<Bytes, Failure> {
    let read = In::<Base64>::deserialize(StrDeserializer::<Error>::new(text));
    read.map(|read| read.0)
        .map_err(|_| Failure::param(at, "the data is not base64"))
}

/// The text that parts have made so far.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    after_block: bool,
}

impl Text {
    /// The text of all these parts.
    pub(super) fn of(parts: &[Part]) -> Self {
        let mut text = Self::default();
        for part in parts {
            text.add(part);
        }
        text
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn into_string(self) -> String {
        self.text
    }

    /// Adds a part.
    pub(super) fn add(&mut self, part: &Part) {
        let block = match &part.content {
            None => return,
            Some(Content::Text(text)) => {
                if self.after_block && !text.is_empty() {
                    self.end_line();
                    self.after_block = false;
                }
                self.text.push_str(text);
                return;
            }
            Some(Content::Data(value)) => json::of_value(value).to_string(),
            Some(Content::Url(url)) => link(part, url, url),
            Some(Content::Raw(bytes)) => {
                let kind = match part.media_type.as_str() {
                    "" => "application/octet-stream",
                    kind => kind,
                };
                let data = serde_json::to_value(Out::<Base64>(bytes)).unwrap_or_default();
                let url = format!("data:{kind};base64,{}", data.as_str().unwrap_or_default());
                link(part, &url, "file")
            }
        };
        self.end_line();
        self.text.push_str(&block);
        self.after_block = true;
    }

    fn end_line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

fn link(part: &Part, url: &str, unnamed: &str) -> String {
    let mark = if part.media_type.starts_with("image/") {
        "!"
    } else {
        ""
    };
    let name = match part.filename.as_str() {
        "" => unnamed,
        name => name,
    };
    let name: String = name
        .chars()
        .filter(|letter| !"[]\n\r".contains(*letter))
        .collect();
    format!("{mark}[{name}]({url})")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(piece: &Value) -> Result<Part, String> {
        parts(json!([piece]), "messages[0]")
            .map(|mut parts| parts.remove(0))
            .map_err(|failure| {
                failure.to_json()["error"]["param"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
    }

    fn raw(kind: &str, name: &str, bytes: &'static [u8]) -> Part {
        Part {
            media_type: kind.to_owned(),
            filename: name.to_owned(),
            content: Some(Content::Raw(Bytes::from_static(bytes))),
            metadata: None,
        }
    }

    #[test]
    fn every_kind_of_content_has_its_part() {
        let picture = json!({"type": "image_url", "image_url": {"url": "data:image/gif;base64,aGk=", "detail": "low"}});
        assert_eq!(one(&picture).unwrap(), raw("image/gif", "", b"hi"));
        let text = json!({"type": "image_url", "image_url": {"url": "data:,a%20b"}});
        assert_eq!(one(&text).unwrap(), raw("image/png", "", b"a b"));
        let far = json!({"type": "image_url", "image_url": {"url": "https://a.example/x.png"}});
        let far = one(&far).unwrap();
        assert_eq!(
            far.content,
            Some(Content::Url("https://a.example/x.png".to_owned()))
        );
        let audio = json!({"type": "input_audio", "input_audio": {"data": "aGk", "format": "mp3"}});
        assert_eq!(one(&audio).unwrap(), raw("audio/mpeg", "", b"hi"));
        let file = json!({"type": "file", "file": {"file_data": "data:text/plain;base64,aGk=", "filename": "n.txt"}});
        assert_eq!(one(&file).unwrap(), raw("text/plain", "n.txt", b"hi"));
        for wrong in [
            json!({"type": "file", "file": {"file_id": "file-1"}}),
            json!({"type": "video_url", "video_url": {"url": "x"}}),
            json!({"type": "input_audio", "input_audio": {"data": "%%%"}}),
            json!(7),
        ] {
            assert_eq!(one(&wrong).unwrap_err(), "messages[0].content[0]");
        }
    }

    #[test]
    fn pieces_of_text_make_one_text_and_everything_else_stands_on_its_own_lines() {
        let data = Part {
            content: json::value(&json!({"n": 1})).map(Content::Data),
            ..Part::default()
        };
        let picture = raw("image/png", "a]b", b"hi");
        let text = |text: &str| text_part(text.to_owned());
        let all = [text("Hel"), text("lo"), data.clone(), picture, text("end")];
        assert_eq!(
            Text::of(&all).as_str(),
            "Hello\n{\"n\":1.0}\n![ab](data:image/png;base64,aGk=)\nend".replace("1.0", "1")
        );
        assert_eq!(Text::of(&[data]).as_str(), r#"{"n":1}"#);
        assert_eq!(
            told(&json!([{"type": "text", "text": "a"}, {"type": "image_url"}])),
            "a\n[image_url]"
        );
    }
}
