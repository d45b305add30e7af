//! Models without any judgement: a script for tests, and two synthetic ones for benchmarks.
//!
//! # Invariants
//! - The synthetic ones say in their label that they are synthetic, so that no report of them can be
//!   taken for one of real agents.

use std::{collections::VecDeque, str::FromStr, time::Duration};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    model::{Error, Model, Prompt, Reply},
    session::{Entry, Item},
};

/// One step of a script.
#[derive(Debug)]
pub struct Step {
    /// What is streamed first.
    pub deltas: Vec<String>,
    /// How it ends.
    pub reply: Result<Reply, Error>,
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Self {
        Self {
            deltas: Vec::new(),
            reply: Ok(reply),
        }
    }
}

/// Plays its steps in order, whatever it is asked, and keeps what it was asked.
#[derive(Debug, Default)]
pub struct Scripted {
    steps: Mutex<VecDeque<Step>>,
    asked: Mutex<Vec<Vec<Item>>>,
}

impl Scripted {
    /// Takes the steps in the order of play.
    #[must_use]
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: Mutex::new(steps.into_iter().collect()),
            asked: Mutex::default(),
        }
    }

    /// The conversations that it was shown, one per step played.
    #[must_use]
    pub fn asked(&self) -> Vec<Vec<Item>> {
        self.asked.lock().clone()
    }

    /// How many steps are left to play.
    #[must_use]
    pub fn left(&self) -> usize {
        self.steps.lock().len()
    }
}

impl Model for Scripted {
    fn label(&self) -> &'static str {
        "scripted (no LLM)"
    }

    fn respond<'a>(
        &'a self,
        prompt: Prompt<'a>,
        deltas: mpsc::Sender<String>,
    ) -> BoxFuture<'a, Result<Reply, Error>> {
        Box::pin(async move {
            self.asked.lock().push(prompt.items.to_vec());
            let step = self.steps.lock().pop_front().ok_or(Error::ScriptEnded)?;
            for delta in step.deltas {
                // A reader that left has dropped the turn.
                deltas.send(delta).await.ok();
            }
            step.reply
        })
    }
}

/// Says back what it is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Model for Echo {
    fn label(&self) -> &'static str {
        "echo/1 (synthetic, for benchmarks)"
    }

    fn respond<'a>(
        &'a self,
        prompt: Prompt<'a>,
        _deltas: mpsc::Sender<String>,
    ) -> BoxFuture<'a, Result<Reply, Error>> {
        let text = last_words(prompt.items).to_owned();
        Box::pin(std::future::ready(Ok(Reply::Answer { text })))
    }
}

/// Costs a fixed amount of processor time, waiting and answer, in pieces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Work {
    /// How long each piece keeps a processor busy.
    pub busy: Duration,
    /// How long each piece waits after that.
    pub wait: Duration,
    /// The size of each piece, in bytes.
    pub bytes: usize,
    /// How many pieces there are.
    pub pieces: usize,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            busy: Duration::ZERO,
            wait: Duration::from_millis(10),
            bytes: 64,
            pieces: 1,
        }
    }
}

/// What is wrong with a description of work.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WorkError {
    /// Not `key=number`.
    #[error("{0:?} is not one of busy_us=N, wait_ms=N, bytes=N, pieces=N")]
    Unknown(String),
    /// Above what a benchmark may ask of a worker.
    #[error("{0:?} is above its bound")]
    TooMuch(String),
}

impl FromStr for Work {
    type Err = WorkError;

    /// Reads `busy_us=200,wait_ms=5,bytes=512,pieces=4`; what is left out keeps its default.
    fn from_str(text: &str) -> Result<Self, WorkError> {
        let mut work = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let unknown = || WorkError::Unknown(part.to_owned());
            let (key, value) = part.split_once('=').ok_or_else(unknown)?;
            let value: u64 = value.parse().map_err(|_| unknown())?;
            let bounded = |most: u64| {
                (value <= most)
                    .then_some(value)
                    .ok_or_else(|| WorkError::TooMuch(part.to_owned()))
            };
            let count = |most| Ok(usize::try_from(bounded(most)?).unwrap_or(usize::MAX));
            match key {
                "busy_us" => work.busy = Duration::from_micros(bounded(1_000_000)?),
                "wait_ms" => work.wait = Duration::from_millis(bounded(600_000)?),
                "bytes" => work.bytes = count(1 << 20)?,
                "pieces" => work.pieces = count(10_000)?.max(1),
                _ => return Err(unknown()),
            }
        }
        if work.bytes.saturating_mul(work.pieces) > ANSWER_BYTES {
            return Err(WorkError::TooMuch(text.to_owned()));
        }
        Ok(work)
    }
}

impl Model for Work {
    fn label(&self) -> &'static str {
        "work/1 (synthetic, for benchmarks)"
    }

    fn respond<'a>(
        &'a self,
        _prompt: Prompt<'a>,
        deltas: mpsc::Sender<String>,
    ) -> BoxFuture<'a, Result<Reply, Error>> {
        Box::pin(async move {
            let piece = "x".repeat(self.bytes);
            for _ in 0..self.pieces {
                let until = Instant::now() + self.busy;
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                if !self.wait.is_zero() {
                    tokio::time::sleep(self.wait).await;
                }
                deltas.send(piece.clone()).await.ok();
            }
            Ok(Reply::Answer {
                text: piece.repeat(self.pieces),
            })
        })
    }
}

/// The largest answer that work may make: it is kept whole in memory once.
const ANSWER_BYTES: usize = 16 << 20;

fn last_words(items: &[Item]) -> &str {
    items
        .iter()
        .rev()
        .find_map(|item| match &item.entry {
            Entry::User { text, .. } => Some(text.as_str()),
            Entry::Assistant { .. } | Entry::Asked { .. } | Entry::Tool { .. } => None,
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_described_in_a_line_and_bounded() {
        let work: Work = "busy_us=200, wait_ms=0,bytes=512,pieces=4".parse().unwrap();
        let expected = Work {
            busy: Duration::from_micros(200),
            wait: Duration::ZERO,
            bytes: 512,
            pieces: 4,
        };
        assert_eq!(work, expected);
        assert_eq!("".parse::<Work>(), Ok(Work::default()));
        assert!(matches!(
            "bytes=9999999999".parse::<Work>(),
            Err(WorkError::TooMuch(_))
        ));
        let product = "bytes=1000000,pieces=1000".parse::<Work>();
        assert!(matches!(product, Err(WorkError::TooMuch(_))));
        assert!(matches!(
            "color=1".parse::<Work>(),
            Err(WorkError::Unknown(_))
        ));
    }
}
