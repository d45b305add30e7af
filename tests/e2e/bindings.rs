//! A question gets its answer over each binding, at once and as a stream.

use anyhow::{Result, ensure};
use mesh_proto::a2a::TaskState;
use mesh_runtime::clock;
use mesh_tests::caller::{
    BINDINGS, Caller, Event,
    words::{asked, follow_up, question, said, state, streamed},
};

use crate::stage::mesh;

#[tokio::test]
async fn a_question_that_needs_a_tool_comes_back_with_the_tools_answer() -> Result<()> {
    let mesh = mesh(1).start().await?;
    for binding in BINDINGS {
        let assistant = mesh.router().caller("assistant", binding);
        answers(&assistant, "17*23+4", &["395".to_owned()]).await?;
        answers(&assistant, "what is 17*23+4", &["395".to_owned()]).await?;
        let text = "how many words are in this text: \"the quick brown fox jumps\"";
        answers(&assistant, text, &["5".to_owned()]).await?;
        let before = tokyo();
        let task = assistant
            .send(question("what time is it in Tokyo"))
            .await??;
        let (answer, after) = (said(&task), tokyo());
        ensure!(
            answer.contains(&before) || answer.contains(&after),
            "{binding}: {answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_shows_working_then_the_artifact_then_completed() -> Result<()> {
    let mesh = mesh(1).start().await?;
    for binding in BINDINGS {
        let assistant = mesh.router().caller("assistant", binding);
        let events = assistant
            .stream(question("what is 17*23+4"))
            .await??
            .rest()
            .await?;
        let words: Vec<String> = events.iter().map(mesh_tests::caller::words::word).collect();
        let place = |word: &str| words.iter().position(|seen| seen == word);
        let first = words.first().map_or("", String::as_str);
        ensure!(
            first.starts_with("task:"),
            "{binding}: the first event is the task: {words:?}"
        );
        let working = place("working").or_else(|| place("task:working"));
        ensure!(
            working.is_some() && working < place("artifact"),
            "{binding}: {words:?}"
        );
        ensure!(
            place("artifact") < place("completed"),
            "{binding}: {words:?}"
        );
        ensure!(
            words.last().is_some_and(|last| last == "completed"),
            "{binding}: {words:?}"
        );
        ensure!(
            streamed(&events).contains("395"),
            "{binding}: {}",
            streamed(&events)
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_lacks_an_argument_asks_for_it_and_the_follow_up_completes_the_task()
-> Result<()> {
    let mesh = mesh(3).start().await?;
    for binding in BINDINGS {
        let assistant = mesh.router().caller("assistant", binding);
        let task = assistant.send(question("what time is it")).await??;
        ensure!(
            state(&task) == TaskState::InputRequired,
            "{binding}: {task:?}"
        );
        ensure!(
            asked(&task).contains("zone"),
            "{binding}: it names the argument: {}",
            asked(&task)
        );
        let before = tokyo();
        let done = assistant.send(follow_up("Tokyo", &task)).await??;
        ensure!(
            done.id == task.id,
            "{binding}: {} is another task than {}",
            done.id,
            task.id
        );
        ensure!(state(&done) == TaskState::Completed, "{binding}: {done:?}");
        let (answer, after) = (said(&done), tokyo());
        ensure!(
            answer.contains(&before) || answer.contains(&after),
            "{binding}: {answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_desk_asks_for_what_is_missing_one_by_one_and_then_books() -> Result<()> {
    let mesh = mesh(3).start().await?;
    for binding in BINDINGS {
        let desk = mesh.router().caller("desk", binding);
        let mut events = desk.stream(question("book a room")).await??;
        let first = events.event().await?;
        let words = events.words().await?;
        ensure!(
            words.last().is_some_and(|last| last == "input_required"),
            "{binding}: the stream ends where the desk waits: {words:?}"
        );
        let Some(Event::Task(mut task)) = first else {
            anyhow::bail!("{binding}: the first event is the task: {first:?}");
        };
        for (missing, answer) in [("date", "2031-05-06"), ("people", "4"), ("name", "Ada")] {
            let waiting = desk.get(&task.id).await??;
            ensure!(
                state(&waiting) == TaskState::InputRequired,
                "{binding}: {waiting:?}"
            );
            ensure!(
                asked(&waiting).contains(missing),
                "{binding}: {missing}: {}",
                asked(&waiting)
            );
            task = desk.send(follow_up(answer, &waiting)).await??;
            ensure!(
                task.id == waiting.id,
                "{binding}: {} is another task",
                task.id
            );
        }
        ensure!(state(&task) == TaskState::Completed, "{binding}: {task:?}");
        let booked = said(&task);
        ensure!(
            booked.contains("2031-05-06") && booked.contains("Ada"),
            "{binding}: {booked}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_task_that_is_done_is_found_by_its_id_and_listed_in_its_context() -> Result<()> {
    let mesh = mesh(3).start().await?;
    for binding in BINDINGS {
        let assistant = mesh.router().caller("assistant", binding);
        let task = assistant.send(question("what is 2+2")).await??;
        let found = assistant.get(&task.id).await??;
        ensure!(
            found.id == task.id && said(&found) == said(&task),
            "{binding}: {found:?}"
        );
        let page = assistant.list(Some(&task.context_id), "").await??;
        let ids: Vec<&str> = page.tasks.iter().map(|task| task.id.as_str()).collect();
        ensure!(ids == [task.id.as_str()], "{binding}: {ids:?}");
    }
    Ok(())
}

async fn answers(assistant: &Caller, ask: &str, expected: &[String]) -> Result<()> {
    let task = assistant.send(question(ask)).await??;
    let answer = said(&task);
    ensure!(
        state(&task) == TaskState::Completed,
        "{}: {ask}: {task:?}",
        assistant.binding()
    );
    for part in expected {
        ensure!(
            answer.contains(part),
            "{}: {ask}: {answer}",
            assistant.binding()
        );
    }
    Ok(())
}

/// Hours and minutes in Tokyo, which has kept nine hours from UTC since 1951.
fn tokyo() -> String {
    let minutes = clock::unix_millis() / 60_000 + 9 * 60;
    format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
}
