//! `daca up`, as the README has it: it comes up, each line that it prints works as pasted, and
//! Ctrl-C leaves nothing behind.

use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{
    eventually::eventually,
    parts::{Part, broker::Broker, daprd::Component, folder},
    process::{self, Process, Signal, run},
};
use tokio::{net::TcpStream, process::Command};

use crate::stage::program;

#[tokio::test]
async fn the_quick_starts_lines_work_as_pasted_and_ctrl_c_ends_it_all() -> Result<()> {
    let bin = tempfile::tempdir()?;
    // Under its own name on the path, as after an installation.
    symlink(program(), bin.path().join("daca"))?;
    let mut command = process::daca(&bin.path().join("daca"));
    command.args(["up", "--listen", "127.0.0.1:0", "--workers", "3"]);
    let mut up = Process::start("up", command)?.supervisor();
    let router = up
        .line(|line| address_after(line, "The mesh is up: "))
        .await?;
    up.line(|line| line.contains(" route explain ").then_some(()))
        .await?;

    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(format!(
        ":{}:{}",
        bin.path().display(),
        folder().join("bin").display()
    ));
    let has_curl = Part::Curl.find()?.is_some();
    let has_grpcurl = Part::Grpcurl.find()?.is_some();
    let mut pasted = 0;
    for line in up.log() {
        let program = line.split_whitespace().next().unwrap_or_default();
        let runs = match program {
            "curl" => has_curl,
            "grpcurl" => has_grpcurl,
            // Named as the shell finds it, or by its whole path.
            other => other == "daca" || other.ends_with("/daca-under-test"),
        };
        if !runs {
            continue;
        }
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&line).env("PATH", &path);
        let output = run(shell).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{line}\n{said}\n{errors}");
        ensure!(!said.trim().is_empty(), "{line} says nothing\n{errors}");
        ensure!(!said.contains("\"error\""), "{line}\n{said}");
        if line.contains("Tokyo") {
            ensure!(
                said.contains("Tokyo") || said.contains("JST"),
                "{line}\n{said}"
            );
        }
        pasted += 1;
    }
    ensure!(pasted >= 7, "only {pasted} lines to paste: {:?}", up.log());

    let addresses: Vec<String> = up.log().iter().filter_map(|line| worker(line)).collect();
    ensure!(addresses.len() >= 3, "a line per worker: {:?}", up.log());
    up.signal(Signal::Int)?;
    let status = up.end().await?;
    ensure!(status.success(), "{status}");
    for address in addresses.iter().chain([&router]) {
        eventually(&format!("nobody listens on {address}"), || async {
            Ok(TcpStream::connect(address).await.is_err().then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_that_is_killed_is_shown_as_dead_and_the_mesh_goes_on() -> Result<()> {
    let mut command = process::daca(program());
    command.args(["up", "--listen", "127.0.0.1:0", "--workers", "3"]);
    let mut up = Process::start("up", command)?.supervisor();
    let router = up
        .line(|line| address_after(line, "The mesh is up: "))
        .await?;
    let pid = up.line(pid_of_first_worker).await?;
    let mut kill = Command::new("kill");
    kill.args(["-KILL", &pid]);
    run(kill).await?;
    up.line(|line| line.contains("dead (signal 9").then_some(()))
        .await?;
    for number in 0..12 {
        let url = format!("http://{router}/assistant");
        let mut send = process::daca(program());
        send.args([
            "send",
            &url,
            "what is 17*23+4",
            "--context",
            &format!("after-{number}"),
        ]);
        let output = run(send).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && said.contains("395"),
            "{output:?}"
        );
    }
    up.signal(Signal::Int)?;
    let status = up.end().await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

const AGENTS: &str = "
agents:
  - {name: assistant, description: answers, model: rules, tools: [builtin]}
  - name: watch
    description: looks after things
    model: echo
    inputs: [{binding: tick, text: Look around.}]
";

#[tokio::test]
async fn on_dapr_it_comes_up_with_a_sidecar_beside_each_worker_and_outlives_one() -> Result<()> {
    let Some(broker) = Broker::redis().await? else {
        return Ok(());
    };
    let Some(daprd) = Part::Daprd.find()? else {
        return Ok(());
    };
    let components = tempfile::tempdir()?;
    let address = broker.address();
    for (name, kind) in [("statestore", "state.redis"), ("pubsub", "pubsub.redis")] {
        let component = Component::new(name, kind, &[("redisHost", &address)]);
        component.write(components.path())?;
    }
    let settings = [
        ("schedule", "@every 1s"),
        ("direction", "input"),
        ("route", "/-/binding/tick"),
    ];
    Component::new("tick", "bindings.cron", &settings).write(components.path())?;
    let agents = components.path().join("agents");
    std::fs::write(&agents, AGENTS)?;
    let mut command = process::daca(program());
    command.args(["up", "--listen", "127.0.0.1:0", "--workers", "2", "--dapr"]);
    command.arg("--dapr-components").arg(components.path());
    command.arg("--agents").arg(agents);
    command.env("DAPRD_BIN", daprd);
    let mut up = Process::start("up", command)?.supervisor();
    let router = up
        .line(|line| address_after(line, "The mesh is up: "))
        .await?;
    let sidecars = up
        .log()
        .iter()
        .filter(|line| line.starts_with("daprd-"))
        .count();
    ensure!(sidecars == 2, "{:?}", up.log());
    let pid = up.line(pid_of_first_worker).await?;
    let mut kill = Command::new("kill");
    kill.args(["-KILL", &pid]);
    run(kill).await?;
    let url = format!("http://{router}/assistant");
    for number in 0..6 {
        let context = format!("after-{number}");
        let mut send = process::daca(program());
        send.args(["send", &url, "what is 17*23+4", "--context", &context]);
        let output = run(send).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(said.contains("395"), "{output:?}");
    }
    eventually("a sidecar's event has begun a task", async || {
        let mut list = process::daca(program());
        list.args([
            "--output",
            "json",
            "tasks",
            "list",
            &format!("http://{router}/watch"),
        ]);
        let listed = run(list).await?;
        let listed = String::from_utf8_lossy(&listed.stdout);
        Ok(listed.contains("TASK_STATE_COMPLETED").then_some(()))
    })
    .await?;
    let ports: Vec<String> = up.log().iter().filter_map(|line| sidecar(line)).collect();
    up.signal(Signal::Int)?;
    let status = up.end().await?;
    ensure!(status.success(), "{status}");
    for address in &ports {
        let is_gone = TcpStream::connect(address).await.is_err();
        ensure!(is_gone, "a sidecar still listens on {address}");
    }
    Ok(())
}

#[tokio::test]
async fn on_dapr_without_a_sidecar_it_says_what_is_missing() -> Result<()> {
    let mut command = process::daca(program());
    command.args(["up", "--listen", "127.0.0.1:0", "--dapr"]);
    command.env("PATH", "/nowhere").env_remove("DAPRD_BIN");
    let output = run(command).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success());
    ensure!(
        errors.contains("put it on the PATH, or name it by DAPRD_BIN"),
        "{errors}"
    );
    Ok(())
}

/// The address in a sidecar's line.
fn sidecar(line: &str) -> Option<String> {
    line.starts_with("daprd-").then_some(())?;
    mesh_tests::mesh::address(line).map(|address| address.to_string())
}

fn address_after(line: &str, words: &str) -> Option<String> {
    let (_, rest) = line.split_once(words)?;
    mesh_tests::mesh::address(rest).map(|address| address.to_string())
}

/// The address in a worker's live line.
fn worker(line: &str) -> Option<String> {
    (line.starts_with("worker-") && line.contains(" active ")).then_some(())?;
    mesh_tests::mesh::address(line).map(|address| address.to_string())
}

fn pid_of_first_worker(line: &str) -> Option<String> {
    let (_, rest) = line.strip_prefix("worker-1")?.split_once("pid ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_nothing_is_left_running() -> Result<()> {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = taken.local_addr()?.to_string();
    let mut command = process::daca(program());
    command.args(["up", "--listen", &address]);
    let output = run(command).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it can't listen on {address}");
    let port = address.rsplit(':').next().context("a port")?;
    ensure!(errors.contains(port), "it says which: {errors}");
    Ok(())
}
