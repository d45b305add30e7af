//! Transitions of tasks on the bus: what a tap hears of them, whoever dies.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use mesh_proto::Binding;
use mesh_tests::{
    caller::words::{at_once, follow_up, question},
    eventually::eventually,
    process::{self, Process, Signal},
};
use serde_json::Value;

use crate::{ground::Ground, stage};

/// A tap that runs until it is dropped.
struct Tap(Process);

impl Tap {
    async fn on(place: &str, group: &str) -> Result<Self> {
        let mut command = process::daca(stage::program());
        command.args(["tap", place, "--topic", "a2a.task-events.v1"]);
        command.args(["--group", group]);
        let mut tap = Process::start("tap", command)?;
        tap.line(|line| line.starts_with("tap ready").then_some(()))
            .await?;
        Ok(Self(tap))
    }

    /// What it has heard of each task, in its order.
    fn heard(&self) -> Result<BTreeMap<String, Vec<Value>>> {
        let mut heard = BTreeMap::<String, Vec<Value>>::new();
        for line in self.0.log().iter().filter(|line| line.starts_with('{')) {
            let line: Value = serde_json::from_str(line)?;
            let task = line["body"]["task"].as_str().context("a task")?;
            heard.entry(task.to_owned()).or_default().push(line);
        }
        Ok(heard)
    }

    /// Waits until it has heard so much of a task.
    async fn has(&self, task: &str, count: usize) -> Result<Vec<Value>> {
        eventually(&format!("{count} transitions of {task}"), async || {
            let heard = self.heard()?.remove(task).unwrap_or_default();
            Ok((heard.len() >= count).then_some(heard))
        })
        .await
    }
}

#[tokio::test]
async fn each_group_hears_each_transition_of_a_task_once_and_in_its_order() -> Result<()> {
    let ground = Ground::sqlite()?;
    let plan = ground.under(stage::mesh(2)).worker("--task-events");
    let mesh = plan.start().await?;
    let taps = [
        Tap::on(ground.place(), "audit").await?,
        Tap::on(ground.place(), "billing").await?,
    ];
    let caller = mesh.router().caller("assistant", Binding::Rest);
    let asked = caller.send(question("what time is it")).await??;
    let done = caller.send(follow_up("Tokyo", &asked)).await??;
    ensure!(done.id == asked.id);
    let mut told = Vec::new();
    for tap in &taps {
        let heard = tap.has(&asked.id, 4).await?;
        let states: Vec<_> = heard
            .iter()
            .map(|each| each["body"]["state"].as_str())
            .collect();
        let expected = ["SUBMITTED", "INPUT_REQUIRED", "WORKING", "COMPLETED"];
        let expected = expected.map(|state| format!("TASK_STATE_{state}"));
        let expected: Vec<_> = expected.iter().map(|state| Some(state.as_str())).collect();
        ensure!(states == expected, "{heard:?}");
        let sequences: Vec<Vec<u64>> = heard
            .iter()
            .map(|each| serde_json::from_value(each["body"]["sequence"].clone()))
            .collect::<Result<_, _>>()?;
        ensure!(
            sequences.is_sorted_by(|one, next| one < next),
            "{sequences:?}"
        );
        for each in &heard {
            ensure!(each["body"]["context"] == *asked.context_id, "{each}");
            ensure!(each["body"]["agent"] == "assistant", "{each}");
            let shard = each["body"]["shard"].as_u64().context("a shard")?;
            ensure!(each["key"] == format!("{shard:03x}"), "{each}");
            ensure!(
                !each.to_string().contains("Tokyo"),
                "what was said is told: {each}"
            );
        }
        told.push(heard);
    }
    ensure!(told[0] == told[1], "{told:?}");
    Ok(())
}

#[tokio::test]
async fn what_became_of_a_task_is_told_though_its_worker_is_killed_and_twice_under_one_id()
-> Result<()> {
    let ground = Ground::sqlite()?;
    let plan = ground.under(stage::mesh(3)).worker("--task-events");
    let mut mesh = plan.start().await?;
    let tap = Tap::on(ground.place(), "audit").await?;
    let caller = mesh.router().caller("assistant", Binding::JsonRpc);
    let mut taken = Vec::new();
    for number in 0..30 {
        let task = caller
            .send(at_once(question(&format!("{number}+1"))))
            .await??;
        taken.push(task.id);
    }
    for worker in &mut mesh.workers[..2] {
        worker.end_by(Signal::Kill).await?;
    }
    for task in &taken {
        let heard = tap.has(task, 2).await?;
        let mut states = BTreeMap::new();
        for each in &heard {
            let id = each["body"]["id"].as_str().context("an id")?;
            let state = each["body"]["state"].as_str().context("a state")?;
            ensure!(id.ends_with(state), "{each}");
            states.entry(state).or_insert_with(BTreeSet::new).insert(id);
        }
        let found: Vec<_> = states
            .iter()
            .map(|(state, ids)| (*state, ids.len()))
            .collect();
        let expected = [("TASK_STATE_COMPLETED", 1), ("TASK_STATE_SUBMITTED", 1)];
        ensure!(found == expected, "{found:?} of {task}");
    }
    Ok(())
}

#[tokio::test]
async fn without_the_flag_nothing_is_told() -> Result<()> {
    let ground = Ground::sqlite()?;
    let mesh = ground.under(stage::mesh(1)).start().await?;
    let tap = Tap::on(ground.place(), "audit").await?;
    let caller = mesh.router().caller("assistant", Binding::JsonRpc);
    caller.send(question("2+2")).await??;
    let metrics = mesh.workers[0].metrics().await?;
    ensure!(metrics.sum("mesh_transitions_told_total", &[])? < 0.5);
    ensure!(tap.heard()?.is_empty());
    Ok(())
}
