//! Streams: the first event, the order, the end, and subscribing (spec 3.1.2, 3.1.6, 3.5).

use anyhow::{Context as _, Result, ensure};
use http::Method;
use mesh_proto::{
    Binding, Fault, Operation,
    a2a::{self, TaskState},
};
use mesh_tests::{
    caller::{
        Event, Events,
        words::{at_once, follow_up, is_final, question, streamed, word},
    },
    wire::{self, Ask},
};

use super::{fresh, refused_with, requirements};
use crate::{
    Requirement,
    Scope::{Every, Only},
    subject::Subject,
};

pub(super) fn all() -> Vec<Requirement> {
    requirements! {
        "3.1.2", Every, "a stream begins with the task and ends when it ends" => whole;
        "3.1.2", Every, "every event names the task and its context" => named;
        "3.5.2", Every, "pieces come in order, the last marked" => ordered;
        "3.1.2", Every, "a stream may be one message" => message;
        "3.1.2", Every, "a stream ends where the task asks for input" => interrupted;
        "3.1.2", Every, "an answer can be streamed, too" => taken_up;
        "3.1.2", Every, "what is refused is no stream" => refused;
        "3.1.2", Every, "a message to a task at its end is refused, streamed or not" => ended;
        "3.1.6", Every, "a subscription begins with the task and ends when it ends" => subscribed;
        "3.1.6", Every, "a task at its end can't be subscribed to" => late;
        "3.1.6", Every, "a task of nobody's can't be subscribed to" => unknown;
        "3.5.2", Every, "two subscribers see the same, in the same order" => together;
        "3.5.2", Every, "who leaves disturbs nobody, nor the task" => leaving;
        "3.1.6", Every, "who subscribes hears of a cancel" => canceled;
        "5.3", Only(Binding::Rest), "a subscription may be asked for with POST" => posted;
        "9.4.2", Only(Binding::JsonRpc), "every event carries the request's id" => numbered;
    }
}

async fn whole(at: &Subject) -> Result<()> {
    let mut events = at.caller().stream(question("what is 17*23+4")).await??;
    let words = events.words().await?;
    let expected = ["task:submitted", "working", "artifact", "completed"];
    ensure!(words == expected, "{words:?}");
    Ok(())
}

/// The task and the context that an event names.
fn ids(event: &Event) -> (&str, &str) {
    match event {
        Event::Task(task) => (&task.id, &task.context_id),
        Event::Message(message) => (&message.task_id, &message.context_id),
        Event::StatusUpdate(update) => (&update.task_id, &update.context_id),
        Event::ArtifactUpdate(update) => (&update.task_id, &update.context_id),
    }
}

async fn named(at: &Subject) -> Result<()> {
    let mut events = at.caller().stream(question("what is 1+1")).await??;
    let events = events.rest().await?;
    let first = events.first().map(ids).context("no event")?;
    ensure!(!first.0.is_empty() && !first.1.is_empty(), "{events:?}");
    ensure!(events.iter().all(|event| ids(event) == first), "{events:?}");
    let read = at.caller().get(first.0).await??;
    ensure!(
        (read.id.as_str(), read.context_id.as_str()) == first,
        "{read:?}"
    );
    Ok(())
}

async fn ordered(at: &Subject) -> Result<()> {
    let mut events = at.caller().stream(question("wait 1 second")).await??;
    let events = events.rest().await?;
    ensure!(
        streamed(&events) == "tick 0 tick 1 tick 2 tick 3 ",
        "{events:?}"
    );
    let pieces: Vec<(bool, bool)> = events
        .iter()
        .filter_map(|event| match event {
            Event::ArtifactUpdate(piece) => Some((piece.append, piece.last_chunk)),
            _ => None,
        })
        .collect();
    let expected = [(false, false), (true, false), (true, false), (true, true)];
    ensure!(pieces == expected, "{pieces:?}");
    Ok(())
}

async fn message(at: &Subject) -> Result<()> {
    let mut events = at.caller().stream(question("just say hello")).await??;
    let words = events.words().await?;
    ensure!(words == ["message"], "{words:?}");
    Ok(())
}

async fn interrupted(at: &Subject) -> Result<()> {
    let mut events = at.caller().stream(question("book a table")).await??;
    let words = events.words().await?;
    ensure!(
        words.last().is_some_and(|last| last == "input_required"),
        "{words:?}"
    );
    Ok(())
}

async fn taken_up(at: &Subject) -> Result<()> {
    let asked = at.caller().send(question("book a table")).await??;
    let mut events = at.caller().stream(follow_up("4 people", &asked)).await??;
    let events = events.rest().await?;
    let same = events.iter().all(|event| ids(event).0 == asked.id);
    ensure!(same && streamed(&events).contains("4 people"), "{events:?}");
    ensure!(
        events.last().map(word).as_deref() == Some("completed"),
        "{events:?}"
    );
    Ok(())
}

