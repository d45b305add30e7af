//! The mesh's cards as the Python SDK reads them: verified by the keys that the router publishes, taken by
//! its types of both versions, and good to call by, for one agent and for whoever has a skill.
//!
//! # Invariants
//! - The SDK finds every address in the card; nothing here tells it one.

use anyhow::{Result, ensure};
use mesh_tests::{
    parts::{Part, agent::ForeignAgent, repository},
    process,
};
use serde_json::Value;
use tokio::process::Command;

use crate::agents::plan;

#[tokio::test]
async fn the_python_sdk_verifies_our_cards_and_calls_by_them() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let (one, two) = (
        ForeignAgent::start(&python, "steward").await?,
        ForeignAgent::start(&python, "steward").await?,
    );
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("key.pem");
    std::fs::write(&key, rcgen::KeyPair::generate()?.serialize_pem())?;
    let file = folder.path().join("router.toml");
    let table = format!("[cards]\nmode = \"re-sign\"\nkey = {:?}\n", key.display());
    std::fs::write(&file, table)?;
    let mesh = plan(0)
        .other("one", &one.url())
        .other("two", &two.url())
        .router("--config")
        .router(&file)
        .start()
        .await?;
    let paths = ["/one", "/skills/steward"];
    let mut command = Command::new(python);
    command
        .arg(repository().join("tests/interop/python/resolve.py"))
        .arg(format!("http://{}", mesh.router().address))
        .args(paths);
    let output = process::run(command).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines: Vec<Value> = said
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(lines.len() == paths.len() * 3, "{said}");
    for line in lines {
        ensure!(line["words"] == "395" && line["again"] == true, "{line}");
    }
    Ok(())
}
