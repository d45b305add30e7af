//! The example agents with their real MCP child.

use std::time::Duration;

use super::*;

fn example(name: &str) -> Agent {
    named(roster(&Config::built_in().unwrap(), &around(None)), name)
}

#[tokio::test]
async fn the_assistant_answers_with_what_the_tools_say() {
    let assistant = example("assistant");
    let mut talk = Talk::default();
    let turned = talk.say(&assistant, "17*23+4").await;
    assert_eq!(
        (turned.outcome, turned.artifact.as_str()),
        (COMPLETED, "17*23+4 = 395")
    );
    assert_eq!(turned.statuses, ["calling calculate"]);

    let turned = talk.say(&assistant, "what time is it in Tokyo").await;
    assert_eq!(turned.outcome, COMPLETED);
    assert!(
        turned.artifact.contains("Asia/Tokyo (UTC+09:00)"),
        "{}",
        turned.artifact
    );

    let turned = talk
        .say(
            &assistant,
            "how many words in this text: the quick brown fox",
        )
        .await;
    assert_eq!(
        turned.artifact,
        "4 words, 19 characters, 1 line, 1 sentence."
    );

    let turned = talk.say(&assistant, "1/0").await;
    let reason = "calculate failed: division by zero".to_owned();
    assert_eq!(turned.outcome, Outcome::Failed { reason });
}

#[tokio::test]
async fn several_answers_come_in_pieces_of_one_artifact() {
    let assistant = example("assistant");
    let turned = Talk::default()
        .say(&assistant, "17*23+4 and remember it as total. Then 2+2")
        .await;
    assert_eq!(
        turned.artifact,
        "17*23+4 = 395\nNoted under total.\n2+2 = 4"
    );
    assert_eq!(turned.pieces, 3);
}

#[tokio::test]
async fn the_desk_asks_until_it_knows_all_and_then_files_the_booking() {
    let desk = example("desk");
    let mut talk = Talk::default();
    let turned = talk.say(&desk, "book a room for 4 people").await;
    let Outcome::InputRequired { ask } = turned.outcome else {
        panic!("{turned:?}")
    };
    assert!(
        ask.contains("`date`") && ask.contains("`name`") && !ask.contains("`people`"),
        "{ask}"
    );
    let turned = talk.say(&desk, "2026-12-01").await;
    assert!(
        matches!(turned.outcome, Outcome::InputRequired { .. }),
        "{turned:?}"
    );
    let turned = talk.say(&desk, "Ada Lovelace").await;
    assert_eq!(turned.outcome, COMPLETED);
    assert_eq!(
        turned.artifact,
        "Booked a room for 4 people on 2026-12-01, for Ada Lovelace."
    );
}

#[tokio::test]
async fn agents_share_one_child_and_only_use_what_they_are_granted() {
    let yaml = "
agents:
  - {name: clerk, description: d, model: rules, tools: [builtin.note_put, builtin.note_get]}
  - {name: clock, description: d, model: rules, tools: [builtin.clock]}
  - {name: reader, description: d, model: rules, tools: [builtin.note_get]}
";
    let config = Config::from_yaml(yaml).unwrap();
    let roster = roster(&config, &around(None));
    roster.warm().await;
    let [clerk, clock, reader] = roster.agents.as_slice() else {
        panic!("three agents")
    };
    let turned = Talk::default()
        .say(clerk, "/note_put key=door text=1234")
        .await;
    assert_eq!(turned.outcome, COMPLETED, "{turned:?}");
    let turned = Talk::default().say(reader, "/note_get door").await;
    assert_eq!(
        turned.artifact, "door: 1234",
        "the same child keeps the note"
    );
    let turned = Talk::default().say(clock, "/note_get door").await;
    assert!(
        matches!(turned.outcome, Outcome::InputRequired { .. }),
        "{turned:?}"
    );
    roster.close().await;
}

