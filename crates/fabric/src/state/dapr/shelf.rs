//! What can be listed: Dapr has no listing, so the keys of a shelf are kept in documents beside them.
//!
//! A shelf is in [`PARTS`] documents by the hash of the key. A key is put on its shelf *before* the commit
//! that gives it a value, and taken off after the one that deletes it, so that a shelf may name a key too
//! many and never one too few. Who lists reads each key and leaves out what is not there.
//!
//! # Invariants
//! - A key that has a value is on its shelf: each entry has a mark, which is in the value too, and is only
//!   taken off by that mark. Who gives a key a value puts it there under a new one.
//! - An entry whose commit never came is taken off once it is [`STALE`], much longer than a commit may
//!   take.
//! - A document has at most [`ENTRIES`] keys and [`BYTES`]; one more is refused, after what is stale has
//!   made room.

use bytes::Bytes;
use tonic::Status;

use super::{
    cell::{Unreadable, number},
    keep::{Keep, Kept, Written},
};

/// Documents of a shelf.
const PARTS: u64 = 16;

/// The most keys of a document.
const ENTRIES: usize = 4096;

/// The most bytes of a document.
const BYTES: usize = 1 << 20;

/// After how many milliseconds an entry without a value is no commit under way.
pub(super) const STALE: i64 = 600_000;

/// How often a write that others came before is tried again.
const TRIES: usize = 64;

/// Which keys can be listed: those whose first part is `kind`, by their first `depth` parts, each with the
/// `/` after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shelf {
    /// The first part of the key.
    pub kind: &'static str,
    /// How many parts make the prefix.
    pub depth: usize,
}

impl Shelf {
    /// The shelf of a key or a prefix.
    #[must_use]
    pub fn of<'k>(shelves: &[Self], key: &'k str) -> Option<&'k str> {
        let kind = key.split('/').next()?;
        let shelf = shelves.iter().find(|shelf| shelf.kind == kind)?;
        let (end, _) = key.match_indices('/').nth(shelf.depth.checked_sub(1)?)?;
        key.get(..=end)
    }
}

/// A key on a shelf.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Named {
    pub(super) key: String,
    pub(super) mark: i64,
    /// When it was put there, in Unix milliseconds.
    pub(super) since: i64,
}

impl Named {
    pub(super) const fn is_stale(&self, now: i64) -> bool {
        self.since.saturating_add(STALE) < now
    }

    const fn size(&self) -> usize {
        self.key.len() + 24
    }
}

