//! Makes calls of a request: which tool each clause means, and with which arguments.
//!
//! # Invariants
//! - The plan depends on the text, the tools and the conversation before it, and on nothing else: it
//!   can be made again in each round of a turn and comes out the same.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    clause::{self, Clause},
    fill::{self, Filled, Memory, Reading},
    param::{self, Kind, Param},
    score::{self, Index},
    value::{self, PRONOUNS},
};
use crate::session::{Pending, ToolKind, ToolSpec};

/// What becomes of one clause.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// A tool is meant.
    Call(Planned),
    /// No tool is.
    Unknown(String),
}

/// A call as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    /// The tool.
    pub(super) tool: String,
    /// Its arguments.
    pub(super) arguments: Map<String, Value>,
    /// The required ones that are not known.
    pub(super) missing: Vec<String>,
    /// The one that the answer of the call before this one fills.
    pub(super) link: Option<String>,
    /// Whether something in the clause can only be meant for this tool.
    certain: bool,
}

/// Whether what stands after a colon may be planned as a request of its own: once, not for ever.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Colon {
    MayLead,
    Leads,
}

/// What a plan is made from.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    tools: &'a [ToolSpec],
    params: Vec<Vec<Param>>,
    index: Index,
    keys: BTreeSet<String>,
    fields: &'a Map<String, Value>,
    memory: Memory<'a>,
}

impl<'a> Planner<'a> {
    /// Looks at the tools.
    pub(super) fn new(
        tools: &'a [ToolSpec],
        fields: &'a Map<String, Value>,
        memory: Memory<'a>,
    ) -> Self {
        let params: Vec<_> = tools.iter().map(param::of).collect();
        let keys = params
            .iter()
            .flatten()
            .map(|param| param.name.to_lowercase())
            .collect();
        Self {
            tools,
            params,
            index: Index::new(tools),
            keys,
            fields,
            memory,
        }
    }

    /// Plans a request.
    pub(super) fn plan(&self, text: &str) -> Vec<Part> {
        self.plan_within(text, Colon::MayLead)
    }

    fn plan_within(&self, text: &str, colon: Colon) -> Vec<Part> {
        let mut parts = Vec::new();
        for sentence in clause::split(text, &self.keys) {
            for part in self.sentence(&sentence, colon) {
                self.link(&mut parts, part);
            }
        }
        if parts.is_empty() && !self.fields.is_empty() {
            parts.push(self.place(&Clause::default()));
        }
        let knows = parts.iter().any(|part| matches!(part, Part::Call(_)));
        if knows {
            parts.retain(|part| !matches!(part, Part::Unknown(text) if is_small_talk(text)));
        }
        parts
    }

    /// Plans a call of a named tool; `None` when there is no such tool.
    pub(super) fn command(&self, tool: &str, rest: &str) -> Option<Part> {
        let tool = self.tools.iter().position(|spec| spec.name == tool)?;
        if let Ok(Value::Object(given)) = serde_json::from_str(rest) {
            let lacks = |param: &&Param| param.required && !given.contains_key(&param.name);
            let missing = self.params[tool]
                .iter()
                .filter(lacks)
                .map(|p| p.name.clone())
                .collect();
            return Some(self.call(
                tool,
                Filled {
                    arguments: given,
                    missing,
                    ..Filled::default()
                },
            ));
        }
        let mut clause = clause::whole(rest, &self.keys);
        let mut params = self.params[tool].iter().filter(|param| param.required);
        if let (Some(only), None) = (params.next(), params.next())
            && clause.pairs.is_empty()
            && !rest.trim().is_empty()
        {
            let text = clause
                .payload
                .take()
                .unwrap_or_else(|| rest.trim().to_owned());
            clause.pairs.push((only.name.to_lowercase(), text));
        }
        Some(self.call(tool, self.fill(tool, &clause, Reading::Answer)))
    }

