//! Reading and cancelling tasks (spec 3.1.3, 3.1.5).

use anyhow::{Result, ensure};
use mesh_proto::{
    Fault, Operation,
    a2a::{self, TaskState},
};
use mesh_tests::caller::words::{at_once, question, state};

use super::{fresh, refused_with, requirements};
use crate::{Requirement, Scope::Every, subject::Subject};

pub(super) fn all() -> Vec<Requirement> {
    requirements! {
        "3.1.3", Every, "a task is read as it was answered" => same;
        "3.1.3", Every, "a task of nobody's is not found" => unknown;
        "3.1.3", Every, "a history is as long as it was asked for, at most" => short;
        "3.2.4", Every, "a history of negative length is refused" => negative;
        "3.1.3", Every, "a task that works is read while it works" => at_work;
        "3.1.5", Every, "a task that works is canceled" => canceled;
        "3.1.5", Every, "a task that was canceled stays so" => stays;
        "3.1.5", Every, "a task at its end can't be canceled" => late;
        "3.1.5", Every, "a task that asked for input can be canceled" => while_waiting;
        "3.1.5", Every, "a task of nobody's can't be canceled" => cancel_unknown;
    }
}

async fn same(at: &Subject) -> Result<()> {
    let made = at.caller().send(question("what is 1+1")).await??;
    let read = at.caller().get(&made.id).await??;
    ensure!(read == made, "{read:?} was {made:?}");
    Ok(())
}

async fn unknown(at: &Subject) -> Result<()> {
    refused_with(
        at.caller().get(&fresh("nobody's")).await?,
        Fault::TaskNotFound,
    )
}

async fn short(at: &Subject) -> Result<()> {
    let made = at.caller().send(question("what is 1+1")).await??;
    for length in 0..=1 {
        let request = a2a::GetTaskRequest {
            id: made.id.clone(),
            history_length: Some(length),
            ..Default::default()
        };
        let path = format!("/tasks/{}?historyLength={length}", made.id);
        let caller = at.caller();
        let read: a2a::Task = caller.call(Operation::GetTask, &request, path).await??;
        ensure!(
            read.history.len() <= length.unsigned_abs() as usize,
            "{read:?}"
        );
    }
    Ok(())
}

async fn negative(at: &Subject) -> Result<()> {
    let made = at.caller().send(question("what is 1+1")).await??;
    let request = a2a::GetTaskRequest {
        id: made.id.clone(),
        history_length: Some(-1),
        ..Default::default()
    };
    let path = format!("/tasks/{}?historyLength=-1", made.id);
    let said = at
        .caller()
        .call::<_, a2a::Task>(Operation::GetTask, &request, path);
    refused_with(said.await?, Fault::InvalidParams)
}

async fn at_work(at: &Subject) -> Result<()> {
    let made = at
        .caller()
        .send(at_once(question("wait 60 seconds")))
        .await??;
    let read = at.caller().get(&made.id).await??;
    let now = state(&read);
    ensure!(
        matches!(now, TaskState::Submitted | TaskState::Working),
        "{read:?}"
    );
    at.caller().cancel(&made.id).await??;
    Ok(())
}

async fn canceled(at: &Subject) -> Result<()> {
    let made = at
        .caller()
        .send(at_once(question("wait 60 seconds")))
        .await??;
    let done = at.caller().cancel(&made.id).await??;
    ensure!(
        state(&done) == TaskState::Canceled && done.id == made.id,
        "{done:?}"
    );
    Ok(())
}

async fn stays(at: &Subject) -> Result<()> {
    let made = at
        .caller()
        .send(at_once(question("wait 60 seconds")))
        .await??;
    at.caller().cancel(&made.id).await??;
    let read = at.caller().get(&made.id).await??;
    ensure!(state(&read) == TaskState::Canceled, "{read:?}");
    let again = at.caller().cancel(&made.id).await?;
    refused_with(again, Fault::TaskNotCancelable)
}

async fn late(at: &Subject) -> Result<()> {
    let made = at.caller().send(question("what is 1+1")).await??;
    refused_with(
        at.caller().cancel(&made.id).await?,
        Fault::TaskNotCancelable,
    )
}

async fn while_waiting(at: &Subject) -> Result<()> {
    let made = at.caller().send(question("book a table")).await??;
    let done = at.caller().cancel(&made.id).await??;
    ensure!(state(&done) == TaskState::Canceled, "{done:?}");
    Ok(())
}

async fn cancel_unknown(at: &Subject) -> Result<()> {
    refused_with(
        at.caller().cancel(&fresh("nobody's")).await?,
        Fault::TaskNotFound,
    )
}
