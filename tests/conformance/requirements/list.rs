//! Listing tasks: filters, pages, order (spec 3.1.4).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{
    Fault, Operation,
    a2a::{self, TaskState},
};
use mesh_tests::caller::{
    Said,
    words::{in_context, question, state},
};

use super::{fresh, refused_with, requirements};
use crate::{Requirement, Scope::Every, subject::Subject};

pub(super) fn all() -> Vec<Requirement> {
    requirements! {
        "3.1.4", Every, "a context's tasks are listed, and no other" => of_a_context;
        "3.1.4", Every, "tasks of all contexts are listed" => of_all_contexts;
        "3.1.4", Every, "a state filters" => of_a_state;
        "3.1.4", Every, "a time filters" => after;
        "3.1.4", Every, "pages hold what was asked for, and each task once" => pages;
        "3.1.4", Every, "all is counted, whatever the page" => total;
        "3.1.4", Every, "the latest come first" => latest_first;
        "3.1.4", Every, "artifacts come only where they are asked for" => artifacts;
        "3.1.4", Every, "a page of none or of 101 is refused" => sizes;
        "3.1.4", Every, "a token that nobody gave is refused" => token;
    }
}

/// What is asked; the REST query says the same.
#[derive(Default)]
struct Asked {
    context: String,
    status: Option<TaskState>,
    size: Option<i32>,
    token: String,
    after: Option<prost_types::Timestamp>,
    artifacts: Option<bool>,
}

async fn list(at: &Subject, asked: Asked) -> Result<Said<a2a::ListTasksResponse>> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if !asked.context.is_empty() {
        query.append_pair("contextId", &asked.context);
    }
    if let Some(status) = asked.status {
        query.append_pair("status", status.as_str_name());
    }
    if let Some(size) = asked.size {
        query.append_pair("pageSize", &size.to_string());
    }
    if !asked.token.is_empty() {
        query.append_pair("pageToken", &asked.token);
    }
    if let Some(after) = &asked.after {
        query.append_pair("statusTimestampAfter", &after.to_string());
    }
    if let Some(artifacts) = asked.artifacts {
        query.append_pair("includeArtifacts", &artifacts.to_string());
    }
    let path = format!("/tasks?{}", query.finish());
    let request = a2a::ListTasksRequest {
        context_id: asked.context,
        status: asked.status.unwrap_or_default() as i32,
        page_size: asked.size,
        page_token: asked.token,
        status_timestamp_after: asked.after,
        include_artifacts: asked.artifacts,
        ..Default::default()
    };
    at.caller().call(Operation::ListTasks, &request, path).await
}

/// Tasks of one context, in the order of their making.
async fn made(at: &Subject, context: &str, count: usize) -> Result<Vec<a2a::Task>> {
    let mut tasks = Vec::new();
    for _ in 0..count {
        let request = in_context("what is 1+1", context);
        tasks.push(at.caller().send(request).await??);
    }
    Ok(tasks)
}

fn ids(tasks: &[a2a::Task]) -> BTreeSet<&str> {
    tasks.iter().map(|task| task.id.as_str()).collect()
}

async fn of_a_context(at: &Subject) -> Result<()> {
    let context = fresh("listed");
    let tasks = made(at, &context, 3).await?;
    at.caller().send(question("what is 1+1")).await??;
    let asked = Asked {
        context: context.clone(),
        ..Asked::default()
    };
    let page = list(at, asked).await??;
    ensure!(ids(&page.tasks) == ids(&tasks), "{page:?}");
    ensure!(page.next_page_token.is_empty(), "{page:?}");
    let alike = page.tasks.iter().all(|task| task.context_id == context);
    ensure!(alike, "{page:?}");
    Ok(())
}

async fn of_all_contexts(at: &Subject) -> Result<()> {
    let mut tasks = Vec::new();
    for _ in 0..6 {
        tasks.push(at.caller().send(question("what is 1+1")).await??);
    }
    let listed = at.caller().list_all().await?;
    let missing: Vec<_> = ids(&tasks)
        .difference(&ids(&listed))
        .copied()
        .map(str::to_owned)
        .collect();
    ensure!(
        missing.is_empty(),
        "{missing:?} are not among {}",
        listed.len()
    );
    let once = ids(&listed).len() == listed.len();
    ensure!(once, "{} tasks, {} ids", listed.len(), ids(&listed).len());
    Ok(())
}

