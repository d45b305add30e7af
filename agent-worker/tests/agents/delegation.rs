//! One agent asking another over A2A.

use daca_worker::app::{Settings, Worker};

use super::*;

/// The example agents: served by a worker, and once more for the test's own turns, with that worker in
/// the router's place. The real router between them is the business of the end-to-end tests.
async fn examples() -> (Worker, Roster) {
    let config = Config::built_in().unwrap();
    let served = roster(&config, &around(None));
    let worker = Worker::start(Settings::default(), served.agents, Registry::default()).await;
    let worker = worker.unwrap();
    let asking = roster(
        &config,
        &around(Some(format!("http://{}", worker.local_addr()))),
    );
    (worker, asking)
}

#[tokio::test]
async fn the_planner_puts_together_what_the_assistant_answers() {
    let (worker, roster) = examples().await;
    let planner = named(roster, "planner");
    let turned = Talk::default()
        .say(&planner, "What is 17*23+4? And what is 2^10?")
        .await;
    assert_eq!(turned.outcome, COMPLETED, "{turned:?}");
    assert_eq!(turned.artifact, "17*23+4 = 395\n2^10 = 1024");
    assert_eq!(
        turned.statuses,
        ["calling ask_assistant", "calling ask_assistant"]
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_question_of_the_agent_that_was_asked_is_passed_on_and_its_task_goes_on() {
    let (worker, roster) = examples().await;
    let planner = named(roster, "planner");
    let mut talk = Talk::default();
    let turned = talk.say(&planner, "what time is it").await;
    let Outcome::InputRequired { ask } = turned.outcome else {
        panic!("{turned:?}")
    };
    assert!(ask.contains("`zone`"), "{ask}");
    let turned = talk.say(&planner, "Tokyo").await;
    assert_eq!(turned.outcome, COMPLETED, "{turned:?}");
    assert!(
        turned.artifact.contains("Asia/Tokyo"),
        "{}",
        turned.artifact
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_chain_that_has_passed_too_many_routers_fails_for_good() {
    let yaml = "
agents:
  - {name: a, description: d, model: rules, delegates: [{agent: a, description: Ask a.}]}
";
    let call = CallContext {
        hops: mesh_proto::mesh::HOP_LIMIT,
        ..CallContext::default()
    };
    let mut talk = Talk {
        call,
        ..Talk::default()
    };
    let turned = talk.say(&agent(yaml, "a"), "do something").await;
    let Outcome::Failed { reason } = turned.outcome else {
        panic!("{turned:?}")
    };
    assert!(
        reason.starts_with("delegation loop: asking a would pass more than 16"),
        "{reason}"
    );
}

#[tokio::test]
async fn without_a_router_or_without_the_agent_the_task_fails_with_a_reason() {
    let yaml = "
agents:
  - {name: a, description: d, model: rules, delegates: [{agent: b, description: Ask b.}]}
";
    let turned = Talk::default().say(&agent(yaml, "a"), "do something").await;
    let Outcome::Failed { reason } = turned.outcome else {
        panic!("{turned:?}")
    };
    assert!(reason.contains("this worker knows no router"), "{reason}");

    let config = Config::from_yaml(yaml).unwrap();
    let nobody = around(Some("http://127.0.0.1:1".to_owned()));
    let turned = Talk::default()
        .say(&named(roster(&config, &nobody), "a"), "do something")
        .await;
    let Outcome::Failed { reason } = turned.outcome else {
        panic!("{turned:?}")
    };
    assert!(reason.contains("b could not be asked"), "{reason}");
}
