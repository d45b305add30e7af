//! An agent: a name, instructions, a model and a box of tools.
//!
//! It owns what an agent *is*; what it *does* with a message is [`crate::turn`].
//!
//! # Invariants
//! - An agent is immutable and shared: a conversation's state lives in its session and its task.

use std::{fmt, num::NonZeroU32, str::FromStr, sync::Arc};

use mesh_proto::{AgentName, Binding};
use serde::{Deserialize, Serialize};

use crate::{
    delegate,
    group::{self, Fanout},
    model::{
        Model,
        scripted::{Work, WorkError},
    },
    record::digest,
    tools::{Toolbox, form, outlet},
};

mod wording;
pub(crate) use wording::Wording;

/// An agent as the agents file has it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its name: the first segment of its paths.
    pub name: AgentName,
    /// What it does, for its card.
    pub description: String,
    /// Who it is and how it behaves, for a language model. The deterministic model reads only tools.
    /// `${config:STORE/KEY}` in it is a setting of the Dapr sidecar's, as it is when the model is asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// Which model decides. Default `auto`.
    #[serde(default)]
    pub model: Choice,
    /// The tools that it may use: `server` for all of a server's, `server.tool` for one. `builtin`
    /// is the server that comes with us.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Tools that are described right here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forms: Vec<form::Config>,
    /// Output bindings of the Dapr sidecar, as tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<outlet::Config>,
    /// Input bindings of the Dapr sidecar: each event of theirs is a message to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Other agents that it may ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delegates: Vec<delegate::Config>,
    /// Where it is a group: its members, which answer in its place. It needs no model and no tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<group::Config>,
    /// What its card says that it can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<Skill>,
    /// The bindings that it is offered in, in the order of its card; the others answer that they are
    /// not. Default: all three.
    #[serde(default = "all_bindings")]
    pub bindings: Vec<Offered>,
    /// How often the model may be asked for one message before the task fails. Default 10.
    #[serde(default = "ten")]
    pub max_turns: NonZeroU32,
}

/// An input binding that an agent takes events of. Its component names this worker's path for it:
/// `route: /-/binding/NAME`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The component's name at the sidecar.
    pub binding: String,
    /// What the agent is told before each event. Default: the event alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The header by which the binding names an event, where the event is no `CloudEvent` with an id of
    /// its own: `MessageId`. Without one, what comes twice is two tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// One thing that an agent can do, for its card.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Skill {
    /// Unique within the card.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Keywords.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Requests that it is good for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

/// A binding in a word: `jsonrpc`, `rest` or `grpc`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Offered(pub Binding);

impl TryFrom<String> for Offered {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut known = Binding::ALL.into_iter();
        known
            .find(|binding| binding.label() == text)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no binding; known are jsonrpc, rest and grpc"))
    }
}

impl From<Offered> for String {
    fn from(Offered(binding): Offered) -> Self {
        binding.label().to_owned()
    }
}

/// Which model decides, in a word.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Choice {
    /// `auto`: the language model if the environment names one, otherwise the rules.
    #[default]
    Auto,
    /// `rules`: the deterministic one.
    Rules,
    /// `openai` or `openai:NAME`: a language model behind the chat-completions interface.
    OpenAi(Option<String>),
    /// `echo`: says back what it is told; for benchmarks.
    Echo,
    /// `work` or `work:busy_us=N,wait_ms=N,bytes=N,pieces=N`; for benchmarks.
    Work(Work),
}

/// What is wrong with the word for a model.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChoiceError {
    /// No such model.
    #[error(
        "{0:?} is no model; known are auto, rules, openai, openai:NAME, echo, work, work:KEY=N,..."
    )]
    Unknown(String),
    /// The work is described wrong.
    #[error("the work is described wrong")]
    Work(#[source] WorkError),
}

