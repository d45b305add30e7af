//! Reading below one folder, and nowhere else.
//!
//! # Invariants
//! - Nothing is written, and nothing outside the root is opened: a path is resolved first, must lie
//!   below the root, and is then opened one component at a time without following links, so that a
//!   link swapped in between is refused rather than followed.
//! - Only plain files are read (a pipe would never end), at most [`READ_BYTES`] at a time.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
};

use rmcp::schemars;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use serde::{Deserialize, Serialize};

/// The most that one call reads, in bytes.
pub const READ_BYTES: u64 = 262_144;
/// The most entries that one call lists.
pub const ENTRIES: usize = 1_000;

/// Which part of which file.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct ReadAsk {
    /// File path relative to the root, such as docs/readme.md.
    pub path: String,
    /// Where to start, in bytes; 0 when left out.
    #[serde(default)]
    pub offset: u64,
}

/// A part of a file.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct Content {
    /// The path as it was asked for.
    pub path: String,
    /// The size of the whole file, in bytes.
    pub bytes: u64,
    /// The text from the offset on.
    pub text: String,
    /// The offset to go on from, when there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
}

/// Which folder.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct ListAsk {
    /// Folder path relative to the root; the root itself when left out.
    #[serde(default)]
    pub path: String,
}

/// What is in a folder.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct Listing {
    /// The entries in the order of their names.
    pub entries: Vec<Entry>,
    /// Whether there are more than the bound.
    pub truncated: bool,
}

