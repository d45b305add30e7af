//! Values in a clause that can be told by their form: dates, zones, sums, paths, numbers.
//!
//! # Invariants
//! - A token belongs to one value at most; what is more particular is looked for first, so that
//!   2026-12-01 is a date and no sum.

use std::ops::Range;

use mesh_mcp::{calculate, zone};

use super::clause::Token;

/// A value and the tokens that it stands in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Find {
    /// Which tokens.
    pub(super) tokens: Range<usize>,
    /// Of what form.
    pub(super) form: Form,
    /// In its canonical spelling.
    pub(super) text: String,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// `http://` or `https://`.
    Url,
    /// A day, as YYYY-MM-DD.
    Date,
    /// A time of day, as HH:MM.
    Time,
    /// A time zone, as its IANA name.
    Zone,
    /// Arithmetic.
    Sum,
    /// A number.
    Number,
    /// A file or folder.
    Path,
}

/// All values of a clause in their order. `last` is the number that "it" stands for in a sum.
pub(super) fn find(tokens: &[Token], last: Option<&str>) -> Vec<Find> {
    let mut finds = Finds {
        tokens,
        taken: vec![false; tokens.len()],
        found: Vec::new(),
    };
    finds.each(Form::Url, |token| {
        let is = token.raw.starts_with("http://") || token.raw.starts_with("https://");
        is.then(|| token.text.clone())
    });
    finds.dates();
    finds.times();
    finds.zones();
    finds.sums(last);
    finds.each(Form::Number, |token| number(&token.text));
    finds.each(Form::Path, |token| path(&token.text));
    finds.found.sort_by_key(|find| find.tokens.start);
    finds.found
}

/// A number in digits or, up to twelve, in a word.
pub(super) fn number(text: &str) -> Option<String> {
    let digits = text.replace(',', "");
    let is_number = digits.parse::<f64>().is_ok_and(f64::is_finite)
        && digits.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    if is_number {
        return Some(digits.trim_start_matches('+').to_owned());
    }
    let lower = text.to_lowercase();
    NUMBERS
        .iter()
        .position(|word| *word == lower)
        .map(|n| n.to_string())
}

struct Finds<'a> {
    tokens: &'a [Token],
    taken: Vec<bool>,
    found: Vec<Find>,
}

