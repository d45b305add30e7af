//! What comes in at the relay's own port: other people's agents' notifications, onto the bus.
//!
//! # Invariants
//! - An agent hears that its notification is taken once the bus has it.
//! - What its client gave it to be convinced by goes along where it goes for pushes of our own workers.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::exit::Failure;
use daca_router::{
    app::Receiving,
    config::flags,
    push::{Notice, Outcome, Queue},
};
use daca_worker::notify::{self, Push};
use futures_util::future::BoxFuture;
use http::{HeaderMap, header};
use mesh_fabric::{
    bus::{self, Topic, Transit},
    state::Place,
};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What says how a receiver is to be convinced, beside `Authorization`.
const TOKEN: &str = "x-a2a-notification-token";

/// Where it is, and whose addresses it opens.
#[derive(Debug, clap::Args)]
pub(super) struct DoorArgs {
    /// Take the notifications of other people's agents, too: where the routers' --relay-url points at
    /// [default: nowhere]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// The keys of the routers, by which their addresses are opened [default: the development key, which
    /// serves loopback only]
    #[arg(long, value_name = "FILE", requires = "listen")]
    keys: Option<PathBuf>,
}

/// Opens the port, if there is to be one.
pub(super) async fn open(
    args: DoorArgs,
    place: &Place,
    registry: &mut Registry,
) -> Result<Option<Receiving>, Failure> {
    let Some(listen) = args.listen else {
        return Ok(None);
    };
    let keys = Arc::new(flags::keys_for(args.keys, &listen).map_err(Failure::usage)?);
    let bus = Transit::open(place).await.map_err(Failure::role)?;
    let queue = Arc::new(Door::new(bus).map_err(Failure::role)?);
    let opened = Receiving::start(&listen, keys, queue, registry).await;
    opened.map(Some).map_err(Failure::role)
}

/// The bus of a relay.
#[derive(Debug)]
pub(super) struct Door {
    bus: Transit,
    topic: Topic,
}

/// Where a notification says whose it is: 1.0 wraps what happened, 0.3 does not.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Event {
    task: Option<Named>,
    #[serde(alias = "status_update")]
    #[serde(rename = "statusUpdate")]
    status: Option<Named>,
    #[serde(alias = "artifact_update")]
    #[serde(rename = "artifactUpdate")]
    artifact: Option<Named>,
    message: Option<Named>,
    #[serde(flatten)]
    bare: Named,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    id: Option<String>,
    #[serde(rename = "taskId", alias = "task_id")]
    task: Option<String>,
}

impl Named {
    fn task(self) -> Option<String> {
        self.task.or(self.id)
    }
}

impl Event {
    fn task(self) -> Option<String> {
        let wrapped = [self.status, self.artifact, self.message, self.task];
        let wrapped = wrapped.into_iter().flatten().find_map(Named::task);
        wrapped.or_else(|| self.bare.task())
    }
}

impl Door {
    pub(super) fn new(bus: Transit) -> Result<Self, bus::UnknownTopic> {
        let topic = notify::TOPIC.parse()?;
        Ok(Self { bus, topic })
    }

    async fn take(&self, notice: Notice) -> Outcome {
        let Ok(event) = serde_json::from_slice::<Box<RawValue>>(&notice.body) else {
            return Outcome::Unreadable;
        };
        let push = push(notice, event);
        let Some(message) = notify::message(&self.topic, &push) else {
            return Outcome::Unreadable;
        };
        match self.bus.publish_one(message).await {
            Ok(()) => Outcome::Queued,
            Err(bus::Error::Size) => Outcome::TooLarge,
            Err(_) => Outcome::Busy,
        }
    }
}

impl Queue for Door {
    fn put(&self, notice: Notice) -> BoxFuture<'_, Outcome> {
        Box::pin(self.take(notice))
    }
}

fn push(notice: Notice, event: Box<RawValue>) -> Push {
    let text = |headers: &HeaderMap, name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let told: Event = serde_json::from_slice(&notice.body).unwrap_or_default();
    let authorization = text(&notice.headers, header::AUTHORIZATION.as_str()).unwrap_or_default();
    let (scheme, credentials) = authorization
        .split_once(' ')
        .unwrap_or((&authorization, ""));
    let apart = [header::AUTHORIZATION.as_str(), TOKEN];
    let names = notice.headers.keys().map(http::HeaderName::as_str);
    let headers: BTreeMap<_, _> = names
        .filter(|name| !apart.contains(name))
        .filter_map(|name| Some((name.to_owned(), text(&notice.headers, name)?)))
        .collect();
    Push {
        agent: notice.agent.to_string(),
        // Without one there is no order to keep.
        task: told.task().unwrap_or_else(|| notice.id.clone()),
        id: notice.id,
        url: notice.url,
        token: text(&notice.headers, TOKEN).unwrap_or_default(),
        scheme: scheme.to_owned(),
        credentials: credentials.trim().to_owned(),
        headers,
        failed: 0,
        event,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;
    use mesh_fabric::bus::{Bounds, Reach, Subscription};
    use mesh_proto::AgentName;

    use super::*;

    fn notice(body: &str) -> Notice {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer c 1"),
            (TOKEN, "t-1"),
            ("a2a-version", "0.3"),
            ("content-type", "application/json"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Notice {
            agent: AgentName::parse("steward").unwrap(),
            url: "https://client.example/hook".to_owned(),
            headers,
            id: "steward/1".to_owned(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn the_task_is_found_in_whatever_says_whose_a_notification_is() {
        for (body, task) in [
            (r#"{"task": {"id": "t"}}"#, "t"),
            (r#"{"statusUpdate": {"taskId": "t", "status": {}}}"#, "t"),
            (r#"{"artifact_update": {"task_id": "t"}}"#, "t"),
            (r#"{"kind": "task", "id": "t", "contextId": "c"}"#, "t"),
            (r#"{"kind": "status-update", "taskId": "t"}"#, "t"),
            (r#"{"message": {"messageId": "m"}}"#, "steward/1"),
        ] {
            let event = serde_json::from_str(body).unwrap();
            assert_eq!(push(notice(body), event).task, task, "{body}");
        }
    }

    #[tokio::test]
    async fn what_comes_in_is_on_the_bus_with_what_convinces_its_webhook() {
        let bus = Transit::memory(Bounds::default());
        let door = Door::new(bus.clone()).unwrap();
        let ask = Subscription::new(door.topic.clone(), Reach::Group("g".to_owned()));
        let mut deliveries = bus.subscribe(ask).await.unwrap();
        let taken = door.put(notice(r#"{"task": {"id": "t"}}"#)).await;
        assert_eq!(taken, Outcome::Queued);
        let delivery = deliveries.next().await.unwrap();
        let push: Push = serde_json::from_slice(&delivery.message().body).unwrap();
        let convinces = (&*push.scheme, &*push.credentials, &*push.token);
        assert_eq!(convinces, ("Bearer", "c 1", "t-1"));
        let names: Vec<_> = push.headers.keys().map(String::as_str).collect();
        assert_eq!(names, ["a2a-version", "content-type"]);
        delivery.done().await;
        let large = format!("{{\"task\": {{\"id\": \"{}\"}}}}", "x".repeat(2 << 20));
        assert_eq!(door.put(notice(&large)).await, Outcome::TooLarge);
        assert_eq!(door.put(notice("{")).await, Outcome::Unreadable);
    }
}
