//! What every file owes its reader: a beginning that says what it is, a length that can be read, and
//! words of the field.
//!
//! # Invariants
//! - Lexical only: a rule that needs types belongs to clippy.

use crate::tree::{Finding, Source, is_name};

/// The wall. 400 is the mark.
const LINES_MAX: usize = 500;

/// Words that name no thing of the field: whoever needs one has not found the name yet.
const EMPTY_WORDS: &[&str] = &[
    "manager", "managers", "handler", "handlers", "helper", "helpers", "util", "utils", "common",
];

/// The file opens with `//!` and some words.
pub(crate) fn opening(source: &Source) -> Option<Finding> {
    let first = source.text.lines().next().unwrap_or_default();
    let says = first
        .strip_prefix("//!")
        .is_some_and(|text| !text.trim().is_empty());
    (!says).then(|| {
        source.finding(
            1,
            "open with `//!`: what the file owns, what it never does, its invariants",
        )
    })
}

/// The file is not longer than the wall.
pub(crate) fn length(source: &Source) -> Option<Finding> {
    let lines = source.text.lines().count();
    (lines > LINES_MAX).then(|| {
        source.finding(
            LINES_MAX,
            format!("{lines} lines; {LINES_MAX} is the wall: split where a name helps"),
        )
    })
}

/// Neither the file nor a type in it is named by an empty word.
pub(crate) fn names(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let advice = |name: &str, word: &str| {
        format!("`{name}` is named by the empty word `{word}`: name what it is in this field")
    };
    if source.stem() == "mod" {
        let advice =
            "no mod.rs: `foo.rs` beside `foo/bar.rs`, so that a tab tells which file it is";
        findings.push(source.finding(1, advice));
    }
    for part in source.path.split(['/', '.']) {
        if let Some(word) = part
            .split(['_', '-'])
            .find(|word| EMPTY_WORDS.contains(word))
        {
            findings.push(source.finding(1, advice(part, word)));
        }
    }
    for (line, text) in (1..).zip(source.code.lines()) {
        if let Some(name) = type_name(text)
            && let Some(word) = words_of(name)
                .into_iter()
                .find(|w| EMPTY_WORDS.contains(&w.as_str()))
        {
            findings.push(source.finding(line, advice(name, &word)));
        }
    }
    findings
}

/// The name of the type that a line of code declares.
fn type_name(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().take(4).collect();
    let keyword = ["struct", "enum", "trait", "type", "union"];
    let at = words.iter().position(|word| keyword.contains(word))?;
    let declares = words[..at]
        .iter()
        .all(|word| word.starts_with("pub") || word.ends_with(')'));
    let name = words.get(at + 1).filter(|_| declares)?;
    let end = name.find(|letter| !is_name(letter)).unwrap_or(name.len());
    name.get(..end).filter(|name| !name.is_empty())
}

/// `TaskManager` as `task`, `manager`.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        match words.last_mut() {
            Some(word) if !letter.is_uppercase() => word.push(letter),
            _ => words.push(letter.to_lowercase().collect()),
        }
    }
    words
}

/// What makes a test lie: one that is skipped, one that any panic satisfies, one that hopes that a
/// while is long enough.
pub(crate) fn honest_tests(source: &Source) -> Vec<Finding> {
    let rules = [
        (
            "#[ignore",
            "a test that does not run proves nothing: fix it or remove it",
        ),
        (
            "#[should_panic",
            "any panic satisfies it: assert on the error itself",
        ),
        (
            "thread::sleep",
            "wait for the condition instead, or pause the clock",
        ),
    ];
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(source.code.lines()) {
        for (pattern, advice) in rules {
            if text.contains(pattern) {
                findings.push(source.finding(line, format!("`{pattern}`: {advice}")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::new(path, text)
    }

    #[test]
    fn a_file_that_does_not_say_what_it_is_is_found() {
        assert!(opening(&source("a.rs", "//! What it is.\n")).is_none());
        for text in [
            "",
            "use std::fmt;\n",
            "//!\nuse x;",
            "// Not a doc.\n",
            "\n//! Late.\n",
        ] {
            assert!(opening(&source("a.rs", text)).is_some(), "{text:?}");
        }
    }

    #[test]
    fn a_file_over_the_wall_is_found() {
        assert!(length(&source("a.rs", &"x\n".repeat(LINES_MAX))).is_none());
        let long = length(&source("a.rs", &"x\n".repeat(LINES_MAX + 1)));
        assert!(long.is_some_and(|finding| finding.advice.starts_with("501 lines")));
    }

    #[test]
    fn an_empty_word_in_a_name_is_found() {
        let count = |path, text| names(&source(path, text)).len();
        assert_eq!(
            count("router/src/relay.rs", "pub struct Relay;\nenum Kind {}"),
            0
        );
        assert_eq!(count("router/src/utils.rs", ""), 1);
        assert_eq!(count("router/src/relay/mod.rs", ""), 1);
        assert_eq!(count("router/src/task_helper.rs", ""), 1);
        assert_eq!(count("crates/common/src/lib.rs", ""), 1);
        assert_eq!(count("a.rs", "pub(crate) struct TaskManager<T>(T);"), 1);
        assert_eq!(count("a.rs", "    trait Handler {"), 1);
        assert_eq!(count("a.rs", "pub type Handlers = X;"), 1);
        assert_eq!(
            count("a.rs", "// struct Manager\nlet s = \"struct Manager\";"),
            0
        );
        assert_eq!(count("a.rs", "struct Utility; fn handler() {}"), 0);
        assert_eq!(count("a.rs", "use x::Handler;"), 0);
    }

    #[test]
    fn a_test_that_cannot_be_trusted_is_found() {
        let count = |text| honest_tests(&source("a.rs", text)).len();
        assert_eq!(count("#[test]\nfn a_thing_holds() {}"), 0);
        assert_eq!(count("#[ignore]\nfn f() {}"), 1);
        assert_eq!(count("#[ignore = \"slow\"]"), 1);
        assert_eq!(count("#[should_panic(expected = \"x\")]"), 1);
        assert_eq!(count("std::thread::sleep(d);"), 1);
        assert_eq!(count("// #[ignore]\nlet s = \"thread::sleep\";"), 0);
    }
}