    /// Goes on with calls that waited for an answer.
    pub(super) fn resume(&self, pending: &[Pending], text: &str) -> Vec<Part> {
        let clause = clause::whole(text, &self.keys);
        if let Some(parts) = self.verbatim(pending, &clause) {
            return parts;
        }
        let finds = value::find(&clause.tokens, None);
        let mut used = vec![false; clause.tokens.len()];
        let mut calls: Vec<(usize, Planned)> = Vec::new();
        let mut certain = 0;
        for waiting in pending {
            let Some(tool) = self.tools.iter().position(|spec| spec.name == waiting.tool) else {
                continue;
            };
            let open = self.open(tool, waiting);
            let still = finds
                .iter()
                .filter(|find| !used[find.tokens.start])
                .cloned();
            let still: Vec<_> = still.collect();
            let filled = fill::fill(
                &open,
                &clause,
                &still,
                self.fields,
                self.memory,
                Reading::Answer,
            );
            certain += filled.arguments.len();
            for (used, now) in used.iter_mut().zip(&filled.used) {
                *used |= now;
            }
            let mut arguments = waiting.arguments.clone();
            arguments.extend(filled.arguments);
            let planned = Planned {
                tool: waiting.tool.clone(),
                arguments,
                missing: filled.missing,
                link: None,
                certain: true,
            };
            calls.push((tool, planned));
        }
        if certain == 0
            && let Some(fresh) = self.instead(&calls, text)
        {
            return fresh;
        }
        self.assign_rest(&mut calls, &clause, &used, certain == 0);
        calls
            .into_iter()
            .map(|(_, planned)| Part::Call(planned))
            .collect()
    }

    /// An answer to the only question, when that asks for a text or a message, is taken as it is:
    /// whatever looks like a value in it belongs to it.
    fn verbatim(&self, pending: &[Pending], clause: &Clause) -> Option<Vec<Part>> {
        let mut open = pending
            .iter()
            .enumerate()
            .filter(|(_, waiting)| !waiting.missing.is_empty());
        let (Some((at, waiting)), None) = (open.next(), open.next()) else {
            return None;
        };
        let [name] = waiting.missing.as_slice() else {
            return None;
        };
        let tool = self
            .tools
            .iter()
            .position(|spec| spec.name == waiting.tool)?;
        let param = self.params[tool].iter().find(|param| param.name == *name)?;
        let takes_all = matches!(param.kind, Kind::Text | Kind::Message);
        if !takes_all || !clause.pairs.is_empty() || clause.source.is_empty() {
            return None;
        }
        let parts = pending.iter().enumerate().map(|(i, waiting)| {
            let mut arguments = waiting.arguments.clone();
            if i == at {
                arguments.insert(name.clone(), Value::from(clause.source.as_str()));
            }
            Part::Call(Planned {
                tool: waiting.tool.clone(),
                arguments,
                missing: Vec::new(),
                link: None,
                certain: true,
            })
        });
        Some(parts.collect())
    }

    /// The parameters that a waiting call lacks. An agent that asked back takes the whole answer.
    fn open(&self, tool: usize, waiting: &Pending) -> Vec<Param> {
        let lacking = self.params[tool]
            .iter()
            .filter(|param| waiting.missing.contains(&param.name));
        lacking.cloned().collect()
    }

    /// An answer that answers nothing, but is a whole request by itself, takes the place of what
    /// waited.
    fn instead(&self, calls: &[(usize, Planned)], text: &str) -> Option<Vec<Part>> {
        let open = calls.iter().flat_map(|(tool, planned)| {
            self.params[*tool]
                .iter()
                .filter(|param| planned.missing.contains(&param.name))
        });
        if open.into_iter().any(Param::is_free) {
            return None;
        }
        let fresh = self.plan(text);
        let whole = |part: &Part| matches!(part, Part::Call(planned) if planned.certain && planned.missing.is_empty());
        (!fresh.is_empty() && fresh.iter().all(whole)).then_some(fresh)
    }

