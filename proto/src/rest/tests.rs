//! Paths, queries and errors, there and back.

use expect_test::expect;
use http::Method;
use proptest::prelude::*;

use super::*;
use crate::{a2a, dialect::Version, operation::Operation};

fn find(method: &Method, path: &str) -> Result<String, Fault> {
    let route = route(method, path, None).map_err(|problem| problem.fault)?;
    Ok(format!(
        "{:?} {} tenant={} task={} config={}",
        route.operation,
        route.version,
        route.tenant.unwrap_or_default(),
        route.task_id.unwrap_or_default(),
        route.config_id.unwrap_or_default(),
    ))
}

#[test]
fn every_path_of_the_specification_leads_to_its_operation() {
    let mut table = String::new();
    for line in [
        "POST /message:send",
        "POST /message:send/",
        "POST /message%3Asend",
        "POST /acme/message:stream",
        "GET /tasks",
        "GET /tasks/",
        "GET /acme/tasks",
        "GET /tasks/t",
        "GET /tasks/a%3Ab%2Fc",
        "GET /tasks/a:b:c",
        "POST /tasks/t:cancel",
        "POST /tasks/t%3Acancel",
        "POST /tasks/a:b:cancel/",
        "GET /tasks/t:subscribe",
        "POST /tasks/t:subscribe",
        "POST /acme/tasks/t%3Asubscribe",
        "POST /tasks/t/pushNotificationConfigs",
        "GET /tasks/t/pushNotificationConfigs",
        "GET /tasks/t/pushNotificationConfigs/c",
        "DELETE /a%2Fb/tasks/t/pushNotificationConfigs/c%20d",
        "GET /extendedAgentCard",
        "GET /acme/extendedAgentCard",
        "POST /tasks/message:send",
        "GET /tasks/tasks",
        "POST /v1/message:send",
        "GET /v1/card",
        "GET /v1/tasks/t:subscribe",
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let found = find(&method.parse().unwrap(), path).unwrap();
        table.push_str(&format!("{line} -> {found}\n"));
    }
    expect![[r#"
        POST /message:send -> SendMessage 1.0 tenant= task= config=
        POST /message:send/ -> SendMessage 1.0 tenant= task= config=
        POST /message%3Asend -> SendMessage 1.0 tenant= task= config=
        POST /acme/message:stream -> SendStreamingMessage 1.0 tenant=acme task= config=
        GET /tasks -> ListTasks 1.0 tenant= task= config=
        GET /tasks/ -> ListTasks 1.0 tenant= task= config=
        GET /acme/tasks -> ListTasks 1.0 tenant=acme task= config=
        GET /tasks/t -> GetTask 1.0 tenant= task=t config=
        GET /tasks/a%3Ab%2Fc -> GetTask 1.0 tenant= task=a:b/c config=
        GET /tasks/a:b:c -> GetTask 1.0 tenant= task=a:b:c config=
        POST /tasks/t:cancel -> CancelTask 1.0 tenant= task=t config=
        POST /tasks/t%3Acancel -> CancelTask 1.0 tenant= task=t config=
        POST /tasks/a:b:cancel/ -> CancelTask 1.0 tenant= task=a:b config=
        GET /tasks/t:subscribe -> SubscribeToTask 1.0 tenant= task=t config=
        POST /tasks/t:subscribe -> SubscribeToTask 1.0 tenant= task=t config=
        POST /acme/tasks/t%3Asubscribe -> SubscribeToTask 1.0 tenant=acme task=t config=
        POST /tasks/t/pushNotificationConfigs -> CreateTaskPushNotificationConfig 1.0 tenant= task=t config=
        GET /tasks/t/pushNotificationConfigs -> ListTaskPushNotificationConfigs 1.0 tenant= task=t config=
        GET /tasks/t/pushNotificationConfigs/c -> GetTaskPushNotificationConfig 1.0 tenant= task=t config=c
        DELETE /a%2Fb/tasks/t/pushNotificationConfigs/c%20d -> DeleteTaskPushNotificationConfig 1.0 tenant=a/b task=t config=c d
        GET /extendedAgentCard -> GetExtendedAgentCard 1.0 tenant= task= config=
        GET /acme/extendedAgentCard -> GetExtendedAgentCard 1.0 tenant=acme task= config=
        POST /tasks/message:send -> SendMessage 1.0 tenant=tasks task= config=
        GET /tasks/tasks -> GetTask 1.0 tenant= task=tasks config=
        POST /v1/message:send -> SendMessage 0.3 tenant= task= config=
        GET /v1/card -> GetExtendedAgentCard 0.3 tenant= task= config=
        GET /v1/tasks/t:subscribe -> SubscribeToTask 0.3 tenant= task=t config=
    "#]].assert_eq(&table);
}

#[test]
fn other_paths_and_methods_lead_nowhere() {
    for line in [
        "GET /",
        "GET /message:send",
        "PUT /message:send",
        "POST /tasks",
        "GET /tasks/t:cancel",
        "POST /tasks/t",
        "DELETE /tasks/t",
        "GET /tasks//x",
        "POST /tasks/:cancel/x",
        "GET //tasks",
        "GET /a/b/tasks",
        "POST /tasks/t/pushNotificationConfigs/c",
        "GET /v1/extendedAgentCard",
        "GET /v1",
        "GET /tasks/t/other",
        "PATCH /tasks/t:subscribe",
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        assert_eq!(
            find(&method.parse().unwrap(), path),
            Err(Fault::MethodNotFound),
            "{line}"
        );
    }
    assert_eq!(find(&Method::GET, "/tasks/%ff"), Err(Fault::InvalidParams));
}

#[test]
fn a_query_string_fills_the_request() {
    let query = "contextId=c+1&status=TASK_STATE_WORKING&page_size=7&pageToken=a%26b&historyLength=0\
        &includeArtifacts=true&statusTimestampAfter=2026-01-01T00%3A00%3A00Z&A2A-Version=1.0&empty=&x";
    let found = route(&Method::GET, "/acme/tasks", Some(query)).unwrap();
    assert_eq!(found.context_id.as_deref(), Some("c 1"));
    let request = found.list_tasks().unwrap();
    assert_eq!(request.tenant, "acme");
    assert_eq!(request.context_id, "c 1");
    assert_eq!(request.status(), a2a::TaskState::Working);
    assert_eq!(
        (request.page_size, request.history_length),
        (Some(7), Some(0))
    );
    assert_eq!(request.page_token, "a&b");
    assert_eq!(request.include_artifacts, Some(true));
    assert_eq!(
        request.status_timestamp_after.map(|time| time.seconds),
        Some(1_767_225_600)
    );

    let found = route(
        &Method::GET,
        "/tasks/t",
        Some("historyLength=3&tenant=acme"),
    )
    .unwrap();
    let request = found.get_task().unwrap();
    assert_eq!(
        (request.tenant.as_str(), request.id.as_str()),
        ("acme", "t")
    );
    assert_eq!(request.history_length, Some(3));
    for wrong in [
        "historyLength=x",
        "historyLength=1.5",
        "historyLength=99999999999",
    ] {
        let problem = route(&Method::GET, "/tasks/t", Some(wrong))
            .unwrap()
            .get_task()
            .unwrap_err();
        assert_eq!(problem.fault, Fault::InvalidParams, "{wrong}");
    }
    for wrong in [
        "status=nope",
        "includeArtifacts=maybe",
        "statusTimestampAfter=yesterday",
    ] {
        let problem = route(&Method::GET, "/tasks", Some(wrong))
            .unwrap()
            .list_tasks()
            .unwrap_err();
        assert_eq!(problem.fault, Fault::InvalidParams, "{wrong}");
    }
}

#[test]
fn the_path_counts_before_the_body() {
    let found = route(&Method::POST, "/acme/tasks/t:cancel", None).unwrap();
    let request = found
        .cancel_task(br#"{"id":"other","tenant":"other","metadata":{"a":1}}"#)
        .unwrap();
    assert_eq!(
        (request.tenant.as_str(), request.id.as_str()),
        ("acme", "t")
    );
    assert!(request.metadata.is_some());
    assert_eq!(found.cancel_task(b"").unwrap().id, "t");
    assert_eq!(found.cancel_task(b"null\n").unwrap().id, "t");
    assert_eq!(found.cancel_task(b"{").unwrap_err().fault, Fault::Parse);
    assert_eq!(
        found.cancel_task(b"[]").unwrap_err().fault,
        Fault::InvalidParams
    );
    let found = route(&Method::POST, "/message:send", None).unwrap();
    let request = found
        .send(br#"{"tenant":"acme","message":{"messageId":"m"}}"#)
        .unwrap();
    assert_eq!(request.tenant, "acme");
    let found = route(&Method::POST, "/tasks/t/pushNotificationConfigs", None).unwrap();
    let request = found
        .create_config(br#"{"url":"http://x","taskId":"other"}"#)
        .unwrap();
    assert_eq!(request.task_id, "t");
}

#[test]
fn every_fault_has_its_status_and_comes_back() {
    let mut table = String::new();
    for fault in Fault::ALL {
        let problem = Problem::new(fault, "what is wrong").with("taskId", "t");
        let (status, body) = error(&problem);
        let json: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["error"]["code"], status.as_u16());
        table.push_str(&format!(
            "{} {} {}\n",
            status.as_u16(),
            json["error"]["status"].as_str().unwrap(),
            json["error"]["details"][0]["reason"].as_str().unwrap()
        ));
        assert_eq!(super::problem(status, &body), problem);
    }
    expect![[r#"
        404 NOT_FOUND TASK_NOT_FOUND
        400 FAILED_PRECONDITION TASK_NOT_CANCELABLE
        400 FAILED_PRECONDITION PUSH_NOTIFICATION_NOT_SUPPORTED
        400 FAILED_PRECONDITION UNSUPPORTED_OPERATION
        400 INVALID_ARGUMENT CONTENT_TYPE_NOT_SUPPORTED
        500 INTERNAL INVALID_AGENT_RESPONSE
        400 FAILED_PRECONDITION EXTENDED_AGENT_CARD_NOT_CONFIGURED
        400 FAILED_PRECONDITION EXTENSION_SUPPORT_REQUIRED
        400 FAILED_PRECONDITION VERSION_NOT_SUPPORTED
        400 INVALID_ARGUMENT PARSE_ERROR
        400 INVALID_ARGUMENT INVALID_REQUEST
        404 UNIMPLEMENTED METHOD_NOT_FOUND
        400 INVALID_ARGUMENT INVALID_PARAMS
        500 INTERNAL INTERNAL_ERROR
        401 UNAUTHENTICATED UNAUTHENTICATED
        403 PERMISSION_DENIED PERMISSION_DENIED
        503 UNAVAILABLE UNAVAILABLE
        413 RESOURCE_EXHAUSTED REQUEST_TOO_LARGE
        429 RESOURCE_EXHAUSTED RESOURCE_EXHAUSTED
        504 DEADLINE_EXCEEDED DEADLINE_EXCEEDED
    "#]]
    .assert_eq(&table);
    let (_, body) = error(&Problem::new(Fault::TaskNotFound, "no task t"));
    expect![[r#"{"error":{"code":404,"status":"NOT_FOUND","message":"no task t","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"TASK_NOT_FOUND","domain":"a2a-protocol.org"}]}}"#]].assert_eq(&String::from_utf8_lossy(&body));
}

#[test]
fn an_error_without_details_is_guessed_from_its_status() {
    for (status, body, fault) in [
        (404, "<html>", Fault::TaskNotFound),
        (503, "", Fault::Unavailable),
        (
            400,
            r#"{"error":{"code":400,"message":"m"}}"#,
            Fault::InvalidParams,
        ),
        (500, r#"{"detail":"x"}"#, Fault::Internal),
        (429, r#"{"error":"x"}"#, Fault::Exhausted),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(
            problem(status, body.as_bytes()).fault,
            fault,
            "{status} {body}"
        );
    }
}

fn back(operation: Operation, request: &impl Request) -> Route {
    let call = call(operation, request).unwrap();
    let (path, query) = match call.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (call.path.as_str(), None),
    };
    let found = route(&call.method, path, query).expect("what is written is read");
    assert_eq!((found.operation, found.version), (operation, Version::V1_0));
    found
}

proptest! {
    #[test]
    fn what_a_client_writes_a_server_reads(
        tenant in "[a-z/:% é]{0,6}", id in ".{1,9}", config in ".{1,9}", token in ".{0,9}",
        size in proptest::option::of(0..99i32), flag: Option<bool>, status in 0..9i32,
    ) {
        // A tenant of this name stands for the paths of 0.3.
        prop_assume!(tenant != "v1");
        let request = a2a::GetTaskRequest { tenant: tenant.clone(), id: id.clone(), history_length: size };
        // An id that ends like a verb cannot be told from one in this binding.
        prop_assume!(!id.ends_with(":cancel") && !id.ends_with(":subscribe"));
        prop_assert_eq!(back(Operation::GetTask, &request).get_task().unwrap(), request);
        let request = a2a::ListTasksRequest {
            tenant: tenant.clone(), context_id: id.clone(), status, page_size: size, page_token: token.clone(),
            history_length: size, status_timestamp_after: None, include_artifacts: flag,
        };
        prop_assert_eq!(back(Operation::ListTasks, &request).list_tasks().unwrap(), request);
        let request = a2a::DeleteTaskPushNotificationConfigRequest { tenant: tenant.clone(), task_id: id.clone(), id: config };
        prop_assert_eq!(back(Operation::DeleteTaskPushNotificationConfig, &request).delete_config(), request);
        let request = a2a::SubscribeToTaskRequest { tenant: tenant.clone(), id: id.clone() };
        prop_assert_eq!(back(Operation::SubscribeToTask, &request).subscribe(), request);
        let request = a2a::CancelTaskRequest { tenant: tenant.clone(), id: id.clone(), metadata: None };
        let body = call(Operation::CancelTask, &request).unwrap().body.unwrap();
        prop_assert_eq!(back(Operation::CancelTask, &request).cancel_task(&body).unwrap(), request);
        let request = a2a::ListTaskPushNotificationConfigsRequest {
            tenant, task_id: id, page_size: size.unwrap_or_default(), page_token: token,
        };
        prop_assert_eq!(
            back(Operation::ListTaskPushNotificationConfigs, &request).list_configs().unwrap(),
            request
        );
    }

    #[test]
    fn no_path_makes_the_router_panic(path: String, query: Option<String>) {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            drop(route(&method, &path, query.as_deref()));
        }
    }
}
