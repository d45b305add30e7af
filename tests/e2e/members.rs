//! Who is in a group: said over its API by its owners, by skill, by lot.

use std::{collections::BTreeSet, io::Write as _};

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use mesh_proto::{Binding, a2a, a2a::TaskState};
use mesh_tests::{
    caller::words::{asked, question, state},
    mesh::{Mesh, Node},
    wire::{Ask, Reply},
};
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use crate::stage;

const AGENTS: &str = "
agents:
  - {name: ann, description: A clerk., model: echo, skills: [{id: talk, name: Talk, description: Talks., tags: [talk]}]}
  - {name: bob, description: A clerk., model: echo}
  - {name: cid, description: A clerk., model: echo, skills: [{id: talk, name: Talk, description: Talks., tags: [talk]}]}
  - {name: open, description: Named by its owner., group: {members: [ann], owners: [OWNER_TOKEN]}}
  - {name: talkers, description: Those that talk., group: {members: [ann, bob, cid], skill: talk}}
  - {name: singers, description: Those that sing., group: {members: [ann, bob, cid], skill: sing}}
  - {name: two, description: Two of three., group: {members: [ann, bob, cid], sample: 2, policy: 'quorum:2'}}
";

const NAMES: [&str; 7] = ["ann", "bob", "cid", "open", "talkers", "singers", "two"];

struct Stage {
    mesh: Mesh,
    _agents: NamedTempFile,
    _store: TempDir,
}

impl Stage {
    async fn start() -> Result<Self> {
        let mut agents = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        agents.write_all(AGENTS.as_bytes())?;
        let store = tempfile::tempdir()?;
        let place = format!("sqlite:{}", store.path().join("state").display());
        let plan = stage::mesh(2).knowing_their_router().routers(2);
        let plan = plan.worker("--state").worker(place);
        let plan = plan.agents(agents.path(), &NAMES);
        let mesh = plan.environment("OWNER_TOKEN", "secret").start().await?;
        Ok(Self {
            mesh,
            _agents: agents,
            _store: store,
        })
    }

    /// Asks a group; its task, and which members answered.
    async fn asks(&self, group: &str) -> Result<(a2a::Task, BTreeSet<String>)> {
        let caller = self.mesh.router().caller(group, Binding::JsonRpc);
        let task = caller.send(question("hello")).await??;
        let answered = task.artifacts.iter().map(|one| one.artifact_id.clone());
        let answered = answered.collect();
        Ok((task, answered))
    }
}

/// Reads or edits the members of a group, with the token of its owner.
async fn says(node: &Node, method: Method, query: &str, body: Option<Value>) -> Result<Reply> {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let ask = Ask::post(&format!("/open/members{query}"), "application/json", body);
    let ask = ask.method(method).header("authorization", "Bearer secret");
    node.exchange(&ask).await
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn owners_add_and_remove_members_through_any_router_and_the_next_task_asks_them() -> Result<()>
{
    let stage = Stage::start().await?;
    let [one, two] = &stage.mesh.routers[..] else {
        anyhow::bail!("two routers")
    };
    let (_, answered) = stage.asks("open").await?;
    ensure!(answered == set(["ann"]), "{answered:?}");
    let more = json!({"members": ["bob", {"agent": "cid", "context": "desk-1"}]});
    let added = says(one, Method::POST, "", Some(more.clone())).await?;
    ensure!(
        added.json()? == json!({"changed": 2, "total": 3}),
        "{}",
        added.text()
    );
    let again = says(two, Method::POST, "", Some(more)).await?;
    ensure!(
        again.json()? == json!({"changed": 0, "total": 3}),
        "{}",
        again.text()
    );
    let page = says(two, Method::GET, "?limit=2", None).await?.json()?;
    ensure!(
        page == json!({"members": ["ann", "bob"], "next": "bob", "total": 3}),
        "{page}"
    );
    let page = says(one, Method::GET, "?limit=2&after=bob", None)
        .await?
        .json()?;
    let rest = json!([{"agent": "cid", "context": "desk-1"}]);
    ensure!(page == json!({"members": rest, "total": 3}), "{page}");
    let (_, answered) = stage.asks("open").await?;
    ensure!(
        answered == set(["ann", "bob", "cid/desk-1"]),
        "{answered:?}"
    );
    let gone = json!({"members": ["bob"]});
    let removed = says(&stage.mesh.workers[1], Method::DELETE, "", Some(gone)).await?;
    ensure!(
        removed.json()? == json!({"changed": 1, "total": 2}),
        "{}",
        removed.text()
    );
    let (_, answered) = stage.asks("open").await?;
    ensure!(answered == set(["ann", "cid/desk-1"]), "{answered:?}");
    Ok(())
}

#[tokio::test]
async fn who_is_no_owner_and_what_can_be_no_member_is_refused_with_the_reason() -> Result<()> {
    let stage = Stage::start().await?;
    let router = stage.mesh.router();
    let refused = async |ask: Ask, status: StatusCode, reason: &str| {
        let reply = router.exchange(&ask).await?;
        let told = reply.json()?;
        let message = told["error"]["message"].as_str().context("a message")?;
        ensure!(reply.status == status, "{}: {told}", reply.status);
        ensure!(message.contains(reason), "{message}");
        Ok(())
    };
    let add = |body: Value| Ask::post("/open/members", "application/json", body.to_string());
    let mine = |ask: Ask| ask.header("authorization", "Bearer secret");
    let bob = || json!({"members": ["bob"]});
    refused(add(bob()), StatusCode::UNAUTHORIZED, "bearer token").await?;
    let other = add(bob()).header("authorization", "Bearer other");
    refused(other, StatusCode::FORBIDDEN, "only its owners").await?;
    let read = Ask::get("/open/members");
    refused(read, StatusCode::UNAUTHORIZED, "bearer token").await?;
    let bad = StatusCode::BAD_REQUEST;
    for (body, reason) in [
        (json!({"members": []}), "0 members are named"),
        (json!({"members": ["open"]}), "no member of itself"),
        (json!({"members": ["no name"]}), "the body must be"),
        (json!({"member": ["bob"]}), "unknown field"),
        (
            json!({"members": [{"agent": "bob", "context": "a b\n"}]}),
            "context",
        ),
    ] {
        refused(mine(add(body)), bad, reason).await?;
    }
    let fixed = mine(add(json!({"members": ["ann"]}))).method(Method::DELETE);
    refused(fixed, bad, "by the agents file").await?;
    let wrong = mine(Ask::get("/open/members?limit=0"));
    refused(wrong, bad, "limit must be").await?;
    let put = mine(add(bob())).method(Method::PUT);
    refused(put, StatusCode::METHOD_NOT_ALLOWED, "added with POST").await?;
    Ok(())
}

#[tokio::test]
async fn a_group_asks_those_with_a_skill_or_so_many_by_lot_and_nobody_is_told() -> Result<()> {
    let stage = Stage::start().await?;
    let (_, answered) = stage.asks("talkers").await?;
    ensure!(answered == set(["ann", "cid"]), "{answered:?}");
    let (task, answered) = stage.asks("two").await?;
    ensure!(answered.len() == 2, "{answered:?}");
    ensure!(asked(&task).contains("2 of 2 members"), "{}", asked(&task));
    let (task, _) = stage.asks("singers").await?;
    ensure!(state(&task) == TaskState::Failed, "{task:?}");
    ensure!(asked(&task).contains("\"sing\""), "{}", asked(&task));
    Ok(())
}
