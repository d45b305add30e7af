//! The OpenAI model, against a server of chat completions that is not ours.

use anyhow::{Result, ensure};
use mesh_proto::a2a::TaskState;
use mesh_tests::{
    caller::{
        BINDINGS, Event,
        words::{question, said, state, streamed},
    },
    parts::{Part, aimock::Aimock, repository},
    wire::{self, Ask},
};

use crate::stage::mesh;

#[tokio::test]
async fn the_model_calls_a_tool_and_streams_its_answer() -> Result<()> {
    if Part::Aimock.find()?.is_none() {
        return Ok(());
    }
    let aimock = Aimock::start(&repository().join("tests/e2e/aimock.json")).await?;
    let mesh = mesh(1)
        .environment("OPENAI_BASE_URL", aimock.base_url())
        .environment("OPENAI_API_KEY", "a key of no worth")
        .start()
        .await?;
    for binding in BINDINGS {
        let assistant = mesh.router().caller("assistant", binding);
        let task = assistant.send(question("what is 17*23+4")).await??;
        ensure!(state(&task) == TaskState::Completed, "{binding}: {task:?}");
        ensure!(
            said(&task).contains("says that it makes 395"),
            "{binding}: {}",
            said(&task)
        );

        let events = assistant
            .stream(question("what is 17*23+4"))
            .await??
            .rest()
            .await?;
        let pieces = events
            .iter()
            .filter(|event| matches!(event, Event::ArtifactUpdate(_)))
            .count();
        ensure!(
            pieces > 1,
            "{binding}: the text comes as it is written, not at once: {pieces}"
        );
        ensure!(
            streamed(&events).contains("says that it makes 395"),
            "{binding}: {}",
            streamed(&events)
        );
    }
    the_tools_own_answer_was_told(&aimock).await
}

/// The mock's journal: the second request of a turn carries what the calculator really said.
async fn the_tools_own_answer_was_told(aimock: &Aimock) -> Result<()> {
    let journal = wire::exchange(aimock.address, &Ask::get("/__aimock/journal"))
        .await?
        .text();
    ensure!(
        journal.contains("\"role\":\"tool\""),
        "no tool's answer in {journal}"
    );
    ensure!(
        journal.contains("395"),
        "not the calculator's answer in {journal}"
    );
    ensure!(
        journal.contains("\"stream\":true"),
        "nothing was streamed in {journal}"
    );
    Ok(())
}