async fn of_a_state(at: &Subject) -> Result<()> {
    let context = fresh("states");
    made(at, &context, 2).await?;
    let open = at
        .caller()
        .send(in_context("book a table", &context))
        .await??;
    let asked = Asked {
        context,
        status: Some(TaskState::InputRequired),
        ..Asked::default()
    };
    let page = list(at, asked).await??;
    ensure!(
        ids(&page.tasks) == BTreeSet::from([open.id.as_str()]),
        "{page:?}"
    );
    ensure!(
        page.tasks
            .iter()
            .all(|task| state(task) == TaskState::InputRequired)
    );
    Ok(())
}

async fn after(at: &Subject) -> Result<()> {
    let context = fresh("times");
    let tasks = made(at, &context, 3).await?;
    let second = tasks[1].status.as_ref().and_then(|status| status.timestamp);
    let asked = Asked {
        context,
        after: Some(second.context("a task without a time")?),
        ..Asked::default()
    };
    let page = list(at, asked).await??;
    let found = ids(&page.tasks);
    // At the very time or after it: the specification leaves that open.
    ensure!(found.contains(tasks[2].id.as_str()), "{page:?}");
    ensure!(!found.contains(tasks[0].id.as_str()), "{page:?}");
    Ok(())
}

async fn pages(at: &Subject) -> Result<()> {
    let context = fresh("pages");
    let tasks = made(at, &context, 5).await?;
    let mut found = Vec::new();
    let mut token = String::new();
    for size in [2, 2, 1] {
        let asked = Asked {
            context: context.clone(),
            size: Some(2),
            token,
            ..Asked::default()
        };
        let page = list(at, asked).await??;
        ensure!(page.tasks.len() == size, "{page:?}");
        found.extend(page.tasks);
        token = page.next_page_token;
    }
    ensure!(token.is_empty(), "a fourth page: {token}");
    ensure!(ids(&found) == ids(&tasks), "{found:?}");
    Ok(())
}

async fn total(at: &Subject) -> Result<()> {
    let context = fresh("counted");
    made(at, &context, 3).await?;
    let asked = Asked {
        context,
        size: Some(1),
        ..Asked::default()
    };
    let page = list(at, asked).await??;
    ensure!(page.total_size == 3 && page.tasks.len() == 1, "{page:?}");
    Ok(())
}

async fn latest_first(at: &Subject) -> Result<()> {
    let context = fresh("ordered");
    let tasks = made(at, &context, 3).await?;
    let asked = Asked {
        context,
        ..Asked::default()
    };
    let page = list(at, asked).await??;
    let order: Vec<&str> = page.tasks.iter().map(|task| task.id.as_str()).collect();
    let latest: Vec<&str> = tasks.iter().rev().map(|task| task.id.as_str()).collect();
    ensure!(order == latest, "{order:?}");
    Ok(())
}

async fn artifacts(at: &Subject) -> Result<()> {
    let context = fresh("artifacts");
    made(at, &context, 1).await?;
    for wanted in [None, Some(false), Some(true)] {
        let asked = Asked {
            context: context.clone(),
            artifacts: wanted,
            ..Asked::default()
        };
        let page = list(at, asked).await??;
        let task = page.tasks.first().context("no task")?;
        ensure!(
            task.artifacts.is_empty() != (wanted == Some(true)),
            "{wanted:?}: {task:?}"
        );
    }
    Ok(())
}

async fn sizes(at: &Subject) -> Result<()> {
    for size in [0, 101] {
        let asked = Asked {
            size: Some(size),
            ..Asked::default()
        };
        refused_with(list(at, asked).await?, Fault::InvalidParams)?;
    }
    Ok(())
}

async fn token(at: &Subject) -> Result<()> {
    let asked = Asked {
        token: "nobody gave this".to_owned(),
        ..Asked::default()
    };
    refused_with(list(at, asked).await?, Fault::InvalidParams)
}
