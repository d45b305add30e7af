//! Random bodies with ids at their places, rendered with any spelling of the ids.

use super::{
    Binding, Dialect, Direction, Operation, Version,
    places::{Kind, Object, Value},
};
pub(in super::super) use crate::chance::Rng;

/// A piece of a text: as it is, or an id.
#[derive(Debug)]
enum Piece {
    Text(String),
    Id(Kind, String),
}

/// A body of JSON.
#[derive(Debug, Default)]
pub(in super::super) struct Json(Vec<Piece>);

const SPACES: [&str; 6] = ["", "", "", " ", "\n\t", "\r\n  "];
const IDS: [&str; 6] = [
    "0190163d-8694-739b",
    "t",
    "ä/ö",
    "x y",
    "z1k.no.token",
    "a:b",
];
/// What may follow a task in a resource name.
const TAILS: [&str; 3] = [
    "",
    "/pushNotificationConfigs",
    "/pushNotificationConfigs/tasks/x",
];
/// What is no id: unknown fields, content, and decoys that are named like ids.
const DECOYS: [(&str, &str); 10] = [
    (
        "metadata",
        r#"{"taskId":"x","task":{"id":"x"},"contextId":"x"}"#,
    ),
    (
        "parts",
        r#"[{"text":"\"taskId\":\"x\"","data":{"taskId":"x","contextId":["x"]}}]"#,
    ),
    (
        "artifacts",
        r#"[{"artifactId":"x","metadata":{"taskId":"x"}}]"#,
    ),
    (
        "artifact",
        r#"{"artifactId":"x","parts":[{"data":{"task_id":"x"}}]}"#,
    ),
    ("messageId", "\"m\\u00e9\""),
    ("tenant", "\"ten\""),
    ("x-new", "-1.5e+300"),
    ("", "[[],{},[null,true,[false]]]"),
    ("taskid", "\"x\""),
    ("append", "true"),
];

impl Json {
    pub(in super::super) fn body(
        rng: &mut Rng,
        dialect: Dialect,
        operation: Operation,
        direction: Direction,
    ) -> Self {
        let mut made = Self::default();
        let message = Value::of(dialect, operation, direction);
        if dialect.binding == Binding::Rest {
            made.space(rng);
            made.value(rng, message, 0);
            made.space(rng);
            return made;
        }
        let method = operation.method(dialect.version).unwrap_or("none");
        let method = format!(r#""method":"{method}""#);
        let mut members = vec![
            r#""jsonrpc":"2.0""#.to_owned(),
            r#""id":"x""#.to_owned(),
            method,
        ];
        members.push(r#""contextId":"x""#.to_owned());
        let at = rng.below(members.len() + 1);
        made.text("{");
        for (index, member) in members.iter().enumerate() {
            if index == at {
                made.member(rng, direction, message);
                made.text(",");
            }
            made.space(rng);
            made.text(member);
            if index + 1 < members.len() || at == members.len() {
                made.text(",");
            }
        }
        if at == members.len() {
            made.member(rng, direction, message);
        }
        made.text("}");
        made.space(rng);
        made
    }

    pub(in super::super) fn render(&self, id: &dyn Fn(Kind, &str) -> String) -> Vec<u8> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Id(kind, plain) => out.push_str(&id(*kind, plain)),
            }
        }
        out.into_bytes()
    }

    fn member(&mut self, rng: &mut Rng, direction: Direction, message: Value) {
        let name = if direction == Direction::Request {
            "params"
        } else {
            "result"
        };
        self.name(rng, name);
        self.value(rng, message, 0);
    }

    fn text(&mut self, text: &str) {
        self.0.push(Piece::Text(text.to_owned()));
    }

    fn space(&mut self, rng: &mut Rng) {
        self.text(rng.pick(&SPACES));
    }

    /// A name, now and then with an escaped letter.
    fn name(&mut self, rng: &mut Rng, name: &str) {
        self.space(rng);
        if !name.is_empty() && rng.below(6) == 0 {
            let at = rng.below(name.len());
            let escaped = format!("\\u{:04X}", name.as_bytes()[at]);
            let (before, after) = (name.get(..at).unwrap(), name.get(at + 1..).unwrap());
            self.text(&format!("\"{before}{escaped}{after}\""));
        } else {
            self.text(&format!("\"{name}\""));
        }
        self.space(rng);
        self.text(":");
        self.space(rng);
    }

    fn id(&mut self, rng: &mut Rng, kind: Kind) {
        match rng.below(8) {
            0 => self.text("null"),
            1 => self.text("\"\""),
            _ => {
                self.text("\"");
                self.0.push(Piece::Id(kind, rng.pick(&IDS).to_owned()));
                self.text("\"");
            }
        }
    }

    fn object(&mut self, rng: &mut Rng, message: Object, depth: usize) {
        self.text("{");
        let mut is_first = true;
        let known = message.fields();
        for _ in 0..rng.below(7) {
            if !std::mem::take(&mut is_first) {
                self.text(",");
            }
            if known.is_empty() || depth > 5 || rng.below(3) == 0 {
                let (name, value) = rng.pick(&DECOYS);
                self.name(rng, name);
                self.text(value);
                self.space(rng);
                continue;
            }
            let (camel, snake, _, value) = rng.pick(&known);
            let name = if rng.below(4) == 0 { snake } else { camel };
            self.name(rng, name);
            self.value(rng, value, depth);
            self.space(rng);
        }
        self.text("}");
    }

    fn value(&mut self, rng: &mut Rng, value: Value, depth: usize) {
        match value {
            Value::Id(kind) => self.id(rng, kind),
            Value::Name => {
                self.text("\"tasks/");
                self.0
                    .push(Piece::Id(Kind::Task, rng.pick(&IDS).to_owned()));
                self.text(rng.pick(&TAILS));
                self.text("\"");
            }
            Value::One(message) => self.object(rng, message, depth + 1),
            Value::Ids | Value::Many(_) => {
                self.text("[");
                self.space(rng);
                for index in 0..rng.below(3) {
                    if index > 0 {
                        self.text(",");
                        self.space(rng);
                    }
                    match value {
                        Value::Many(message) => self.object(rng, message, depth + 1),
                        _ => self.id(rng, Kind::Task),
                    }
                }
                self.text("]");
            }
        }
    }
}

