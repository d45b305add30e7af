//! Counts of a text: words, characters, lines, sentences.

use rmcp::schemars;
use serde::{Deserialize, Serialize};

/// The text to count.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The text whose words, characters, lines and sentences are counted, as it stands.
    pub text: String,
}

/// Its counts.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct Counts {
    /// Runs of characters between white space.
    pub words: usize,
    /// Unicode characters, white space included.
    pub characters: usize,
    /// Lines; a final line end opens no further line.
    pub lines: usize,
    /// Sentences: ended by . ! ? or … before white space or the end; an unended rest counts as one.
    pub sentences: usize,
}

/// A text over its bound.
#[derive(Debug, thiserror::Error)]
#[error("the text has {bytes} bytes; at most {TEXT_BYTES} are counted")]
pub struct TooLong {
    /// How long it is.
    pub bytes: usize,
}

/// Counts a text in one pass per figure.
///
/// # Errors
/// [`TooLong`] above one mebibyte.
pub fn count(text: &str) -> Result<Counts, TooLong> {
    if text.len() > TEXT_BYTES {
        return Err(TooLong { bytes: text.len() });
    }
    Ok(Counts {
        words: text.split_whitespace().count(),
        characters: text.chars().count(),
        lines: text.lines().count(),
        sentences: sentences(text),
    })
}

fn sentences(text: &str) -> usize {
    let mut count = 0;
    let mut said = false;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let ends = matches!(c, '.' | '!' | '?' | '…' | '。');
        if ends && said && characters.peek().is_none_or(|next| next.is_whitespace()) {
            count += 1;
            said = false;
        } else if !ends && !c.is_whitespace() {
            said = true;
        }
    }
    count + usize::from(said)
}

const TEXT_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted_as_a_reader_would() {
        for (text, words, characters, lines, sentences) in [
            ("", 0, 0, 0, 0),
            ("   \n", 0, 4, 1, 0),
            ("one", 1, 3, 1, 1),
            ("the quick brown fox jumps", 5, 25, 1, 1),
            ("Pi is 3.14. Is it? Yes!", 6, 23, 1, 3),
            ("a\nb\r\nc\n", 3, 7, 3, 1),
            ("Wait... what?!", 2, 14, 1, 2),
            ("naïve café", 2, 10, 1, 1),
        ] {
            let counted = Counts {
                words,
                characters,
                lines,
                sentences,
            };
            assert_eq!(count(text).unwrap(), counted, "{text:?}");
        }
    }

    #[test]
    fn a_text_over_the_bound_is_refused() {
        assert!(count(&"x".repeat(TEXT_BYTES)).is_ok());
        assert!(count(&"x".repeat(TEXT_BYTES + 1)).is_err());
    }
}
