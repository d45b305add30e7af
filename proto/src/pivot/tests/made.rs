//! Random messages of any type, from the descriptors: no field can be forgotten, and none that comes
//! later will be.

use std::{collections::HashMap, sync::LazyLock};

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use prost_types::{ListValue, Struct, Timestamp, value};

use crate::{
    FILE_DESCRIPTOR_SET, a2a,
    chance::Rng,
    error::{Fault, Origin, Problem},
    operation::Operation,
    pivot::{Event, Request, Response},
};

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap());

const TEXTS: [&str; 9] = [
    "0190163d-8694-739b",
    "t",
    "ä/ö?#",
    "x y+%2F&=",
    "a:b",
    "\"\\\u{0}\u{2028}\n",
    "😀",
    "true",
    "7",
];
/// Ids that mean something else in a path.
const TRAPS: [&str; 8] = [
    "..",
    ".",
    "x:cancel",
    "x:subscribe",
    "tasks",
    "v1",
    "message:send",
    "extendedAgentCard",
];

/// What may stand in a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    /// Whatever the types allow and JSON can hold.
    Any,
    /// No `null` in metadata, unknown numbers of enums or times before 1970, no integers beyond 32
    /// bits in metadata: other libraries lose or refuse them.
    Tame,
}

/// The maker of one case.
pub(crate) struct Maker {
    rng: Rng,
    content: Content,
}

impl Maker {
    pub(crate) fn new(seed: u64, content: Content) -> Self {
        let rng = Rng::new(seed);
        Self { rng, content }
    }

    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// A message of the type that its name says.
    pub(crate) fn message<T: Message + Default>(&mut self, name: &str) -> T {
        let message = self.dynamic(name);
        T::decode(message.encode_to_vec().as_slice()).unwrap()
    }

    /// The same, for those who look at its fields by name.
    pub(crate) fn dynamic(&mut self, name: &str) -> DynamicMessage {
        let name = format!("lf.a2a.v1.{name}");
        let of = POOL.get_message_by_name(&name).unwrap();
        self.fill(&of, 0)
    }

    pub(crate) fn request(&mut self, operation: Operation) -> Request {
        let name = request_name(operation);
        match operation {
            Operation::SendMessage => Request::SendMessage(self.message(name)),
            Operation::SendStreamingMessage => Request::SendStreamingMessage(self.message(name)),
            Operation::GetTask => Request::GetTask(self.message(name)),
            Operation::ListTasks => Request::ListTasks(self.message(name)),
            Operation::CancelTask => Request::CancelTask(self.message(name)),
            Operation::SubscribeToTask => Request::SubscribeToTask(self.message(name)),
            Operation::CreateTaskPushNotificationConfig => {
                Request::CreateTaskPushNotificationConfig(self.message(name))
            }
            Operation::GetTaskPushNotificationConfig => {
                Request::GetTaskPushNotificationConfig(self.message(name))
            }
            Operation::ListTaskPushNotificationConfigs => {
                Request::ListTaskPushNotificationConfigs(self.message(name))
            }
            Operation::DeleteTaskPushNotificationConfig => {
                Request::DeleteTaskPushNotificationConfig(self.message(name))
            }
            Operation::GetExtendedAgentCard => Request::GetExtendedAgentCard(self.message(name)),
        }
    }

    /// The whole answer to an operation; for one that streams, the one answer that may come instead.
    pub(crate) fn response(&mut self, operation: Operation) -> Response {
        match operation {
            Operation::SendMessage
            | Operation::SendStreamingMessage
            | Operation::SubscribeToTask => Response::Sent(self.message("SendMessageResponse")),
            Operation::GetTask | Operation::CancelTask => Response::Task(self.message("Task")),
            Operation::ListTasks => Response::Tasks(self.message("ListTasksResponse")),
            Operation::CreateTaskPushNotificationConfig
            | Operation::GetTaskPushNotificationConfig => {
                Response::Config(self.message("TaskPushNotificationConfig"))
            }
            Operation::ListTaskPushNotificationConfigs => {
                Response::Configs(self.message("ListTaskPushNotificationConfigsResponse"))
            }
            Operation::DeleteTaskPushNotificationConfig => Response::Deleted,
            Operation::GetExtendedAgentCard => {
                Response::Card(Box::new(self.message::<a2a::AgentCard>("AgentCard")))
            }
        }
    }

    pub(crate) fn event(&mut self) -> Event {
        self.message("StreamResponse")
    }

    /// A problem of ours, or an agent's own with a name that the table does not know.
    pub(crate) fn problem(&mut self) -> Problem {
        let fault = self.rng.pick(&Fault::ALL);
        let mut problem = Problem::new(fault, self.text());
        for _ in 0..self.rng.below(3) {
            let (key, value) = (self.text(), self.text());
            problem.metadata.insert(key, value);
        }
        problem
    }

    /// The name of an error that the table does not know.
    pub(crate) fn origin(&mut self) -> Origin {
        Origin {
            reason: "QUOTA_OF_THE_MOON".into(),
            domain: self.text(),
        }
    }

    fn text(&mut self) -> String {
        match self.rng.below(12) {
            0 => String::new(),
            1 => self.rng.pick(&TRAPS).to_owned(),
            _ => self.rng.pick(&TEXTS).to_owned(),
        }
    }

