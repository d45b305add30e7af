//! The source tree as the checks see it: every `.rs` file, read once, and the parts of it that are
//! code.
//!
//! # Invariants
//! - Read only. A check gets text and gives back findings; nothing here knows a rule.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// Something that breaks a rule, and what to do about it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// From the root of the workspace, with `/` on every system.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and the contents of strings blanked, line for line.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: code_of(text),
        }
    }

    pub(crate) fn finding(&self, line: usize, advice: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            advice: advice.into(),
        }
    }

    /// Whether a generator wrote it.
    pub(crate) fn is_generated(&self) -> bool {
        self.path.starts_with("proto/src/gen/")
    }

    /// The file's name without `.rs`.
    pub(crate) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.strip_suffix(".rs").unwrap_or(name)
    }

    /// Every place of a word in the code, as (line, whole line).
    pub(crate) fn lines_with<'a>(
        &'a self,
        word: &'a str,
    ) -> impl Iterator<Item = (usize, &'a str)> + 'a {
        let lines = (1..).zip(self.code.lines());
        lines.filter(move |(_, line)| has_word(line, word))
    }
}

/// Whether a line has a text that does not go on as an identifier on either side.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        let open_end = word.ends_with(|last: char| !is_name(last));
        !before.is_some_and(is_name) && (open_end || !after.is_some_and(is_name))
    })
}

pub(crate) fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The root of the workspace that this test was built in.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Every Rust file below the root, in the order of their paths.
pub(crate) fn sources() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries {
            let path = entry.expect("an entry can be read").path();
            let name = path
                .file_name()
                .and_then(|n| n.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                let foreign = name.starts_with('.') || ["target", "node_modules"].contains(&name);
                folders.extend((!foreign).then_some(path));
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                let below = path.strip_prefix(&root).expect("it is below the root");
                let below: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
                found.push(Source::new(&below.join("/"), &text));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Blanks comments and what stands between quotes, and keeps every line where it is.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut previous = ' ';
    while let Some(letter) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| {
            // `r` and `b` begin a string only where no name goes on.
            (!is_name(previous)).then(|| quoted(rest)).flatten()
        });
        let length = match skipped {
            Some(length) => {
                let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
                code.extend(rest[..length].chars().map(blank));
                previous = ' ';
                length
            }
            None => {
                code.push(letter);
                previous = letter;
                letter.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    code
}

/// The length of the comment that a text begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.starts_with("/*").then_some(())?;
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(text.len())
}

/// The length of the string or character that a text begins with.
fn quoted(text: &str) -> Option<usize> {
    let body = text.trim_start_matches(['b', 'c']);
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = text.len() - raw.len() + hashes + 1;
            let length = text[start..].find(&end)?;
            return Some(start + length + end.len());
        }
    }
    let quote = body.chars().next().filter(|c| ['"', '\''].contains(c))?;
    let start = text.len() - body.len() + 1;
    let mut letters = text[start..].char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if letter == quote {
            return Some(start + at + 1);
        } else if quote == '\'' && at > 0 {
            // More than one letter without a quote after it: a lifetime.
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let check = |text: &str, code: &str| assert_eq!(code_of(text), code, "{text}");
        check("a // b\nc", "a     \nc");
        check("a /* b /* c */ d */ e", "a                   e");
        check("a(\"b // c\") d", "a(        ) d");
        check("a(\"\\\"b\") c", "a(     ) c");
        check("r#\"a\"b\"# c", "         c");
        check("f::<'a>('b', '\\'', \"c\")", "f::<'a>(   ,     ,    )");
        check("&'static str", "&'static str");
        check("number\"x\"", "number\"x\"");
        check("\"a\nb\" c", "  \n   c");
    }

    #[test]
    fn a_word_ends_where_the_name_ends() {
        assert!(has_word("use hyper::body", "hyper::"));
        assert!(!has_word("use my_hyper::body", "hyper::"));
        assert!(has_word("let x = a(tokio)", "tokio"));
        assert!(!has_word("tokio_rustls::x", "tokio"));
    }
}
