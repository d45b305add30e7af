//! Arithmetic on decimal numbers: `+ - * / % ^`, parentheses, signs.
//!
//! Numbers are exact fractions as long as they fit, so that 0.1+0.2 is 0.3; past that they become
//! floating point and the answer says so.
//!
//! # Invariants
//! - No input makes it panic, overflow or run long: length, nesting and powers are bounded.

mod number;
mod parse;

use rmcp::schemars;
use serde::{Deserialize, Serialize};

use self::number::Number;

/// What is to be worked out.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Arithmetic expression of decimal numbers with + - * / % ^ and parentheses, such as 17*23+4.
    pub expression: String,
}

/// The answer.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct Answer {
    /// The expression as it was read.
    pub expression: String,
    /// The value in decimal digits.
    pub result: String,
    /// Whether the digits are the whole truth, or rounded to 15 significant ones.
    pub exact: bool,
}

/// Why there is no answer. The positions are characters of the expression, from 1.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Nothing to work out.
    #[error("the expression is empty")]
    Empty,
    /// Over the length bound.
    #[error("the expression has {0} bytes; at most {EXPRESSION_BYTES} are read")]
    TooLong(usize),
    /// Over the nesting bound.
    #[error("the expression is nested more than {NESTING} deep")]
    TooDeep,
    /// Something that belongs to no expression.
    #[error("{found:?} at character {at} is not part of an arithmetic expression")]
    Unexpected {
        /// The character.
        found: char,
        /// Where it stands.
        at: usize,
    },
    /// It stops where a number should follow.
    #[error("the expression ends where a number is missing")]
    Unfinished,
    /// An opened parenthesis is never closed.
    #[error("a parenthesis is not closed")]
    Unclosed,
    /// A division or remainder by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// Past what floating point holds.
    #[error("the result is too large")]
    TooLarge,
    /// An even root of a negative number and the like.
    #[error("the result is not a real number")]
    NotReal,
}

/// Works an expression out.
///
/// # Errors
/// [`Error`], with a sentence that a caller can act on.
pub fn evaluate(expression: &str) -> Result<Answer, Error> {
    let expression = expression.trim();
    if expression.is_empty() {
        return Err(Error::Empty);
    }
    if expression.len() > EXPRESSION_BYTES {
        return Err(Error::TooLong(expression.len()));
    }
    let value = parse::evaluate(expression)?;
    let (result, exact) = value.digits();
    Ok(Answer {
        expression: expression.to_owned(),
        result,
        exact,
    })
}

/// Whether a text is an expression with at least one operator between numbers. Its value is not looked
/// at: `1/0` is an expression, too.
#[must_use]
pub fn is_expression(text: &str) -> bool {
    let text = text.trim();
    text.len() <= EXPRESSION_BYTES
        && text
            .trim_start_matches(['-', '+', '(', ' '])
            .contains(parse::is_operator)
        && matches!(
            parse::evaluate(text),
            Ok(_) | Err(Error::DivisionByZero | Error::TooLarge | Error::NotReal)
        )
}

/// Enough for a page of sums; a bound on the work of one call.
const EXPRESSION_BYTES: usize = 1_000;

/// A bound on recursion; the parser takes a few hundred bytes of stack per level.
const NESTING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(expression: &str) -> String {
        match evaluate(expression) {
            Ok(Answer {
                result,
                exact: true,
                ..
            }) => result,
            Ok(Answer { result, .. }) => format!("~{result}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn expressions_are_worked_out_by_the_usual_rules() {
        for (expression, result) in [
            ("17*23+4", "395"),
            ("  2 + 3 * 4 ", "14"),
            ("(2+3)*4", "20"),
            ("10-4-3", "3"),
            ("2^3^2", "512"),
            ("-2^2", "-4"),
            ("(-2)^2", "4"),
            ("2^-2", "0.25"),
            ("0.1+0.2", "0.3"),
            ("1/8", "0.125"),
            ("1/3", "~0.333333333333333"),
            ("1/3*3", "1"),
            ("17 % 5", "2"),
            ("-17 % 5", "-2"),
            ("7.5 % 2", "1.5"),
            ("2 × 3 ÷ 4 − 1", "0.5"),
            ("2**10", "1024"),
            ("2^0.5", "~1.4142135623731"),
            (".5*2", "1"),
            ("2^200", "~1.60693804425899e60"),
            ("9^99999", "the result is too large"),
            ("0^0", "1"),
            ("--3", "3"),
        ] {
            assert_eq!(shown(expression), result, "{expression}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (expression, complaint) in [
            ("", "the expression is empty"),
            ("1/0", "division by zero"),
            ("1%0", "division by zero"),
            ("0^-1", "division by zero"),
            ("(-1)^0.5", "the result is not a real number"),
            ("1+", "the expression ends where a number is missing"),
            ("(1", "a parenthesis is not closed"),
            (
                "1)",
                "')' at character 2 is not part of an arithmetic expression",
            ),
            (
                "2x",
                "'x' at character 2 is not part of an arithmetic expression",
            ),
            (
                "1.2.3",
                "'.' at character 4 is not part of an arithmetic expression",
            ),
            (
                "1 2",
                "'2' at character 3 is not part of an arithmetic expression",
            ),
        ] {
            assert_eq!(shown(expression), complaint, "{expression}");
        }
        assert_eq!(evaluate(&"(".repeat(900)), Err(Error::TooDeep));
        assert_eq!(evaluate(&"-".repeat(900)), Err(Error::TooDeep));
        assert_eq!(evaluate(&"1^".repeat(400)), Err(Error::TooDeep));
        assert_eq!(evaluate(&"1".repeat(1_001)), Err(Error::TooLong(1_001)));
        assert!(evaluate(&"9".repeat(1_000)).is_err());
    }

    #[test]
    fn a_number_alone_is_no_expression_and_a_bad_sum_still_is() {
        for (text, is) in [
            ("17*23+4", true),
            ("1/0", true),
            ("42", false),
            ("-42", false),
            ("2026-12-01", true),
            ("a+b", false),
            ("(1+2)", true),
        ] {
            assert_eq!(is_expression(text), is, "{text}");
        }
    }
}
