//! What becomes of the tools' answers: words, further calls, and memory for the next message.

use expect_test::expect;
use serde_json::json;

use super::*;

#[test]
fn answers_are_worded_from_data() {
    let answers = |text: &str, name: &str, output: ToolOutput| {
        let mut talk = Talk::with("assistant");
        talk.say(text);
        talk.hear(0, name, output);
        talk.next()
    };
    expect!["answer 17*23+4 = 395"].assert_eq(&answers(
        "17*23+4",
        "calculate",
        data(json!({"expression": "17*23+4", "result": "395", "exact": true})),
    ));
    expect!["answer It is 09:00:00 on Wednesday, 2026-07-01, in Asia/Tokyo (UTC+09:00)."]
        .assert_eq(&answers(
            "time in Tokyo",
            "clock",
            data(
                json!({"zone": "Asia/Tokyo", "time": "09:00:00", "date": "2026-07-01",
            "weekday": "Wednesday", "offset": "+09:00", "abbreviation": "JST"}),
            ),
        ));
    expect!["answer 1 word, 1 character, 1 line, 2 sentences."].assert_eq(&answers(
        "count words: a",
        "text_stats",
        data(json!({"words": 1, "characters": 1, "lines": 1, "sentences": 2})),
    ));
    expect!["answer none"].assert_eq(&answers(
        "list notes",
        "note_list",
        data(json!({"keys": []})),
    ));
    expect!["fail calculate failed: division by zero"].assert_eq(&answers(
        "1/0",
        "calculate",
        ToolOutput::failed("division by zero".to_owned()),
    ));
    expect!["answer it is two"].assert_eq(&answers(
        "1+1",
        "calculate",
        ToolOutput::text("it is two".to_owned()),
    ));
}

#[test]
fn an_answer_feeds_the_call_after_it_and_the_next_message() {
    let mut talk = Talk::with("assistant");
    talk.say("17*23+4 and remember it as total");
    let result = data(json!({"expression": "17*23+4", "result": "395", "exact": true}));
    talk.hear(0, "calculate", result);
    expect![[r#"note_put {"key":"total","text":"395"}"#]].assert_eq(&talk.next());
    talk.hear(
        1,
        "note_put",
        data(json!({"key": "total", "replaced": false})),
    );
    expect![[r#"
        answer 17*23+4 = 395
        Noted under total."#]]
    .assert_eq(&talk.next());
    expect![[r#"calculate {"expression":"395 * 2"}"#]].assert_eq(&talk.say("what is that times 2"));

    let mut talk = Talk::with("assistant");
    talk.say("time in Tokyo");
    talk.hear(0, "clock", data(json!({"zone": "Asia/Tokyo"})));
    talk.next();
    expect![[r#"clock {"zone":"Asia/Tokyo"}"#]].assert_eq(&talk.say("what time is it there now"));
}

#[test]
fn a_failed_part_does_not_hide_the_others() {
    let mut talk = Talk::with("assistant");
    talk.say("1/0 and 2+2");
    talk.hear(
        0,
        "calculate",
        ToolOutput::failed("division by zero".to_owned()),
    );
    let four = json!({"expression": "2+2", "result": "4", "exact": true});
    talk.hear(1, "calculate", data(four));
    expect![[r#"
        answer calculate failed: division by zero
        2+2 = 4"#]]
    .assert_eq(&talk.next());
}
