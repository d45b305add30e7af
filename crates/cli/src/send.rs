//! `daca send`: one message out, its answer printed.

use std::io::Read as _;

use mesh_client::{
    Call, Resume,
    a2a::{
        Message, Part, Role, SendMessageConfiguration, SendMessageRequest, Task, TaskState,
        part::Content, send_message_response::Payload,
    },
};

use crate::{
    agent::Agent,
    exit::{Exit, Failure},
    output::{Format, Output},
    quote, words,
};

/// What is said, and where it belongs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) agent: Agent,
    /// What to say; `-` reads it from stdin
    text: String,
    /// Say it in this context (conversation)
    #[arg(long, value_name = "ID")]
    context: Option<String>,
    /// Say it to this task, which asked for input
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Return as soon as the task exists, without waiting for its end
    #[arg(long)]
    return_immediately: bool,
    /// Send again where a connection broke before the answer, too. Safe with agents that know a
    /// message again by its id, as those of this mesh do; another may do what is asked twice
    #[arg(long)]
    resend: bool,
    /// Take a stream that broke up again so often in a row, at most, before it is given up
    #[arg(long, value_name = "TIMES", default_value_t = Resume::default().attempts)]
    resume: u32,
}

impl Args {
    /// What to do when a connection fails.
    pub(crate) fn resume(&self) -> Resume {
        Resume {
            resend: self.resend,
            attempts: self.resume,
            ..Resume::default()
        }
    }

    /// The request that these flags ask for.
    pub(crate) fn request(&self) -> Result<SendMessageRequest, Failure> {
        let text = if self.text == "-" {
            let mut text = String::new();
            std::io::stdin()
                .lock()
                .read_to_string(&mut text)
                .map_err(Failure::usage)?;
            text
        } else {
            self.text.clone()
        };
        let mut request = say(text);
        if let Some(message) = &mut request.message {
            message.context_id = self.context.clone().unwrap_or_default();
            message.task_id = self.task.clone().unwrap_or_default();
        }
        request.configuration = self.return_immediately.then(|| SendMessageConfiguration {
            return_immediately: true,
            ..SendMessageConfiguration::default()
        });
        Ok(request)
    }
}

/// A user's message of one text part.
pub(crate) fn say(text: String) -> SendMessageRequest {
    SendMessageRequest {
        message: Some(Message {
            message_id: uuid::Uuid::new_v4().to_string(),
            role: Role::User.into(),
            parts: vec![Part {
                content: Some(Content::Text(text)),
                ..Part::default()
            }],
            ..Message::default()
        }),
        ..SendMessageRequest::default()
    }
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    let request = args.request()?;
    let client = args.agent.client().await?;
    let answer = client
        .send_with(request, &Call::default(), &args.resume())
        .await?;
    if output.format == Format::Json {
        output.json(&answer)?;
    }
    match answer.payload {
        Some(Payload::Task(task)) => {
            if output.format == Format::Text {
                print(&task, &args.agent, output);
            }
            Ok(words::exit(words::state_of(task.status.as_ref())))
        }
        Some(Payload::Message(message)) => {
            if output.format == Format::Text {
                output.line(&words::parts(&message.parts));
            }
            Ok(Exit::Ok)
        }
        None => Err(Failure::answer(anyhow::anyhow!(
            "the answer is neither a task nor a message"
        ))),
    }
}

fn print(task: &Task, agent: &Agent, output: &Output) {
    let answer = words::answer(task);
    if !answer.is_empty() {
        output.line(&answer);
    }
    let state = words::state_of(task.status.as_ref());
    if let Some(line) = follow_up(state, &task.id, agent) {
        output.line(&line);
    }
    let label = words::state(state);
    output.remark(&format!(
        "task {} {label}, context {}",
        task.id, task.context_id
    ));
}

/// The line to paste next, where the task waits for its caller.
pub(crate) fn follow_up(state: TaskState, task: &str, agent: &Agent) -> Option<String> {
    let program = quote::program();
    let (repeat, id) = (agent.repeat(), quote::quote(task));
    match state {
        TaskState::InputRequired => {
            Some(format!("{program} send {repeat} --task {id} 'YOUR ANSWER'"))
        }
        TaskState::Submitted | TaskState::Working => {
            Some(format!("{program} tasks subscribe {repeat} {id}"))
        }
        TaskState::Unspecified
        | TaskState::Completed
        | TaskState::Failed
        | TaskState::Canceled
        | TaskState::Rejected
        | TaskState::AuthRequired => None,
    }
}
