//! Any router finds the worker that holds a context or a task.
//!
//! Where a task really is is asked of the workers themselves, directly: each keeps its tasks in its
//! own memory, so the one that lists a task is the one that ran it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mesh_proto::{Binding, a2a::TaskState};
use mesh_tests::{
    caller::{
        BINDINGS, Event,
        words::{at_once, in_context, question, state},
    },
    mesh::Mesh,
    model::Model,
};

use crate::stage::mesh;

/// How many contexts go through both routers: 1,000, and in `.ci/long` ten times as many.
fn contexts() -> usize {
    let long = std::env::var_os("DACA_LONG").is_some_and(|value| value == "1");
    if long { 10_000 } else { 1_000 }
}

/// How many calls are under way at once.
const AT_ONCE: usize = 16;

#[tokio::test]
async fn contexts_sent_through_one_router_are_continued_through_the_other_on_the_same_worker()
-> Result<()> {
    let mesh = mesh(3).routers(2).start().await?;
    let (a, b) = (&mesh.routers[0], &mesh.routers[1]);
    let opened: Vec<(String, String)> = stream::iter(0..contexts())
        .map(|number| async move {
            let caller = a.caller("assistant", BINDINGS[number % 3]);
            // Half of the contexts are the client's own, half are minted by the worker.
            let ask = match number % 2 {
                0 => question("17+4"),
                _ => in_context("17+4", &format!("mine-{number}")),
            };
            let task = caller.send(ask).await??;
            anyhow::Ok((task.context_id, task.id))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let continued: Vec<(String, String)> = stream::iter(opened.iter().enumerate())
        .map(|(number, (context, _))| async move {
            let caller = b.caller("assistant", BINDINGS[(number + 1) % 3]);
            let task = caller.send(in_context("18+4", context)).await??;
            ensure!(
                task.context_id == *context,
                "the context became {}",
                task.context_id
            );
            anyhow::Ok((task.context_id, task.id))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let places = places(&mesh).await?;
    let second: BTreeMap<&str, &str> = continued
        .iter()
        .map(|(context, task)| (context.as_str(), task.as_str()))
        .collect();
    let mut loads = [0_usize; 3];
    for (context, task) in &opened {
        let place = places
            .get(task)
            .with_context(|| format!("no worker has {task}"))?;
        let again = second
            .get(context.as_str())
            .with_context(|| format!("{context} was lost"))?;
        ensure!(
            places.get(*again) == Some(place),
            "{context} began on worker {place} and went on elsewhere: {:?}",
            places.get(*again)
        );
        loads[*place] += 1;
    }
    spread_is_within_bounds(&loads, opened.len())
}

#[tokio::test]
async fn a_bare_task_id_finds_its_task_through_either_router() -> Result<()> {
    let model = Model::start().await?;
    let mesh = mesh(3)
        .routers(2)
        .environment("OPENAI_BASE_URL", model.base_url())
        .start()
        .await?;
    let (a, b) = (&mesh.routers[0], &mesh.routers[1]);
    for (number, binding) in BINDINGS.into_iter().cycle().take(12).enumerate() {
        let key = format!("key-{number}");
        let opener = a.caller("assistant", binding);
        let task = opener
            .send(at_once(question(&format!("hold {key}"))))
            .await??;
        for router in [a, b] {
            let found = router.caller("assistant", binding).get(&task.id).await??;
            ensure!(found.id == task.id, "{binding}: {found:?}");
        }
        let stranger = b.caller("assistant", binding);
        let mut events = stranger.subscribe(&task.id).await??;
        let first = events.event().await?;
        ensure!(
            matches!(&first, Some(Event::Task(snapshot)) if snapshot.id == task.id),
            "{binding}: a subscription begins with the task: {first:?}"
        );
        if number % 2 == 0 {
            let canceled = stranger.cancel(&task.id).await??;
            ensure!(
                state(&canceled) == TaskState::Canceled,
                "{binding}: {canceled:?}"
            );
            let words = events.words().await?;
            ensure!(
                words.last().is_some_and(|last| last == "canceled"),
                "{binding}: {words:?}"
            );
        } else {
            model.release(&key);
            let words = events.words().await?;
            ensure!(
                words.last().is_some_and(|last| last == "completed"),
                "{binding}: {words:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_router_that_starts_later_finds_the_contexts_of_the_others() -> Result<()> {
    let plan = mesh(3);
    let mut mesh = plan.start().await?;
    let mut tasks = Vec::new();
    for number in 0..30 {
        let caller = mesh.router().caller("assistant", BINDINGS[number % 3]);
        tasks.push(caller.send(question("1+1")).await??);
    }
    let newcomer = plan.start_router(1, &mesh.workers).await?;
    for task in &tasks {
        let caller = newcomer.caller("assistant", Binding::JsonRpc);
        let found = caller.get(&task.id).await??;
        ensure!(found.id == task.id, "{found:?}");
        let next = caller.send(in_context("2+2", &task.context_id)).await??;
        let places = places(&mesh).await?;
        ensure!(
            places.get(&next.id) == places.get(&task.id),
            "{} moved",
            task.context_id
        );
    }
    mesh.routers.push(newcomer);
    Ok(())
}

/// Which worker has which task, asked of the workers.
pub(crate) async fn places(mesh: &Mesh) -> Result<BTreeMap<String, usize>> {
    let mut places = BTreeMap::new();
    for (number, worker) in mesh.workers.iter().enumerate() {
        for task in worker
            .caller("assistant", Binding::JsonRpc)
            .list_all()
            .await?
        {
            let before = places.insert(task.id.clone(), number);
            ensure!(before.is_none(), "{} is on two workers", task.id);
        }
    }
    Ok(places)
}

/// The table gives no worker over 10 % more than its share of the slots; on top comes the chance of
/// which ids were drawn: four standard deviations of it.
fn spread_is_within_bounds(loads: &[usize], total: usize) -> Result<()> {
    let total = u32::try_from(total)?;
    let workers = u32::try_from(loads.len())?;
    let share = f64::from(total) / f64::from(workers);
    let most = share * 1.1 + 4.0 * share.sqrt();
    for load in loads {
        let load = f64::from(u32::try_from(*load)?);
        ensure!(load <= most, "{loads:?}: more than {most:.0} on one worker");
        ensure!(load >= share * 0.5, "{loads:?}: one worker has hardly any");
    }
    Ok(())
}
