//! An agent's tools as one box: MCP servers, forms, output bindings of a sidecar, other agents.
//!
//! # Invariants
//! - A call always comes back within its bound of time, with an output within its bound of size: what
//!   goes wrong is an output, too, for the model to read.
//! - A tool that the agent's file does not name is not listed and can't be called.

pub mod form;
pub mod mcp;
pub mod outlet;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use tokio::time::Instant;

use crate::{
    delegate::Delegate,
    session::{CallContext, Ending, ToolCall, ToolOutput, ToolSpec},
};

/// One agent's tools.
#[derive(Clone, Debug, Default)]
pub struct Toolbox {
    servers: Vec<Grant>,
    forms: Vec<Arc<form::Form>>,
    outlets: Arc<[outlet::Outlet]>,
    delegates: Vec<Arc<Delegate>>,
    metrics: Metrics,
}

/// A server, and how much of it the agent may use.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The server, shared by the worker's agents.
    pub server: Arc<mcp::Server>,
    /// The tools that may be used; `None` is all of them.
    pub allow: Option<BTreeSet<String>>,
}

/// What can be called now, and what could not be asked for its tools.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// In a stable order: servers in the order of the file, then forms, then bindings,
    /// then agents.
    pub tools: Vec<ToolSpec>,
    /// Why servers are missing, one sentence each.
    pub missing: Vec<String>,
}

/// Counts of tool calls.
#[derive(Clone, Debug)]
pub struct Metrics {
    calls: Family<Labels, Counter>,
    seconds: Histogram,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
enum Outcome {
    Done,
    Failed,
    Waiting,
}

impl Default for Metrics {
    fn default() -> Self {
        // From a calculation to a slow agent behind another router.
        let buckets = [
            0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 120.0,
        ];
        let calls = Family::default();
        for outcome in [Outcome::Done, Outcome::Failed, Outcome::Waiting] {
            calls.get_or_create_owned(&Labels { outcome });
        }
        Self {
            calls,
            seconds: Histogram::new(buckets),
        }
    }
}

impl Metrics {
    /// Makes the counts and shows them in a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "mesh_tool_calls",
            "Calls of tools by outcome",
            metrics.calls.clone(),
        );
        registry.register(
            "mesh_tool_call_seconds",
            "How long calls of tools took",
            metrics.seconds.clone(),
        );
        metrics
    }

    fn count(&self, ending: &Ending, took: Duration) {
        let outcome = match ending {
            Ending::Done => Outcome::Done,
            Ending::Failed | Ending::Fatal => Outcome::Failed,
            Ending::Waiting { .. } => Outcome::Waiting,
        };
        self.calls.get_or_create_owned(&Labels { outcome }).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}

impl Toolbox {
    /// Fills a box.
    #[must_use]
    pub fn new(
        servers: Vec<Grant>,
        forms: Vec<Arc<form::Form>>,
        delegates: Vec<Arc<Delegate>>,
        metrics: Metrics,
    ) -> Self {
        Self {
            servers,
            forms,
            outlets: Arc::default(),
            delegates,
            metrics,
        }
    }

    /// With output bindings.
    #[must_use]
    pub fn with_outlets(self, outlets: impl IntoIterator<Item = outlet::Outlet>) -> Self {
        Self {
            outlets: outlets.into_iter().collect(),
            ..self
        }
    }

    /// Lists what can be called. The first of two tools of one name wins; servers are asked at once
    /// and answer from their cache.
    pub async fn list(&self) -> Offer {
        let mut offer = Offer::default();
        let lists = join_all(self.servers.iter().map(|grant| grant.server.tools())).await;
        for (grant, list) in self.servers.iter().zip(lists) {
            match list {
                Ok(tools) => {
                    let granted = tools.iter().filter(|tool| grant.allows(&tool.name));
                    offer.tools.extend(granted.cloned());
                }
                Err(error) => offer.missing.push(error.to_string()),
            }
        }
        offer
            .tools
            .extend(self.forms.iter().map(|form| form.spec()));
        offer
            .tools
            .extend(self.outlets.iter().map(outlet::Outlet::spec));
        offer
            .tools
            .extend(self.delegates.iter().map(|delegate| delegate.spec()));
        let mut seen = BTreeSet::new();
        offer.tools.retain(|tool| seen.insert(tool.name.clone()));
        offer
    }

    /// Calls one tool, counts it and logs it in one line.
    pub async fn call(&self, call: &ToolCall, context: &CallContext) -> ToolOutput {
        let started = Instant::now();
        let output = bounded(self.dispatch(call, context).await);
        let took = started.elapsed();
        self.metrics.count(&output.ending, took);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let trace = context.trace();
        match &output.ending {
            Ending::Done | Ending::Waiting { .. } => {
                tracing::info!(tool = %call.name, trace, ms, "tool called");
            }
            Ending::Failed | Ending::Fatal => {
                tracing::warn!(tool = %call.name, trace, ms, error = %output.text, "tool failed");
            }
        }
        output
    }

    async fn dispatch(&self, call: &ToolCall, context: &CallContext) -> ToolOutput {
        for grant in self.servers.iter().filter(|grant| grant.allows(&call.name)) {
            if grant.server.has(&call.name).await {
                return grant
                    .server
                    .call(&call.name, call.arguments.clone(), context)
                    .await;
            }
        }
        if let Some(form) = self.forms.iter().find(|form| form.name() == call.name) {
            return form.call(&call.arguments, context).await;
        }
        if let Some(outlet) = self.outlets.iter().find(|each| each.name() == call.name) {
            return outlet.call(&call.arguments, context).await;
        }
        if let Some(delegate) = self
            .delegates
            .iter()
            .find(|delegate| delegate.tool() == call.name)
        {
            return delegate.call(&call.arguments, context).await;
        }
        ToolOutput::failed(format!("there is no tool {}", call.name))
    }
}

impl Grant {
    fn allows(&self, tool: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.contains(tool))
    }
}

/// Cuts an output to its bound: the rest of the text is named, data over the bound is left out.
fn bounded(mut output: ToolOutput) -> ToolOutput {
    let bytes = output.text.len();
    if bytes > OUTPUT_BYTES {
        output
            .text
            .truncate(output.text.floor_char_boundary(OUTPUT_BYTES));
        output
            .text
            .push_str(&format!("\n[cut: {OUTPUT_BYTES} of {bytes} bytes]"));
    }
    let too_large = |value: &serde_json::Value| value.to_string().len() > OUTPUT_BYTES;
    output.structured.take_if(|value| too_large(value));
    output
}

/// What one call may bring into a conversation: about sixteen thousand words of a language model.
const OUTPUT_BYTES: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_over_its_bound_is_cut_and_says_so() {
        let long = "é".repeat(OUTPUT_BYTES);
        let output = bounded(ToolOutput {
            text: format!("a{long}"),
            structured: Some(serde_json::json!({ "text": long })),
            ending: Ending::Done,
        });
        assert!(output.text.len() < OUTPUT_BYTES + 64);
        assert!(output.text.ends_with("bytes]"));
        assert_eq!(output.structured, None);
        let short = ToolOutput::text("short".to_owned());
        assert_eq!(bounded(short.clone()), short);
    }
}