impl Finds<'_> {
    fn take(&mut self, tokens: Range<usize>, form: Form, text: String) {
        for taken in self.taken.get_mut(tokens.clone()).into_iter().flatten() {
            *taken = true;
        }
        self.found.push(Find { tokens, form, text });
    }

    fn is_free(&self, at: usize) -> bool {
        self.taken.get(at) == Some(&false) && !self.tokens[at].quoted
    }

    fn each(&mut self, form: Form, read: impl Fn(&Token) -> Option<String>) {
        for at in 0..self.tokens.len() {
            if self.is_free(at)
                && let Some(text) = read(&self.tokens[at])
            {
                self.take(at..at + 1, form, text);
            }
        }
    }

    fn text(&self, at: usize) -> Option<&str> {
        self.is_free(at).then(|| self.tokens[at].text.as_str())
    }

    /// 2026-12-01, 1 December 2026, December 1, 2026.
    fn dates(&mut self) {
        for at in 0..self.tokens.len() {
            let iso = self
                .text(at)
                .and_then(|text| text.parse::<jiff::civil::Date>().ok());
            if let Some(date) = iso.filter(|_| self.tokens[at].text.len() == 10) {
                self.take(at..at + 1, Form::Date, date.to_string());
                continue;
            }
            let (Some(a), Some(b), Some(c)) = (self.text(at), self.text(at + 1), self.text(at + 2))
            else {
                continue;
            };
            let ordinal = |text: &str| -> Option<i8> {
                text.trim_end_matches(['s', 't', 'n', 'd', 'r', 'h'])
                    .parse()
                    .ok()
            };
            let ((Some(day), _, _, Some(month)) | (_, Some(month), Some(day), _)) =
                (ordinal(a), month(a), ordinal(b), month(b))
            else {
                continue;
            };
            let date = c
                .parse()
                .ok()
                .and_then(|year| jiff::civil::Date::new(year, month, day).ok());
            if let Some(date) = date {
                self.take(at..at + 3, Form::Date, date.to_string());
            }
        }
    }

    /// 14:30, 2:30pm, 2pm, 2 pm.
    fn times(&mut self) {
        for at in 0..self.tokens.len() {
            let Some(text) = self.text(at) else { continue };
            let lower = text.to_lowercase();
            let next = self.text(at + 1).map(str::to_lowercase);
            let apart = next.filter(|next| next == "am" || next == "pm");
            let length = 1 + usize::from(apart.is_some());
            let half = apart
                .as_deref()
                .or_else(|| ["am", "pm"].into_iter().find(|h| lower.ends_with(h)));
            let clock = lower.trim_end_matches("am").trim_end_matches("pm");
            if let Some(time) = time(clock, half) {
                self.take(at..at + length, Form::Time, time);
            }
        }
    }

    fn zones(&mut self) {
        // The place names span tokens: look in the clause as it was, then find the tokens again.
        let mut sentence = String::new();
        let mut starts = Vec::new();
        for at in 0..self.tokens.len() {
            starts.push(sentence.len());
            let token = &self.tokens[at];
            sentence.push_str(if self.is_free(at) { &token.text } else { "|" });
            sentence.push_str(if token.ends() { " | " } else { " " });
        }
        for mention in zone::mentions(&sentence) {
            let first = starts.partition_point(|start| *start <= mention.span.start) - 1;
            let end = starts.partition_point(|start| *start < mention.span.end);
            self.take(first..end, Form::Zone, mention.zone);
        }
    }

    fn sums(&mut self, last: Option<&str>) {
        let mut at = 0;
        while at < self.tokens.len() {
            let (run, end) = self.run(at, last);
            let sum = run
                .trim_matches([' ', '*', '/', '%', '^', '='])
                .trim_end_matches(['+', '-', '(']);
            let sum = sum.trim_end();
            if calculate::is_expression(sum) {
                self.take(at..end, Form::Sum, sum.to_owned());
                at = end;
            } else if let Some((sum, end)) = self.spoken(at) {
                self.take(at..end, Form::Sum, sum);
                at = end;
            } else {
                at += 1;
            }
        }
    }

    /// The longest run of arithmetic from a token on.
    fn run(&self, start: usize, last: Option<&str>) -> (String, usize) {
        let mut run = String::new();
        let mut at = start;
        while self.is_free(at) {
            let token = &self.tokens[at];
            let word = token.word();
            let (piece, length) = if is_arithmetic(&token.text) {
                (
                    token
                        .raw
                        .trim_end_matches(['?', '!', '.', ',', ';', ':', '='])
                        .to_owned(),
                    1,
                )
            } else if let Some((operator, length)) = self.operator(at).filter(|_| at > start) {
                (operator.to_owned(), length)
            } else if let Some(last) = last.filter(|_| PRONOUNS.contains(&word.as_str())) {
                // "it" is a number only beside an operator.
                if at == start && !self.is_operator(at + 1)
                    || at > start && !self.is_operator(at - 1)
                {
                    break;
                }
                (signed(last), 1)
            } else if self.is_share(at, start) {
                ("/100 *".to_owned(), 1)
            } else {
                break;
            };
            if word == "of" {
                run = run.trim_end().trim_end_matches('%').to_owned();
            }
            run.push_str(&piece);
            run.push(' ');
            at += length;
            if token.ends() && !token.raw.ends_with(')') {
                break;
            }
        }
        (run.trim_end().to_owned(), at)
    }

    /// Whether this is the "of" in "15% of 80".
    fn is_share(&self, at: usize, start: usize) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.tokens.get(before));
        at > start
            && self.tokens[at].word() == "of"
            && before.is_some_and(|token| token.text.ends_with('%'))
            && self.text(at + 1).and_then(number).is_some()
    }

    fn is_operator(&self, at: usize) -> bool {
        let sign = |text: &str| matches!(text, "+" | "-" | "*" | "/" | "%" | "^" | "×" | "÷" | "−");
        self.text(at).is_some_and(sign) || self.operator(at).is_some()
    }

    /// An operator in words, and how many tokens it takes.
    fn operator(&self, at: usize) -> Option<(&'static str, usize)> {
        OPERATORS.iter().find_map(|(words, operator)| {
            let mut length = 0;
            for word in words.split(' ') {
                if !self.is_free(at + length) || self.tokens[at + length].word() != word {
                    return None;
                }
                length += 1;
            }
            Some((*operator, length))
        })
    }

    /// "add 3 and 4", "the sum of 3 and 4", "subtract 3 from 10", "multiply 3 by 4".
    fn spoken(&self, at: usize) -> Option<(String, usize)> {
        let word = self.is_free(at).then(|| self.tokens[at].word())?;
        let (_, operator) = SPOKEN.iter().find(|(name, _)| *name == word)?;
        let mut next = at + 1;
        if self.is_free(next) && self.tokens[next].word() == "of" {
            next += 1;
        }
        let left = self.text(next).and_then(number)?;
        let link = self
            .is_free(next + 1)
            .then(|| self.tokens[next + 1].word())?;
        let right = self.text(next + 2).and_then(number)?;
        let (left, right) = match link.as_str() {
            "and" | "to" | "by" | "with" => (left, right),
            "from" => (right, left),
            _ => return None,
        };
        Some((format!("{left} {operator} {right}"), next + 3))
    }
}

/// A negative number is set apart from the operator before it.
fn signed(number: &str) -> String {
    if number.starts_with('-') {
        format!("({number})")
    } else {
        number.to_owned()
    }
}

