//! The envelope, there and back.

use expect_test::expect;

use super::*;
use crate::a2a;

#[test]
fn a_request_and_its_answer_keep_the_caller_s_id() {
    let ask = a2a::GetTaskRequest {
        id: "t".to_owned(),
        ..Default::default()
    };
    let body = request(&RawId::string("q\"1"), Operation::GetTask, &ask).unwrap();
    expect![[r#"b"{\"jsonrpc\":\"2.0\",\"id\":\"q\\\"1\",\"method\":\"GetTask\",\"params\":{\"id\":\"t\"}}""#]]
        .assert_eq(&format!("{body:?}"));
    assert_eq!(params::<a2a::GetTaskRequest>(&body), Ok(ask));

    let task = a2a::Task {
        id: "t".to_owned(),
        ..Default::default()
    };
    let id = RawId::parse("1.0").unwrap_or_else(RawId::null);
    let body = result(&id, &task);
    expect![[r#"b"{\"jsonrpc\":\"2.0\",\"id\":1.0,\"result\":{\"id\":\"t\"}}""#]]
        .assert_eq(&format!("{body:?}"));
    assert_eq!(response::<a2a::Task>(&body), Ok(task));
}

#[test]
fn every_fault_has_its_code_and_comes_back() {
    let mut codes = String::new();
    for fault in Fault::ALL {
        let problem = Problem::new(fault, "what is wrong").with("taskId", "t");
        let body = error(&RawId::number(7), &problem);
        let json: Value = serde_json::from_slice(&body).unwrap();
        codes.push_str(&format!(
            "{} {}\n",
            json["error"]["code"], json["error"]["data"][0]["reason"]
        ));
        assert_eq!(json["id"], 7);
        assert_eq!(response::<a2a::Task>(&body), Err(problem));
    }
    expect![[r#"
        -32001 "TASK_NOT_FOUND"
        -32002 "TASK_NOT_CANCELABLE"
        -32003 "PUSH_NOTIFICATION_NOT_SUPPORTED"
        -32004 "UNSUPPORTED_OPERATION"
        -32005 "CONTENT_TYPE_NOT_SUPPORTED"
        -32006 "INVALID_AGENT_RESPONSE"
        -32007 "EXTENDED_AGENT_CARD_NOT_CONFIGURED"
        -32008 "EXTENSION_SUPPORT_REQUIRED"
        -32009 "VERSION_NOT_SUPPORTED"
        -32700 "PARSE_ERROR"
        -32600 "INVALID_REQUEST"
        -32601 "METHOD_NOT_FOUND"
        -32602 "INVALID_PARAMS"
        -32603 "INTERNAL_ERROR"
        -32603 "UNAUTHENTICATED"
        -32603 "PERMISSION_DENIED"
        -32603 "UNAVAILABLE"
        -32600 "REQUEST_TOO_LARGE"
        -32603 "RESOURCE_EXHAUSTED"
        -32603 "DEADLINE_EXCEEDED"
    "#]]
    .assert_eq(&codes);
}

#[test]
fn an_error_looks_as_the_specification_says() {
    let problem = Problem::new(Fault::TaskNotFound, "no task t").with("taskId", "t");
    expect![[r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"no task t","data":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"TASK_NOT_FOUND","domain":"a2a-protocol.org","metadata":{"taskId":"t"}}]}}"#]]
        .assert_eq(&String::from_utf8_lossy(&error(&RawId::null(), &problem)));
}

#[test]
fn a_foreign_error_is_understood_as_far_as_it_goes() {
    for (error, fault) in [
        (r#"{"code":-32001,"message":"gone"}"#, Fault::TaskNotFound),
        (
            r#"{"code":-32001,"message":"gone","data":null}"#,
            Fault::TaskNotFound,
        ),
        (
            r#"{"code":-32001,"message":"gone","data":"text"}"#,
            Fault::TaskNotFound,
        ),
        (
            r#"{"code":-32602,"data":[{"field":"x"}]}"#,
            Fault::InvalidParams,
        ),
        (r#"{"code":-1,"message":"?"}"#, Fault::Internal),
        (r#"{"code":99999999999,"message":"?"}"#, Fault::Internal),
        (
            r#"{"code":-32603,"data":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"UNAVAILABLE"}]}"#,
            Fault::Unavailable,
        ),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#);
        let problem = response::<a2a::Task>(body.as_bytes()).unwrap_err();
        assert_eq!(problem.fault, fault, "{error}");
    }
}

#[test]
fn what_is_no_answer_is_a_fault_of_the_agent() {
    for body in [
        "",
        "<html>",
        "{}",
        "[]",
        r#"{"jsonrpc":"2.0","id":1,"result":7}"#,
        r#"{"error":7}"#,
    ] {
        let problem = response::<a2a::Task>(body.as_bytes()).unwrap_err();
        assert_eq!(problem.fault, Fault::InvalidAgentResponse, "{body}");
    }
}

#[test]
fn a_call_without_a_result_is_answered_with_an_empty_one() {
    let body = result(&RawId::number(1), &json::Empty {});
    expect![[r#"{"jsonrpc":"2.0","id":1,"result":{}}"#]].assert_eq(&String::from_utf8_lossy(&body));
    for result in ["null", "{}", "true"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        assert_eq!(
            response::<json::Empty>(body.as_bytes()),
            Ok(json::Empty {}),
            "{result}"
        );
    }
}

#[test]
fn absent_params_are_an_empty_object_and_wrong_ones_are_refused() {
    let read = |body: &str| params::<a2a::GetTaskRequest>(body.as_bytes()).map_err(|p| p.fault);
    assert_eq!(read("{}"), Ok(a2a::GetTaskRequest::default()));
    assert_eq!(
        read(r#"{"params":null}"#),
        Ok(a2a::GetTaskRequest::default())
    );
    assert_eq!(read(r#"{"params":[]}"#), Err(Fault::InvalidParams));
    assert_eq!(read(r#"{"params":{"id":7}}"#), Err(Fault::InvalidParams));
    assert_eq!(read(r#"{"params":"#), Err(Fault::Parse));
}
