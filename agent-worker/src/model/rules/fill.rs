//! Fills a tool's arguments from a clause, from data that came with it, and from earlier turns.
//!
//! # Invariants
//! - What is given by name wins over what is found by form, and that over what is guessed from where
//!   it stands.
//! - One value of the clause fills one parameter.

use serde_json::{Map, Value};

use super::{
    clause::{Clause, Token},
    param::{self, Kind, Param},
    score,
    value::{Find, Form, PRONOUNS},
};
use crate::session::{Entry, Item};

/// What the conversation so far can lend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory<'a>(pub(super) &'a [Item]);

impl Memory<'_> {
    /// The newest value that was given to, or came from, something of this name.
    pub(super) fn value(self, name: &str) -> Option<Value> {
        self.0.iter().rev().find_map(|item| match &item.entry {
            Entry::Assistant { calls, .. } => calls
                .iter()
                .rev()
                .find_map(|call| call.arguments.get(name).cloned()),
            Entry::Tool { output, .. } => output.structured.as_ref()?.get(name).cloned(),
            Entry::User { .. } | Entry::Asked { .. } => None,
        })
    }

    /// The newest result of a sum, for "it" in another sum.
    pub(super) fn number(self) -> Option<String> {
        let result = self.value("result")?;
        let text = result
            .as_str()
            .map_or_else(|| result.to_string(), str::to_owned);
        text.parse::<f64>().is_ok().then_some(text)
    }
}

/// A tool's arguments as far as they are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filled {
    /// The known ones.
    pub(super) arguments: Map<String, Value>,
    /// The required ones that are not.
    pub(super) missing: Vec<String>,
    /// How many were given by name or told by their form: a sign that the tool is meant.
    pub(super) certain: usize,
    /// Tokens that became arguments.
    pub(super) used: Vec<bool>,
}

/// How much of a clause may be taken for a value by where it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reading<'a> {
    /// A request: these words led to the tool, and a free text is what follows them.
    Request(&'a [String]),
    /// An answer to a question: what is no value of another kind is a free text.
    Answer,
}

/// Fills the parameters.
pub(super) fn fill(
    params: &[Param],
    clause: &Clause,
    finds: &[Find],
    fields: &Map<String, Value>,
    memory: Memory<'_>,
    reading: Reading<'_>,
) -> Filled {
    let mut filler = Filler {
        clause,
        payload: clause.payload.as_deref(),
        finds,
        filled: Filled {
            used: vec![false; clause.tokens.len()],
            ..Filled::default()
        },
    };
    for param in params {
        filler.by_name(param, fields);
    }
    for param in params {
        filler.by_form(param);
    }
    for param in params.iter().filter(|param| param.required) {
        filler.by_cue(param);
    }
    for param in params.iter().filter(|param| param.required) {
        filler.by_quotes(param);
    }
    // What stands after a colon is a text before it is a name.
    let (names, others): (Vec<_>, Vec<_>) = params
        .iter()
        .filter(|param| param.required)
        .partition(|param| param.kind == Kind::Name);
    for param in others.into_iter().chain(names) {
        filler.by_place(param, reading);
        filler.by_memory(param, memory);
    }
    let missing = params
        .iter()
        .filter(|param| param.required && filler.lacks(param));
    filler.filled.missing = missing.map(|param| param.name.clone()).collect();
    filler.filled
}

struct Filler<'a> {
    clause: &'a Clause,
    payload: Option<&'a str>,
    finds: &'a [Find],
    filled: Filled,
}

