//! The life of a turn with a scripted model.

use daca_worker::{
    model::{
        Reply,
        scripted::{Echo, Scripted, Step as Scene},
    },
    session::{Ending, ToolCall},
};
use serde_json::Map;

use super::*;

fn calls(names: &[&str]) -> Reply {
    let call = |(at, name): (usize, &&str)| ToolCall {
        id: format!("c{at}"),
        name: (*name).to_owned(),
        arguments: Map::new(),
    };
    Reply::Calls {
        text: String::new(),
        calls: names.iter().enumerate().map(call).collect(),
    }
}

fn answer(text: &str) -> Reply {
    Reply::Answer {
        text: text.to_owned(),
    }
}

#[tokio::test]
async fn a_failing_tool_is_told_to_the_model_which_may_still_answer() {
    let model = Arc::new(Scripted::new([
        calls(&["nothing"]).into(),
        answer("without it").into(),
    ]));
    let agent = modelled(Arc::clone(&model) as _, Toolbox::default());
    let mut talk = Talk::default();
    let turned = talk.say(&agent, "hi").await;
    assert_eq!(
        (turned.outcome, turned.artifact.as_str()),
        (COMPLETED, "without it")
    );
    assert_eq!(talk.last_tool_output(), "there is no tool nothing");
    assert_eq!(model.left(), 0);
    let shown = model.asked();
    assert!(matches!(&shown[1].last().unwrap().entry,
        Entry::Tool { output, .. } if output.ending == Ending::Failed));
}

#[tokio::test]
async fn a_model_that_never_answers_is_stopped_after_its_rounds() {
    let rounds = (0..9).map(|_| Scene::from(calls(&["nothing"])));
    let model = Arc::new(Scripted::new(rounds));
    let turned = Talk::default()
        .say(&modelled(Arc::clone(&model) as _, Toolbox::default()), "hi")
        .await;
    let reason = "no answer after 3 rounds of model and tools".to_owned();
    assert_eq!(turned.outcome, Outcome::Failed { reason });
    assert_eq!(model.left(), 6);
}

#[tokio::test]
async fn deltas_stream_into_one_artifact_and_a_preamble_gives_way() {
    let scenes = [
        Scene {
            deltas: vec!["let me ".to_owned(), "look".to_owned()],
            reply: Ok(calls(&["nothing"])),
        },
        Scene {
            deltas: vec!["it ".to_owned(), "is ".to_owned(), "noon".to_owned()],
            reply: Ok(answer("it is noon")),
        },
    ];
    let model = Arc::new(Scripted::new(scenes));
    let turned = Talk::default()
        .say(&modelled(model, Toolbox::default()), "hi")
        .await;
    assert_eq!((turned.artifact.as_str(), turned.pieces), ("it is noon", 4));
}

#[tokio::test]
async fn more_calls_than_fit_are_answered_with_a_refusal() {
    let names = vec!["nothing"; 20];
    let model = Arc::new(Scripted::new([calls(&names).into(), answer("ok").into()]));
    let mut talk = Talk::default();
    talk.say(&modelled(model, Toolbox::default()), "hi").await;
    let answers = talk
        .history
        .iter()
        .filter(|item| matches!(item.entry, Entry::Tool { .. }));
    assert_eq!(answers.count(), 20, "every call has an answer");
    assert_eq!(
        talk.last_tool_output(),
        "at most 16 tools are called at once"
    );
}

#[tokio::test]
async fn a_model_that_fails_fails_the_task_with_its_reason() {
    let turned = Talk::default()
        .say(
            &modelled(Arc::new(Scripted::default()), Toolbox::default()),
            "hi",
        )
        .await;
    let reason = "the script has no further step".to_owned();
    assert_eq!(turned.outcome, Outcome::Failed { reason });
}

#[tokio::test]
async fn a_message_without_words_is_rejected_and_echo_says_back_the_others() {
    let echo = modelled(Arc::new(Echo), Toolbox::default());
    let turned = Talk::default().say(&echo, "  ").await;
    assert!(
        matches!(turned.outcome, Outcome::Rejected { .. }),
        "{turned:?}"
    );
    assert_eq!(Talk::default().say(&echo, "héllo").await.artifact, "héllo");
}

#[tokio::test]
async fn a_dropped_turn_stops_where_it_is() {
    let yaml = "agents: [{name: a, description: d, model: 'work:wait_ms=600000'}]";
    let agent = agent(yaml, "a");
    let ask = TurnAsk {
        task_id: "t".to_owned(),
        scope: Scope {
            agent: agent.name().clone(),
            tenant: String::new(),
            principal: String::new(),
        },
        context_id: "c".to_owned(),
        message: message("work"),
        history: vec![],
        call: CallContext::default(),
        step: 0,
        done: vec![],
        boundaries: None,
    };
    let (sender, mut steps) = mpsc::channel(4);
    {
        let mut turn = Box::pin(agent.turn(ask, &sender));
        tokio::select! {
            outcome = &mut turn => panic!("{outcome:?}"),
            step = steps.recv() => assert!(matches!(step, Some(Step::Remember(_)))),
        }
    }
    drop(sender);
    assert_eq!(steps.recv().await, None, "nobody is left to tell anything");
}