    fn fill(&mut self, of: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let known = match of.full_name() {
            "google.protobuf.Struct" => Some(self.object(0).encode_to_vec()),
            "google.protobuf.Value" => Some(self.json(0).encode_to_vec()),
            "google.protobuf.Timestamp" => Some(self.time().encode_to_vec()),
            _ => None,
        };
        if let Some(bytes) = known {
            return DynamicMessage::decode(of.clone(), bytes.as_slice()).unwrap();
        }
        let mut message = DynamicMessage::new(of.clone());
        for oneof in of.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            // An answer or an event without a payload is none.
            if oneof.name() == "payload" || self.rng.below(6) > 0 {
                let fields: Vec<_> = oneof.fields().collect();
                let field = &fields[self.rng.below(fields.len())];
                let value = self.one(&field.kind(), depth);
                message.set_field(field, value);
            }
        }
        for field in of.fields() {
            let is_chosen = field
                .containing_oneof()
                .is_some_and(|oneof| !oneof.is_synthetic());
            if !is_chosen && self.rng.below(4) > 0 {
                let value = self.value(&field, depth);
                message.set_field(&field, value);
            }
        }
        message
    }

    fn value(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        let count = self.rng.below(if depth > 3 { 1 } else { 3 });
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else {
                unreachable!("a map is a list of entries");
            };
            let kind = entry.map_entry_value_field().kind();
            let mut map = HashMap::new();
            for _ in 0..count {
                let key = MapKey::String(self.text());
                map.insert(key, self.one(&kind, depth));
            }
            return Value::Map(map);
        }
        if field.is_list() {
            return Value::List((0..count).map(|_| self.one(&field.kind(), depth)).collect());
        }
        self.one(&field.kind(), depth)
    }

    fn one(&mut self, kind: &Kind, depth: usize) -> Value {
        match kind {
            Kind::Bool => Value::Bool(self.rng.below(2) == 0),
            Kind::Int32 => Value::I32(self.rng.pick(&[0, 1, 50, -1, i32::MAX, i32::MIN])),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => {
                let length = self.rng.below(40);
                let byte = |_| u8::try_from(self.rng.below(256)).unwrap();
                Value::Bytes((0..length).map(byte).collect())
            }
            Kind::Message(of) => Value::Message(self.fill(of, depth + 1)),
            Kind::Enum(of) => {
                let numbers: Vec<_> = of.values().map(|value| value.number()).collect();
                match self.rng.below(8) {
                    0 if self.content == Content::Any => Value::EnumNumber(99),
                    _ => Value::EnumNumber(self.rng.pick(&numbers)),
                }
            }
            other => unreachable!("A2A has no {other:?}"),
        }
    }

    /// Any moment that JSON can write.
    fn time(&mut self) -> Timestamp {
        let seconds = match self.rng.below(4) {
            0 if self.content == Content::Any => {
                self.rng.pick(&[0, -1, -62_135_596_800, 253_402_300_799])
            }
            _ => i64::try_from(self.rng.below(4_000_000_000)).unwrap(),
        };
        let nanos = match self.rng.below(3) {
            0 => 0,
            1 => i32::try_from(self.rng.below(1000)).unwrap() * 1_000_000,
            _ => i32::try_from(self.rng.below(1_000_000_000)).unwrap(),
        };
        Timestamp { seconds, nanos }
    }

    fn object(&mut self, depth: usize) -> Struct {
        let mut fields = std::collections::BTreeMap::new();
        for _ in 0..self.rng.below(3) {
            let key = self.text();
            fields.insert(key, self.json(depth + 1));
        }
        Struct { fields }
    }

    fn json(&mut self, depth: usize) -> prost_types::Value {
        use value::Kind as K;
        let kind = match self.rng.below(if depth > 3 { 4 } else { 6 }) {
            0 => K::BoolValue(self.rng.below(2) == 0),
            1 => K::NumberValue(self.number()),
            2 => K::StringValue(self.text()),
            3 if self.content == Content::Any => K::NullValue(0),
            3 | 4 => K::StructValue(self.object(depth)),
            _ => {
                let count = self.rng.below(3);
                let values = (0..count).map(|_| self.json(depth + 1)).collect();
                K::ListValue(ListValue { values })
            }
        };
        prost_types::Value { kind: Some(kind) }
    }

    fn number(&mut self) -> f64 {
        let any = f64::from_bits(self.rng.bits());
        let all = [0.0, -1.0, 0.1, 9_007_199_254_740_993.0, 1e300, 5e-324, any];
        let many = if self.content == Content::Any {
            all.len()
        } else {
            3
        };
        let number = self.rng.pick(&all[..many]);
        if number.is_finite() { number } else { 0.5 }
    }
}

/// The type of an operation's request.
pub(crate) const fn request_name(operation: Operation) -> &'static str {
    match operation {
        Operation::SendMessage | Operation::SendStreamingMessage => "SendMessageRequest",
        Operation::GetTask => "GetTaskRequest",
        Operation::ListTasks => "ListTasksRequest",
        Operation::CancelTask => "CancelTaskRequest",
        Operation::SubscribeToTask => "SubscribeToTaskRequest",
        Operation::CreateTaskPushNotificationConfig => "TaskPushNotificationConfig",
        Operation::GetTaskPushNotificationConfig => "GetTaskPushNotificationConfigRequest",
        Operation::ListTaskPushNotificationConfigs => "ListTaskPushNotificationConfigsRequest",
        Operation::DeleteTaskPushNotificationConfig => "DeleteTaskPushNotificationConfigRequest",
        Operation::GetExtendedAgentCard => "GetExtendedAgentCardRequest",
    }
}
