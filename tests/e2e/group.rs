//! A group of agents: one task at the caller's side, all members behind it.

use std::{collections::BTreeSet, fmt::Write as _, io::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, a2a, a2a::TaskState};
use mesh_tests::{
    caller::{
        Event, Events,
        words::{asked, question, state},
    },
    eventually::eventually,
    load,
    mesh::{Mesh, Plan},
    model::Model,
    process::{Signal, say},
};
use tempfile::NamedTempFile;

use crate::{ground::Ground, stage};

/// Eighteen agents that answer at once, one that waits for the test, one that is killed.
struct Stage {
    mesh: Mesh,
    model: Model,
    _agents: NamedTempFile,
    _ground: Ground,
}

/// How many answer at once.
const PROMPT: usize = 18;

const WORKERS: usize = 6;

impl Stage {
    async fn of(policy: &str, ground: Ground) -> Result<Self> {
        let model = Model::start().await?;
        let victim = stage::odd_agent().await?;
        let mut members: Vec<_> = (1..=PROMPT).map(|n| format!("m{n:02}")).collect();
        members.push("slow".to_owned());
        let file = agents(&members, policy)?;
        members.push("everybody".to_owned());
        let names: Vec<_> = members.iter().map(String::as_str).collect();
        let mesh = mesh(WORKERS, &ground)
            .routers(2)
            .agents(file.path(), &names)
            .environment("OPENAI_BASE_URL", model.base_url())
            .other("killed", &victim.url())
            .start()
            .await?;
        drop(victim);
        Ok(Self {
            mesh,
            model,
            _agents: file,
            _ground: ground,
        })
    }

    /// Opens a stream at the group, and reads until all have answered that can before the slow one.
    async fn asked(&self, key: &str) -> Result<(a2a::Task, Events)> {
        let caller = self.mesh.routers[1].caller("everybody", Binding::JsonRpc);
        let mut events = caller.stream(question(&format!("hold {key}"))).await??;
        let Some(Event::Task(task)) = events.event().await? else {
            anyhow::bail!("no task first")
        };
        let (mut answered, mut is_killed) = (BTreeSet::new(), false);
        while answered.len() < PROMPT || !is_killed {
            match events.event().await?.context("the stream goes on")? {
                Event::ArtifactUpdate(update) => {
                    let artifact = update.artifact.context("an artifact")?;
                    answered.insert(artifact.artifact_id);
                }
                Event::StatusUpdate(update) => {
                    let told = format!("{update:?}");
                    is_killed |= told.contains("killed: it could not be asked");
                }
                _ => {}
            }
        }
        self.model.is_asked(key).await?;
        Ok((task, events))
    }

    /// The workers that have turns, once they are the group's owner and who runs the slow one only.
    async fn busy(&self) -> Result<Option<BTreeSet<usize>>> {
        let mut busy = BTreeSet::new();
        for (at, worker) in self.mesh.workers.iter().enumerate() {
            let metrics = worker.metrics().await?;
            if metrics.sum("mesh_worker_tasks_in_flight", &[])? > 0.5 {
                busy.insert(at);
            }
        }
        Ok((1..=2).contains(&busy.len()).then_some(busy))
    }

    /// The tasks that an agent has.
    async fn tasks(&self, agent: &str) -> Result<Vec<a2a::Task>> {
        let caller = self.mesh.router().caller(agent, Binding::JsonRpc);
        caller.list_all().await
    }
}

fn mesh(workers: usize, ground: &Ground) -> Plan {
    ground.under(stage::mesh(workers).knowing_their_router())
}

