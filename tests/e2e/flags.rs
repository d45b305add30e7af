//! What the router is told: by flags, by a file, and by a members file that changes.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{
    caller::{
        BINDINGS, Caller,
        words::{in_context, question, said},
    },
    mesh::{EXAMPLES, ready},
    process::{self, Process, run},
};

use crate::{
    affinity::places,
    stage::{mesh, program},
};

#[tokio::test]
async fn a_file_says_what_flags_say() -> Result<()> {
    let workers = mesh(2).start().await?;
    let urls: Vec<String> = workers
        .workers
        .iter()
        .map(|worker| format!("{:?}", worker.url("assistant")))
        .collect();
    let mut file = tempfile::NamedTempFile::new()?;
    writeln!(
        file,
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ndefault_agent = \"assistant\"\n\
         [[agent]]\nname = \"assistant\"\nurls = [{}]",
        urls.join(", ")
    )?;
    let mut command = process::daca(program());
    command.args(["router", "--config"]).arg(file.path());
    let mut router = Process::start("router by file", command)?;
    let address = router.line(|line| ready("router", line)).await?;
    router.line(|line| ready("admin", line)).await?;
    for binding in BINDINGS {
        let task = Caller::new(address, "assistant", binding)
            .send(question("20+3"))
            .await??;
        ensure!(said(&task).contains("23"), "{binding}: {}", said(&task));
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_has_a_port_of_its_own_where_it_is_told_to() -> Result<()> {
    let mesh = mesh(2)
        .router("--listen-agent")
        .router("assistant=127.0.0.1:0")
        .start()
        .await?;
    let log = mesh.router().process.log();
    let line = log
        .iter()
        .find(|line| line.starts_with("agent assistant ready on "));
    let line = line.with_context(|| format!("no ready line of the agent's port in {log:?}"))?;
    let own = ready("agent assistant", line).context("an address")?;
    ensure!(own != mesh.router().address, "{own} is everybody's");
    // At the root of its own port, in every binding; over gRPC with no name at all.
    for binding in BINDINGS {
        let task = Caller::at_root(own, binding)
            .send(question("20+3"))
            .await??;
        ensure!(said(&task).contains("23"), "{binding}: {}", said(&task));
    }
    Ok(())
}

#[tokio::test]
async fn the_development_key_does_not_serve_the_network() -> Result<()> {
    let mut command = process::daca(program());
    command.args([
        "router",
        "--listen",
        "0.0.0.0:0",
        "--agent",
        "a=http://127.0.0.1:9",
    ]);
    let output = run(command).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && errors.contains("keys"),
        "{output:?}"
    );
    Ok(())
}

#[tokio::test]
async fn members_come_and_go_with_their_file() -> Result<()> {
    let mut mesh = mesh(3).knowing_their_router().start().await?;
    let agents = EXAMPLES.map(str::to_owned);
    let gone = mesh.workers.remove(0);
    mesh.tell_members(&agents)?;
    mesh.router().has("assistant", 2).await?;
    for number in 0..12 {
        let caller = mesh.router().caller("assistant", BINDINGS[number % 3]);
        let task = caller
            .send(in_context("1+1", &format!("without-{number}")))
            .await??;
        ensure!(
            places(&mesh).await?.contains_key(&task.id),
            "{} is with the one that left",
            task.id
        );
    }
    mesh.workers.insert(0, gone);
    mesh.tell_members(&agents)?;
    mesh.router().has("assistant", 3).await?;
    let mut seen = [0; 3];
    for number in 0..30 {
        let caller = mesh.router().caller("assistant", BINDINGS[number % 3]);
        let task = caller
            .send(in_context("1+1", &format!("again-{number}")))
            .await??;
        let place = places(&mesh).await?.get(&task.id).copied();
        seen[place.context("somewhere")?] += 1;
    }
    ensure!(
        seen.iter().all(|count| *count > 0),
        "all take part again: {seen:?}"
    );
    Ok(())
}
