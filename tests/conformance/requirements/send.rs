//! Sending: ids, contexts, answers, what is refused (spec 3.1.1, 3.2, 3.4).

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{
    Fault, Operation,
    a2a::{self, TaskState, part::Content, send_message_response::Payload},
};
use mesh_tests::caller::words::{
    asked, at_once, follow_up, in_context, is_final, question, said, state, text,
};

use super::{fresh, refused, refused_with, requirements};
use crate::{Requirement, Scope::Every, subject::Subject};

const SUM: &str = "what is 17*23+4";

pub(super) fn all() -> Vec<Requirement> {
    requirements! {
        "3.1.1", Every, "a blocking send is answered with the task at its end" => blocking;
        "3.2.2", Every, "a send that returns at once does so before the end" => returning;
        "3.4.3", Every, "every new task has an id of its own, made by the agent" => minted;
        "3.4.1", Every, "a context is given where the client names none" => given;
        "3.4.1", Every, "a context that the client names is kept as it is" => kept;
        "3.4.1", Every, "tasks of one context can follow each other" => following;
        "3.4.2", Every, "a task id that nobody minted is not found" => made_up;
        "3.4.3", Every, "a task's context is inferred from the task" => inferred;
        "3.4.3", Every, "a context that is not the task's is refused" => mismatched;
        "3.4.3", Every, "an answer takes up the task that asked" => taken_up;
        "3.1.1", Every, "a message to a task at its end is refused" => ended;
        "3.1.1", Every, "an answer may be a message, with its context and no task" => message;
        "3.2.4", Every, "a history of no length is left out" => no_history;
        "4.1.1", Every, "a task that fails says so, with its reason" => failing;
        "4.1.1", Every, "a task that is rejected says so" => rejected;
        "4.1.4", Every, "a message without an id is refused" => without_id;
        "4.1.4", Every, "a message without parts is refused" => without_parts;
        "4.1.6", Every, "parts of every kind come back as they were" => parts;
        "4.1.4", Every, "a message stays in the history as it was" => history;
        "4.1.4", Every, "names of other tasks pass" => references;
    }
}

async fn blocking(at: &Subject) -> Result<()> {
    let task = at.caller().send(question(SUM)).await??;
    ensure!(state(&task) == TaskState::Completed, "{task:?}");
    ensure!(said(&task) == "395", "{task:?}");
    Ok(())
}

async fn returning(at: &Subject) -> Result<()> {
    let task = at
        .caller()
        .send(at_once(question("wait 60 seconds")))
        .await??;
    ensure!(!is_final(state(&task)), "{task:?}");
    at.caller().cancel(&task.id).await??;
    Ok(())
}

async fn minted(at: &Subject) -> Result<()> {
    let one = at.caller().send(question(SUM)).await??;
    let other = at.caller().send(question(SUM)).await??;
    ensure!(
        !one.id.is_empty() && one.id != other.id,
        "{} {}",
        one.id,
        other.id
    );
    Ok(())
}

async fn given(at: &Subject) -> Result<()> {
    let one = at.caller().send(question(SUM)).await??;
    let other = at.caller().send(question(SUM)).await??;
    ensure!(!one.context_id.is_empty(), "{one:?}");
    ensure!(one.context_id != other.context_id, "{other:?}");
    Ok(())
}

async fn kept(at: &Subject) -> Result<()> {
    let context = fresh("kept");
    let task = at.caller().send(in_context(SUM, &context)).await??;
    ensure!(task.context_id == context, "{task:?}");
    Ok(())
}

async fn following(at: &Subject) -> Result<()> {
    let first = at.caller().send(question(SUM)).await??;
    let context = &first.context_id;
    let second = at.caller().send(in_context("again", context)).await??;
    ensure!(
        second.context_id == *context && second.id != first.id,
        "{second:?}"
    );
    let read = at.caller().get(&first.id).await??;
    ensure!(read.context_id == *context, "{read:?}");
    Ok(())
}

async fn made_up(at: &Subject) -> Result<()> {
    let nobody = a2a::Task {
        id: fresh("made-up"),
        ..Default::default()
    };
    refused_with(
        at.caller().send(follow_up(SUM, &nobody)).await?,
        Fault::TaskNotFound,
    )
}

async fn inferred(at: &Subject) -> Result<()> {
    let asked = at.caller().send(question("book a table")).await??;
    let mut answer = follow_up("4 people", &asked);
    if let Some(message) = &mut answer.message {
        message.context_id.clear();
    }
    let done = at.caller().send(answer).await??;
    ensure!(
        done.id == asked.id && done.context_id == asked.context_id,
        "{done:?}"
    );
    Ok(())
}

async fn mismatched(at: &Subject) -> Result<()> {
    let mut asked = at.caller().send(question("book a table")).await??;
    asked.context_id = fresh("another");
    refused(at.caller().send(follow_up("4 people", &asked)).await?)?;
    Ok(())
}