/// Why a key is not on its shelf.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// There is no room.
    #[error("the index of {0:?} is full")]
    Full(String),
    /// Too many write it at once.
    #[error("the index of {0:?} is written by too many at once")]
    Busy(String),
    /// The sidecar says.
    #[error(transparent)]
    Sidecar(#[from] Status),
    /// It is none of ours.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Puts a key on its shelf under a mark.
pub(super) async fn put(
    keep: &Keep,
    shelf: &str,
    key: &str,
    mark: i64,
    now: i64,
) -> Result<(), Refused> {
    let name = document(shelf, part(key));
    for _ in 0..TRIES {
        let Kept { bytes, base } = keep.read(&name).await?;
        let mut all = decode(bytes)?;
        all.retain(|each| each.key != key);
        all.push(Named {
            key: key.to_owned(),
            mark,
            since: now,
        });
        if is_over(&all) {
            return Err(Refused::Full(shelf.to_owned()));
        }
        if keep.write(&name, encode(&all), &base, None).await? == Written::Done {
            return Ok(());
        }
    }
    Err(Refused::Busy(shelf.to_owned()))
}

/// Takes off what is under just these marks.
pub(super) async fn take_off(keep: &Keep, shelf: &str, gone: &[Named]) -> Result<(), Refused> {
    for number in 0..PARTS {
        let here: Vec<_> = gone
            .iter()
            .filter(|each| part(&each.key) == number)
            .collect();
        if here.is_empty() {
            continue;
        }
        let name = document(shelf, number);
        let mut is_off = false;
        for _ in 0..TRIES {
            let Kept { bytes, base } = keep.read(&name).await?;
            let mut all = decode(bytes)?;
            let before = all.len();
            all.retain(|each| {
                let is_gone = |gone: &&Named| gone.key == each.key && gone.mark == each.mark;
                !here.iter().any(is_gone)
            });
            is_off = all.len() == before
                || keep.write(&name, encode(&all), &base, None).await? == Written::Done;
            if is_off {
                break;
            }
        }
        if !is_off {
            return Err(Refused::Busy(shelf.to_owned()));
        }
    }
    Ok(())
}

/// All that a shelf names, in no order.
pub(super) async fn names(keep: &Keep, shelf: &str) -> Result<Vec<Named>, Refused> {
    let documents: Vec<_> = (0..PARTS).map(|number| document(shelf, number)).collect();
    let mut all = Vec::new();
    for Kept { bytes, .. } in keep.read_all(&documents).await? {
        all.extend(decode(bytes)?);
    }
    Ok(all)
}

fn is_over(all: &[Named]) -> bool {
    all.len() > ENTRIES || all.iter().map(Named::size).sum::<usize>() > BYTES
}

fn document(shelf: &str, part: u64) -> String {
    format!("i/{part}/{shelf}")
}

/// FNV-1a: the same in every process and version.
fn part(key: &str) -> u64 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash % PARTS
}

fn encode(all: &[Named]) -> Vec<u8> {
    // A fresh number: no two documents are the same bytes.
    let mut bytes = Vec::from(super::fresh().to_be_bytes());
    for Named { key, mark, since } in all {
        bytes.extend((key.len() as u64).to_be_bytes());
        bytes.extend(mark.to_be_bytes());
        bytes.extend(since.to_be_bytes());
        bytes.extend(key.as_bytes());
    }
    bytes
}

fn decode(mut bytes: Bytes) -> Result<Vec<Named>, Unreadable> {
    let mut all = Vec::new();
    if bytes.is_empty() {
        return Ok(all);
    }
    number(&mut bytes)?;
    while !bytes.is_empty() {
        let length = usize::try_from(number(&mut bytes)?).map_err(|_| Unreadable)?;
        let (mark, since) = (number(&mut bytes)?, number(&mut bytes)?);
        if length > bytes.len() {
            return Err(Unreadable);
        }
        let key = String::from_utf8(bytes.split_to(length).into()).map_err(|_| Unreadable)?;
        all.push(Named { key, mark, since });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELVES: &[Shelf] = &[
        Shelf {
            kind: "task",
            depth: 4,
        },
        Shelf {
            kind: "dead",
            depth: 1,
        },
    ];

    #[test]
    fn a_key_is_on_the_shelf_of_its_first_parts() {
        for (key, shelf) in [
            ("task/agent//me/1", Some("task/agent//me/")),
            ("task/agent/t/me/", Some("task/agent/t/me/")),
            ("task/agent/t", None),
            ("dead/x/y", Some("dead/")),
            ("dead", None),
            ("context/agent/t/me/1", None),
            ("", None),
        ] {
            assert_eq!(Shelf::of(SHELVES, key), shelf, "{key}");
        }
    }

    #[test]
    fn a_document_is_read_as_it_was_written_and_no_part_of_it_is_one() {
        let named = |key: &str| Named {
            key: key.to_owned(),
            mark: -1,
            since: 5,
        };
        let all = vec![named("a"), named(""), named("\u{e9}")];
        let bytes = Bytes::from(encode(&all));
        assert_eq!(decode(bytes.clone()), Ok(all));
        assert_eq!(decode(bytes.slice(..bytes.len() - 1)), Err(Unreadable));
        assert_eq!(decode(Bytes::new()), Ok(Vec::new()));
    }
}
