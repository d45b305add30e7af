//! Lines that can be pasted into a POSIX shell, and the name under which this program is found.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Quotes one word for a POSIX shell, if it needs it.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What to type to run this very program: `daca` if that is what the PATH finds, else its path.
pub(crate) fn program() -> String {
    let Ok(exe) = env::current_exe() else {
        return "daca".to_owned();
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|folder| folder.join("daca"))
        .find(|candidate| candidate.is_file());
    if found.is_some_and(|found| same(&found, &exe)) {
        return "daca".to_owned();
    }
    let shown = env::current_dir()
        .ok()
        .and_then(|here| {
            exe.strip_prefix(here)
                .ok()
                .map(|rest| Path::new(".").join(rest))
        })
        .unwrap_or(exe);
    quote(&shown.to_string_lossy())
}

fn same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| -> Option<PathBuf> { path.canonicalize().ok() };
    real(a).is_some() && real(a) == real(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_survives_the_shell() {
        assert_eq!(quote("http://h:1/a"), "http://h:1/a");
        assert_eq!(quote("what time is it?"), "'what time is it?'");
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quote(""), "''");
    }
}