/// A body of protobuf.
#[derive(Debug)]
pub(in super::super) enum Wire {
    Bytes(Vec<u8>),
    Id(u32, Kind, String),
    /// A resource name: the task, and what follows it.
    Name(u32, String, &'static str),
    Sub(u32, Vec<Self>),
}

impl Wire {
    pub(in super::super) fn body(
        rng: &mut Rng,
        version: Version,
        operation: Operation,
        direction: Direction,
    ) -> Self {
        let dialect = Dialect::new(Binding::Grpc, version);
        match Value::of(dialect, operation, direction) {
            Value::One(message) => Self::Sub(0, Self::message(rng, message, 0)),
            other => panic!("{other:?} is no message"),
        }
    }

    /// Number 0 is the body itself, without key and length.
    pub(in super::super) fn render(&self, id: &dyn Fn(Kind, &str) -> String) -> Vec<u8> {
        let (number, inside) = match self {
            Self::Bytes(bytes) => return bytes.clone(),
            Self::Id(number, kind, plain) => (*number, id(*kind, plain).into_bytes()),
            Self::Name(number, task, tail) => {
                let name = format!("tasks/{}{tail}", id(Kind::Task, task));
                (*number, name.into_bytes())
            }
            Self::Sub(number, parts) => (
                *number,
                parts.iter().flat_map(|part| part.render(id)).collect(),
            ),
        };
        if number == 0 {
            return inside;
        }
        super::wire::delimited(number, &inside)
    }

    fn message(rng: &mut Rng, message: Object, depth: usize) -> Vec<Self> {
        // A field that the proto file does not have is of JSON alone.
        let mut known = message.fields();
        known.retain(|(_, _, number, _)| *number > 0);
        let mut parts = Vec::new();
        for _ in 0..rng.below(6) {
            if known.is_empty() || depth > 5 || rng.below(3) == 0 {
                parts.push(Self::Bytes(super::wire::unknown(rng.below(6))));
                continue;
            }
            let (_, _, number, value) = rng.pick(&known);
            let long = "L".repeat(120 + rng.below(12));
            let text = if rng.below(3) == 0 {
                long
            } else {
                rng.pick(&IDS).to_owned()
            };
            parts.push(match value {
                Value::Id(kind) => Self::Id(number, kind, text),
                Value::Ids => Self::Id(number, Kind::Task, text),
                Value::Name => Self::Name(number, text, rng.pick(&TAILS)),
                Value::One(message) | Value::Many(message) => {
                    Self::Sub(number, Self::message(rng, message, depth + 1))
                }
            });
        }
        parts
    }
}

/// What stands around the data of an event.
pub(in super::super) struct Frame {
    before: String,
    after: String,
    space: &'static str,
    end: &'static str,
}

impl Frame {
    pub(in super::super) fn around(rng: &mut Rng, end: &'static str) -> Self {
        let pick = |rng: &mut Rng| match rng.below(5) {
            0 => format!(": taskId{end}"),
            1 => format!("id: 7{end}event: message{end}"),
            2 => format!(": ping{end}{end}"),
            3 => format!("retry:5{end}"),
            _ => String::new(),
        };
        Self {
            before: pick(rng),
            after: pick(rng)
                .replace(": ping", "id")
                .replacen(&format!("{end}{end}"), end, 1),
            space: rng.pick(&["", " "]),
            end,
        }
    }

    /// Each line of the data becomes a line of the event.
    pub(in super::super) fn render(&self, data: &[u8], out: &mut Vec<u8>) {
        let Self {
            before,
            after,
            space,
            end,
        } = self;
        let data = std::str::from_utf8(data).unwrap().replace("\r\n", "\n");
        out.extend_from_slice(before.as_bytes());
        for line in data.split('\n') {
            out.extend_from_slice(format!("data:{space}{line}{end}").as_bytes());
        }
        out.extend_from_slice(format!("{after}{end}").as_bytes());
    }
}
