//! The deterministic model against the real server's tools: tables of what is said and what is done.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

mod answers;

/// The tools as the server describes them, and two more of other kinds.
fn tools(agent: &str) -> Vec<ToolSpec> {
    let spec = |name: &str, description: &str, input: Value, kind| ToolSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        input: input.as_object().unwrap().clone(),
        kind,
    };
    match agent {
        "desk" => vec![spec(
            "book_room",
            "Book or reserve a meeting room.",
            json!({
                "type": "object",
                "properties": {
                    "date": {"type": "string", "format": "date", "description": "The day, as YYYY-MM-DD"},
                    "people": {"type": "integer", "minimum": 1, "description": "How many people come"},
                    "name": {"type": "string", "description": "In whose name"},
                },
                "required": ["date", "people", "name"],
            }),
            ToolKind::Tool,
        )],
        "planner" => vec![spec(
            "ask_assistant",
            "Ask the agent assistant, which has tools.",
            json!({
                "type": "object",
                "properties": {
                    "message": {"type": "string"},
                    "taskId": {"type": "string"},
                    "contextId": {"type": "string"},
                },
                "required": ["message"],
            }),
            ToolKind::Agent,
        )],
        _ => {
            let root = Some(std::env::temp_dir());
            let server = mesh_mcp::Server::new(&mesh_mcp::Settings { root, notes: None }).unwrap();
            let real = server.tools().into_iter().map(|tool| ToolSpec {
                name: tool.name.to_string(),
                description: tool.description.unwrap().to_string(),
                input: tool.input_schema.as_ref().clone(),
                kind: ToolKind::Tool,
            });
            real.collect()
        }
    }
}

/// A conversation under way in one task.
struct Talk {
    tools: Vec<ToolSpec>,
    items: Vec<Item>,
}

impl Talk {
    fn with(agent: &str) -> Self {
        Self {
            tools: tools(agent),
            items: Vec::new(),
        }
    }

    fn add(&mut self, entry: Entry) {
        self.items.push(Item {
            task: "t".to_owned(),
            entry,
        });
    }

    /// Says something and shows the next step, which must be the same twice.
    fn say(&mut self, text: &str) -> String {
        self.say_with(text, &json!({}))
    }

    fn say_with(&mut self, text: &str, fields: &Value) -> String {
        let fields = fields.as_object().unwrap().clone();
        self.add(Entry::User {
            text: text.to_owned(),
            fields,
        });
        self.next()
    }

    fn next(&mut self) -> String {
        let prompt = Prompt {
            task: "t",
            instructions: "",
            tools: &self.tools,
            items: &self.items,
        };
        let reply = decide(prompt);
        assert_eq!(
            reply,
            decide(prompt),
            "the same input gives the same output"
        );
        match reply {
            Reply::Answer { text } => {
                self.add(Entry::Assistant {
                    text: text.clone(),
                    calls: vec![],
                });
                format!("answer {text}")
            }
            Reply::Fail { reason } => format!("fail {reason}"),
            Reply::Ask { question, pending } => {
                self.add(Entry::Asked {
                    question: question.clone(),
                    pending,
                });
                format!("ask {question}")
            }
            Reply::Calls { calls, .. } => {
                let shown = calls
                    .iter()
                    .map(|c| format!("{} {}", c.name, json!(c.arguments)));
                let shown = shown.collect::<Vec<_>>().join("\n");
                self.add(Entry::Assistant {
                    text: String::new(),
                    calls,
                });
                shown
            }
        }
    }

    fn hear(&mut self, call: usize, name: &str, output: ToolOutput) {
        self.add(Entry::Tool {
            call: call_id(call),
            name: name.to_owned(),
            output,
        });
    }
}

fn data(value: Value) -> ToolOutput {
    ToolOutput {
        text: value.to_string(),
        structured: Some(value),
        ending: Ending::Done,
    }
}

fn check(agent: &str, text: &str, expected: &Expect) {
    expected.assert_eq(&Talk::with(agent).say(text));
}