#[tokio::test]
async fn a_child_that_died_is_started_again_for_the_next_call() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    // A shell writes the pid that the server then runs under, so that the test can kill it.
    let script = format!(
        "echo $$ >> {}; exec {}",
        pids.display(),
        env!("CARGO_BIN_EXE_mcp-under-test")
    );
    let yaml = format!(
        "
servers: {{mortal: {{command: [sh, -c, '{script}']}}}}
agents: [{{name: a, description: d, model: rules, tools: [mortal]}}]
"
    );
    let agent = agent(&yaml, "a");
    for round in 1..=3 {
        let turned = Talk::default().say(&agent, "2+2").await;
        assert_eq!(turned.artifact, "2+2 = 4", "round {round}");
        let written = std::fs::read_to_string(&pids).unwrap();
        let started: Vec<_> = written.split_whitespace().collect();
        assert_eq!(
            started.len(),
            round,
            "one child at a time, one start per death"
        );
        let kill = std::process::Command::new("kill")
            .args(["-9", started[round - 1]])
            .status();
        assert!(kill.unwrap().success());
    }
}

#[tokio::test]
async fn a_child_sees_none_of_the_worker_s_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("env");
    let script = format!(
        "env > {}; exec {}",
        seen.display(),
        env!("CARGO_BIN_EXE_mcp-under-test")
    );
    let yaml = format!(
        "
servers: {{nosy: {{command: [sh, -c, '{script}'], env: {{GIVEN: yes}}}}}}
agents: [{{name: a, description: d, model: rules, tools: [nosy]}}]
"
    );
    Talk::default().say(&agent(&yaml, "a"), "2+2").await;
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(seen.contains("GIVEN=yes"), "{seen}");
    // Cargo sets this for the test's own process; it stands for any key that nobody passed on.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(!seen.contains("CARGO_MANIFEST_DIR"), "{seen}");
}

#[tokio::test]
async fn a_server_that_can_t_start_fails_the_turn_with_its_name() {
    let yaml = "
servers: {broken: {command: [/nonexistent/program]}}
agents: [{name: a, description: d, model: rules, tools: [broken]}]
";
    let agent = agent(yaml, "a");
    for _ in 0..2 {
        let turned = Talk::default().say(&agent, "2+2").await;
        let Outcome::Failed { reason } = turned.outcome else {
            panic!("{turned:?}")
        };
        assert!(reason.contains("the tools of broken"), "{reason}");
    }
}

#[tokio::test]
async fn tools_are_had_over_streamable_http_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let settings = mesh_mcp::Settings::default();
    let stopped = async move { drop(stopped.await) };
    let serving = mesh_mcp::serve_http(listener, settings, mesh_mcp::Hosts::default(), stopped);
    let asking = async {
        let yaml = format!(
            "
servers: {{far: {{url: 'http://{address}/mcp'}}}}
agents: [{{name: a, description: d, model: rules, tools: [far]}}]
"
        );
        let agent = agent(&yaml, "a");
        let turned = Talk::default().say(&agent, "17*23+4").await;
        assert_eq!(turned.artifact, "17*23+4 = 395");
        drop(agent);
        stop.send(()).unwrap();
    };
    let both = async { tokio::join!(serving, asking) };
    let (served, ()) = tokio::time::timeout(Duration::from_secs(30), both)
        .await
        .unwrap();
    served.unwrap();
}

#[tokio::test]
async fn workers_that_share_a_notes_file_share_the_notes() {
    let folder = tempfile::tempdir().unwrap();
    let around = Surroundings {
        notes: Some(folder.path().join("notes.json")),
        ..around(None)
    };
    let config = Config::built_in().unwrap();
    let one = named(roster(&config, &around), "assistant");
    let other = named(roster(&config, &around), "assistant");
    let turned = Talk::default().say(&one, "remember 1234 under door").await;
    assert_eq!(turned.artifact, "Noted under door.", "{turned:?}");
    let turned = Talk::default()
        .say(&other, "what is the note under door")
        .await;
    assert_eq!(turned.artifact, "door: 1234", "{turned:?}");
}