fn is_arithmetic(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '.' | '(' | ')') || "+-−*×·/÷%^".contains(c))
}

fn time(clock: &str, half: Option<&str>) -> Option<String> {
    let (hour, minute) = match clock.split_once(':') {
        Some((hour, minute)) if minute.len() == 2 => (hour, minute),
        Some(_) => return None,
        None => (clock, half.map(|_| "00")?),
    };
    let hour: u8 = hour.parse().ok()?;
    let minute: u8 = minute.parse().ok()?;
    let hour = match half {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some("pm") => hour % 12 + 12,
        Some(_) => hour % 12,
        None => hour,
    };
    (hour < 24 && minute < 60).then(|| format!("{hour:02}:{minute:02}"))
}

fn month(text: &str) -> Option<i8> {
    let lower = text.to_lowercase();
    let is = |month: &&str| lower == **month || (lower.len() == 3 && month.starts_with(&lower));
    MONTHS
        .iter()
        .position(is)
        .and_then(|at| i8::try_from(at + 1).ok())
}

/// Letters, digits and a known kind of ending, or a slash between names.
fn path(text: &str) -> Option<String> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '~');
    let ending = text.rsplit_once('.').is_some_and(|(name, ending)| {
        !name.is_empty()
            && (2..=5).contains(&ending.len())
            && ending.starts_with(|c: char| c.is_ascii_alphabetic())
            && ending.chars().all(|c| c.is_ascii_alphanumeric())
    });
    let folder = text.contains('/') && text.chars().any(char::is_alphabetic);
    ((ending || folder) && text.chars().all(is_name)).then(|| text.to_owned())
}

/// Words that stand for something said before.
pub(super) const PRONOUNS: [&str; 8] = [
    "it", "that", "there", "them", "same", "again", "result", "answer",
];

const NUMBERS: [&str; 13] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Longest first among those that begin alike.
const OPERATORS: [(&str, &str); 11] = [
    ("to the power of", "^"),
    ("multiplied by", "*"),
    ("divided by", "/"),
    ("plus", "+"),
    ("minus", "-"),
    ("times", "*"),
    ("x", "*"),
    ("over", "/"),
    ("modulo", "%"),
    ("mod", "%"),
    ("squared", "^2"),
];

const SPOKEN: [(&str, &str); 7] = [
    ("add", "+"),
    ("sum", "+"),
    ("subtract", "-"),
    ("difference", "-"),
    ("multiply", "*"),
    ("product", "*"),
    ("divide", "/"),
];

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{super::clause, *};

    fn check(text: &str, expected: &Expect) {
        let clause = clause::whole(text, &[].into());
        let finds = find(&clause.tokens, Some("395"));
        let shown: Vec<_> = finds
            .iter()
            .map(|f| format!("{:?} {}", f.form, f.text))
            .collect();
        expected.assert_eq(&shown.join(", "));
    }

    #[test]
    fn sums_are_found_in_digits_and_in_words() {
        check("what is 17*23+4?", &expect!["Sum 17*23+4"]);
        check(
            "what is 17 * (23 + 4) please",
            &expect!["Sum 17 * (23 + 4)"],
        );
        check("5 plus 7 times 2", &expect!["Sum 5 + 7 * 2"]);
        check("12 divided by 4.", &expect!["Sum 12 / 4"]);
        check("2 to the power of 10", &expect!["Sum 2 ^ 10"]);
        check("7 squared", &expect!["Sum 7 ^2"]);
        check("15% of 80", &expect!["Sum 15/100 * 80"]);
        check("add 3 and 4", &expect!["Sum 3 + 4"]);
        check("subtract 3 from 10", &expect!["Sum 10 - 3"]);
        check("that times 2", &expect!["Sum 395 * 2"]);
        check("is it so", &expect![""]);
        check("17*23+4=", &expect!["Sum 17*23+4"]);
        check("-3 + 5", &expect!["Sum -3 + 5"]);
    }

    #[test]
    fn what_is_more_particular_wins() {
        check(
            "on 2026-12-01 at 14:30 for 4",
            &expect!["Date 2026-12-01, Time 14:30, Number 4"],
        );
        check(
            "December 1, 2026 at 2 pm",
            &expect!["Date 2026-12-01, Time 14:00"],
        );
        check("1st Dec 2026, 9am", &expect!["Date 2026-12-01, Time 09:00"]);
        check("10/4 of docs/a.txt", &expect!["Sum 10/4, Path docs/a.txt"]);
        check(
            "https://a.example/x Asia/Tokyo",
            &expect!["Url https://a.example/x, Zone Asia/Tokyo"],
        );
        check(
            "in New York, four people",
            &expect!["Zone America/New_York, Number 4"],
        );
        check("2026-13-45", &expect!["Sum 2026-13-45"]);
        check("i.e. e.g. and/or", &expect!["Path and/or"]);
    }
}
