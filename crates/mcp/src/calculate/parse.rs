//! Reads and works out an expression in one pass, by binding powers.

use std::{iter::Peekable, str::CharIndices};

use super::{Error, NESTING, Number};

/// Works out a whole text; the caller has bounded its length.
pub(super) fn evaluate(text: &str) -> Result<Number, Error> {
    let mut reader = Reader {
        text,
        characters: text.char_indices().peekable(),
    };
    let value = reader.expression(0, 0)?;
    match reader.peek() {
        None => Ok(value),
        Some((at, found)) => Err(reader.unexpected(at, found)),
    }
}

/// Whether a character is an operator in any of its spellings.
pub(super) fn is_operator(c: char) -> bool {
    matches!(c, '+' | '-' | '−' | '*' | '×' | '·' | '/' | '÷' | '%' | '^')
}

struct Reader<'a> {
    text: &'a str,
    characters: Peekable<CharIndices<'a>>,
}

#[derive(Clone, Copy)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
}

impl Operator {
    /// How strongly it holds what stands left and right of it. Left below right binds to the left;
    /// a power binds to the right, so its right is below its left.
    const fn binding(self) -> (u8, u8) {
        match self {
            Self::Add | Self::Subtract => (1, 2),
            Self::Multiply | Self::Divide | Self::Remainder => (3, 4),
            Self::Power => (8, 7),
        }
    }

    fn apply(self, left: Number, right: Number) -> Result<Number, Error> {
        match self {
            Self::Add => left.add(right),
            Self::Subtract => left.subtract(right),
            Self::Multiply => left.multiply(right),
            Self::Divide => left.divide(right),
            Self::Remainder => left.remainder(right),
            Self::Power => left.power(right),
        }
    }
}

/// A sign holds stronger than a product and weaker than a power: -2^2 is -4.
const SIGN: u8 = 5;

impl Reader<'_> {
    fn expression(&mut self, least: u8, depth: usize) -> Result<Number, Error> {
        if depth > NESTING {
            return Err(Error::TooDeep);
        }
        let mut left = self.operand(depth)?;
        while let Some((_, c)) = self.peek() {
            let Some(operator) = self.operator(c) else {
                break;
            };
            let (before, after) = operator.binding();
            if before < least {
                break;
            }
            self.take_operator(operator);
            let right = self.expression(after, depth + 1)?;
            left = operator.apply(left, right)?;
        }
        Ok(left)
    }

    fn operand(&mut self, depth: usize) -> Result<Number, Error> {
        let (at, c) = self.peek().ok_or(Error::Unfinished)?;
        match c {
            '(' => {
                self.characters.next();
                let inner = self.expression(0, depth + 1)?;
                match self.peek() {
                    Some((_, ')')) => {
                        self.characters.next();
                        Ok(inner)
                    }
                    Some((at, found)) => Err(self.unexpected(at, found)),
                    None => Err(Error::Unclosed),
                }
            }
            '-' | '−' => {
                self.characters.next();
                Ok(self.expression(SIGN, depth + 1)?.negate())
            }
            '+' => {
                self.characters.next();
                self.expression(SIGN, depth + 1)
            }
            '0'..='9' | '.' => self.number(at),
            found => Err(self.unexpected(at, found)),
        }
    }

    fn number(&mut self, start: usize) -> Result<Number, Error> {
        let mut end = start;
        let mut points = 0;
        while let Some((at, c)) = self.characters.peek().copied() {
            points += usize::from(c == '.');
            if !(c.is_ascii_digit() || c == '.') || points > 1 {
                break;
            }
            end = at + 1;
            self.characters.next();
        }
        let digits = self.text.get(start..end).unwrap_or_default();
        if digits == "." {
            return Err(self.unexpected(start, '.'));
        }
        Number::parse(digits)
    }

    fn operator(&self, c: char) -> Option<Operator> {
        Some(match c {
            '+' => Operator::Add,
            '-' | '−' => Operator::Subtract,
            '*' if self.doubled() => Operator::Power,
            '*' | '×' | '·' => Operator::Multiply,
            '/' | '÷' => Operator::Divide,
            '%' => Operator::Remainder,
            '^' => Operator::Power,
            _ => return None,
        })
    }

    fn take_operator(&mut self, operator: Operator) {
        let first = self.characters.next();
        if matches!((first, operator), (Some((_, '*')), Operator::Power)) {
            self.characters.next();
        }
    }

    /// Whether the next two characters are `**`.
    fn doubled(&self) -> bool {
        let mut ahead = self.characters.clone();
        matches!(
            (ahead.next(), ahead.next()),
            (Some((_, '*')), Some((_, '*')))
        )
    }

    fn peek(&mut self) -> Option<(usize, char)> {
        while self
            .characters
            .next_if(|(_, c)| c.is_whitespace())
            .is_some()
        {}
        self.characters.peek().copied()
    }

    fn unexpected(&self, at: usize, found: char) -> Error {
        let before = self.text.get(..at).unwrap_or_default();
        Error::Unexpected {
            found,
            at: before.chars().count() + 1,
        }
    }
}