    /// Gives what is left of an answer to what is still missing, piece by piece.
    fn assign_rest(
        &self,
        calls: &mut [(usize, Planned)],
        clause: &Clause,
        used: &[bool],
        untouched: bool,
    ) {
        let missing: usize = calls.iter().map(|(_, planned)| planned.missing.len()).sum();
        let mut pieces = if missing == 1 && untouched {
            vec![clause.source.trim().trim_end_matches(['.', '!']).to_owned()]
        } else {
            rest(clause, used)
        };
        if pieces.len() != missing {
            return;
        }
        pieces.reverse();
        for (tool, planned) in calls {
            let params = &self.params[*tool];
            planned.missing.retain(|name| {
                let param = params.iter().find(|param| param.name == *name);
                let value = pieces.pop().and_then(|piece| param?.read(&piece));
                match value {
                    Some(value) => {
                        planned.arguments.insert(name.clone(), value);
                        false
                    }
                    None => true,
                }
            });
        }
    }

    fn sentence(&self, clauses: &[Clause], colon: Colon) -> Vec<Part> {
        if let [first @ .., last] = clauses
            && let Some(payload) = last.payload.as_ref().filter(|payload| !payload.is_empty())
            && colon == Colon::MayLead
            && (is_heading(last) || matches!(self.place(last), Part::Unknown(_)))
        {
            // "Two questions: ...": what stands before the colon asks for nothing by itself.
            let mut parts: Vec<_> = first.iter().map(|clause| self.place(clause)).collect();
            parts.extend(self.plan_within(payload, Colon::Leads));
            return parts;
        }
        let mut parts: Vec<Part> = clauses.iter().map(|clause| self.place(clause)).collect();
        if clauses.len() > 1 && parts.iter().any(|part| !is_complete(part)) {
            let joined = self.place(&clause::join(clauses));
            let none = parts.iter().all(|part| matches!(part, Part::Unknown(_)));
            if none || (is_complete(&joined) && !parts.iter().any(is_complete)) {
                parts = vec![joined];
            }
        }
        parts
    }

    fn place(&self, clause: &Clause) -> Part {
        let best = self
            .best(clause, ToolKind::Tool)
            .or_else(|| self.best(clause, ToolKind::Agent));
        best.or_else(|| self.only_agent(clause)).unwrap_or_else(|| {
            let source = clause.source.trim_end_matches(['.', '?', '!']);
            Part::Unknown(source.to_owned())
        })
    }

    /// The tool that fits best, if one fits at all.
    fn best(&self, clause: &Clause, kind: ToolKind) -> Option<Part> {
        let finds = value::find(&clause.tokens, self.memory.number().as_deref());
        let in_find = |at: usize| finds.iter().any(|find| find.tokens.contains(&at));
        let plain = clause
            .tokens
            .iter()
            .enumerate()
            .filter(|(at, t)| !t.quoted && !in_find(*at));
        let words = score::words(plain.map(|(_, token)| token.text.as_str()));
        let mut best: Option<(f64, Part)> = None;
        for (tool, spec) in self
            .tools
            .iter()
            .enumerate()
            .filter(|(_, spec)| spec.kind == kind)
        {
            let known: Vec<_> = words
                .iter()
                .filter(|word| self.index.knows(tool, word))
                .cloned()
                .collect();
            let filled = self.fill(tool, clause, Reading::Request(&known));
            let score = self.index.score(tool, &words);
            let certain = spec.kind == ToolKind::Tool && filled.certain > 0;
            // A verb that leads the clause is enough where it leaves nothing to ask for.
            let whole = filled.missing.is_empty() && !filled.arguments.is_empty();
            let leads = whole && words.first().is_some_and(|word| known.contains(word));
            let fits = (certain && (score.matched > 0 || words.is_empty()))
                || (score.matched > 0 && (score.is_enough() || leads));
            let weight = score.weight + if certain { CERTAIN } else { 0.0 };
            if fits && best.as_ref().is_none_or(|(least, _)| weight > *least) {
                best = Some((weight, self.call(tool, filled)));
            }
        }
        best.map(|(_, part)| part)
    }

