//! Agents that are offered in all three bindings at once: without us, behind the router, and ours.
//!
//! Without us is the baseline: what an SDK does not do to another's agent directly, no router mends.

use std::{fmt::Write as _, io::Write as _};

use anyhow::{Result, ensure};
use mesh_proto::{Binding, Dialect, Version};
use mesh_tests::{
    parts::{
        Part,
        agent::ForeignAgent,
        sdk::{Cell, SDKS, STEPS, Script, run, versions},
    },
    process::say,
};

use crate::{
    agents::{OURS, STEWARD, plan},
    limits,
};

/// The agents of [`OURS`].
const AGENTS: &str = "
agents:
  - {name: assistant, description: Answers with tools., model: rules, tools: [builtin]}
  - {name: brief, description: Takes two seconds., model: 'work:wait_ms=250,pieces=8'}
  - {name: slow, description: Takes a minute., model: 'work:wait_ms=1000,pieces=60'}
  - {name: failing, description: Has no model., model: 'openai:none'}
";

#[tokio::test]
async fn the_sdks_talk_to_a_python_agent_without_us() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let agent = ForeignAgent::start_with(&python, "steward", &["--compat"]).await?;
    let url = agent.url();
    all_green("directly", &Version::ALL, &STEWARD, |_| url.clone()).await
}

#[tokio::test]
async fn the_sdks_talk_to_a_python_agent_through_the_router() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let agent = ForeignAgent::start(&python, "steward").await?;
    let mesh = plan(0).other("steward", &agent.url()).start().await?;
    let url = mesh.router().url("steward");
    all_green("behind the router", &[Version::V1_0], &STEWARD, |_| {
        url.clone()
    })
    .await
}

#[tokio::test]
async fn the_sdks_talk_to_our_workers_through_the_router() -> Result<()> {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    file.write_all(AGENTS.as_bytes())?;
    let agents = ["assistant", "brief", "slow", "failing"];
    let plan = plan(3)
        .agents(file.path(), &agents)
        .environment("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        .environment("OPENAI_API_KEY", "none");
    let mesh = plan.start().await?;
    let url = |role: &str| mesh.router().url(role);
    all_green("with our workers", &[Version::V1_0], &OURS, url).await
}

/// Tries each SDK in each binding and prints the table before it judges.
async fn all_green(
    how: &str,
    spoken: &[Version],
    script: &Script,
    url: impl Fn(&str) -> String,
) -> Result<()> {
    let mut table = format!("\nSDK clients {how}\n{:<18} {:<12}", "client", "dialect");
    for step in STEPS {
        write!(table, " {step:<12}")?;
    }
    let mut wrong = Vec::new();
    for sdk in SDKS {
        let mut cells = Vec::new();
        for version in versions(sdk).iter().filter(|one| spoken.contains(one)) {
            for binding in Binding::ALL {
                let mut cell = Cell::new(&url("assistant"), binding, *version);
                cell.brief_url = Some(url("brief"));
                cell.slow_url = Some(url("slow"));
                cell.fail_url = Some(url("failing"));
                cell.without = limits::direct(sdk, Dialect::new(binding, *version));
                cells.push(cell);
            }
        }
        if cells.is_empty() {
            continue;
        }
        let Some(all) = run(sdk, &cells, script).await? else {
            continue;
        };
        for (cell, steps) in cells.iter().zip(all) {
            let dialect = format!("{} {}", cell.binding.label(), cell.version);
            write!(table, "\n{:<18} {dialect:<12}", sdk.name())?;
            for step in steps {
                let word = match (step.ok, step.left_out()) {
                    (true, None) => "ok",
                    (true, Some(_)) => "-",
                    (false, _) => "FAILED",
                };
                write!(table, " {word:<12}")?;
                if !step.ok {
                    let what = format!("{} {dialect} {}", sdk.name(), step.step);
                    wrong.push(format!("{what}: {}", step.detail));
                }
            }
        }
    }
    say(&table);
    ensure!(wrong.is_empty(), "{how}:\n{}", wrong.join("\n"));
    Ok(())
}