async fn taken_up(at: &Subject) -> Result<()> {
    let waiting = at.caller().send(question("book a table")).await??;
    ensure!(state(&waiting) == TaskState::InputRequired, "{waiting:?}");
    ensure!(asked(&waiting).contains("how many"), "{waiting:?}");
    let done = at.caller().send(follow_up("4 people", &waiting)).await??;
    ensure!(done.id == waiting.id, "{done:?}");
    ensure!(state(&done) == TaskState::Completed, "{done:?}");
    ensure!(said(&done).contains("4 people"), "{done:?}");
    Ok(())
}

async fn ended(at: &Subject) -> Result<()> {
    let done = at.caller().send(question(SUM)).await??;
    let more = at.caller().send(follow_up("more", &done)).await?;
    refused_with(more, Fault::UnsupportedOperation)
}

async fn message(at: &Subject) -> Result<()> {
    let context = fresh("spoken");
    let request = in_context("just say hello", &context);
    let said = at.caller().call::<_, a2a::SendMessageResponse>(
        Operation::SendMessage,
        &request,
        String::new(),
    );
    match said.await??.payload.context("an empty answer")? {
        Payload::Message(message) => {
            ensure!(text(&message.parts) == "hello", "{message:?}");
            ensure!(
                message.context_id == context && message.task_id.is_empty(),
                "{message:?}"
            );
            Ok(())
        }
        Payload::Task(task) => anyhow::bail!("a task: {task:?}"),
    }
}

async fn no_history(at: &Subject) -> Result<()> {
    let mut request = question(SUM);
    request.configuration.get_or_insert_default().history_length = Some(0);
    let task = at.caller().send(request).await??;
    ensure!(task.history.is_empty(), "{task:?}");
    Ok(())
}

async fn failing(at: &Subject) -> Result<()> {
    let task = at.caller().send(question("fail now")).await??;
    ensure!(state(&task) == TaskState::Failed, "{task:?}");
    ensure!(asked(&task) == "failed as told", "{task:?}");
    Ok(())
}

async fn rejected(at: &Subject) -> Result<()> {
    let task = at.caller().send(question("reject this")).await??;
    ensure!(state(&task) == TaskState::Rejected, "{task:?}");
    Ok(())
}

async fn without_id(at: &Subject) -> Result<()> {
    let mut request = question(SUM);
    if let Some(message) = &mut request.message {
        message.message_id.clear();
    }
    refused_with(at.caller().send(request).await?, Fault::InvalidParams)
}

async fn without_parts(at: &Subject) -> Result<()> {
    let mut request = question(SUM);
    if let Some(message) = &mut request.message {
        message.parts.clear();
    }
    refused_with(at.caller().send(request).await?, Fault::InvalidParams)
}

async fn parts(at: &Subject) -> Result<()> {
    let whole: Vec<u8> = (0..=255).collect();
    let number = prost_types::value::Kind::NumberValue(0.5);
    let fields = [("half".to_owned(), prost_types::Value { kind: Some(number) })];
    let data = prost_types::value::Kind::StructValue(prost_types::Struct {
        fields: fields.into_iter().collect(),
    });
    let sent = [
        Content::Text("déjà vu \"quoted\"\n".to_owned()),
        Content::Raw(whole.into()),
        Content::Url("https://files.example/a%20b?c=d".to_owned()),
        Content::Data(prost_types::Value { kind: Some(data) }),
    ];
    let mut request = question("return these");
    if let Some(message) = &mut request.message {
        message.parts.extend(sent.iter().map(|content| a2a::Part {
            content: Some(content.clone()),
            filename: "a name".to_owned(),
            media_type: "image/png".to_owned(),
            ..Default::default()
        }));
    }
    let task = at.caller().send(request).await??;
    let artifact = task.artifacts.first().context("no artifact")?;
    let back: Vec<_> = artifact
        .parts
        .iter()
        .filter_map(|part| part.content.clone())
        .collect();
    ensure!(back == sent, "{back:?}");
    let named = |part: &a2a::Part| part.filename == "a name" && part.media_type == "image/png";
    ensure!(artifact.parts.iter().all(named), "{artifact:?}");
    Ok(())
}

async fn history(at: &Subject) -> Result<()> {
    let request = question("keep \u{1f5ff} this");
    let sent = request.message.clone().context("a message")?;
    let task = at.caller().send(request).await??;
    let first = task.history.first().context("no history")?;
    ensure!(
        first.message_id == sent.message_id && first.parts == sent.parts,
        "{first:?}"
    );
    ensure!(
        first.task_id.is_empty() || first.task_id == task.id,
        "{first:?}"
    );
    ensure!(
        first.context_id.is_empty() || first.context_id == task.context_id,
        "{first:?}"
    );
    Ok(())
}

async fn references(at: &Subject) -> Result<()> {
    let first = at.caller().send(question(SUM)).await??;
    let mut request = in_context("and this", &first.context_id);
    if let Some(message) = &mut request.message {
        message.reference_task_ids.push(first.id.clone());
    }
    let second = at.caller().send(request).await??;
    let message = second.history.first().context("no history")?;
    ensure!(message.reference_task_ids == [first.id], "{message:?}");
    Ok(())
}