    /// With one agent to ask and no tool that fits, the agent is asked.
    fn only_agent(&self, clause: &Clause) -> Option<Part> {
        let mut agents = self
            .tools
            .iter()
            .enumerate()
            .filter(|(_, spec)| spec.kind == ToolKind::Agent);
        let (Some((tool, _)), None) = (agents.next(), agents.next()) else {
            return None;
        };
        if is_small_talk(&clause.source) {
            return None;
        }
        Some(self.call(tool, self.fill(tool, clause, Reading::Request(&[]))))
    }

    fn fill(&self, tool: usize, clause: &Clause, reading: Reading<'_>) -> Filled {
        let finds = value::find(&clause.tokens, self.memory.number().as_deref());
        fill::fill(
            &self.params[tool],
            clause,
            &finds,
            self.fields,
            self.memory,
            reading,
        )
    }

    fn call(&self, tool: usize, filled: Filled) -> Part {
        Part::Call(Planned {
            tool: self.tools[tool].name.clone(),
            certain: filled.certain > 0,
            arguments: filled.arguments,
            missing: filled.missing,
            link: None,
        })
    }

    /// "... and remember it as total": what is missing is the answer of the call before.
    fn link(&self, parts: &mut Vec<Part>, mut part: Part) {
        let before = parts.iter().any(|part| matches!(part, Part::Call(_)));
        if let Part::Call(planned) = &mut part
            && before
            && let [name] = planned.missing.as_slice()
            && self.takes_text(&planned.tool, name)
        {
            planned.link = planned.missing.pop();
        }
        parts.push(part);
    }

    fn takes_text(&self, tool: &str, name: &str) -> bool {
        let tool = self.tools.iter().position(|spec| spec.name == tool);
        let params = tool
            .and_then(|tool| self.params.get(tool))
            .into_iter()
            .flatten();
        params
            .into_iter()
            .any(|param| param.name == name && matches!(param.kind, Kind::Text))
    }
}

/// The unused stretches of an answer between its commas, conjunctions and used words.
fn rest(clause: &Clause, used: &[bool]) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for at in 0..=clause.tokens.len() {
        let token = clause.tokens.get(at);
        let parts = token.is_none_or(|t| used.get(at) == Some(&true) || is_joint(&t.word()));
        if parts {
            pieces.push(start..at);
            start = at + 1;
        } else if token.is_some_and(clause::Token::ends) {
            pieces.push(start..at + 1);
            start = at + 1;
        }
    }
    let texts = pieces
        .into_iter()
        .map(|piece| fill::text(clause.tokens.get(piece).unwrap_or_default()));
    texts.filter(|text| !text.is_empty()).collect()
}

/// Words that part an answer and are no part of it.
fn is_joint(word: &str) -> bool {
    matches!(
        word,
        "and" | "on" | "at" | "for" | "is" | "people" | "persons" | "name" | "my" | "the" | "in"
    )
}

fn is_complete(part: &Part) -> bool {
    matches!(part, Part::Call(planned) if planned.missing.is_empty())
}

/// Whether a clause with a colon only announces what stands after it.
fn is_heading(clause: &Clause) -> bool {
    let words = score::words(clause.tokens.iter().map(|token| token.text.as_str()));
    let heading =
        |word: &String| HEADINGS.contains(&word.as_str()) || value::number(word).is_some();
    !clause.tokens.is_empty() && words.iter().all(heading)
}

/// Whether a text has no word with a meaning, as in "Hello!".
fn is_small_talk(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words
        .filter(|word| !PRONOUNS.contains(word))
        .all(|word| score::stem(word).is_none())
}

/// Stems of words that announce requests.
const HEADINGS: [&str; 8] = [
    "plan", "question", "task", "request", "thing", "step", "follow", "todo",
];

/// What a value that fits by its form is worth beside the words: more than one rare word.
const CERTAIN: f64 = 3.0;

/// How many things one message may ask for.
pub(super) const PARTS: usize = 16;
