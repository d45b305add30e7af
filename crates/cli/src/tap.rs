//! `daca tap`: what comes on a topic of a bus, for audit and billing.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use mesh_fabric::{
    bus::{Delivery, Message, Reach, Subscription, Topic, Transit},
    state::Place,
};
use serde_json::{Value, json};

use crate::{
    exit::{Exit, Failure},
    output::Output,
    role,
};

/// Which topic of which bus, and as whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bus: sqlite:DIR, or dapr for the sidecar beside this process
    #[arg(value_name = "BUS")]
    bus: Place,
    /// What to listen to: a2a.calls.v1 for the records of calls, a2a.task-events.v1 for what
    /// becomes of tasks
    #[arg(long, value_name = "TOPIC", default_value = "a2a.calls.v1")]
    topic: Topic,
    /// As one of which group: its members share what comes, and each group gets all of it, also what came
    /// while none of its members was there
    #[arg(long, value_name = "NAME", default_value = "tap")]
    group: String,
    /// End after so many [default: never]
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// How long a line may take to be written: whoever reads may be slow.
const WRITTEN: Duration = Duration::from_secs(60);

pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    let mut stop = role::Stop::listen().map_err(Failure::role)?;
    let bus = Transit::open(&args.bus).await.map_err(Failure::role)?;
    let ask = Subscription {
        deadline: WRITTEN,
        ..Subscription::new(args.topic, Reach::Group(args.group))
    };
    let mut deliveries = bus.subscribe(ask).await.map_err(Failure::role)?;
    output.remark("tap ready: what comes from now on is heard");
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let next: Option<Delivery> = tokio::select! {
            next = deliveries.next() => next,
            () = stop.asked() => break,
        };
        let Some(delivery) = next else { break };
        write(&told(delivery.message())).map_err(Failure::role)?;
        // Only now: where nobody reads any more, it is told to another of its group, or once more.
        delivery.done().await;
        left -= 1;
    }
    Ok(Exit::Ok)
}

fn write(line: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// A message as a line: its body, where that is JSON, beside what it is known by.
fn told(message: &Message) -> Value {
    let body: Option<Value> = serde_json::from_slice(&message.body).ok();
    let body = body.unwrap_or_else(|| json!(String::from_utf8_lossy(&message.body)));
    json!({"id": message.id, "key": message.key, "body": body})
}
