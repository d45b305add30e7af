//! `daca stream`, and the printing of streams for `daca tasks subscribe`.

use mesh_client::{
    Call, Follow, Followed,
    a2a::{
        StreamResponse, TaskArtifactUpdateEvent, TaskState, TaskStatus, stream_response::Payload,
    },
};

use crate::{
    agent::Agent,
    exit::{Exit, Failure},
    output::{Format, Output},
    send::{self, Args},
    words,
};

pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    let request = args.request()?;
    let client = args.agent.client().await?;
    let resume = args.resume();
    let events = client.follow(request, Call::default(), resume);
    follow(events, &args.agent, output).await
}

/// Prints events as they come, over broken connections; ends as the task's last state asks.
pub(crate) async fn follow(
    mut events: Follow,
    agent: &Agent,
    output: &Output,
) -> Result<Exit, Failure> {
    let mut page = Page::new(output);
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(Followed::Event(event)) => event,
            Ok(Followed::Resumed) => {
                page.break_line();
                output.remark("(resumed)");
                continue;
            }
            Err(error) => {
                page.break_line();
                return Err(error.into());
            }
        };
        match output.format {
            Format::Json => output.json(&event)?,
            Format::Text => page.print(&event),
        }
        page.note(&event);
    }
    page.break_line();
    if output.format == Format::Text
        && page.state == TaskState::InputRequired
        && let Some(line) = send::follow_up(page.state, &page.task, agent)
    {
        output.line(&line);
    }
    if page.answered || words::rests(page.state) {
        Ok(words::exit(page.state))
    } else {
        // The stream's clean end is all that A2A has for "nothing more": an agent that died may
        // look the same, so the state decides.
        Err(Failure::cut(anyhow::anyhow!(
            "the stream ended while the task was {}",
            words::state(page.state)
        )))
    }
}

/// What was printed so far of one stream.
struct Page<'a> {
    output: &'a Output,
    state: TaskState,
    task: String,
    /// A message came, which is a whole answer.
    answered: bool,
    /// The artifact whose text ended without a line break.
    open: Option<String>,
}

impl<'a> Page<'a> {
    fn new(output: &'a Output) -> Self {
        Self {
            output,
            state: TaskState::Unspecified,
            task: String::new(),
            answered: false,
            open: None,
        }
    }

    fn note(&mut self, event: &StreamResponse) {
        match &event.payload {
            Some(Payload::Task(task)) => {
                self.task.clone_from(&task.id);
                self.state = words::state_of(task.status.as_ref());
            }
            Some(Payload::StatusUpdate(update)) => {
                self.task.clone_from(&update.task_id);
                self.state = words::state_of(update.status.as_ref());
            }
            Some(Payload::Message(_)) => self.answered = true,
            Some(Payload::ArtifactUpdate(_)) | None => {}
        }
    }

    fn print(&mut self, event: &StreamResponse) {
        match &event.payload {
            Some(Payload::Task(task)) => {
                self.break_line();
                let line = format!("task {} context {}", task.id, task.context_id);
                self.output
                    .line(&self.output.paint(words::tone(TaskState::Working), &line));
                for artifact in &task.artifacts {
                    self.output.line(&words::artifact(artifact));
                }
                self.status(task.status.as_ref());
            }
            Some(Payload::StatusUpdate(update)) => self.status(update.status.as_ref()),
            Some(Payload::Message(message)) => self.output.line(&words::parts(&message.parts)),
            Some(Payload::ArtifactUpdate(update)) => self.artifact(update),
            None => {}
        }
    }

    fn status(&mut self, status: Option<&TaskStatus>) {
        self.break_line();
        let state = words::state_of(status);
        let said = status.map_or_else(String::new, |status| {
            words::message(status.message.as_ref())
        });
        let label = self
            .output
            .paint(words::tone(state), &format!("[{}]", words::state(state)));
        let line = format!("{label} {said}");
        self.output.line(line.trim_end());
    }

    fn artifact(&mut self, update: &TaskArtifactUpdateEvent) {
        let Some(artifact) = &update.artifact else {
            return;
        };
        let continues = update.append && self.open.as_deref() == Some(&*artifact.artifact_id);
        if !continues {
            self.break_line();
        }
        let text = words::artifact(artifact);
        self.output.raw(&text);
        if text.ends_with('\n') {
            self.open = None;
        } else if !text.is_empty() {
            self.open = Some(artifact.artifact_id.clone());
        }
    }

    fn break_line(&mut self) {
        if self.open.take().is_some() {
            self.output.line("");
        }
    }
}
