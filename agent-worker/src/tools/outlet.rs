//! An outlet: an output binding of the Dapr sidecar as a tool, one for each of its operations.
//!
//! # Invariants
//! - A call is made once. It carries its key as [`KEY`], which the model can't change: the same call made
//!   again, by this worker or by one that took the task on, has the same one.
//! - What the agents file says of the metadata stands, whatever the model says.

use std::collections::BTreeMap;

use mesh_fabric::dapr::{Answer, Blocks, DEADLINE, Invocation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::session::{CallContext, Ending, ToolKind, ToolOutput, ToolSpec};

/// What names a call in its metadata. Bindings that speak HTTP send it as a header of this name.
pub const KEY: &str = "Idempotency-Key";

/// The most that a model may send by one call, in bytes.
const DATA_BYTES: usize = 1 << 20;

/// An output binding as the file has it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The component's name at the sidecar.
    pub binding: String,
    /// What it may be asked to do, a tool for each, `BINDING_OPERATION`. Default `create`.
    #[serde(default = "create")]
    pub operations: Vec<String>,
    /// What it is for: a model chooses by this.
    pub description: String,
    /// Metadata that each call carries, such as whom a mail is to. A model can add to it, not change it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Config {
    /// The tools, by a sidecar.
    pub(crate) fn outlets(&self, blocks: &Blocks) -> impl Iterator<Item = Outlet> {
        self.operations.iter().map(|operation| Outlet {
            tool: format!("{}_{operation}", self.binding),
            config: self.clone(),
            operation: operation.clone(),
            blocks: blocks.clone(),
        })
    }
}

/// One operation of an output binding.
#[derive(Clone, Debug)]
pub struct Outlet {
    config: Config,
    operation: String,
    tool: String,
    blocks: Blocks,
}

impl Outlet {
    /// The tool's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.tool
    }

    /// The operation as a model sees it.
    #[must_use]
    pub fn spec(&self) -> ToolSpec {
        let mut input = Map::new();
        input.insert("type".to_owned(), json!("object"));
        let properties = json!({
            "data": {"type": "string", "description": "What to send: text, or JSON as text"},
            "metadata": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Settings of this call, where the binding knows any",
            },
        });
        input.insert("properties".to_owned(), properties);
        let required: &[&str] = if self.operation == "create" {
            &["data"]
        } else {
            &[]
        };
        input.insert("required".to_owned(), json!(required));
        ToolSpec {
            name: self.tool.clone(),
            description: self.config.description.clone(),
            input,
            kind: ToolKind::Tool,
        }
    }

    /// Calls the binding.
    ///
    /// # Cancel safety
    /// A call that was dropped may have been made.
    pub async fn call(&self, arguments: &Map<String, Value>, context: &CallContext) -> ToolOutput {
        let call = match self.invocation(arguments, context) {
            Ok(call) => call,
            Err(complaint) => return ToolOutput::failed(complaint),
        };
        let answer = self.blocks.invoke(call, context.within(DEADLINE));
        match answer.await {
            Ok(answer) => output(&answer),
            Err(error) => {
                let doubt = if error.in_doubt {
                    "; it may have been done"
                } else {
                    ""
                };
                ToolOutput::failed(format!("{} failed: {error}{doubt}", self.tool))
            }
        }
    }

    fn invocation(
        &self,
        arguments: &Map<String, Value>,
        context: &CallContext,
    ) -> Result<Invocation, String> {
        let data = match arguments.get("data") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => text.as_bytes().to_vec(),
            Some(other) => other.to_string().into_bytes(),
        };
        if data.len() > DATA_BYTES {
            return Err(format!("data must not be over {DATA_BYTES} bytes"));
        }
        let mut metadata = BTreeMap::new();
        match arguments.get("metadata") {
            None | Some(Value::Null) => {}
            Some(Value::Object(given)) => {
                for (name, value) in given {
                    let Value::String(value) = value else {
                        return Err(format!("metadata.{name} must be text"));
                    };
                    metadata.insert(name.clone(), value.clone());
                }
            }
            Some(_) => return Err("metadata must be an object of texts".to_owned()),
        }
        // Names that differ in their case are one to HTTP.
        let ours = |name: &str| {
            let mut fixed = self.config.metadata.keys();
            name.eq_ignore_ascii_case(KEY) || fixed.any(|fixed| fixed.eq_ignore_ascii_case(name))
        };
        metadata.retain(|name, _| !ours(name));
        metadata.extend(self.config.metadata.clone());
        if !context.key.is_empty() {
            metadata.insert(KEY.to_owned(), context.key.clone());
        }
        Ok(Invocation {
            binding: self.config.binding.clone(),
            operation: self.operation.clone(),
            data,
            metadata,
            traceparent: context.traceparent.clone(),
        })
    }
}

