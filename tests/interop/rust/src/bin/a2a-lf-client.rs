//! An official SDK as a client: Rust. The same command line and output as the other clients; see
//! `../../../python/client.py`.
//!
//! # Invariants
//! - Every step goes through the SDK: its card resolver, its transports, its types and errors.

use std::{sync::Arc, time::Duration};

use a2a::{
    AgentCard, CancelTaskRequest, GetTaskRequest, ListTasksRequest, Message, Part, PartContent,
    Role, SendMessageConfiguration, SendMessageRequest, SendMessageResponse, StreamResponse,
    SubscribeToTaskRequest, Task, TaskState, error_code,
};
use a2a_client::{A2AClient, A2AClientFactory, Transport, agent_card::AgentCardResolver};
use a2a_grpc::GrpcTransportFactory;
use futures::StreamExt as _;
use serde_json::{Value, json};

type Client = A2AClient<Box<dyn Transport>>;
type Outcome = Result<String, Box<dyn std::error::Error + Send + Sync>>;

const DEADLINE: Duration = Duration::from_secs(60);

/// What marks a step that this version or this agent does not have.
const LEFT_OUT: &str = "left out: ";

const STEPS: [&str; 11] = [
    "card",
    "send",
    "stream",
    "get",
    "list",
    "cancel",
    "subscribe",
    "multi-turn",
    "parts",
    "fail",
    "unknown-task",
];

/// A step's claim.
macro_rules! check {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+).into());
        }
    };
}

/// The steps of one cell; `task` is the one that the question made.
struct Scenario {
    cell: Value,
    client: Option<Client>,
    task: Option<Task>,
}

impl Scenario {
    async fn step(&mut self, name: &str) -> Outcome {
        if self.cell["version"] != "1.0" {
            return Err("this SDK has no A2A 0.3".into());
        }
        if let Some(reason) = self.cell["without"][name].as_str() {
            return Ok(format!("{LEFT_OUT}{reason}"));
        }
        match name {
            "card" => self.card().await,
            "send" => self.send().await,
            "stream" => self.stream().await,
            "get" => self.get().await,
            "list" => self.list().await,
            "cancel" => self.cancel().await,
            "subscribe" => self.subscribe().await,
            "multi-turn" => self.multi_turn().await,
            "parts" => self.parts().await,
            "fail" => self.fail().await,
            _ => self.unknown_task().await,
        }
    }

    async fn card(&mut self) -> Outcome {
        let (card, client) = self.connect("url").await?;
        self.client = Some(client);
        Ok(format!("{}: {}", card.name, offers(&card)))
    }

    async fn connect(
        &self,
        which: &str,
    ) -> Result<(AgentCard, Client), Box<dyn std::error::Error + Send + Sync>> {
        let url = self.cell[which].as_str().or(self.cell["url"].as_str());
        let card = AgentCardResolver::new(None)
            .resolve(url.unwrap_or_default())
            .await?;
        let binding = match self.cell["binding"].as_str() {
            Some("rest") => a2a::TRANSPORT_PROTOCOL_HTTP_JSON,
            Some("grpc") => a2a::TRANSPORT_PROTOCOL_GRPC,
            _ => a2a::TRANSPORT_PROTOCOL_JSONRPC,
        };
        let mut chosen = card.clone();
        chosen.supported_interfaces.retain(|one| {
            one.protocol_binding == binding && one.protocol_version.starts_with("1.")
        });
        check!(
            !chosen.supported_interfaces.is_empty(),
            "{binding} is not among {}",
            offers(&card)
        );
        let factory = A2AClientFactory::builder()
            .register(Arc::new(GrpcTransportFactory::new()))
            .build();
        Ok((card, factory.create_from_card(&chosen).await?))
    }

    fn client(&self) -> Result<&Client, Box<dyn std::error::Error + Send + Sync>> {
        self.client.as_ref().ok_or_else(|| "no client".into())
    }

    fn made(&self) -> Result<&Task, Box<dyn std::error::Error + Send + Sync>> {
        self.task.as_ref().ok_or_else(|| "no task".into())
    }

    async fn send(&mut self) -> Outcome {
        let task = one(self.client()?, &request(&flag("--question"))).await?;
        check!(task.status.state == TaskState::Completed, "{:?}", task.status.state);
        let words = said(&task);
        check!(words.contains(&flag("--expect")), "{words}");
        self.task = Some(task);
        Ok(words)
    }

    async fn stream(&self) -> Outcome {
        let asked = request(&flag("--question"));
        let mut events = self.client()?.send_streaming_message(&asked).await?;
        let (mut seen, mut words) = (Vec::new(), String::new());
        while let Some(event) = events.next().await {
            match event? {
                StreamResponse::Task(task) => seen.push(format!("{:?}", task.status.state)),
                StreamResponse::StatusUpdate(update) => {
                    seen.push(format!("{:?}", update.status.state));
                }
                StreamResponse::ArtifactUpdate(update) => {
                    seen.push("artifact".to_owned());
                    words.push_str(&text(&update.artifact.parts));
                }
                StreamResponse::Message(_) => seen.push("message".to_owned()),
            }
        }
        let at = |word: &str| seen.iter().position(|one| one == word);
        let order = [at("Working"), at("artifact"), at("Completed")];
        check!(order.iter().all(Option::is_some) && order.is_sorted(), "{seen:?}");
        check!(order[2] == Some(seen.len() - 1), "{seen:?}");
        check!(words.contains(&flag("--expect")), "{words}");
        Ok(seen.join(" "))
    }

