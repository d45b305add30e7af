//! Notes by key, in memory or in one JSON file that several processes may share.
//!
//! # Invariants
//! - At most [`COUNT`] notes; at the bound a new key is refused and an old key can still be replaced.
//! - The file is replaced whole by a rename under a lock: a reader sees all of a change or none.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use parking_lot::Mutex;

/// How many notes are kept.
pub const COUNT: usize = 256;
/// How long a key may be, in bytes.
pub const KEY_BYTES: usize = 128;
/// How long a note may be, in bytes.
pub const TEXT_BYTES: usize = 4_096;

/// Where the notes are.
#[derive(Debug)]
pub enum Notes {
    /// Gone with the process.
    Memory(Mutex<BTreeMap<String, String>>),
    /// Kept in this file, with a lock file beside it.
    File(PathBuf),
}

/// Why a note was not put or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An empty key or one over its bound.
    #[error("a key has 1 to {KEY_BYTES} bytes, this one has {0}")]
    Key(usize),
    /// Over the bound.
    #[error("a note has at most {TEXT_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// No room for another key.
    #[error("{COUNT} notes are kept and there is no room for another; replace one of them")]
    Full,
    /// No note has this key.
    #[error("there is no note {key:?}")]
    Missing {
        /// The key.
        key: String,
    },
    /// The file could not be read or written.
    #[error("the notes file can't be used: {0}")]
    File(#[from] io::Error),
    /// The file holds something else.
    #[error("the notes file is not one of ours: {0}")]
    Format(#[from] serde_json::Error),
}

impl Default for Notes {
    fn default() -> Self {
        Self::Memory(Mutex::default())
    }
}

impl Notes {
    /// Puts a note; whether it took the place of an older one.
    ///
    /// # Errors
    /// [`Error`] when a bound is passed or the file fails.
    pub fn put(&self, key: &str, text: &str) -> Result<bool, Error> {
        if key.is_empty() || key.len() > KEY_BYTES {
            return Err(Error::Key(key.len()));
        }
        if text.len() > TEXT_BYTES {
            return Err(Error::TooLong(text.len()));
        }
        self.change(|notes| {
            if notes.len() >= COUNT && !notes.contains_key(key) {
                return Err(Error::Full);
            }
            Ok(notes.insert(key.to_owned(), text.to_owned()).is_some())
        })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`Error::Missing`], or the file failed.
    pub fn read(&self, key: &str) -> Result<String, Error> {
        let missing = || Error::Missing {
            key: key.chars().take(KEY_BYTES).collect(),
        };
        self.look(|notes| notes.get(key).cloned().ok_or_else(missing))?
    }

    /// All keys in order.
    ///
    /// # Errors
    /// [`Error`] when the file failed.
    pub fn keys(&self) -> Result<Vec<String>, Error> {
        self.look(|notes| notes.keys().cloned().collect())
    }

    fn look<T>(&self, read: impl FnOnce(&BTreeMap<String, String>) -> T) -> Result<T, Error> {
        match self {
            Self::Memory(notes) => Ok(read(&notes.lock())),
            Self::File(path) => Ok(read(&load(path)?)),
        }
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self {
            Self::Memory(notes) => change(&mut notes.lock()),
            Self::File(path) => {
                let lock = fs::File::create(path.with_extension("lock"))?;
                lock.lock()?;
                let mut notes = load(path)?;
                let changed = change(&mut notes)?;
                let fresh = path.with_extension("new");
                fs::write(&fresh, serde_json::to_vec_pretty(&notes)?)?;
                fs::rename(&fresh, path)?;
                Ok(changed)
            }
        }
    }
}

fn load(path: &PathBuf) -> Result<BTreeMap<String, String>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps_notes(notes: &Notes) {
        assert!(!notes.put("b", "two").unwrap());
        assert!(!notes.put("a", "one").unwrap());
        assert!(notes.put("a", "uno").unwrap(), "the second put replaces");
        assert_eq!(notes.read("a").unwrap(), "uno");
        assert_eq!(notes.keys().unwrap(), ["a", "b"]);
        assert!(matches!(notes.read("c"), Err(Error::Missing { key }) if key == "c"));
        assert!(matches!(notes.put("", "x"), Err(Error::Key(0))));
        assert!(matches!(
            notes.put(&"k".repeat(129), "x"),
            Err(Error::Key(129))
        ));
        assert!(matches!(
            notes.put("k", &"x".repeat(4_097)),
            Err(Error::TooLong(4_097))
        ));
        for i in 2..COUNT {
            notes.put(&format!("key {i}"), "x").unwrap();
        }
        assert!(matches!(notes.put("one too many", "x"), Err(Error::Full)));
        assert!(notes.put("b", "still").unwrap());
    }

    #[test]
    fn notes_in_memory_are_bounded_and_keep_what_was_put() {
        keeps_notes(&Notes::default());
    }

    #[test]
    fn notes_in_a_file_are_bounded_and_outlive_their_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.json");
        keeps_notes(&Notes::File(path.clone()));
        assert_eq!(Notes::File(path).read("a").unwrap(), "uno");
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.json");
        fs::write(&path, "not json").unwrap();
        let notes = Notes::File(path.clone());
        assert!(matches!(notes.put("a", "b"), Err(Error::Format(_))));
        assert_eq!(fs::read_to_string(path).unwrap(), "not json");
    }

    #[test]
    fn writers_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.json");
        let write = &|writer: usize| {
            for i in 0..8 {
                Notes::File(path.clone())
                    .put(&format!("{writer}-{i}"), "x")
                    .unwrap();
            }
        };
        std::thread::scope(|scope| {
            for writer in 0..4 {
                scope.spawn(move || write(writer));
            }
        });
        assert_eq!(Notes::File(path).keys().unwrap().len(), 32);
    }
}