async fn refused(at: &Subject) -> Result<()> {
    let nobody = a2a::Task {
        id: fresh("made-up"),
        ..Default::default()
    };
    let said = at.caller().stream(follow_up("more", &nobody)).await?;
    refused_with(said, Fault::TaskNotFound)
}

async fn ended(at: &Subject) -> Result<()> {
    let done = at.caller().send(question("what is 1+1")).await??;
    let said = at.caller().stream(follow_up("more", &done)).await?;
    refused_with(said, Fault::UnsupportedOperation)
}

async fn subscribed(at: &Subject) -> Result<()> {
    let task = at
        .caller()
        .send(at_once(question("wait 1 second")))
        .await??;
    let mut events = at.caller().subscribe(&task.id).await??;
    let events = events.rest().await?;
    let Some(Event::Task(first)) = events.first() else {
        anyhow::bail!("no task first: {events:?}");
    };
    ensure!(
        first.id == task.id && first.context_id == task.context_id,
        "{first:?}"
    );
    ensure!(
        events.last().map(word).as_deref() == Some("completed"),
        "{events:?}"
    );
    Ok(())
}

async fn late(at: &Subject) -> Result<()> {
    let done = at.caller().send(question("what is 1+1")).await??;
    refused_with(
        at.caller().subscribe(&done.id).await?,
        Fault::UnsupportedOperation,
    )
}

async fn unknown(at: &Subject) -> Result<()> {
    refused_with(
        at.caller().subscribe(&fresh("nobody's")).await?,
        Fault::TaskNotFound,
    )
}

async fn together(at: &Subject) -> Result<()> {
    let task = at
        .caller()
        .send(at_once(question("wait 2 seconds")))
        .await??;
    let mut one = at.caller().subscribe(&task.id).await??;
    let mut other = at.caller().subscribe(&task.id).await??;
    // What came before the second subscribed is in its first event, the task.
    let (one, other) = (one.rest().await?, other.rest().await?);
    let live = |events: &[Event]| events.iter().skip(1).cloned().collect::<Vec<_>>();
    let (one, other) = (live(&one), live(&other));
    ensure!(
        !other.is_empty() && one.ends_with(&other),
        "{one:?}\n{other:?}"
    );
    Ok(())
}

async fn leaving(at: &Subject) -> Result<()> {
    let task = at
        .caller()
        .send(at_once(question("wait 1 second")))
        .await??;
    let left = at.caller().subscribe(&task.id).await??;
    let mut stays = at.caller().subscribe(&task.id).await??;
    drop(left);
    let words = stays.words().await?;
    ensure!(
        words.last().is_some_and(|last| last == "completed"),
        "{words:?}"
    );
    Ok(())
}

async fn canceled(at: &Subject) -> Result<()> {
    let task = at
        .caller()
        .send(at_once(question("wait 60 seconds")))
        .await??;
    let mut events = at.caller().subscribe(&task.id).await??;
    events.event().await?.context("no first event")?;
    at.caller().cancel(&task.id).await??;
    let words = events.words().await?;
    ensure!(
        words.last().is_some_and(|last| last == "canceled"),
        "{words:?}"
    );
    Ok(())
}

async fn posted(at: &Subject) -> Result<()> {
    let task = at
        .caller()
        .send(at_once(question("wait 60 seconds")))
        .await??;
    let request = a2a::SubscribeToTaskRequest {
        id: task.id.clone(),
        ..Default::default()
    };
    for method in [Method::GET, Method::POST] {
        let path = format!("/tasks/{}:subscribe", task.id);
        let ask = at
            .caller()
            .ask(Operation::SubscribeToTask, &request, &path)?;
        let answer = wire::open(at.next(), &ask.method(method.clone())).await?;
        let mut events = Events::open(Binding::Rest, answer).await??;
        let first = events.event().await?;
        ensure!(matches!(first, Some(Event::Task(_))), "{method}: {first:?}");
    }
    at.caller().cancel(&task.id).await??;
    Ok(())
}

async fn numbered(at: &Subject) -> Result<()> {
    let body = serde_json::json!({
        "jsonrpc": "2.0",
        "id": "one \"of\" ours",
        "method": "SendStreamingMessage",
        "params": question("what is 1+1"),
    });
    let ask =
        Ask::post("", "application/json", serde_json::to_vec(&body)?).header("a2a-version", "1.0");
    let reply = at.raw(ask).await?.text();
    let events: Vec<&str> = reply
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .collect();
    ensure!(events.len() > 2, "{reply}");
    for event in events {
        let event: serde_json::Value = serde_json::from_str(event)?;
        ensure!(
            event["id"] == body["id"] && event["jsonrpc"] == "2.0",
            "{event}"
        );
    }
    let last = TaskState::Completed.as_str_name();
    ensure!(
        is_final(TaskState::Completed) && reply.contains(last),
        "{reply}"
    );
    Ok(())
}