/// One entry of a folder.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is: file, folder, link or other.
    pub kind: String,
    /// The size of a file, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path leads out of the root, by its words or by a link.
    #[error("{0:?} is outside the folder that may be read")]
    Outside(String),
    /// There is no such file or folder.
    #[error("there is no {0:?}")]
    Missing(String),
    /// Not a plain file.
    #[error("{0:?} is not a plain file")]
    NotAFile(String),
    /// Not a folder.
    #[error("{0:?} is not a folder")]
    NotAFolder(String),
    /// Not UTF-8.
    #[error("{0:?} is not a text file")]
    NotText(String),
    /// The system refused.
    #[error("{path:?} can't be read: {source}")]
    System {
        /// The path as asked for.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// The one folder that may be read.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// Takes a folder that exists.
    ///
    /// # Errors
    /// What the system says when it can't be resolved, or when it is no folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        if path.is_dir() {
            Ok(Self { path })
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    /// Reads a part of a text file.
    ///
    /// # Errors
    /// [`Error`], naming the path as it was asked for.
    pub fn read(&self, ask: &ReadAsk) -> Result<Content, Error> {
        let failed = |source| Error::System {
            path: shown(&ask.path),
            source,
        };
        let opened = self.enter(&ask.path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let stat = fstat(&opened).map_err(|error| failed(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::NotAFile(shown(&ask.path)));
        }
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        let mut file = File::from(opened);
        file.seek(SeekFrom::Start(ask.offset)).map_err(failed)?;
        let mut part = Vec::new();
        file.take(READ_BYTES)
            .read_to_end(&mut part)
            .map_err(failed)?;
        let read = u64::try_from(part.len()).unwrap_or(READ_BYTES);
        let text = whole_characters(part).ok_or_else(|| Error::NotText(shown(&ask.path)))?;
        let end = ask
            .offset
            .saturating_add(u64::try_from(text.len()).unwrap_or(READ_BYTES));
        let more = read == READ_BYTES && end < bytes;
        Ok(Content {
            path: ask.path.clone(),
            bytes,
            text,
            next_offset: more.then_some(end),
        })
    }

    /// Lists a folder.
    ///
    /// # Errors
    /// [`Error`], naming the path as it was asked for.
    pub fn list(&self, ask: &ListAsk) -> Result<Listing, Error> {
        let failed = |error: rustix::io::Errno| Error::System {
            path: shown(&ask.path),
            source: error.into(),
        };
        let folder = self.enter(&ask.path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        let mut truncated = false;
        for entry in Dir::read_from(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if entries.len() == ENTRIES {
                truncated = true;
                break;
            }
            // An entry that vanishes meanwhile is not listed.
            let Ok(stat) = statat(&folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let (kind, bytes) = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => ("file", u64::try_from(stat.st_size).ok()),
                FileType::Directory => ("folder", None),
                FileType::Symlink => ("link", None),
                _ => ("other", None),
            };
            let name = name.to_string_lossy().into_owned();
            entries.push(Entry {
                name,
                kind: kind.to_owned(),
                bytes,
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Listing { entries, truncated })
    }

    /// Opens what a relative path names, component by component.
    fn enter(&self, asked: &str, flags: OFlags) -> Result<OwnedFd, Error> {
        let outside = || Error::Outside(shown(asked));
        let relative = Path::new(asked);
        let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if asked.contains('\0') || !relative.components().all(plain) {
            return Err(outside());
        }
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing(shown(asked)),
            io::ErrorKind::NotADirectory => Error::NotAFolder(shown(asked)),
            _ => Error::System {
                path: shown(asked),
                source,
            },
        };
        let resolved = self.path.join(relative).canonicalize().map_err(failed)?;
        let below = resolved.strip_prefix(&self.path).map_err(|_| outside())?;
        let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at =
            openat(CWD, &self.path, folder, Mode::empty()).map_err(|error| failed(error.into()))?;
        let mut parts = below.components().peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            let flags = if last {
                flags | OFlags::CLOEXEC
            } else {
                folder
            };
            at = openat(
                &at,
                part.as_os_str(),
                flags | OFlags::NOFOLLOW,
                Mode::empty(),
            )
            .map_err(|error| failed(error.into()))?;
        }
        Ok(at)
    }
}

/// Cuts a last character that the read bound split; `None` when the bytes are not text at all.
fn whole_characters(mut bytes: Vec<u8>) -> Option<String> {
    if let Err(error) = std::str::from_utf8(&bytes) {
        if error.error_len().is_some() {
            return None;
        }
        bytes.truncate(error.valid_up_to());
    }
    String::from_utf8(bytes).ok()
}

fn shown(path: &str) -> String {
    path.chars().take(256).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn read(root: &Root, path: &str) -> Result<Content, Error> {
        root.read(&ReadAsk {
            path: path.to_owned(),
            offset: 0,
        })
    }

    fn folder() -> (tempfile::TempDir, Root) {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("root");
        fs::create_dir_all(inner.join("docs")).unwrap();
        fs::write(outer.path().join("secret"), "s").unwrap();
        fs::write(inner.join("docs/a.txt"), "héllo").unwrap();
        fs::write(inner.join("raw"), [0xff, 0xfe]).unwrap();
        symlink(outer.path().join("secret"), inner.join("out")).unwrap();
        symlink(outer.path(), inner.join("up")).unwrap();
        symlink("docs/a.txt", inner.join("in")).unwrap();
        let root = Root::open(&inner).unwrap();
        (outer, root)
    }

    #[test]
    fn a_text_below_the_root_is_read_also_through_a_link_that_stays_inside() {
        let (_outer, root) = folder();
        assert_eq!(read(&root, "docs/a.txt").unwrap().text, "héllo");
        assert_eq!(read(&root, "./docs/./a.txt").unwrap().bytes, 6);
        assert_eq!(read(&root, "in").unwrap().text, "héllo");
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        let (outer, root) = folder();
        let absolute = outer.path().join("secret");
        for path in [
            "../secret",
            "docs/../../secret",
            "out",
            "up/secret",
            absolute.to_str().unwrap(),
            "a\0b",
        ] {
            assert!(
                matches!(read(&root, path), Err(Error::Outside(_))),
                "{path}"
            );
        }
        let listing = root.list(&ListAsk {
            path: "up".to_owned(),
        });
        assert!(matches!(listing, Err(Error::Outside(_))));
    }

    #[test]
    fn what_is_no_text_file_is_named_so() {
        let (_outer, root) = folder();
        assert!(matches!(read(&root, "nothing"), Err(Error::Missing(_))));
        assert!(matches!(read(&root, "docs"), Err(Error::NotAFile(_))));
        assert!(matches!(read(&root, "raw"), Err(Error::NotText(_))));
        assert!(matches!(
            read(&root, "docs/a.txt/b"),
            Err(Error::NotAFolder(_))
        ));
    }

    #[test]
    fn a_pipe_does_not_hang_the_reader() {
        let (outer, root) = folder();
        let pipe = outer.path().join("root/pipe");
        rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        assert!(matches!(read(&root, "pipe"), Err(Error::NotAFile(_))));
    }

    #[test]
    fn a_long_file_comes_in_parts_that_join_without_a_seam() {
        let (outer, root) = folder();
        let text = "añ".repeat(150_000);
        fs::write(outer.path().join("root/long"), &text).unwrap();
        let mut joined = String::new();
        let mut next = Some(0);
        while let Some(offset) = next {
            let part = root
                .read(&ReadAsk {
                    path: "long".to_owned(),
                    offset,
                })
                .unwrap();
            joined.push_str(&part.text);
            next = part.next_offset;
        }
        assert_eq!(joined, text);
    }

    #[test]
    fn a_folder_is_listed_in_order_with_kinds() {
        let (_outer, root) = folder();
        let listing = root
            .list(&ListAsk {
                path: String::new(),
            })
            .unwrap();
        let shown: Vec<_> = listing
            .entries
            .iter()
            .map(|e| format!("{} {}", e.kind, e.name))
            .collect();
        assert_eq!(
            shown,
            ["folder docs", "link in", "link out", "file raw", "link up"]
        );
    }
}