impl Filler<'_> {
    fn lacks(&self, param: &Param) -> bool {
        !self.filled.arguments.contains_key(&param.name)
    }

    fn set(&mut self, param: &Param, value: Value, tokens: std::ops::Range<usize>) {
        self.filled.arguments.insert(param.name.clone(), value);
        for used in self.filled.used.get_mut(tokens).into_iter().flatten() {
            *used = true;
        }
    }

    fn is_free(&self, at: usize) -> bool {
        self.filled.used.get(at) == Some(&false)
    }

    /// A number, date, zone and so on is never part of a free text's guess.
    fn is_plain(&self, at: usize) -> bool {
        self.is_free(at) && !self.finds.iter().any(|find| find.tokens.contains(&at))
    }

    fn word(&self, at: usize) -> String {
        self.clause
            .tokens
            .get(at)
            .map(Token::word)
            .unwrap_or_default()
    }

    fn by_name(&mut self, param: &Param, fields: &Map<String, Value>) {
        let given = fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&param.name));
        let data = given.and_then(|(_, value)| match value {
            value if param.takes(value) => Some(value.clone()),
            Value::String(text) => param.read(text),
            Value::Number(number) => param.read(&number.to_string()),
            _ => None,
        });
        let pair = || {
            let (_, text) = self
                .clause
                .pairs
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(&param.name))?;
            param.read(text)
        };
        if let Some(value) = data.or_else(pair) {
            self.set(param, value, 0..0);
            self.filled.certain += 1;
        }
    }

    fn by_form(&mut self, param: &Param) {
        if !self.lacks(param) {
            return;
        }
        match &param.kind {
            Kind::Enum(values) => {
                let said = (0..self.clause.tokens.len()).find_map(|at| {
                    let text = &self.clause.tokens[at].text;
                    let value = values.iter().find(|value| param::is_said(value, text))?;
                    self.is_free(at).then(|| (at, value.clone()))
                });
                if let Some((at, value)) = said {
                    self.set(param, value, at..at + 1);
                    self.filled.certain += 1;
                }
            }
            Kind::Formed(form) => {
                if let Some(find) = self.next(*form) {
                    self.set(param, Value::from(find.text), find.tokens);
                    self.filled.certain += 1;
                }
            }
            Kind::Integer | Kind::Number => {
                // A number beside the parameter's name, or, when it is required, any that is left.
                let beside = self.beside(&param.name);
                let any = || param.required.then(|| self.next(Form::Number)).flatten();
                if let Some(find) = beside.or_else(any)
                    && let Some(value) = param.read(&find.text)
                {
                    self.set(param, value, find.tokens);
                }
            }
            Kind::Boolean | Kind::Json | Kind::Name | Kind::Message | Kind::Text => {}
        }
    }

    fn next(&self, form: Form) -> Option<Find> {
        let free = |find: &&Find| find.form == form && self.is_free(find.tokens.start);
        self.finds.iter().find(free).cloned()
    }

    fn beside(&self, name: &str) -> Option<Find> {
        let stem = score::stem(name);
        let is_name = |at: usize| stem.is_some() && score::stem(&self.word(at)) == stem;
        let beside = |find: &&Find| {
            find.form == Form::Number
                && self.is_free(find.tokens.start)
                && (is_name(find.tokens.end)
                    || find.tokens.start.checked_sub(1).is_some_and(is_name))
        };
        self.finds.iter().find(beside).cloned()
    }

    /// "named Ada", "my name is Ada", "under groceries", "key groceries".
    fn by_cue(&mut self, param: &Param) {
        if param.kind != Kind::Name || !self.lacks(param) {
            return;
        }
        for at in 0..self.clause.tokens.len() {
            let word = self.word(at);
            let is_name = word == param.name.to_lowercase();
            let is_cue = NAMING.contains(&word.as_str());
            let introduces = word == "for" && param.name != "key";
            if !(is_name || is_cue || introduces) {
                continue;
            }
            let mut start = at + 1;
            while matches!(
                self.word(start).as_str(),
                "is" | "key" | "name" | "the" | "of"
            ) {
                start += 1;
            }
            let end = self.name_from(start, introduces);
            if end > start {
                let text = self.text(start..end);
                self.set(param, Value::from(text), start..end);
                self.consume(at);
                return;
            }
        }
    }

    /// Where a name ends that may start here: one token, and those with capital letters after it.
    fn name_from(&self, start: usize, only_capital: bool) -> usize {
        let capital = |at: usize| {
            let token = self.clause.tokens.get(at);
            token.is_some_and(|token| token.quoted || token.text.starts_with(char::is_uppercase))
        };
        let fits = self.is_plain(start)
            && if only_capital {
                capital(start)
            } else {
                !is_empty_word(&self.word(start))
            };
        if !fits {
            return start;
        }
        let mut end = start + 1;
        while end < start + NAME_WORDS
            && !self.clause.tokens[end - 1].quoted
            && !self.clause.tokens[end - 1].ends()
            && self.is_plain(end)
            && capital(end)
        {
            end += 1;
        }
        end
    }

    fn by_quotes(&mut self, param: &Param) {
        let takes = param.is_free() || param.kind == Kind::Formed(Form::Path);
        if !takes || param.kind == Kind::Message || !self.lacks(param) {
            return;
        }
        let quoted = |at: &usize| self.clause.tokens[*at].quoted && self.is_free(*at);
        if let Some(at) = (0..self.clause.tokens.len()).find(quoted) {
            let text = self.clause.tokens[at].text.clone();
            self.set(param, Value::from(text), at..at + 1);
            self.filled.certain += 1;
        }
    }

    fn by_place(&mut self, param: &Param, reading: Reading<'_>) {
        if !self.lacks(param) {
            return;
        }
        if param.kind == Kind::Message {
            let text = self.clause.source.clone();
            self.set(param, Value::from(text), 0..0);
            return;
        }
        if let Some(value) = self.payload.and_then(|payload| param.read(payload)) {
            self.payload = None;
            self.filled.certain += usize::from(param.is_free());
            self.set(param, value, 0..0);
            return;
        }
        if let (Kind::Text, Reading::Request(words), false) =
            (&param.kind, reading, self.clause.is_cut)
        {
            self.rest_of_request(param, words);
        }
    }

    /// "remember that the door code is 42 as door": what follows the last word that led to the tool.
    fn rest_of_request(&mut self, param: &Param, words: &[String]) {
        let led = |at: &usize| {
            let stem = score::stem(&self.word(*at));
            stem.is_some_and(|stem| words.contains(&stem))
        };
        let Some(first) = (0..self.clause.tokens.len()).find(led) else {
            return;
        };
        let run = (first..self.clause.tokens.len())
            .take_while(|at| led(at))
            .count();
        let mut start = first + run;
        while LEADING.contains(&self.word(start).as_str()) {
            start += 1;
        }
        let mut end = start;
        while self.is_free(end) {
            end += 1;
        }
        let refers = REFERRING.contains(&self.word(start).as_str());
        if end > start && !refers {
            let text = self.text(start..end);
            self.set(param, Value::from(text), start..end);
        }
    }

    fn by_memory(&mut self, param: &Param, memory: Memory<'_>) {
        let refers = self
            .clause
            .tokens
            .iter()
            .any(|t| PRONOUNS.contains(&t.word().as_str()));
        if self.lacks(param)
            && refers
            && let Some(value) = memory.value(&param.name).filter(|value| param.takes(value))
        {
            self.set(param, value, 0..0);
        }
    }

    fn consume(&mut self, at: usize) {
        if let Some(used) = self.filled.used.get_mut(at) {
            *used = true;
        }
    }

    fn text(&self, tokens: std::ops::Range<usize>) -> String {
        text(self.clause.tokens.get(tokens).unwrap_or_default())
    }
}

/// Tokens as they were written, without the punctuation at the end.
pub(super) fn text(tokens: &[Token]) -> String {
    let Some((last, others)) = tokens.split_last() else {
        return String::new();
    };
    let mut text: Vec<&str> = others.iter().map(|token| token.raw.as_str()).collect();
    text.push(&last.text);
    text.join(" ")
}

fn is_empty_word(word: &str) -> bool {
    word.is_empty() || score::stem(word).is_none()
}

/// Words that a name follows.
const NAMING: [&str; 6] = ["named", "called", "under", "as", "titled", "i'm"];

/// Words between a verb and what it is about.
const LEADING: [&str; 6] = ["in", "of", "that", "for", "to", "about"];

/// Words by which a free text is meant that stands elsewhere, or nowhere.
const REFERRING: [&str; 12] = [
    "it", "this", "that", "these", "my", "your", "our", "the", "there", "are", "is", "does",
];

/// A name has at most so many words.
const NAME_WORDS: usize = 4;
