//! What the product stands on: licences, crates that must not come in, and lint tables.
//!
//! # Invariants
//! - Offline: what cargo has fetched to build this test is what is looked at.

use crate::tree::Finding;

/// Licences that a dependency may have. Another one is a decision for people.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that the product must not hold, and why.
const BANNED: &[(&str, &str)] = &[
    ("ring", "aws-lc-rs is the one crypto provider"),
    ("openssl", "aws-lc-rs is the one crypto provider"),
    ("openssl-sys", "aws-lc-rs is the one crypto provider"),
    ("native-tls", "rustls is the one TLS"),
    ("redis", "durable parts go through Dapr"),
    ("rdkafka", "durable parts go through Dapr"),
    ("async-nats", "durable parts go through Dapr"),
    ("sqlx", "durable parts go through Dapr"),
    ("tokio-postgres", "durable parts go through Dapr"),
];

/// Whether an SPDX expression can be met with allowed licences alone.
pub(crate) fn may_use(expression: &str) -> bool {
    // The old way to write a choice.
    let text = expression.replace('/', " OR ");
    let text = text.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut terms = Terms { words: &words };
    // What cannot be read is not allowed.
    terms.any_of() == Some(true) && terms.words.is_empty()
}

/// The rest of an expression. `None` is one that is not well formed.
struct Terms<'a> {
    words: &'a [&'a str],
}

impl<'a> Terms<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn take_if(&mut self, word: &str) -> bool {
        let is_next = self.words.first() == Some(&word);
        is_next.then(|| self.take()).is_some()
    }

    fn any_of(&mut self) -> Option<bool> {
        let mut met = self.all_of()?;
        while self.take_if("OR") {
            met |= self.all_of()?;
        }
        Some(met)
    }

    fn all_of(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.take_if("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take_if("(") {
            let met = self.any_of()?;
            return self.take_if(")").then_some(met);
        }
        let name = self.take()?;
        if self.take_if("WITH") {
            let name = format!("{name} WITH {}", self.take()?);
            return Some(LICENCES.contains(&name.as_str()));
        }
        Some(LICENCES.contains(&name))
    }
}

/// Finds banned crates in the output of `cargo tree --prefix depth --format ' {p}'`, each with the way
/// by which it first came in.
pub(crate) fn banned_crates(tree: &str) -> Vec<String> {
    let mut way: Vec<&str> = Vec::new();
    let mut findings: Vec<String> = Vec::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(name)) = (words.next(), words.next()) else {
            continue;
        };
        way.truncate(depth.parse().unwrap_or_default());
        way.push(name);
        let Some((_, reason)) = BANNED.iter().find(|(banned, _)| *banned == name) else {
            continue;
        };
        let start = format!("{name} came in ({reason})");
        if !findings.iter().any(|known| known.starts_with(&start)) {
            let way = way.join(" -> ");
            findings.push(format!(
                "{start}: {way}; turn off the feature that asks for it"
            ));
        }
    }
    findings
}

/// Whether a manifest takes the lint tables of the workspace.
pub(crate) fn inherits_lints(path: &str, manifest: &str) -> Option<Finding> {
    let mut lines = manifest
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let section = lines.by_ref().find(|line| *line == "[lints]");
    let inherits = section.is_some() && lines.next() == Some("workspace = true");
    (!inherits).then(|| Finding {
        path: path.to_owned(),
        line: 1,
        advice: "add `[lints]` and `workspace = true`: a crate without lints is where dust gathers"
            .to_owned(),
    })
}

/// The line of a file that begins with a text, from 1; 1 where none does.
pub(crate) fn line_of(text: &str, start: &str) -> usize {
    let place = text
        .lines()
        .position(|line| line.trim_start().starts_with(start));
    place.map_or(1, |place| place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_that_nobody_allowed_is_found() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "ISC AND (Apache-2.0 OR ISC) AND BSD-3-Clause",
        ] {
            assert!(may_use(good), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR Apache-2.0) AND OpenSSL",
            "Apache-2.0 WITH Another-exception",
            "MIT OR",
            "(MIT",
            "MIT MIT",
        ] {
            assert!(!may_use(bad), "{bad}");
        }
    }

    #[test]
    fn a_banned_crate_is_found_with_the_way_it_came() {
        let tree = "0 daca v0.1.0 (/x)\n1 rustls v0.23.0\n2 aws-lc-rs v1.0.0\n1 reqwest v0.12.0\n\
                    2 hyper-tls v0.6.0\n3 native-tls v0.2.0\n1 other v1.0.0\n2 native-tls v0.2.0 (*)\n";
        let findings = banned_crates(tree);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("daca -> reqwest -> hyper-tls -> native-tls"));
        assert!(banned_crates("0 daca v0.1.0\n1 string v1.0.0\n").is_empty());
    }

    #[test]
    fn a_manifest_without_the_lint_tables_is_found() {
        let with = "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n";
        assert!(inherits_lints("a", with).is_none());
        for without in [
            "[package]\n",
            "[lints]\nworkspace = false\n",
            "[lints.rust]\nx = 1\n",
        ] {
            assert!(inherits_lints("a", without).is_some(), "{without}");
        }
    }
}
