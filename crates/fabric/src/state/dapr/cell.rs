//! What is kept under one key of the component: the content, and what a commit under way would make of it.
//!
//! # Invariants
//! - No two cells that were written are the same bytes: each has a fresh number in it, so that who is
//!   not sure whether its write happened can look.
//! - Bytes that are no cell are an error, never a panic and never an empty cell.

use std::time::Duration;

use bytes::Bytes;

use super::{SHADE, now};

/// The first byte of each, for the day on which there is another layout.
const LAYOUT: u8 = 1;

const HAS_NOW: u8 = 1;
const HAS_INTENT: u8 = 2;

/// See the module.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Cell {
    /// The content that counts, unless the intent's commit is decided.
    pub(super) now: Option<Version>,
    /// What a commit has announced.
    pub(super) intent: Option<Intent>,
}

/// A content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Version {
    /// Our own etag: random, so that it never comes back.
    pub(super) etag: i64,
    /// When it expires, in Unix milliseconds.
    pub(super) expires: Option<i64>,
    /// The mark of its entry on the shelf.
    pub(super) mark: i64,
    /// The value; a deletion has none.
    pub(super) value: Option<Bytes>,
}

/// A commit's announcement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Intent {
    /// Which commit.
    pub(super) commit: i64,
    /// The content once it is done.
    pub(super) next: Version,
}

/// What the component keeps is none of ours, or damaged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("what the store keeps under a key cannot be read")]
pub(super) struct Unreadable;

impl Version {
    /// Whether somebody who reads now finds a value.
    pub(super) fn lives(&self, now: i64) -> bool {
        self.value.is_some() && self.expires.is_none_or(|at| at > now)
    }

    /// A deletion.
    pub(super) const fn gone(etag: i64) -> Self {
        Self {
            etag,
            expires: None,
            mark: 0,
            value: None,
        }
    }

    /// How long the component keeps it; `None` for good.
    pub(super) fn kept_for(&self) -> Option<Duration> {
        match (&self.value, self.expires) {
            (None, _) => Some(SHADE),
            (Some(_), None) => None,
            (Some(_), Some(at)) => {
                let left = u64::try_from(at.saturating_sub(now())).unwrap_or_default();
                Some(Duration::from_millis(left).saturating_add(SHADE))
            }
        }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        into.extend(self.etag.to_be_bytes());
        into.extend(self.expires.unwrap_or(i64::MAX).to_be_bytes());
        into.extend(self.mark.to_be_bytes());
        // One more than the length, so that zero is no value.
        let value = self.value.as_deref();
        let length = value.map_or(0, |value| value.len() as u64 + 1);
        into.extend(length.to_be_bytes());
        into.extend(value.unwrap_or_default());
    }

    fn decode(bytes: &mut Bytes) -> Result<Self, Unreadable> {
        let (etag, expires, mark) = (number(bytes)?, number(bytes)?, number(bytes)?);
        let length = usize::try_from(number(bytes)?).map_err(|_| Unreadable)?;
        let value = match length.checked_sub(1) {
            None => None,
            Some(length) if length <= bytes.len() => Some(bytes.split_to(length)),
            Some(_) => return Err(Unreadable),
        };
        Ok(Self {
            etag,
            expires: (expires != i64::MAX).then_some(expires),
            mark,
            value,
        })
    }
}

impl Cell {
    /// It as bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let has = |is: bool, flag| if is { flag } else { 0 };
        let flags = has(self.now.is_some(), HAS_NOW) | has(self.intent.is_some(), HAS_INTENT);
        let mut bytes = vec![LAYOUT, flags];
        if let Some(now) = &self.now {
            now.encode(&mut bytes);
        }
        if let Some(intent) = &self.intent {
            bytes.extend(intent.commit.to_be_bytes());
            intent.next.encode(&mut bytes);
        }
        bytes
    }

    /// The cell that these bytes are; no bytes are an empty one.
    pub(super) fn decode(mut bytes: Bytes) -> Result<Self, Unreadable> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if bytes.len() < 2 {
            return Err(Unreadable);
        }
        let head = bytes.split_to(2);
        if head[0] != LAYOUT || head[1] > (HAS_NOW | HAS_INTENT) {
            return Err(Unreadable);
        }
        let mut cell = Self::default();
        if head[1] & HAS_NOW != 0 {
            cell.now = Some(Version::decode(&mut bytes)?);
        }
        if head[1] & HAS_INTENT != 0 {
            let commit = number(&mut bytes)?;
            let next = Version::decode(&mut bytes)?;
            cell.intent = Some(Intent { commit, next });
        }
        bytes.is_empty().then_some(cell).ok_or(Unreadable)
    }
}

/// The number that comes next.
pub(super) fn number(bytes: &mut Bytes) -> Result<i64, Unreadable> {
    if bytes.len() < 8 {
        return Err(Unreadable);
    }
    let taken = bytes.split_to(8);
    let taken = <[u8; 8]>::try_from(&taken[..]).map_err(|_| Unreadable)?;
    Ok(i64::from_be_bytes(taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(value: Option<&'static str>) -> Version {
        Version {
            etag: -5,
            expires: Some(7),
            mark: i64::MIN,
            value: value.map(Bytes::from),
        }
    }

    #[test]
    fn a_cell_is_read_as_it_was_written_and_no_part_of_it_is_one() {
        let intent = Intent {
            commit: 9,
            next: version(None),
        };
        let cells = [
            Cell::default(),
            Cell {
                now: Some(version(Some(""))),
                intent: None,
            },
            Cell {
                now: None,
                intent: Some(intent.clone()),
            },
            Cell {
                now: Some(version(Some("value"))),
                intent: Some(intent),
            },
        ];
        for cell in cells {
            let bytes = Bytes::from(cell.encode());
            assert_eq!(Cell::decode(bytes.clone()), Ok(cell));
            for end in 1..bytes.len() {
                assert_eq!(Cell::decode(bytes.slice(..end)), Err(Unreadable));
            }
        }
    }

    #[test]
    fn foreign_bytes_are_no_cell() {
        for foreign in [&b"{\"a\": 1}"[..], &[1, 4], &[1, 0, 0], &[2, 0]] {
            assert_eq!(
                Cell::decode(Bytes::copy_from_slice(foreign)),
                Err(Unreadable)
            );
        }
        let mut long = vec![1, 1];
        long.extend([0xff; 32]);
        assert_eq!(Cell::decode(long.into()), Err(Unreadable));
    }

    #[test]
    fn a_deletion_and_what_has_expired_do_not_live() {
        assert!(version(Some("v")).lives(6));
        assert!(!version(Some("v")).lives(7));
        assert!(!version(None).lives(6));
    }
}
