//! Push notification configurations (spec 3.1.7 to 3.1.10): kept with their task, whole.

use anyhow::{Result, ensure};
use mesh_proto::{
    Fault, Operation,
    a2a::{self, TaskPushNotificationConfig as Config},
};
use mesh_tests::caller::{
    Refusal, Said,
    words::{at_once, question},
};

use super::{fresh, refused_with, requirements};
use crate::{Requirement, Scope::Every, subject::Subject};

pub(super) fn all() -> Vec<Requirement> {
    requirements! {
        "3.1.7", Every, "a configuration is created as it was given" => created;
        "3.1.8", Every, "a configuration is read as it was given" => read;
        "3.1.9", Every, "a task's configurations are listed" => listed;
        "3.1.10", Every, "a configuration that was deleted is gone" => deleted;
        "3.1.10", Every, "a configuration can be deleted twice" => twice;
        "3.1.7", Every, "a task of nobody's takes no configuration" => unknown;
        "3.1.1", Every, "a configuration may come with the message" => inline;
        "4.3.1", Every, "the secrets of a configuration are kept whole" => secrets;
    }
}

fn config(task: &str) -> Config {
    Config {
        id: fresh("config"),
        task_id: task.to_owned(),
        url: "https://hooks.example/a%20b?c=d".to_owned(),
        token: "a token".to_owned(),
        authentication: Some(a2a::AuthenticationInfo {
            scheme: "Bearer".to_owned(),
            credentials: "a secret".to_owned(),
        }),
        ..Default::default()
    }
}

/// A task that works, so that its configurations are kept.
async fn task(at: &Subject) -> Result<String> {
    let task = at
        .caller()
        .send(at_once(question("wait 60 seconds")))
        .await??;
    Ok(task.id)
}

async fn done(at: &Subject, task: &str) -> Result<()> {
    at.caller().cancel(task).await??;
    Ok(())
}

async fn create(at: &Subject, config: &Config) -> Result<Said<Config>> {
    let path = format!("/tasks/{}/pushNotificationConfigs", config.task_id);
    let operation = Operation::CreateTaskPushNotificationConfig;
    at.caller().call(operation, config, path).await
}

async fn get(at: &Subject, task: &str, id: &str) -> Result<Said<Config>> {
    let request = a2a::GetTaskPushNotificationConfigRequest {
        task_id: task.to_owned(),
        id: id.to_owned(),
        ..Default::default()
    };
    let path = format!("/tasks/{task}/pushNotificationConfigs/{id}");
    let operation = Operation::GetTaskPushNotificationConfig;
    at.caller().call(operation, &request, path).await
}

async fn list(at: &Subject, task: &str) -> Result<Vec<Config>> {
    let request = a2a::ListTaskPushNotificationConfigsRequest {
        task_id: task.to_owned(),
        ..Default::default()
    };
    let path = format!("/tasks/{task}/pushNotificationConfigs");
    let operation = Operation::ListTaskPushNotificationConfigs;
    let said: Said<a2a::ListTaskPushNotificationConfigsResponse> =
        at.caller().call(operation, &request, path).await?;
    Ok(said?.configs)
}

/// The answer has nothing in it, so only a no is looked for.
async fn delete(at: &Subject, task: &str, id: &str) -> Result<()> {
    let request = a2a::DeleteTaskPushNotificationConfigRequest {
        task_id: task.to_owned(),
        id: id.to_owned(),
        ..Default::default()
    };
    let path = format!("/tasks/{task}/pushNotificationConfigs/{id}");
    let operation = Operation::DeleteTaskPushNotificationConfig;
    let ask = at.caller().ask(operation, &request, &path)?;
    let reply = at.exchange(&ask).await?;
    let refusal = Refusal::of(at.binding(), &reply)?;
    ensure!(refusal.is_none(), "{refusal:?}");
    Ok(())
}

async fn created(at: &Subject) -> Result<()> {
    let given = config(&task(at).await?);
    let made = create(at, &given).await??;
    ensure!(
        made.id == given.id && made.task_id == given.task_id,
        "{made:?}"
    );
    ensure!(made.url == given.url, "{made:?}");
    done(at, &given.task_id).await
}

async fn read(at: &Subject) -> Result<()> {
    let given = config(&task(at).await?);
    create(at, &given).await??;
    let read = get(at, &given.task_id, &given.id).await??;
    ensure!(
        read.id == given.id && read.task_id == given.task_id,
        "{read:?}"
    );
    ensure!(read.url == given.url, "{read:?}");
    done(at, &given.task_id).await
}

async fn listed(at: &Subject) -> Result<()> {
    let task = task(at).await?;
    let given = [config(&task), config(&task)];
    for one in &given {
        create(at, one).await??;
    }
    let mut found: Vec<_> = list(at, &task)
        .await?
        .into_iter()
        .map(|one| (one.id, one.url))
        .collect();
    found.sort_unstable();
    let mut expected = given.map(|one| (one.id, one.url));
    expected.sort_unstable();
    ensure!(found == expected, "{found:?}");
    done(at, &task).await
}

async fn deleted(at: &Subject) -> Result<()> {
    let given = config(&task(at).await?);
    create(at, &given).await??;
    delete(at, &given.task_id, &given.id).await?;
    let left = list(at, &given.task_id).await?;
    ensure!(left.is_empty(), "{left:?}");
    ensure!(
        get(at, &given.task_id, &given.id).await?.is_err(),
        "it is still there"
    );
    done(at, &given.task_id).await
}

async fn twice(at: &Subject) -> Result<()> {
    let given = config(&task(at).await?);
    create(at, &given).await??;
    delete(at, &given.task_id, &given.id).await?;
    delete(at, &given.task_id, &given.id).await?;
    done(at, &given.task_id).await
}

async fn unknown(at: &Subject) -> Result<()> {
    let given = config(&fresh("nobody's"));
    refused_with(create(at, &given).await?, Fault::TaskNotFound)
}

async fn inline(at: &Subject) -> Result<()> {
    let mut given = config("");
    let mut request = at_once(question("wait 60 seconds"));
    let configuration = request.configuration.get_or_insert_default();
    configuration.task_push_notification_config = Some(given.clone());
    let task = at.caller().send(request).await??.id;
    given.task_id.clone_from(&task);
    let found = list(at, &task).await?;
    ensure!(found.len() == 1 && found[0].url == given.url, "{found:?}");
    ensure!(found[0].task_id == task, "{found:?}");
    done(at, &task).await
}

async fn secrets(at: &Subject) -> Result<()> {
    let given = config(&task(at).await?);
    create(at, &given).await??;
    let read = get(at, &given.task_id, &given.id).await??;
    ensure!(read.token == given.token, "{read:?}");
    ensure!(read.authentication == given.authentication, "{read:?}");
    done(at, &given.task_id).await
}
