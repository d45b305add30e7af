//! OpenAI's own client and the OpenAI Agents SDK, calling our agents as models of the router.

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{
    parts::{Part, repository, sdk::Step},
    process::{self, say},
};
use tokio::process::Command;

use crate::agents::plan;

/// The steps of `chat_agents.py`.
const STEPS: usize = 10;

#[tokio::test]
async fn openais_clients_call_our_agents_as_models() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let mesh = plan(2).start().await?;
    let mut command = Command::new(&python);
    command
        .arg(repository().join("tests/interop/python/chat_agents.py"))
        .args(["--base", &mesh.router().url("v1")]);
    let output = process::run(command).await?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let steps: Vec<Step> = printed
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a step: {line}")))
        .collect::<Result<_>>()
        .with_context(|| format!("its errors: {errors}"))?;
    let mut table = "\nOpenAI's clients with our workers".to_owned();
    for step in &steps {
        let word = if step.ok { "ok" } else { "FAILED" };
        table.push_str(&format!(
            "\n{:<20} {word:<7} {}",
            step.step,
            step.detail.trim()
        ));
    }
    say(&table);
    let wrong: Vec<&Step> = steps.iter().filter(|step| !step.ok).collect();
    ensure!(wrong.is_empty(), "{wrong:#?}\n{errors}");
    ensure!(steps.len() == STEPS, "{table}\n{errors}");
    Ok(())
}
