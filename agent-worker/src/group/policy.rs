//! When there is enough: it decides, and does nothing.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// When the answers of a group are enough.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Policy {
    /// `all`: every member has answered.
    #[default]
    All,
    /// `quorum:K`: so many have; the others are canceled.
    Quorum(u32),
    /// `first`: one has.
    First,
    /// `deadline`: whatever has come in when time is up, or everybody has spoken; one at least.
    Deadline,
}

/// What has come in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// How many are asked.
    pub members: u32,
    /// How many answered.
    pub answered: u32,
    /// How many can't be expected to.
    pub failed: u32,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// There is enough.
    Enough,
    /// There is not, and never will be.
    Short,
}

impl Policy {
    /// Whether it is over, and how; `None` while it is open.
    #[must_use]
    pub fn verdict(self, tally: Tally, is_late: bool) -> Option<Verdict> {
        let Tally {
            members,
            answered,
            failed,
        } = tally;
        let have_all_spoken = answered + failed >= members;
        let needed = match self {
            Self::All => members,
            Self::Quorum(needed) => needed,
            Self::First => 1,
            Self::Deadline => {
                let enough = if answered > 0 {
                    Verdict::Enough
                } else {
                    Verdict::Short
                };
                return (have_all_spoken || is_late).then_some(enough);
            }
        };
        if answered >= needed {
            return Some(Verdict::Enough);
        }
        // Who wants all is told of all, also of those that come after the first failure.
        let is_lost = match self {
            Self::All => have_all_spoken,
            _ => members.saturating_sub(failed) < needed,
        };
        (is_lost || is_late).then_some(Verdict::Short)
    }
}

/// A text that names no policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no policy; say all, quorum:K, first or deadline")]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        let unknown = || UnknownPolicy(text.to_owned());
        match (text, text.strip_prefix("quorum:")) {
            ("all", _) => Ok(Self::All),
            ("first", _) => Ok(Self::First),
            ("deadline", _) => Ok(Self::Deadline),
            (_, Some(needed)) => needed.parse().map(Self::Quorum).map_err(|_| unknown()),
            (_, None) => Err(unknown()),
        }
    }
}

impl TryFrom<String> for Policy {
    type Error = UnknownPolicy;

    fn try_from(text: String) -> Result<Self, UnknownPolicy> {
        text.parse()
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Quorum(needed) => write!(f, "quorum:{needed}"),
            Self::First => f.write_str("first"),
            Self::Deadline => f.write_str("deadline"),
        }
    }
}

impl From<Policy> for String {
    fn from(policy: Policy) -> Self {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(policy: &str, answered: u32, failed: u32, is_late: bool) -> Option<Verdict> {
        let tally = Tally {
            members: 5,
            answered,
            failed,
        };
        policy.parse::<Policy>().unwrap().verdict(tally, is_late)
    }

    #[test]
    fn each_policy_ends_when_it_has_enough_or_never_can_have() {
        const ENOUGH: Option<Verdict> = Some(Verdict::Enough);
        const SHORT: Option<Verdict> = Some(Verdict::Short);
        assert_eq!(of("all", 4, 0, false), None);
        assert_eq!(of("all", 3, 1, false), None);
        assert_eq!(of("all", 5, 0, false), ENOUGH);
        assert_eq!(of("all", 4, 1, false), SHORT);
        assert_eq!(of("all", 4, 0, true), SHORT);
        assert_eq!(of("quorum:3", 2, 2, false), None);
        assert_eq!(of("quorum:3", 3, 0, false), ENOUGH);
        assert_eq!(of("quorum:3", 2, 3, false), SHORT);
        assert_eq!(of("quorum:3", 2, 0, true), SHORT);
        assert_eq!(of("quorum:3", 3, 2, true), ENOUGH);
        assert_eq!(of("first", 0, 4, false), None);
        assert_eq!(of("first", 1, 0, false), ENOUGH);
        assert_eq!(of("first", 0, 5, false), SHORT);
        assert_eq!(of("deadline", 4, 0, false), None);
        assert_eq!(of("deadline", 4, 1, false), ENOUGH);
        assert_eq!(of("deadline", 1, 0, true), ENOUGH);
        assert_eq!(of("deadline", 0, 1, true), SHORT);
    }

    #[test]
    fn a_policy_is_named_in_a_word_that_reads_back() {
        for text in ["all", "quorum:3", "first", "deadline"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        for text in ["", "quorum", "quorum:", "quorum:x", "most"] {
            assert!(text.parse::<Policy>().is_err(), "{text}");
        }
    }
}