fn agents(members: &[String], policy: &str) -> Result<NamedTempFile> {
    let mut text = "agents:\n".to_owned();
    for member in members {
        let model = if member == "slow" { "openai" } else { "echo" };
        writeln!(
            text,
            "  - {{name: {member}, description: A member., model: {model}}}"
        )?;
    }
    let all = members.join(", ");
    writeln!(
        text,
        "  - name: everybody\n    description: All of them.\n    group: {{members: [{all}, killed], \
         policy: '{policy}'}}"
    )?;
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

async fn has_a_quorum(ground: Ground) -> Result<()> {
    let stage = Stage::of("quorum:19", ground).await?;
    let (task, mut events) = stage.asked("streamed").await?;
    stage.model.release("streamed");
    events.rest().await?;
    let caller = stage.mesh.router().caller("everybody", Binding::Rest);
    let task = caller.get(&task.id).await??;
    ensure!(state(&task) == TaskState::Completed, "{task:?}");
    let words = asked(&task);
    ensure!(words.contains("19 of 20 members answered"), "{words}");
    ensure!(words.contains("killed (it could not be asked"), "{words}");
    ensure!(task.artifacts.len() == 19, "{:?}", task.artifacts);
    Ok(())
}

#[tokio::test]
async fn a_quorum_of_twenty_streams_who_answers_and_says_who_does_not_and_why() -> Result<()> {
    has_a_quorum(Ground::sqlite()?).await
}

#[tokio::test]
async fn a_quorum_on_dapr_is_as_on_the_embedded_form() -> Result<()> {
    match Ground::dapr(WORKERS).await? {
        Some(ground) => has_a_quorum(ground).await,
        None => Ok(()),
    }
}

#[tokio::test]
async fn who_is_not_needed_any_more_once_the_quorum_is_there_is_let_go() -> Result<()> {
    let stage = Stage::of("quorum:18", Ground::sqlite()?).await?;
    let caller = stage.mesh.router().caller("everybody", Binding::JsonRpc);
    let task = caller.send(question("hold quorum")).await??;
    ensure!(state(&task) == TaskState::Completed, "{task:?}");
    // The quorum may be there before the slow one was asked; asked, it is let go.
    eventually("the slow member does nothing", || async {
        let tasks = stage.tasks("slow").await?;
        let mut states = tasks.iter().map(state);
        Ok(states
            .all(|state| state == TaskState::Canceled)
            .then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_cancel_of_the_groups_task_reaches_the_members_tasks() -> Result<()> {
    let stage = Stage::of("all", Ground::sqlite()?).await?;
    let (task, _events) = stage.asked("canceled").await?;
    let caller = stage.mesh.router().caller("everybody", Binding::Grpc);
    let task = caller.cancel(&task.id).await??;
    ensure!(state(&task) == TaskState::Canceled, "{task:?}");
    eventually("the slow member's task is canceled", || async {
        let tasks = stage.tasks("slow").await?;
        let states: Vec<_> = tasks.iter().map(state).collect();
        Ok((states == [TaskState::Canceled]).then_some(()))
    })
    .await
}

async fn outlives_its_owner(ground: Ground) -> Result<()> {
    let mut stage = Stage::of("quorum:19", ground).await?;
    let (task, mut events) = stage.asked("adopted").await?;
    let busy = eventually("who answered at once is at rest", || stage.busy()).await?;
    for (at, worker) in stage.mesh.workers.iter_mut().enumerate() {
        if busy.contains(&at) {
            worker.end_by(Signal::Kill).await?;
        }
    }
    stage.model.release("adopted");
    events.rest().await?;
    let caller = stage.mesh.router().caller("everybody", Binding::JsonRpc);
    let task = caller.get(&task.id).await??;
    ensure!(state(&task) == TaskState::Completed, "{task:?}");
    ensure!(task.artifacts.len() == 19, "{:?}", task.artifacts);
    for number in 1..=PROMPT {
        let tasks = stage.tasks(&format!("m{number:02}")).await?;
        ensure!(tasks.len() == 1, "m{number:02}: {tasks:?}");
    }
    ensure!(stage.tasks("slow").await?.len() == 1);
    Ok(())
}

#[tokio::test]
async fn an_owner_that_is_killed_in_the_middle_leaves_the_group_to_another_and_no_work_is_done_twice()
-> Result<()> {
    outlives_its_owner(Ground::sqlite()?).await
}

#[tokio::test]
async fn an_owner_that_is_killed_on_dapr_is_followed_as_on_the_embedded_form() -> Result<()> {
    match Ground::dapr(WORKERS).await? {
        Some(ground) => outlives_its_owner(ground).await,
        None => Ok(()),
    }
}

#[tokio::test]
async fn a_large_group_answers_in_counts_and_pages() -> Result<()> {
    let members = if load::is_long() { 10_000 } else { 1_000 };
    let mut text =
        "agents:\n  - {name: clerk, description: A clerk., model: echo}\n  - name: many\n    \
                    description: Many clerks.\n    group:\n      members:\n"
            .to_owned();
    for number in 0..members {
        writeln!(text, "        - {{agent: clerk, context: c{number}}}")?;
    }
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    file.write_all(text.as_bytes())?;
    let ground = Ground::sqlite()?;
    let mesh = mesh(2, &ground).agents(file.path(), &["clerk", "many"]);
    let mesh = mesh.start().await?;
    let caller = mesh.router().caller("many", Binding::JsonRpc);
    let begun = tokio::time::Instant::now();
    let mut events = caller.stream(question("hello")).await??;
    let Some(Event::Task(task)) = events.event().await? else {
        anyhow::bail!("no task first")
    };
    events.rest().await?;
    let took = begun.elapsed().as_secs_f64();
    let task = caller.get(&task.id).await??;
    ensure!(state(&task) == TaskState::Completed, "{}", asked(&task));
    let counts = format!("{members} of {members} members answered");
    ensure!(asked(&task).contains(&counts), "{}", asked(&task));
    let pages = task.artifacts.len();
    ensure!(pages == usize::div_ceil(members, 256), "{pages} pages");
    let each = f64::from(u32::try_from(members)?) / took;
    say(&format!(
        "a group of {members}: {took:.1} s, {each:.0} members/s"
    ));
    ensure!(begun.elapsed() < Duration::from_secs(300), "{took} s");
    Ok(())
}
