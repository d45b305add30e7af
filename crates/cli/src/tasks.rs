//! `daca tasks`: look at an agent's tasks, follow or cancel them.

use clap::ValueEnum;
use mesh_client::{
    Call, Resume,
    a2a::{
        CancelTaskRequest, GetTaskRequest, ListTasksRequest, SubscribeToTaskRequest, Task,
        TaskState,
    },
};

use crate::{
    agent::Agent,
    exit::{Exit, Failure},
    output::{Format, Output},
    stream, words,
};

/// What to do with tasks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Print one task
    Get(One),
    /// Print a page of tasks, the latest first
    List(List),
    /// Ask for a task to be stopped
    Cancel(One),
    /// Follow a task that runs, from its present state on
    Subscribe(One),
}

/// One task of one agent.
#[derive(Debug, clap::Args)]
pub(crate) struct One {
    #[command(flatten)]
    agent: Agent,
    /// The task's id
    id: String,
    /// With `get`: how many messages of the task's history to print at most
    #[arg(long, value_name = "N")]
    history: Option<i32>,
}

/// A page of tasks.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    agent: Agent,
    /// Only tasks of this context
    #[arg(long, value_name = "ID")]
    context: Option<String>,
    /// Only tasks in this state
    #[arg(long, value_enum)]
    status: Option<State>,
    /// How many at most, 1 to 100; the agent's default is 50
    #[arg(long, value_name = "N")]
    page_size: Option<i32>,
    /// Go on where the page before ended: its next-page token
    #[arg(long, value_name = "TOKEN")]
    page_token: Option<String>,
    /// Bring the artifacts, too
    #[arg(long)]
    artifacts: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Submitted,
    Working,
    Completed,
    Failed,
    Canceled,
    InputRequired,
    Rejected,
    AuthRequired,
}

impl From<State> for TaskState {
    fn from(state: State) -> Self {
        match state {
            State::Submitted => Self::Submitted,
            State::Working => Self::Working,
            State::Completed => Self::Completed,
            State::Failed => Self::Failed,
            State::Canceled => Self::Canceled,
            State::InputRequired => Self::InputRequired,
            State::Rejected => Self::Rejected,
            State::AuthRequired => Self::AuthRequired,
        }
    }
}

pub(crate) async fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    let call = Call::default();
    match verb {
        Verb::Get(One { agent, id, history }) => {
            let ask = GetTaskRequest {
                id,
                history_length: history,
                ..GetTaskRequest::default()
            };
            let task = agent.client().await?.get_task(ask, &call).await?;
            print(&task, output)
        }
        Verb::Cancel(One { agent, id, .. }) => {
            let ask = CancelTaskRequest {
                id,
                ..CancelTaskRequest::default()
            };
            let task = agent.client().await?.cancel_task(ask, &call).await?;
            print(&task, output)
        }
        Verb::Subscribe(One { agent, id, .. }) => {
            let ask = SubscribeToTaskRequest {
                id,
                ..SubscribeToTaskRequest::default()
            };
            let client = agent.client().await?;
            let events = client.follow_task(ask, call, Resume::default());
            stream::follow(events, &agent, output).await
        }
        Verb::List(list) => page(list, &call, output).await,
    }
}

/// Prints a task. That it failed once is no failure of looking at it.
fn print(task: &Task, output: &Output) -> Result<Exit, Failure> {
    if output.format == Format::Json {
        output.json(task)?;
        return Ok(Exit::Ok);
    }
    output.line(&words::line(task, output));
    for message in &task.history {
        let who = message
            .role()
            .as_str_name()
            .trim_start_matches("ROLE_")
            .to_ascii_lowercase();
        output.line(&format!("{who}: {}", words::parts(&message.parts)));
    }
    let answer = words::answer(task);
    if !answer.is_empty() {
        output.line(&answer);
    }
    Ok(Exit::Ok)
}

async fn page(list: List, call: &Call, output: &Output) -> Result<Exit, Failure> {
    let ask = ListTasksRequest {
        context_id: list.context.unwrap_or_default(),
        status: list.status.map_or(0, |state| TaskState::from(state).into()),
        page_size: list.page_size,
        page_token: list.page_token.unwrap_or_default(),
        include_artifacts: list.artifacts.then_some(true),
        ..ListTasksRequest::default()
    };
    let page = list.agent.client().await?.list_tasks(ask, call).await?;
    if output.format == Format::Json {
        output.json(&page)?;
        return Ok(Exit::Ok);
    }
    for task in &page.tasks {
        output.line(&words::line(task, output));
    }
    output.remark(&format!(
        "{} of {} tasks",
        page.tasks.len(),
        page.total_size
    ));
    if !page.next_page_token.is_empty() {
        output.remark(&format!("more: --page-token {}", page.next_page_token));
    }
    Ok(Exit::Ok)
}