    async fn get(&self) -> Outcome {
        let made = self.made()?;
        let task = self.client()?.get_task(&get(&made.id)).await?;
        check!(task.id == made.id, "{}", task.id);
        check!(task.context_id == made.context_id, "{}", task.context_id);
        check!(said(&task).contains(&flag("--expect")), "{}", said(&task));
        Ok(task.id)
    }

    async fn list(&self) -> Outcome {
        let made = self.made()?;
        let asked = ListTasksRequest {
            context_id: Some(made.context_id.clone()),
            status: None,
            page_size: Some(50),
            page_token: None,
            history_length: None,
            status_timestamp_after: None,
            include_artifacts: None,
            tenant: None,
        };
        let tasks = self.client()?.list_tasks(&asked).await?.tasks;
        let found = tasks.iter().any(|task| task.id == made.id);
        check!(found, "{} tasks, not among them {}", tasks.len(), made.id);
        Ok(format!("{} in the context", tasks.len()))
    }

    async fn cancel(&self) -> Outcome {
        let (client, task) = self.running("slow_url", &flag("--slow")).await?;
        let asked = CancelTaskRequest {
            id: task.id,
            metadata: None,
            tenant: None,
        };
        let canceled = client.cancel_task(&asked).await?;
        let state = canceled.status.state;
        check!(state == TaskState::Canceled, "{state:?}");
        Ok(format!("{:?} -> {state:?}", task.status.state))
    }

    async fn subscribe(&self) -> Outcome {
        let (client, task) = self.running("brief_url", &flag("--brief")).await?;
        let asked = SubscribeToTaskRequest {
            id: task.id.clone(),
            tenant: None,
        };
        let mut events = client.subscribe_to_task(&asked).await?;
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            match event? {
                StreamResponse::Task(now) => {
                    check!(now.id == task.id, "an event of {}", now.id);
                    seen.push("task".to_owned());
                }
                StreamResponse::StatusUpdate(update) => {
                    seen.push("status_update".to_owned());
                    if update.status.state.is_terminal() {
                        seen.push(format!("{:?}", update.status.state));
                    }
                }
                StreamResponse::ArtifactUpdate(_) => seen.push("artifact_update".to_owned()),
                StreamResponse::Message(_) => seen.push("message".to_owned()),
            }
            let promised = self.cell["snapshot"] != false;
            check!(!promised || seen[0] == "task", "first came {}", seen[0]);
        }
        check!(seen.last().is_some_and(|last| last == "Completed"), "{seen:?}");
        Ok(seen.join(" "))
    }

    /// Starts a task and comes back while it is not at its end.
    async fn running(
        &self,
        which: &str,
        words: &str,
    ) -> Result<(Client, Task), Box<dyn std::error::Error + Send + Sync>> {
        let (_, client) = self.connect(which).await?;
        let mut asked = request(words);
        asked.configuration = Some(SendMessageConfiguration {
            accepted_output_modes: None,
            task_push_notification_config: None,
            history_length: None,
            return_immediately: Some(true),
        });
        let task = one(&client, &asked).await?;
        let state = &task.status.state;
        check!(!state.is_terminal(), "already {state:?}");
        Ok((client, task))
    }

    async fn multi_turn(&self) -> Outcome {
        let client = self.client()?;
        let asked = one(client, &request(&flag("--ask"))).await?;
        let state = &asked.status.state;
        check!(*state == TaskState::InputRequired, "{state:?}");
        let mut answer = request(&flag("--answer"));
        answer.message.task_id = Some(asked.id.clone());
        answer.message.context_id = Some(asked.context_id.clone());
        let done = one(client, &answer).await?;
        check!(done.id == asked.id, "{} is another task than {}", done.id, asked.id);
        let (state, words) = (&done.status.state, said(&done));
        check!(*state == TaskState::Completed, "{state:?}");
        check!(words.contains(&flag("--answered")), "{words}");
        Ok(words)
    }

    /// Every kind of part there and back, through whatever translates between.
    async fn parts(&self) -> Outcome {
        let words = flag("--parts");
        if words.is_empty() {
            return Ok(format!("{LEFT_OUT}this agent does not return parts"));
        }
        let data = json!({"n": 17, "half": 0.5, "deep": [true, null, {"k": "é"}], "empty": {}});
        let sent = [
            Part::text("déjà vu 🗿 \"quoted\"\n"),
            Part::data(data),
            Part::raw((0..=255).collect())
                .with_filename("all bytes.bin")
                .with_media_type("application/octet-stream"),
            Part::url("https://files.example/a%20b?c=d")
                .with_filename("a b")
                .with_media_type("image/png"),
        ];
        let mut asked = request(&words);
        asked.message.parts.extend(sent.iter().cloned());
        let task = one(self.client()?, &asked).await?;
        let artifacts = task.artifacts.iter().flatten();
        let returned: Vec<&Part> = artifacts.flat_map(|one| &one.parts).collect();
        check!(returned.len() == sent.len(), "{} parts came back", returned.len());
        for (before, after) in sent.iter().zip(returned) {
            check!(alike(&before.content, &after.content), "{before:?} is now {after:?}");
            if matches!(before.content, PartContent::Raw(_) | PartContent::Url(_)) {
                let named = (&before.filename, &before.media_type);
                check!(named == (&after.filename, &after.media_type), "{after:?}");
            }
        }
        Ok("text data raw url".to_owned())
    }

    async fn fail(&self) -> Outcome {
        let words = flag("--fail");
        if words.is_empty() {
            return Ok(format!("{LEFT_OUT}this agent does not fail"));
        }
        let (_, client) = self.connect("fail_url").await?;
        let task = one(&client, &request(&words)).await?;
        let state = task.status.state;
        check!(state == TaskState::Failed, "{state:?}");
        Ok(format!("{state:?}"))
    }

    async fn unknown_task(&self) -> Outcome {
        let id = uuid::Uuid::new_v4().to_string();
        match self.client()?.get_task(&get(&id)).await {
            Ok(task) => Err(format!("an unknown task came back: {task:?}").into()),
            Err(error) => {
                check!(error.code == error_code::TASK_NOT_FOUND, "{error:?}");
                Ok(error.message)
            }
        }
    }
}