impl FromStr for Choice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let (word, rest) = text
            .split_once(':')
            .map_or((text, None), |(word, rest)| (word, Some(rest)));
        match (word, rest) {
            ("auto", None) => Ok(Self::Auto),
            ("rules", None) => Ok(Self::Rules),
            ("openai", name) if name != Some("") => Ok(Self::OpenAi(name.map(str::to_owned))),
            ("echo", None) => Ok(Self::Echo),
            ("work", rest) => rest
                .unwrap_or_default()
                .parse()
                .map(Self::Work)
                .map_err(ChoiceError::Work),
            _ => Err(ChoiceError::Unknown(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Choice {
    type Error = ChoiceError;

    fn try_from(text: String) -> Result<Self, ChoiceError> {
        text.parse()
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Rules => f.write_str("rules"),
            Self::OpenAi(None) => f.write_str("openai"),
            Self::OpenAi(Some(name)) => write!(f, "openai:{name}"),
            Self::Echo => f.write_str("echo"),
            Self::Work(work) => write!(
                f,
                "work:busy_us={},wait_ms={},bytes={},pieces={}",
                work.busy.as_micros(),
                work.wait.as_millis(),
                work.bytes,
                work.pieces
            ),
        }
    }
}

impl From<Choice> for String {
    fn from(choice: Choice) -> Self {
        choice.to_string()
    }
}

/// An agent that is ready for turns. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Agent {
    pub(crate) config: Arc<Config>,
    pub(crate) wording: Arc<Wording>,
    pub(crate) model: Arc<dyn Model>,
    pub(crate) toolbox: Toolbox,
    pub(crate) fanout: Option<Fanout>,
    /// Who may change its members, where it is a group: digests of what they send as authorization.
    pub(crate) owners: Arc<[String]>,
}

/// What a card says of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct CardFacts {
    /// Its name.
    pub name: AgentName,
    /// What it does.
    pub description: String,
    /// What it can do.
    pub skills: Vec<Skill>,
    /// Which model decides, in words; a model that is no language model says so.
    pub model: String,
    /// The bindings that it is offered in, the preferred one first.
    pub bindings: Vec<Binding>,
}

impl Agent {
    /// Puts an agent together.
    #[must_use]
    pub fn new(config: Config, model: Arc<dyn Model>, toolbox: Toolbox) -> Self {
        Self {
            wording: Arc::new(Wording::new(&config.instructions)),
            config: Arc::new(config),
            model,
            toolbox,
            fanout: None,
            owners: Arc::default(),
        }
    }

    /// With owners, by their bearer tokens, where it is a group.
    #[must_use]
    pub fn owned_by(self, tokens: &[String]) -> Self {
        let owner = |token: &String| digest(format!("Bearer {token}").as_bytes());
        Self {
            owners: tokens.iter().map(owner).collect(),
            ..self
        }
    }

    /// Whether its members answer in its place.
    #[must_use]
    pub fn is_group(&self) -> bool {
        self.config.group.is_some()
    }

    /// With a way to ask its members, where it is a group.
    #[must_use]
    pub fn asking_by(self, fanout: &Fanout) -> Self {
        Self {
            fanout: Some(fanout.clone()),
            ..self
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &AgentName {
        &self.config.name
    }

    /// The input bindings that it takes events of.
    #[must_use]
    pub fn inputs(&self) -> &[Input] {
        &self.config.inputs
    }

    /// What its card says.
    #[must_use]
    pub fn card_facts(&self) -> CardFacts {
        CardFacts {
            name: self.config.name.clone(),
            description: self.config.description.clone(),
            skills: self.config.skills.clone(),
            model: match &self.config.group {
                Some(group) if group.owners.is_empty() => {
                    format!("none: a group of {}", group.members.len())
                }
                Some(_) => "none: a group".to_owned(),
                None => self.model.label().to_owned(),
            },
            bindings: self.config.bindings.iter().map(|one| one.0).collect(),
        }
    }

    /// Whether it may ask other agents.
    #[must_use]
    pub fn delegates(&self) -> bool {
        !self.config.delegates.is_empty() || self.config.group.is_some()
    }

    /// Whether it is offered in a binding.
    #[must_use]
    pub fn offers(&self, binding: Binding) -> bool {
        self.config.bindings.contains(&Offered(binding))
    }
}

/// The default of [`Config::bindings`], in the order in which cards have always named them.
fn all_bindings() -> Vec<Offered> {
    [Binding::JsonRpc, Binding::Rest, Binding::Grpc]
        .map(Offered)
        .to_vec()
}

/// The default of [`Config::max_turns`]: enough for a chain of tools, few enough to end a circle.
const fn ten() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_in_a_word_that_reads_back() {
        for text in ["auto", "rules", "openai", "openai:llama3.1:8b", "echo"] {
            assert_eq!(text.parse::<Choice>().unwrap().to_string(), text);
        }
        let work: Choice = "work:bytes=7".parse().unwrap();
        assert_eq!(work.to_string().parse::<Choice>().unwrap(), work);
        for text in ["", "gpt", "openai:", "rules:1", "work:x"] {
            assert!(text.parse::<Choice>().is_err(), "{text}");
        }
        assert_eq!(ten().get(), 10);
    }
}
