//! Agents files, right and wrong.

use expect_test::expect;
use prometheus_client::registry::Registry;

use super::*;

fn around() -> Surroundings {
    Surroundings {
        router: Some("http://127.0.0.1:1".to_owned()),
        builtin: vec!["mcp-under-test".into()],
        notes: None,
        sidecar: None,
        #[cfg(feature = "openai")]
        openai: None,
    }
}

fn build(yaml: &str) -> Result<Roster, String> {
    let config = Config::from_yaml(yaml).map_err(|error| error.to_string())?;
    let metrics = Metrics::register(&mut Registry::default());
    config
        .roster(&around(), &metrics)
        .map_err(|error| error.to_string())
}

#[test]
fn the_example_of_a_group_is_one_and_a_wrong_group_is_told_by_its_name() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/group.yaml");
    let config = Config::load(Some(&path)).unwrap();
    let roster = config
        .roster(&around(), &Metrics::register(&mut Registry::default()))
        .unwrap();
    let facts = roster.agents[2].card_facts();
    assert_eq!(facts.model, "none: a group of 2");
    let wrong = "agents: [{name: g, description: d, group: {members: [g]}}]";
    assert_eq!(
        build(wrong).unwrap_err(),
        "agent g is no group: it is a member of itself"
    );
}

#[test]
fn the_example_file_holds_the_three_agents_that_are_built_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/agents.yaml");
    let config = Config::load(Some(&path)).unwrap();
    assert_eq!(config, Config::load(None).unwrap());
    let metrics = Metrics::register(&mut Registry::default());
    let roster = config.roster(&around(), &metrics).unwrap();
    let facts = roster.agents.iter().map(Agent::card_facts);
    let shown: Vec<_> = facts
        .map(|f| format!("{}: {} [{}]", f.name, f.model, f.skills.len()))
        .collect();
    expect![[r#"
        assistant: rules/1 (deterministic, no LLM) [4]
        planner: rules/1 (deterministic, no LLM) [1]
        desk: rules/1 (deterministic, no LLM) [1]"#]]
    .assert_eq(&shown.join("\n"));
    assert_eq!(roster.servers.len(), 1, "one child for all agents");
}

#[test]
fn toml_and_yaml_say_the_same() {
    let yaml = "
servers: {time: {command: [mcp-server-time]}}
agents:
  - {name: a, description: d, model: rules, tools: [builtin.clock, time], max_turns: 3}
";
    let toml = r#"
[servers.time]
command = ["mcp-server-time"]
[[agents]]
name = "a"
description = "d"
model = "rules"
tools = ["builtin.clock", "time"]
max_turns = 3
"#;
    assert_eq!(
        Config::from_yaml(yaml).unwrap(),
        Config::from_toml(toml).unwrap()
    );
    assert_eq!(build(yaml).unwrap().servers.len(), 2);
}

#[test]
fn a_mistake_is_named() {
    let agent = "name: a, description: d, model: rules";
    for (yaml, complaint) in [
        ("agents: []".to_owned(), "no agent"),
        (
            format!("agents: [{{{agent}}}, {{{agent}}}]"),
            "two agents a",
        ),
        (
            format!("agents: [{{{agent}, tools: [nobody.tool]}}]"),
            "nobody",
        ),
        (format!("agents: [{{{agent}, colour: red}}]"), "colour"),
        ("agents: [{name: tasks, description: d}]".to_owned(), "name"),
        (
            "agents: [{name: a, description: d, model: gpt}]".to_owned(),
            "\"gpt\" is no model",
        ),
        (
            "agents: [{name: a, description: d, model: openai}]".to_owned(),
            "language model",
        ),
        (format!("agents: [{{{agent}, max_turns: 0}}]"), "max_turns"),
        (
            format!("agents: [{{{agent}, bindings: [soap]}}]"),
            "\"soap\" is no binding",
        ),
        (
            format!("agents: [{{{agent}, bindings: []}}]"),
            "an empty list of bindings",
        ),
        (
            format!(
                "servers: {{s: {{command: [x], url: 'http://y'}}}}\nagents: [{{{agent}, tools: [s]}}]"
            ),
            "server s is described wrong",
        ),
        (
            format!("agents: [{{{agent}, outputs: [{{binding: b, description: d}}]}}]"),
            "the output binding \"b\" of a Dapr sidecar, and there is none",
        ),
        (
            format!(
                "agents: [{{{agent}, outputs: [{{binding: b, description: d, operations: []}}]}}]"
            ),
            "no operation",
        ),
        (
            format!("agents: [{{{agent}, inputs: [{{binding: b}}, {{binding: b}}]}}]"),
            "the input \"b\"",
        ),
        ("agents: [".to_owned(), "agents file is wrong"),
    ] {
        let error = build(&yaml)
            .err()
            .unwrap_or_else(|| panic!("{yaml} was taken"));
        assert!(error.contains(complaint), "{yaml}: {error}");
    }
    let missing = Config::load(Some(Path::new("/nonexistent/agents.yaml")));
    assert!(matches!(missing, Err(Error::Read { .. })));
}

#[tokio::test]
async fn a_secret_takes_the_place_of_its_name_where_secrets_belong_or_is_refused_by_it() {
    let file = |value: &str| {
        let yaml = format!(
            "openai: {{key: '{value}'}}\n\
             servers: {{s: {{command: [x], env: {{K: 'a {value}'}}}}, \
             t: {{url: 'http://t', headers: {{authorization: 'Bearer {value}'}}}}}}\n\
             agents: [{{name: a, description: '{value}', model: rules}}]"
        );
        Config::from_yaml(&yaml).unwrap()
    };
    // A variable that each run of the tests has.
    let name = "CARGO_MANIFEST_DIR";
    let value = std::env::var(name).unwrap();
    let named = format!("${{env:{name}}}");
    let filled = file(&named).with_secrets(&around()).await.unwrap();
    let openai = filled.openai.clone().unwrap();
    assert_eq!(openai.key.as_ref(), Some(&value));
    assert!(!format!("{openai:?}").contains(&value), "{openai:?}");
    assert_eq!(filled.servers["s"].env["K"], format!("a {value}"));
    assert_eq!(
        filled.servers["t"].headers["authorization"],
        format!("Bearer {value}")
    );
    assert_eq!(filled.agents[0].description, named, "nothing secret there");
    for (value, complaint) in [
        (
            "${env:DACA_NO_SUCH_VARIABLE}",
            "${env:DACA_NO_SUCH_VARIABLE} is not to be had",
        ),
        ("${secret:store}", "secret:STORE/NAME"),
        (
            "${secret:store/name}",
            "and there is none: set DAPR_GRPC_PORT",
        ),
    ] {
        let refused = file(value).with_secrets(&around()).await.unwrap_err();
        assert!(refused.to_string().contains(complaint), "{refused}");
    }
}
