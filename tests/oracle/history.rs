//! What clients were promised and what they saw, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use futures_util::{StreamExt as _, stream};
use mesh_client::{
    Call, Client, Options,
    a2a::{GetTaskRequest, TaskState},
};
use parking_lot::Mutex;

/// How many tasks are read again at once.
const AT_ONCE: usize = 8;

/// What became of all messages, by their ids.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<BTreeMap<String, Message>>);

/// What became of a message.
#[derive(Clone, Debug, Default)]
struct Message {
    /// How it was sent.
    how: &'static str,
    /// Every task that somebody was told for it. One, or it was never acknowledged.
    tasks: BTreeSet<String>,
    /// Every state in which the task was told to be at its end.
    ends: BTreeSet<&'static str>,
    /// Whether its client got to know its end.
    known: bool,
    /// How often it was sent.
    sends: u32,
    /// How often a stream of it was taken up again by its client.
    resumed: u32,
    /// Whether it goes on with a task that another message began.
    follows: bool,
}

impl History {
    /// A message is about to be sent, perhaps again.
    pub(crate) fn sends(&self, message: &str, how: &'static str, follows: bool) {
        let mut all = self.0.lock();
        let message = all.entry(message.to_owned()).or_default();
        message.how = how;
        message.follows = follows;
        message.sends += 1;
    }

    /// Somebody was told that the message made this task.
    pub(crate) fn acknowledged(&self, message: &str, task: &str) {
        self.at(message, |message| {
            message.tasks.insert(task.to_owned());
        });
    }

    /// Somebody was told this end of the task.
    pub(crate) fn ended(&self, message: &str, state: TaskState) {
        self.at(message, |message| {
            message.ends.insert(state.as_str_name());
        });
    }

    /// The client knows what it wanted to know.
    pub(crate) fn known(&self, message: &str) {
        self.at(message, |message| message.known = true);
    }

    /// A stream of it was taken up again.
    pub(crate) fn resumed(&self, message: &str) {
        self.at(message, |message| message.resumed += 1);
    }

    fn at(&self, message: &str, change: impl FnOnce(&mut Message)) {
        change(self.0.lock().entry(message.to_owned()).or_default());
    }

    /// How many words were to be counted: one for each message that came to an answer.
    pub(crate) fn words(&self) -> usize {
        let all = self.0.lock();
        let counted = |message: &&Message| message.how != "asked" && message.known;
        all.values().filter(counted).count()
    }

    /// What clients saw that must not be.
    pub(crate) fn judge(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut owners = BTreeMap::<&str, &str>::new();
        let all = self.0.lock();
        for (id, message) in all.iter() {
            let Message {
                how, tasks, ends, ..
            } = message;
            if tasks.len() > 1 {
                wrong.push(format!("{how} message {id} made the tasks {tasks:?}"));
            }
            if ends.len() > 1 {
                wrong.push(format!("{how} message {id} came to the ends {ends:?}"));
            }
            let wanted = match *how {
                "asked" => TaskState::InputRequired,
                _ => TaskState::Completed,
            };
            if let Some(other) = ends.iter().find(|end| **end != wanted.as_str_name()) {
                wrong.push(format!("{how} message {id} came to {other}"));
            }
            if !message.known {
                wrong.push(format!("{how} message {id} never came to its end"));
            }
            if message.follows {
                continue;
            }
            for task in tasks {
                if let Some(other) = owners.insert(task, id) {
                    wrong.push(format!("task {task} is of the messages {id} and {other}"));
                }
            }
        }
        wrong
    }

    /// What the routers say of every task now: each is there, at its end, and at the one that was told.
    pub(crate) async fn read_again(&self, urls: &[String]) -> Result<Vec<String>> {
        let all = self.0.lock().clone();
        let mut wrong = Vec::new();
        for url in urls {
            let client = Client::from_url(url, Options::default()).await?;
            let reads = stream::iter(&all).map(|(id, message)| {
                let client = client.clone();
                async move { judge_read(&client, id, message).await }
            });
            let read: Vec<Option<String>> = reads.buffer_unordered(AT_ONCE).collect().await;
            wrong.extend(read.into_iter().flatten());
        }
        Ok(wrong)
    }

    pub(crate) fn report(&self) -> String {
        let all = self.0.lock();
        let mut report = String::new();
        let mut hows = BTreeMap::<&str, usize>::new();
        let mut ends = BTreeMap::<&str, usize>::new();
        for message in all.values() {
            *hows.entry(message.how).or_default() += 1;
            for end in &message.ends {
                *ends.entry(end).or_default() += 1;
            }
        }
        let again = all.values().filter(|message| message.sends > 1).count();
        let streams = all.values().filter(|message| message.how == "streamed");
        let (mut streams_seen, mut resumed) = (0_usize, 0_u32);
        for stream in streams {
            streams_seen += 1;
            resumed += stream.resumed;
        }
        let lines = [
            format!("messages {}: {hows:?}, ends {ends:?}", all.len()),
            format!("messages that were sent more than once {again}"),
            format!("streams {streams_seen}, taken up again by their clients {resumed} times"),
        ];
        for line in lines {
            report.push_str(&line);
            report.push('\n');
        }
        report
    }
}

async fn judge_read(client: &Client, id: &str, message: &Message) -> Option<String> {
    let task = message.tasks.first()?;
    let ask = GetTaskRequest {
        id: task.clone(),
        ..GetTaskRequest::default()
    };
    match client.get_task(ask, &Call::default()).await {
        Err(error) => Some(format!("task {task} of message {id}: {error}")),
        Ok(read) => {
            let state = read.status.unwrap_or_default().state().as_str_name();
            let is_told = message.ends.contains(state);
            // A message that only asked leaves its task to the one that answers.
            let waits = message
                .ends
                .contains(TaskState::InputRequired.as_str_name());
            let is_final = state == TaskState::Completed.as_str_name();
            let is_right = is_told || (waits && is_final);
            (!is_right).then(|| {
                format!(
                    "task {task} of message {id} is {state}, told {:?}",
                    message.ends
                )
            })
        }
    }
}