/// Equal, but that a whole number may have come back as a number with a fraction of nothing.
fn alike(before: &PartContent, after: &PartContent) -> bool {
    match (before, after) {
        (PartContent::Data(before), PartContent::Data(after)) => same(before, after),
        _ => before == after,
    }
}

fn same(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Number(before), Value::Number(after)) => before.as_f64() == after.as_f64(),
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(a, b)| same(a, b))
        }
        (Value::Object(before), Value::Object(after)) => {
            before.len() == after.len()
                && before
                    .iter()
                    .all(|(key, value)| after.get(key).is_some_and(|other| same(value, other)))
        }
        _ => before == after,
    }
}

fn request(words: &str) -> SendMessageRequest {
    SendMessageRequest {
        message: Message::new(Role::User, vec![Part::text(words)]),
        configuration: None,
        metadata: None,
        tenant: None,
    }
}

fn get(id: &str) -> GetTaskRequest {
    GetTaskRequest {
        id: id.to_owned(),
        history_length: None,
        tenant: None,
    }
}

/// Sends without a stream and takes the one answer, which must be a task.
async fn one(
    client: &Client,
    asked: &SendMessageRequest,
) -> Result<Task, Box<dyn std::error::Error + Send + Sync>> {
    match client.send_message(asked).await? {
        SendMessageResponse::Task(task) => Ok(task),
        SendMessageResponse::Message(message) => Err(format!("no task but {message:?}").into()),
    }
}

fn text(parts: &[Part]) -> String {
    parts.iter().filter_map(Part::as_text).collect()
}

fn said(task: &Task) -> String {
    let artifacts = task.artifacts.iter().flatten();
    let words: Vec<String> = artifacts.map(|one| text(&one.parts)).collect();
    words.join(" ")
}

fn offers(card: &AgentCard) -> String {
    let offered = card.supported_interfaces.iter();
    let names: Vec<String> = offered
        .map(|one| format!("{}/{}", one.protocol_binding, one.protocol_version))
        .collect();
    names.join(" ")
}

/// The value of `--NAME VALUE` on the command line; empty where there is none.
fn flag(name: &str) -> String {
    let mut arguments = std::env::args();
    let found = arguments.any(|argument| argument == name);
    arguments.next().filter(|_| found).unwrap_or_default()
}

fn cells() -> Result<Vec<Value>, serde_json::Error> {
    let arguments: Vec<String> = std::env::args().collect();
    let pairs = arguments.windows(2).filter(|pair| pair[0] == "--cell");
    pairs.map(|pair| serde_json::from_str(&pair[1])).collect()
}

/// The steps of one cell; whether all went well.
async fn run(number: usize, cell: Value) -> bool {
    let mut scenario = Scenario {
        cell,
        client: None,
        task: None,
    };
    let mut well = true;
    for name in STEPS {
        let outcome = match tokio::time::timeout(DEADLINE, scenario.step(name)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("{name} took over {} s", DEADLINE.as_secs()).into()),
        };
        well &= outcome.is_ok();
        let line = json!({
            "cell": number,
            "step": name,
            "ok": outcome.is_ok(),
            "detail": outcome.unwrap_or_else(|error| error.to_string()),
        });
        println!("{line}");
    }
    well
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cells = cells()?.into_iter().enumerate();
    let running = cells.map(|(number, cell)| run(number, cell));
    let well = futures::future::join_all(running).await;
    if well.contains(&false) {
        std::process::exit(1);
    }
    Ok(())
}
