//! Agents behind two Dapr sidecars: the router's own, and the one beside the agent.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use mesh_proto::{Binding, Fault, Operation, a2a::TaskState};
use mesh_tests::{
    caller::{
        BINDINGS,
        words::{question, said, state, streamed, word},
    },
    mesh::{Node, Plan},
    parts::daprd::{Daprd, TOKEN},
    recorder::{Answer, Recorder},
};
use tempfile::TempDir;

use crate::stage::program;

/// A router beside a sidecar, which finds apps by a file of names.
struct Caller {
    router: Node,
    _sidecar: Daprd,
}

async fn router(names: &TempDir, agents: &[(&str, &str)]) -> Result<Option<Caller>> {
    let file = names.path().join("names.db");
    let Some(sidecar) = Daprd::named("router", None, &file).await? else {
        return Ok(None);
    };
    let mut plan = Plan::of(program(), 0)
        .environment("DAPR_HTTP_ENDPOINT", sidecar.http_endpoint())
        .environment("DAPR_GRPC_ENDPOINT", sidecar.endpoint())
        .environment("DAPR_API_TOKEN", TOKEN);
    for (name, url) in agents {
        plan = plan.other(name, url);
    }
    let router = plan.start_router(0, &[]).await?;
    Ok(Some(Caller {
        router,
        _sidecar: sidecar,
    }))
}

/// A question and its stream, over each binding.
async fn answers(router: &Node, agent: &str) -> Result<()> {
    for binding in BINDINGS {
        let assistant = router.caller(agent, binding);
        let task = assistant.send(question("what is 17*23+4")).await??;
        ensure!(state(&task) == TaskState::Completed, "{binding}: {task:?}");
        ensure!(said(&task).contains("395"), "{binding}: {task:?}");
        let same = assistant.get(&task.id).await??;
        ensure!(same.id == task.id, "{binding}: {same:?}");
        let events = assistant.stream(question("what is 17*23+4")).await??;
        let events = { events }.rest().await?;
        ensure!(streamed(&events).contains("395"), "{binding}: {events:?}");
        let last = events.last().map(word);
        ensure!(
            last.as_deref() == Some("completed"),
            "{binding}: {events:?}"
        );
        let unknown = assistant.get("nobody-knows-this").await?;
        let Err(refusal) = unknown else {
            anyhow::bail!("{binding}: {unknown:?}");
        };
        refusal.expect(Fault::TaskNotFound)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_behind_two_sidecars_answers_in_every_binding_at_once_and_as_a_stream()
-> Result<()> {
    let names = tempfile::tempdir()?;
    let worker = Plan::of(program(), 1).start_worker(0).await?;
    for (app, protocol, url) in [
        ("over-http", "http", "dapr://over-http/assistant"),
        ("over-grpc", "grpc", "dapr+grpc://over-grpc/assistant"),
    ] {
        let file = names.path().join("names.db");
        let served = Some((worker.address.port(), protocol));
        let Some(_beside) = Daprd::named(app, served, &file).await? else {
            return Ok(());
        };
        let Some(caller) = router(&names, &[("assistant", url)]).await? else {
            return Ok(());
        };
        answers(&caller.router, "assistant").await.context(url)?;
    }
    Ok(())
}

#[tokio::test]
async fn an_app_that_dapr_does_not_find_is_an_error_in_the_callers_binding_without_addresses()
-> Result<()> {
    let names = tempfile::tempdir()?;
    let agents = [
        ("gone", "dapr://nobody"),
        ("gone-grpc", "dapr+grpc://nobody"),
    ];
    let Some(caller) = router(&names, &agents).await? else {
        return Ok(());
    };
    for (agent, _) in agents {
        for binding in BINDINGS {
            let told = caller.router.caller(agent, binding);
            let Err(refusal) = told.send(question("hello")).await? else {
                anyhow::bail!("{agent} {binding}: an answer of nobody");
            };
            let text = format!("{refusal:?}");
            let is_silent = !text.contains("ERR_DIRECT") && !text.contains("127.0.0.1");
            ensure!(is_silent && !text.contains("nobody"), "{text}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_event_passes_two_sidecars_before_the_next_one_is_there_and_the_callers_trace_with_it()
-> Result<()> {
    let names = tempfile::tempdir()?;
    let agent = Recorder::start().await?;
    let event = r#"{"jsonrpc":"2.0","id":1,"result":{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}}"#;
    let second = event.replace("WORKING", "COMPLETED");
    let pieces = [event, &second].map(|event| Bytes::from(format!("data: {event}\n\n")));
    agent.answer(Answer {
        pieces: pieces.into(),
        ..Answer::whole("/desk", "text/event-stream", "")
    });
    let file = names.path().join("names.db");
    let served = Some((agent.address.port(), "http"));
    let Some(_beside) = Daprd::named("desk", served, &file).await? else {
        return Ok(());
    };
    let Some(caller) = router(&names, &[("desk", "dapr://desk/desk")]).await? else {
        return Ok(());
    };
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let desk = caller.router.caller("desk", Binding::JsonRpc);
    let desk = desk
        .with("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"))
        .with("dapr-app-id", "another");
    let mut events = desk.stream(question("hello")).await??;
    let first = events.event().await?.context("an event")?;
    ensure!(word(&first) == "working", "{first:?}");
    agent.let_go();
    let words = events.words().await?;
    ensure!(
        words.last().is_some_and(|last| last == "completed"),
        "{words:?}"
    );
    let seen = agent.last("/desk")?;
    let header = |name| seen.headers.get(name).and_then(|v| v.to_str().ok());
    ensure!(
        header("traceparent").is_some_and(|sent| sent.contains(trace)),
        "{seen:?}"
    );
    ensure!(header("dapr-app-id").is_none(), "{seen:?}");
    ensure!(!format!("{seen:?}").contains(TOKEN), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn a_send_that_an_agent_fails_is_not_sent_again_by_a_sidecar_that_would() -> Result<()> {
    const GRPC: &str = "/lf.a2a.v1.A2AService/SendMessage";
    let names = tempfile::tempdir()?;
    let file = names.path().join("names.db");
    for (app, protocol, url, path) in [
        ("failing-http", "http", "dapr://failing-http/desk", "/desk"),
        ("failing-grpc", "grpc", "dapr+grpc://failing-grpc", GRPC),
    ] {
        let agent = Recorder::start().await?;
        let failure = Answer::whole(path, "application/json", r#"{"why":"no more paper"}"#);
        agent.answer(match protocol {
            "http" => Answer {
                status: 503,
                ..failure
            },
            _ => Answer {
                headers: vec![
                    ("content-type", "application/grpc".to_owned()),
                    ("grpc-status", "14".to_owned()),
                ],
                pieces: Vec::new(),
                ..failure
            },
        });
        let served = Some((agent.address.port(), protocol));
        let Some(_beside) = Daprd::named(app, served, &file).await? else {
            return Ok(());
        };
        let Some(caller) = router(&names, &[("desk", url)]).await? else {
            return Ok(());
        };
        let desk = caller.router.caller("desk", Binding::JsonRpc);
        let ask = desk.ask(Operation::SendMessage, &question("hello"), "")?;
        let reply = caller.router.exchange(&ask).await?;
        if protocol == "http" {
            ensure!(reply.text().contains("no more paper"), "{reply:?}");
        }
        let seen = agent.all(path);
        ensure!(seen.len() == 1, "{app}: {} times", seen.len());
    }
    Ok(())
}
