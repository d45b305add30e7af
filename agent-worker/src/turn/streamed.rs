//! Makes artifact pieces of a text that comes in deltas.
//!
//! One delta is always held back, because only the reply says which was the last.

use super::Step;

/// What was said of the answer so far.
#[derive(Debug, Default)]
pub(super) struct Streamed {
    said: String,
    held: Option<String>,
    begun: bool,
}

impl Streamed {
    /// Takes a delta; the piece before it can go out now.
    pub(super) fn push(&mut self, delta: String) -> Option<Step> {
        if delta.is_empty() {
            return None;
        }
        self.said.push_str(&delta);
        let piece = self.held.replace(delta)?;
        Some(self.piece(piece, false))
    }

    /// The last piece of a whole answer. An answer that does not begin with what was streamed takes
    /// its place.
    pub(super) fn finish(mut self, answer: &str) -> Option<Step> {
        let held = self.held.take();
        match answer.strip_prefix(&self.said) {
            Some(rest) => {
                let last = held.unwrap_or_default() + rest;
                (!last.is_empty()).then(|| self.piece(last, true))
            }
            None => {
                self.begun = false;
                Some(self.piece(answer.to_owned(), true))
            }
        }
    }

    fn piece(&mut self, text: String, last: bool) -> Step {
        let append = std::mem::replace(&mut self.begun, true);
        Step::Artifact {
            artifact_id: "answer".to_owned(),
            name: "answer".to_owned(),
            text,
            append,
            last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(deltas: &[&str], answer: &str) -> String {
        let mut streamed = Streamed::default();
        let mut steps: Vec<_> = deltas
            .iter()
            .map(|d| streamed.push((*d).to_owned()))
            .collect();
        steps.push(streamed.finish(answer));
        let shown = steps.into_iter().flatten().map(|step| match step {
            Step::Artifact {
                text, append, last, ..
            } => {
                format!(
                    "{}{text}{}",
                    if append { "+" } else { "=" },
                    if last { "." } else { "" }
                )
            }
            Step::Status(_) | Step::Remember(_) => panic!("no other step is made here"),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_pieces_join_to_the_answer_and_only_the_last_says_so() {
        assert_eq!(pieces(&["a", "b", "c"], "abc"), "=a +b +c.");
        assert_eq!(pieces(&["a", "b"], "abc"), "=a +bc.");
        assert_eq!(pieces(&[], "abc"), "=abc.");
        assert_eq!(pieces(&["", ""], ""), "");
        assert_eq!(pieces(&["let me see", "..."], "done"), "=let me see =done.");
    }
}
