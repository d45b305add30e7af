//! Wrong input gets the error of the specification's table, in the binding in which it came, and
//! neither the router nor the worker takes harm.

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, Fault, a2a::TaskState};
use mesh_tests::{
    caller::{
        BINDINGS, Refusal,
        words::{question, state},
    },
    mesh::Mesh,
    wire::Ask,
};

use crate::stage::mesh;

mod grpc;
mod json_rpc;
mod raw;
mod rest;

/// One wrong input and what the table says of it. Where the specification leaves a choice, all that
/// it allows.
struct Case {
    name: String,
    ask: Ask,
    faults: Vec<Fault>,
}

impl Case {
    fn new(name: &str, ask: Ask, fault: Fault) -> Self {
        Self {
            name: name.to_owned(),
            ask,
            faults: vec![fault],
        }
    }

    fn or(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
}

/// The ids that some cases are wrong about.
struct Ids {
    /// A task that is completed.
    done: String,
    /// Its context.
    context: String,
    /// A task that waits for input, in another context.
    open: String,
}

/// A mesh with a completed task and an open one.
async fn scene() -> Result<(Mesh, Ids)> {
    let mesh = mesh(2).start().await?;
    let caller = mesh.router().caller("assistant", Binding::JsonRpc);
    let done = caller.send(question("1+1")).await??;
    ensure!(state(&done) == TaskState::Completed, "{done:?}");
    let open = caller.send(question("what time is it")).await??;
    ensure!(state(&open) == TaskState::InputRequired, "{open:?}");
    let ids = Ids {
        done: done.id,
        context: done.context_id,
        open: open.id,
    };
    Ok((mesh, ids))
}

/// Tries every case, tells all that went wrong at once, and sees that everybody lives.
async fn try_all(mut mesh: Mesh, binding: Binding, cases: Vec<Case>) -> Result<()> {
    let mut wrong = Vec::new();
    let count = cases.len();
    for case in cases {
        if let Err(error) = try_one(&mesh, binding, &case).await {
            wrong.push(format!("{}: {error:#}", case.name));
        }
        for node in mesh.routers.iter_mut().chain(&mut mesh.workers) {
            node.is_well()
                .await
                .with_context(|| format!("after {}", case.name))?;
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {count} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let caller = mesh.router().caller("assistant", binding);
    let task = caller.send(question("2+2")).await??;
    ensure!(
        state(&task) == TaskState::Completed,
        "after all that: {task:?}"
    );
    Ok(())
}

async fn try_one(mesh: &Mesh, binding: Binding, case: &Case) -> Result<()> {
    let reply = mesh.router().exchange(&case.ask).await?;
    let refusal = Refusal::of(binding, &reply)?;
    let refusal = refusal.with_context(|| format!("no error but {}", reply.text()))?;
    ensure!(
        !refusal.message.is_empty(),
        "an error without words: {refusal:?}"
    );
    let mut first = None;
    for fault in &case.faults {
        match refusal.expect(*fault) {
            Ok(()) => return Ok(()),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.context("a case without a fault")?)
}

#[tokio::test]
async fn an_error_inside_a_stream_request_is_an_ordinary_answer() -> Result<()> {
    let (mesh, ids) = scene().await?;
    for binding in BINDINGS {
        let caller = mesh.router().caller("assistant", binding);
        let refusal = caller
            .subscribe("no-such-task")
            .await?
            .err()
            .context("refused")?;
        refusal.expect(Fault::TaskNotFound)?;
        let refusal = caller
            .subscribe(&ids.done)
            .await?
            .err()
            .context("refused")?;
        refusal.expect(Fault::UnsupportedOperation)?;
        let mut follow_up = question("more");
        follow_up.message.get_or_insert_default().task_id = ids.done.clone();
        let refusal = caller.stream(follow_up).await?.err().context("refused")?;
        refusal.expect(Fault::UnsupportedOperation)?;
    }
    Ok(())
}
