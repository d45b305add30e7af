//! The members file through which the router of `up` learns of its workers.
//!
//! # Invariants
//! - The file is replaced whole, never written in place: the router may read at any moment.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;

/// The replicas of one agent.
pub(super) struct Agent<'a> {
    name: &'a str,
    urls: Vec<String>,
}

/// Every agent at every worker.
pub(super) fn roster<'a>(agents: &'a [String], workers: &[&str]) -> Vec<Agent<'a>> {
    agents
        .iter()
        .map(|name| Agent {
            name,
            urls: workers.iter().map(|url| format!("{url}/{name}")).collect(),
        })
        .collect()
}

/// Writes the file.
pub(super) fn write(path: &Path, agents: &[Agent<'_>]) -> anyhow::Result<()> {
    let mut text = "# Written by `daca up`; read again whenever it changes.\n".to_owned();
    for agent in agents {
        let urls: Vec<String> = agent
            .urls
            .iter()
            .map(|url| format!("  {url:?},\n"))
            .collect();
        let (name, urls) = (agent.name, urls.concat());
        write!(text, "\n[[agent]]\nname = {name:?}\nurls = [\n{urls}]\n")?;
    }
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).with_context(|| format!("can't write {}", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("can't write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use mesh_runtime::directory::file::Format;

    use super::*;

    #[test]
    fn the_router_reads_what_is_written() {
        let path = std::env::temp_dir().join(format!("daca-{}.toml", uuid::Uuid::new_v4()));
        let agents = ["assistant".to_owned(), "desk".to_owned()];
        let workers = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
        write(&path, &roster(&agents, &workers)).unwrap();
        let roster = Format::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        fs::remove_file(&path).unwrap();
        let read: Vec<(String, Vec<String>)> = roster
            .agents
            .iter()
            .map(|agent| {
                let urls = agent.members.iter().map(|member| member.url.to_string());
                (agent.name.to_string(), urls.collect())
            })
            .collect();
        let expected = |name: &str| {
            let urls = workers.map(|url| format!("{url}/{name}"));
            (name.to_owned(), urls.to_vec())
        };
        assert_eq!(read, [expected("assistant"), expected("desk")]);
    }
}