#[test]
fn questions_find_their_tool() {
    let check = |text, expected| check("assistant", text, expected);
    check(
        "what time is it in Tokyo",
        &expect![[r#"clock {"zone":"Asia/Tokyo"}"#]],
    );
    check(
        "What's the time in new york?",
        &expect![[r#"clock {"zone":"America/New_York"}"#]],
    );
    check("Tokyo", &expect![[r#"clock {"zone":"Asia/Tokyo"}"#]]);
    check(
        "which day is it in Europe/Berlin",
        &expect![[r#"clock {"zone":"Europe/Berlin"}"#]],
    );
    check(
        "17*23+4",
        &expect![[r#"calculate {"expression":"17*23+4"}"#]],
    );
    check(
        "what is 17*23+4",
        &expect![[r#"calculate {"expression":"17*23+4"}"#]],
    );
    check(
        "What is 17 * (23 + 4)?",
        &expect![[r#"calculate {"expression":"17 * (23 + 4)"}"#]],
    );
    check(
        "calculate 5 plus 7 times 2",
        &expect![[r#"calculate {"expression":"5 + 7 * 2"}"#]],
    );
    check(
        "add 3 and 4",
        &expect![[r#"calculate {"expression":"3 + 4"}"#]],
    );
    check(
        "how many words in this text: the quick brown fox. And more",
        &expect![[r#"text_stats {"text":"the quick brown fox. And more"}"#]],
    );
    check(
        "How many words are in \"one two three\"?",
        &expect![[r#"text_stats {"text":"one two three"}"#]],
    );
    check(
        "count the words of the following: a b\nc",
        &expect![[r#"text_stats {"text":"a b\nc"}"#]],
    );
    check(
        "remember milk and eggs under shopping",
        &expect![[r#"note_put {"key":"shopping","text":"milk and eggs"}"#]],
    );
    check(
        "save a note: buy milk, key=todo",
        &expect![[r#"note_put {"key":"todo","text":"buy milk"}"#]],
    );
    check(
        "what is the note under todo",
        &expect![[r#"note_get {"key":"todo"}"#]],
    );
    check("list all notes", &expect!["note_list {}"]);
    check(
        "read docs/readme.md",
        &expect![[r#"read_file {"path":"docs/readme.md"}"#]],
    );
    check(
        "list the files in docs/",
        &expect![[r#"list_files {"path":"docs/"}"#]],
    );
    check(
        "show the file notes.txt",
        &expect![[r#"read_file {"path":"notes.txt"}"#]],
    );
}

#[test]
fn a_message_may_ask_for_several_things() {
    let check = |text, expected| check("assistant", text, expected);
    check(
        "What time is it in Tokyo and London, and what is 17*23+4?",
        &expect![[r#"
            clock {"zone":"Asia/Tokyo"}
            clock {"zone":"Europe/London"}
            calculate {"expression":"17*23+4"}"#]],
    );
    check(
        "Hello! 2+2 please. Thanks",
        &expect![[r#"calculate {"expression":"2+2"}"#]],
    );
    check(
        "two questions: what time is it in Rome? And 3*3",
        &expect![[r#"
            clock {"zone":"Europe/Rome"}
            calculate {"expression":"3*3"}"#]],
    );
    check(
        "calculate 17*23+4 and remember it as total",
        &expect![[r#"calculate {"expression":"17*23+4"}"#]],
    );
    check(
        "time in Rome and more questions: 3*3",
        &expect![[r#"
            clock {"zone":"Europe/Rome"}
            calculate {"expression":"3*3"}"#]],
    );
    check(
        "2+2 and sing me a song",
        &expect![[r#"calculate {"expression":"2+2"}"#]],
    );
}

#[test]
fn a_tool_is_called_by_its_name() {
    let check = |text, expected| check("assistant", text, expected);
    check(
        r#"/clock {"zone": "UTC"}"#,
        &expect![[r#"clock {"zone":"UTC"}"#]],
    );
    check("/clock Tokyo", &expect![[r#"clock {"zone":"Asia/Tokyo"}"#]]);
    check(
        "/calculate 1+1",
        &expect![[r#"calculate {"expression":"1+1"}"#]],
    );
    check(
        "/clock",
        &expect![
            "ask Please give me `zone` (Time zone: an IANA name such as Asia/Tokyo, or a well-known city such as Tokyo)."
        ],
    );
    check(
        "/note_put key=a text=\"b c\"",
        &expect![[r#"note_put {"key":"a","text":"b c"}"#]],
    );
    let said = Talk::with("assistant").say("/nothing");
    assert!(said.starts_with("ask There is no tool nothing."), "{said}");
}

#[test]
fn what_fits_no_tool_is_answered_with_what_does() {
    for text in [
        "who won the world cup in 1998",
        "what is the population of Tokyo",
        "hello",
        "😀",
    ] {
        let said = Talk::with("assistant").say(text);
        assert!(
            said.starts_with("ask I match words to tools"),
            "{text}: {said}"
        );
    }
    check(
        "desk",
        "what can you do?",
        &expect![[r#"
        ask I match words to tools and found no tool for this. What I can do:
        - /book_room: Book or reserve a meeting room."#]],
    );
}

#[test]
fn what_is_missing_is_asked_for_and_then_filled() {
    let mut talk = Talk::with("assistant");
    expect!["ask Please give me `zone` (Time zone: an IANA name such as Asia/Tokyo, or a well-known city such as Tokyo)."].assert_eq(&talk.say("what time is it"));
    expect![[r#"clock {"zone":"Asia/Tokyo"}"#]].assert_eq(&talk.say("Tokyo"));

    let mut talk = Talk::with("assistant");
    expect!["ask Please give me `text` (The text whose words, characters, lines and sentences are counted, as it stands)."].assert_eq(&talk.say("how many words"));
    expect![[r#"text_stats {"text":"It was a dark night. And then?"}"#]]
        .assert_eq(&talk.say("It was a dark night. And then?"));

    let mut talk = Talk::with("assistant");
    talk.say("what time is it");
    expect![[r#"calculate {"expression":"17*23+4"}"#]].assert_eq(&talk.say("17*23+4"));

    let mut talk = Talk::with("assistant");
    talk.say("what time is it");
    expect![[r#"clock {"zone":"Atlantis"}"#]].assert_eq(&talk.say("Atlantis"));

    let mut talk = Talk::with("assistant");
    talk.say("what time is it and what is 2+2");
    expect![[r#"
        clock {"zone":"Europe/Paris"}
        calculate {"expression":"2+2"}"#]]
    .assert_eq(&talk.say("in Paris please"));

    let mut talk = Talk::with("assistant");
    talk.say("what time is it");
    expect!["answer Dropped."].assert_eq(&talk.say("never mind"));
}

#[test]
fn a_text_that_was_asked_for_is_taken_as_it_is() {
    let mut talk = Talk::with("assistant");
    talk.say("how many words");
    expect![[r#"text_stats {"text":"He said \"hi\" at 10:30, on 2026-12-01. Note: 17*23"}"#]]
        .assert_eq(&talk.say("He said \"hi\" at 10:30, on 2026-12-01. Note: 17*23"));
}

#[test]
fn a_text_of_any_length_and_any_characters_is_answered() {
    let long = |piece: &str| piece.repeat(12_000 / piece.len());
    for piece in [
        "“", "\"", "' ", ": ", "text: ", "a=b ", "1 ", "1+", "and ", "x. ", "é", " ", "(",
    ] {
        for agent in ["assistant", "planner", "desk"] {
            Talk::with(agent).say(&long(piece));
        }
    }
    let words = long("word ");
    let said = Talk::with("assistant").say(&format!("count the words in {words}"));
    assert!(
        said.starts_with("ask Please give me `text`"),
        "no part is taken for the whole"
    );
    let said = Talk::with("assistant").say(&format!("count the words in this text: {words}"));
    assert_eq!(
        said.len(),
        r#"text_stats {"text":""}"#.len() + words.trim().len()
    );
    let said = Talk::with("assistant").say(&long("2+2. "));
    assert_eq!(said, "ask Please ask for at most 16 things at once.");
}

#[test]
fn a_form_is_filled_in_any_order_and_asks_for_the_rest() {
    let say = |lines: &[&str]| {
        let mut talk = Talk::with("desk");
        lines
            .iter()
            .map(|line| talk.say(line))
            .collect::<Vec<_>>()
            .join("\n")
    };
    expect![[r#"
        ask Please give me `date` (The day, as YYYY-MM-DD), `people` (How many people come) and `name` (In whose name).
        book_room {"date":"2026-12-01","name":"Ada","people":4}"#]].assert_eq(&say(&["book a room", "2026-12-01, 4 people, Ada"]));
    expect![[r#"
        ask Please give me `date` (The day, as YYYY-MM-DD) and `name` (In whose name).
        ask Please give me `name` (In whose name).
        book_room {"date":"2026-12-01","name":"Ada Lovelace","people":4}"#]]
    .assert_eq(&say(&[
        "I need a room for 4 people",
        "on December 1, 2026",
        "Ada Lovelace",
    ]));
    expect![[r#"
        ask Please give me `people` (How many people come).
        book_room {"date":"2026-12-01","name":"Ada","people":4}"#]]
    .assert_eq(&say(&["book a room for Ada on 2026-12-01", "4"]));
    expect![[r#"book_room {"date":"2026-12-01","name":"Ada","people":4}"#]].assert_eq(&say(&[
        "book a room, date: 2026-12-01, people: 4, name: Ada",
    ]));
    expect![[r#"book_room {"date":"2026-12-01","name":"Ada Lovelace","people":6}"#]].assert_eq(
        &say(&["reserve a room on 1 Dec 2026 for six people, my name is Ada Lovelace."]),
    );
    expect![[r#"
        ask Please give me `date` (The day, as YYYY-MM-DD), `people` (How many people come) and `name` (In whose name).
        ask Please give me `date` (The day, as YYYY-MM-DD), `people` (How many people come) and `name` (In whose name).
        ask Please give me `people` (How many people come) and `name` (In whose name).
        ask Please give me `name` (In whose name).
        book_room {"date":"2026-12-01","name":"Bob","people":3}"#]].assert_eq(&say(&[
        "book a room",
        "what?",
        "2026-12-01",
        "for 3",
        "name=Bob",
    ]));

    let mut talk = Talk::with("desk");
    let fields = json!({"date": "2026-12-01", "people": 4, "name": "Ada"});
    expect![[r#"book_room {"date":"2026-12-01","name":"Ada","people":4}"#]]
        .assert_eq(&talk.say_with("book a room", &fields));
}

#[test]
fn of_a_chat_with_its_history_only_the_new_words_are_planned() {
    let text = "Instructions:\nBe brief and tell the time.\n\nThe conversation so far:\n\
                user: what time is it in Tokyo?\n\nThe message to answer:\n\nwhat is 17*23+4";
    let told = Talk::with("assistant").say(text);
    assert_eq!(told, Talk::with("assistant").say("what is 17*23+4"));
}

#[test]
fn an_agent_that_delegates_splits_and_passes_on() {
    expect![[r#"
        ask_assistant {"message":"What time is it in Tokyo?"}
        ask_assistant {"message":"how many words in this text: a b. c"}"#]]
    .assert_eq(
        &Talk::with("planner")
            .say("What time is it in Tokyo? And how many words in this text: a b. c"),
    );
    expect![[r#"
        ask_assistant {"message":"what time is it in Tokyo"}
        ask_assistant {"message":"what is 17*23+4?"}"#]]
    .assert_eq(&Talk::with("planner").say("plan: what time is it in Tokyo, and what is 17*23+4?"));
    let mut talk = Talk::with("planner");
    talk.say("what time is it");
    let ending = Ending::Waiting {
        task: "remote".to_owned(),
        context: "c".to_owned(),
    };
    let text = "Please give me `zone`.".to_owned();
    talk.hear(
        0,
        "ask_assistant",
        ToolOutput {
            text,
            structured: None,
            ending,
        },
    );
    expect!["ask Please give me `zone`."].assert_eq(&talk.next());
    expect![[r#"ask_assistant {"contextId":"c","message":"Tokyo and nothing else. Please","taskId":"remote"}"#]].assert_eq(&talk.say("Tokyo and nothing else. Please"));
}
