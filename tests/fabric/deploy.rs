//! The files of `deploy/dapr`: that each says what it must, and that a real sidecar takes those whose
//! components it has.
//!
//! The real ones are on loopback: addresses and passwords are put in the place of those of a cluster, and
//! nothing else is changed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use mesh_fabric::{
    bus::{Message, Reach, Subscription, Transit},
    dapr::{Need, Settings},
    state::{Condition, Store},
};
use mesh_tests::parts::{broker::Broker, daprd::Daprd, repository};
use serde_json::Value;

fn folder() -> PathBuf {
    repository().join("deploy/dapr")
}

/// Every resource of a file.
fn read(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file)?;
    serde_saphyr::from_multiple(&text).with_context(|| file.display().to_string())
}

/// Every resource of every file, with its file.
fn all() -> Result<Vec<(PathBuf, Value)>> {
    let mut all = Vec::new();
    for folder in [folder(), folder().join("pubsub"), folder().join("state")] {
        for entry in fs::read_dir(&folder)? {
            let file = entry?.path();
            if file.extension().is_some_and(|is| is == "yaml") {
                let resources = read(&file)?;
                all.extend(resources.into_iter().map(|each| (file.clone(), each)));
            }
        }
    }
    Ok(all)
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

fn is_component(value: &Value) -> bool {
    text(value, "/kind") == "Component"
}

#[test]
fn every_component_is_for_named_apps_and_says_nothing_secret() -> Result<()> {
    let mut types = BTreeSet::new();
    for (file, each) in all()?.iter().filter(|(_, each)| is_component(each)) {
        let file = file.display();
        let scopes = each.pointer("/scopes").and_then(Value::as_array);
        ensure!(
            scopes.is_some_and(|scopes| !scopes.is_empty()),
            "{file}: no scopes"
        );
        let kind = text(each, "/spec/type");
        let name = text(each, "/metadata/name");
        let fits = match kind.split('.').next() {
            Some("state") => name == "statestore",
            _ => name == "pubsub" || name.starts_with("pubsub-"),
        };
        ensure!(fits, "{file}: {name} is no name of ours for {kind}");
        let metadata = each.pointer("/spec/metadata").and_then(Value::as_array);
        for item in metadata.context("no metadata")? {
            let name = text(item, "/name").to_lowercase();
            let is_secret = ["password", "connectionstring", "key"]
                .iter()
                .any(|word| name.ends_with(word));
            let refers = item.get("secretKeyRef").is_some();
            ensure!(refers == is_secret, "{file}: {name}");
            ensure!(
                refers || item["value"].is_string(),
                "{file}: {name} is no text"
            );
        }
        types.insert(kind.to_owned());
    }
    ensure!(types.len() == 11, "{types:?}");
    Ok(())
}

#[test]
fn every_subscription_has_dead_letters_and_every_retry_an_end() -> Result<()> {
    let mut seen = BTreeSet::new();
    for (file, each) in all()? {
        let file = file.display();
        match text(&each, "/kind") {
            "Subscription" => {
                let (topic, dead) = (
                    text(&each, "/spec/topic"),
                    text(&each, "/spec/deadLetterTopic"),
                );
                // With the subject after it, another stream's in JetStream.
                ensure!(
                    dead.starts_with("a2a.dlq.") && topic != dead,
                    "{file}: {dead:?}"
                );
                seen.insert("subscription");
            }
            "Resiliency" => {
                let retries = each
                    .pointer("/spec/policies/retries")
                    .and_then(Value::as_object);
                for (name, policy) in retries.context("no retries")? {
                    let most = policy["maxRetries"].as_i64().unwrap_or(-1);
                    ensure!((0..=10).contains(&most), "{file}: {name} has {most}");
                }
                let targets = each
                    .pointer("/spec/targets/components")
                    .and_then(Value::as_object);
                for (name, target) in targets.context("no targets")? {
                    let is_bus = name.starts_with("pubsub");
                    ensure!(is_bus == target.get("inbound").is_some(), "{file}: {name}");
                }
                seen.insert("resiliency");
            }
            _ => {}
        }
    }
    ensure!(seen.len() == 2, "{seen:?}");
    Ok(())
}

/// A folder with these files as they are in a cluster, but for what is not here.
fn written(files: &[&str], put: &[(&str, &str)]) -> Result<tempfile::TempDir> {
    let target = tempfile::tempdir()?;
    for file in files {
        let mut resources = read(&folder().join(file))?;
        for each in resources.iter_mut().filter(|each| is_component(each)) {
            let metadata = each
                .pointer_mut("/spec/metadata")
                .and_then(Value::as_array_mut);
            for item in metadata.context("no metadata")? {
                if item.get("secretKeyRef").is_some() {
                    *item = serde_json::json!({"name": item["name"], "value": ""});
                }
                let name = item["name"].clone();
                if let Some((_, value)) = put.iter().find(|(of, _)| name == *of) {
                    item["value"] = serde_json::json!(value);
                }
            }
        }
        let documents: Vec<_> = resources.iter().map(Value::to_string).collect();
        let name = file.replace('/', "-");
        fs::write(target.path().join(name), documents.join("\n---\n"))?;
    }
    Ok(target)
}

/// What the worker's side of a mesh does with it: keeps something, and hears what it publishes.
async fn works(folder: tempfile::TempDir, with_state: bool, lacks: &[Need]) -> Result<()> {
    let configuration = self::folder().join("configuration.yaml");
    let Some(sidecar) = Daprd::start_in(folder, "daca-worker", Some(configuration)).await? else {
        return Ok(());
    };
    let mut settings = Settings {
        endpoint: sidecar.endpoint(),
        token: None,
        ..Settings::default()
    };
    if with_state {
        let store = Store::dapr(&settings, Vec::new()).await?;
        let value = Bytes::from_static(b"kept");
        let etag = store
            .put("a/b", value.clone(), Condition::Absent, None)
            .await?;
        let read = store.get("a/b").await?.context("it is there")?;
        ensure!((read.value, read.etag) == (value, etag));
    }
    for lack in lacks {
        settings.needs.remove(lack);
    }
    let bus = Transit::dapr(settings).await?;
    for (topic, reach) in [
        ("a2a.push.v1", Reach::Group("push-dispatch".to_owned())),
        ("a2a.group.v1", Reach::Group("group-expand".to_owned())),
        ("a2a.control.v1", Reach::Broadcast),
    ] {
        let ask = Subscription::new(topic.parse()?, reach);
        let mut deliveries = bus.subscribe(ask).await?;
        let key = "k".to_owned();
        let message = Message::new(
            topic.parse()?,
            "1".to_owned(),
            key,
            Bytes::from_static(b"b"),
        );
        bus.publish_one(message).await?;
        let came = tokio::time::timeout(mesh_tests::eventually::PATIENCE, deliveries.next());
        let delivery = came.await.context(topic)?.context(topic)?;
        ensure!(delivery.message().body == "b", "{topic}");
        delivery.done().await;
    }
    Ok(())
}

#[tokio::test]
async fn the_files_for_redis_are_what_a_worker_needs() -> Result<()> {
    let Some(broker) = Broker::redis().await? else {
        return Ok(());
    };
    let files = [
        "state/redis.yaml",
        "pubsub/redis.yaml",
        "resiliency.yaml",
        "subscription.yaml",
    ];
    let folder = written(&files, &[("redisHost", &broker.address())])?;
    works(folder, true, &[Need::Order]).await
}

#[tokio::test]
async fn the_files_for_kafka_are_what_a_worker_needs() -> Result<()> {
    let Some(broker) = Broker::kafka().await? else {
        return Ok(());
    };
    let topics = ["a2a.push.v1", "a2a.group.v1", "a2a.control.v1"];
    broker.topics(&topics.map(str::to_owned)).await?;
    let files = [
        "pubsub/kafka.yaml",
        "pubsub/kafka-batches.yaml",
        "resiliency.yaml",
    ];
    let folder = written(&files, &[("brokers", &broker.address())])?;
    works(folder, false, &[]).await
}

#[tokio::test]
async fn the_files_for_jetstream_are_what_a_worker_needs() -> Result<()> {
    let Some(broker) = Broker::nats().await? else {
        return Ok(());
    };
    broker.stream("bus", &["a2a.*.*"]).await?;
    broker.stream("dead", &["a2a.dlq.*.*"]).await?;
    let url = format!("nats://{}", broker.address());
    let files = ["pubsub/jetstream.yaml", "resiliency.yaml"];
    let folder = written(&files, &[("natsURL", &url)])?;
    works(folder, false, &[]).await
}
