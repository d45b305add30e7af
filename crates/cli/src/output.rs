//! Where results, remarks and failures are printed, and whether in colour.
//!
//! # Invariants
//! - Every write to stdout or stderr by a verb goes through here.
//! - A reader that went away (`daca ... | head`) is not worth a panic: writes to it are dropped.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use clap::ValueEnum;
use serde::Serialize;

use crate::exit::{Exit, Failure};

/// How results are printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document, or one per line where there are many.
    Json,
}

/// The streams that a verb writes to.
#[derive(Debug)]
pub(crate) struct Output {
    /// What the caller asked for.
    pub(crate) format: Format,
    /// Whether stdout is a terminal that the eye follows.
    pub(crate) live: bool,
    colour_out: bool,
    colour_err: bool,
}

/// What a piece of text is, for colouring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tone {
    /// Beside the point.
    Faint,
    /// Good news.
    Good,
    /// Bad news.
    Bad,
    /// What to look at.
    Strong,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let colour = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let live = io::stdout().is_terminal();
        Self {
            format,
            live,
            colour_out: colour && live,
            colour_err: colour && io::stderr().is_terminal(),
        }
    }

    /// Prints to stdout as it is.
    pub(crate) fn raw(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        drop(
            stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush()),
        );
    }

    /// Prints a line to stdout.
    pub(crate) fn line(&self, text: &str) {
        self.raw(&format!("{text}\n"));
    }

    /// Prints a remark to stderr; nothing in JSON, where a program listens.
    pub(crate) fn remark(&self, text: &str) {
        if self.format == Format::Text {
            let text = paint(self.colour_err, Tone::Faint, text);
            drop(writeln!(io::stderr().lock(), "{text}"));
        }
    }

    /// Prints a value to stdout as one line of JSON.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.line(&serde_json::to_string(value).map_err(Failure::role)?);
        Ok(())
    }

    /// Colours a piece of stdout.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        paint(self.colour_out, tone, text)
    }

    /// Prints why a verb came to nothing.
    pub(crate) fn failure(&self, failure: &Failure) {
        let problem = failure
            .error
            .downcast_ref::<mesh_client::Error>()
            .and_then(mesh_client::Error::problem);
        // {:#} prints the whole chain of causes on one line.
        let message = format!("{:#}", failure.error);
        let text = match self.format {
            Format::Text => format!("{} {message}", paint(self.colour_err, Tone::Bad, "error:")),
            Format::Json => serde_json::json!({"error": {
                "exit": failure.exit as u8,
                "side": match failure.exit {
                    Exit::Ok | Exit::Failed => "task",
                    Exit::Usage => "caller",
                    Exit::A2a => "agent",
                    Exit::Transport => "transport",
                },
                "code": problem.map(|problem| problem.fault.row().code),
                "reason": problem.map(|problem| problem.fault.row().reason),
                "message": message,
                "metadata": problem.map(|problem| &problem.metadata),
            }})
            .to_string(),
        };
        drop(writeln!(io::stderr().lock(), "{text}"));
        if let Some(hint) = failure.hint {
            self.remark(&format!("hint: {hint}"));
        }
    }
}

fn paint(colour: bool, tone: Tone, text: &str) -> String {
    if !colour {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Faint => 2,
        Tone::Good => 32,
        Tone::Bad => 31,
        Tone::Strong => 1,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_a_text_stays_as_it_is() {
        assert_eq!(paint(false, Tone::Bad, "x"), "x");
        assert_eq!(paint(true, Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
