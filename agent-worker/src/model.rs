//! What decides the next step of a turn: the seam behind which a rule engine, a language model or a
//! script stands.
//!
//! # Invariants
//! - A model sees the conversation and the tools, and touches neither: the turn calls the tools.
//! - To add a model: a file in `model/` that implements [`Model`], and a word for it in
//!   `agent::Choice`.

#[cfg(feature = "openai")]
pub mod openai;
pub mod rules;
pub mod scripted;

use std::fmt;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::session::{Item, Pending, ToolCall, ToolSpec};

/// Decides the next step.
pub trait Model: fmt::Debug + Send + Sync {
    /// What it is, for cards and logs. A model that is no language model says so.
    fn label(&self) -> &str;

    /// Decides the next step. Text that is already certain to begin the answer may go to `deltas`
    /// meanwhile; a full channel waits for the reader.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the step and nothing else.
    fn respond<'a>(
        &'a self,
        prompt: Prompt<'a>,
        deltas: mpsc::Sender<String>,
    ) -> BoxFuture<'a, Result<Reply, Error>>;
}

/// What a model decides on.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// The task whose turn it is.
    pub task: &'a str,
    /// Who the agent is and how it behaves.
    pub instructions: &'a str,
    /// What may be called.
    pub tools: &'a [ToolSpec],
    /// The conversation, oldest first; the last items are this turn's.
    pub items: &'a [Item],
}

/// What a model decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The answer: the turn is complete.
    Answer {
        /// The whole text, deltas included.
        text: String,
    },
    /// Tools are to be called, all at once, and the model asked again.
    Calls {
        /// What it says meanwhile.
        text: String,
        /// At least one.
        calls: Vec<ToolCall>,
    },
    /// The caller must say more first.
    Ask {
        /// The question.
        question: String,
        /// The calls that wait for the answer.
        pending: Vec<Pending>,
    },
    /// There is no way to do it.
    Fail {
        /// Why, for the caller.
        reason: String,
    },
}

/// Why a model gave no reply. The text reaches the caller: it holds no secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model's server refused or could not be reached.
    #[error("the model {model} gave no answer: {reason}")]
    Upstream {
        /// Its label.
        model: String,
        /// What it said, cut short.
        reason: String,
    },
    /// It took too long.
    #[error("the model {model} said nothing for {seconds} s")]
    Timeout {
        /// Its label.
        model: String,
        /// The bound.
        seconds: u64,
    },
    /// What it said can't be used.
    #[error("the model {model} gave a reply that can't be used: {reason}")]
    Reply {
        /// Its label.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A script is at its end.
    #[error("the script has no further step")]
    ScriptEnded,
}
