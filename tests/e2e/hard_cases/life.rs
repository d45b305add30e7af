//! Tasks that live longer than the calls about them.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, Operation, a2a::TaskState};
use mesh_tests::{
    caller::{
        BINDINGS,
        words::{at_once, in_context, state},
    },
    eventually::eventually,
    mesh::Mesh,
    wire,
};
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::stage::mesh;

/// An agent that takes a second, and one that takes a minute, on two workers behind two routers.
async fn slow() -> Result<(Mesh, NamedTempFile)> {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    file.write_all(
        b"agents:\n  - name: brief\n    description: Takes a second.\n    model: work:wait_ms=250,pieces=4\n  \
          - name: slow\n    description: Takes a minute.\n    model: work:wait_ms=1000,pieces=60\n",
    )?;
    let plan = mesh(2).routers(2).agents(file.path(), &["brief", "slow"]);
    Ok((plan.start().await?, file))
}

#[tokio::test]
async fn case_7_a_client_that_leaves_a_blocking_send_does_not_end_its_task() -> Result<()> {
    let (mesh, _file) = slow().await?;
    let context = Uuid::new_v4().to_string();
    let caller = mesh.router().caller("brief", Binding::Rest);
    let ask = caller.ask(
        Operation::SendMessage,
        &in_context("take your time", &context),
        "",
    )?;
    // Left as soon as the task is there to be seen, long before it is done.
    let waiting = wire::open(mesh.router().address, &ask);
    let seen = eventually("the task to be there", async || {
        let page = caller.list(Some(&context), "").await??;
        Ok(page.tasks.into_iter().next())
    });
    let task = tokio::select! {
        answer = waiting => anyhow::bail!("the send was answered first: {answer:?}"),
        task = seen => task?,
    };
    ensure!(state(&task) != TaskState::Completed, "{task:?}");
    let done = eventually("the task to be done", async || {
        let task = caller.get(&task.id).await??;
        Ok((state(&task) == TaskState::Completed).then_some(task))
    })
    .await?;
    ensure!(done.id == task.id, "{done:?}");
    Ok(())
}

#[tokio::test]
async fn case_13_a_cancel_by_one_router_ends_the_stream_of_a_subscriber_at_the_other() -> Result<()>
{
    let (mesh, _file) = slow().await?;
    let (left, right) = (&mesh.routers[0], &mesh.routers[1]);
    for binding in BINDINGS {
        let request = at_once(in_context("take your time", &Uuid::new_v4().to_string()));
        let task = left.caller("slow", binding).send(request).await??;
        let mut events = right.caller("slow", binding).subscribe(&task.id).await??;
        events.event().await?.context("a snapshot first")?;
        let canceled = left.caller("slow", binding).cancel(&task.id).await??;
        ensure!(state(&canceled) == TaskState::Canceled, "{canceled:?}");
        let words = events.words().await?;
        ensure!(
            words.last().is_some_and(|last| last == "canceled"),
            "{binding}: {words:?}"
        );
    }
    Ok(())
}