/// What a model is told: what came back, or that it is done.
fn output(answer: &Answer) -> ToolOutput {
    if answer.data.is_empty() {
        return ToolOutput::text("done".to_owned());
    }
    let Ok(text) = String::from_utf8(answer.data.to_vec()) else {
        let bytes = answer.data.len();
        return ToolOutput::text(format!(
            "done; the answer is {bytes} bytes that are no text"
        ));
    };
    let structured = serde_json::from_str(&text).ok().filter(Value::is_object);
    ToolOutput {
        text,
        structured,
        ending: Ending::Done,
    }
}

fn create() -> Vec<String> {
    vec!["create".to_owned()]
}

#[cfg(test)]
mod tests {
    use mesh_fabric::dapr::Settings;

    use super::*;

    fn outlet(yaml: &str) -> Outlet {
        let config: Config = serde_saphyr::from_str(yaml).unwrap();
        let blocks = Blocks::new(Settings::default()).unwrap();
        config.outlets(&blocks).next().unwrap()
    }

    fn invocation(arguments: &Value) -> Result<Invocation, String> {
        let outlet = outlet("{binding: mail, description: d, metadata: {emailTo: team}}");
        let context = CallContext {
            key: "task:1:0".to_owned(),
            ..CallContext::default()
        };
        outlet.invocation(arguments.as_object().unwrap(), &context)
    }

    #[tokio::test]
    async fn what_the_file_fixes_and_the_key_are_not_the_models_to_change() {
        let call = invocation(&json!({
            "data": {"a": 1},
            "metadata": {"emailto": "x", "idempotency-key": "y", "subject": "z"},
        }))
        .unwrap();
        assert_eq!((&*call.binding, &*call.operation), ("mail", "create"));
        assert_eq!(call.data, br#"{"a":1}"#);
        let metadata = [(KEY, "task:1:0"), ("emailTo", "team"), ("subject", "z")];
        let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(call.metadata, BTreeMap::from(metadata));
    }

    #[tokio::test]
    async fn arguments_that_no_binding_takes_are_told_to_the_model() {
        for (arguments, complaint) in [
            (json!({"metadata": "x"}), "an object of texts"),
            (json!({"metadata": {"n": 1}}), "metadata.n must be text"),
            (json!({"data": "x".repeat(DATA_BYTES + 1)}), "not be over"),
        ] {
            let error = invocation(&arguments).unwrap_err();
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[tokio::test]
    async fn each_operation_is_a_tool_of_its_own() {
        let config: Config =
            serde_saphyr::from_str("{binding: db, operations: [get, delete], description: d}")
                .unwrap();
        let blocks = Blocks::new(Settings::default()).unwrap();
        let names: Vec<_> = config.outlets(&blocks).map(|o| o.spec().name).collect();
        assert_eq!(names, ["db_get", "db_delete"]);
    }

    #[test]
    fn an_answer_is_told_as_text_and_as_data_where_it_is_some() {
        let told = |data: &'static [u8]| {
            output(&Answer {
                data: data.into(),
                metadata: BTreeMap::new(),
            })
        };
        assert_eq!(told(b"").text, "done");
        assert_eq!(told(b"{\"a\":1}").structured, Some(json!({"a": 1})));
        assert_eq!(told(b"[1]").structured, None);
        assert_eq!(
            told(b"\xff").text,
            "done; the answer is 1 bytes that are no text"
        );
    }
}
