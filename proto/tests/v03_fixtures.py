"""Writes fixtures/v03.json: messages of 0.3 made with the official Python SDK's own types.

    python v03_fixtures.py fixtures/v03.json

Each case has what is on the wire in one binding (`body`: JSON, or hex of protobuf), and the same in 1.0
(`pivot`: ProtoJSON), as the SDK's own converters turn it. `written` is what the SDK writes for the pivot
where that is not `body` itself. Needs a2a-sdk with its 0.3 compatibility layer.
"""

import json
import sys

from google.protobuf.json_format import MessageToDict

from a2a.compat.v0_3 import a2a_v0_3_pb2 as pb
from a2a.compat.v0_3 import conversions as convert
from a2a.compat.v0_3 import types
from a2a.compat.v0_3.proto_utils import ToProto

CASES = []
META = {"https://ext.example/a": {"deep": [1, None, True, "x", 2.5]}}


def dump(model):
    """What the SDK's 0.3 servers and clients write."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def case(name, binding, operation, direction, body, pivot, **more):
    CASES.append(
        {
            "name": name,
            "binding": binding,
            "operation": operation,
            "direction": direction,
            "body": body,
            "pivot": MessageToDict(pivot) if pivot is not None else None,
            **more,
        }
    )


def text(words, **more):
    return types.Part(root=types.TextPart(text=words, **more))


PARTS = [
    text("hello"),
    text("with metadata", metadata=META),
    types.Part(root=types.DataPart(data={"a": [1, {"b": None}]}, metadata={"k": "v"})),
    types.Part(root=types.DataPart(data={"value": [1, 2]}, metadata={"data_part_compat": True})),
    types.Part(root=types.FilePart(file=types.FileWithBytes(bytes="AAEC/w==", mime_type="image/png", name="a.png"))),
    types.Part(root=types.FilePart(file=types.FileWithBytes(bytes="aGVsbG8=", mime_type=None, name=None))),
    types.Part(root=types.FilePart(file=types.FileWithUri(uri="https://x.example/f", mime_type="text/plain", name="f"))),
]


def message(role, **more):
    return types.Message(
        message_id="m-1", role=role, parts=more.pop("parts", [text("hello")]), **more
    )


FULL = message(
    types.Role.user,
    parts=PARTS,
    context_id="c-1",
    task_id="t-1",
    metadata=META,
    extensions=["https://ext.example/a"],
)
REFERRING = message(types.Role.agent, reference_task_ids=["t-0", "t-9"])

ARTIFACT = types.Artifact(
    artifact_id="a-1",
    name="result",
    description="what came of it",
    parts=PARTS,
    metadata=META,
    extensions=["https://ext.example/a"],
)


def task(state, **more):
    return types.Task(
        id="t-1",
        context_id="c-1",
        status=types.TaskStatus(state=state, timestamp="2025-11-02T10:11:12.345Z", **more.pop("status", {})),
        **more,
    )


TASKS = [
    ("small", task(types.TaskState.working)),
    (
        "full",
        task(
            types.TaskState.input_required,
            status={"message": message(types.Role.agent)},
            history=[FULL, message(types.Role.agent)],
            artifacts=[ARTIFACT],
            metadata=META,
        ),
    ),
]
STATES = [state for state in types.TaskState if state is not types.TaskState.unknown]

PUSH = types.PushNotificationConfig(
    id="p-1",
    url="https://push.example/hook",
    token="tok",
    authentication=types.PushNotificationAuthenticationInfo(schemes=["Bearer"], credentials="secret"),
)
TASK_PUSH = types.TaskPushNotificationConfig(task_id="t-1", push_notification_config=PUSH)
CONFIGURATION = types.MessageSendConfiguration(
    accepted_output_modes=["text/plain", "application/json"],
    blocking=False,
    history_length=3,
    push_notification_config=PUSH,
)


def update(state, **more):
    return types.TaskStatusUpdateEvent(
        task_id="t-1",
        context_id="c-1",
        status=types.TaskStatus(state=state, timestamp="2025-11-02T10:11:12.345Z"),
        final=state.value in ("completed", "canceled", "failed", "rejected", "input-required", "auth-required"),
        **more,
    )


EVENTS = [
    ("message", message(types.Role.agent, context_id="c-1")),
    ("task", TASKS[1][1]),
    ("artifact", types.TaskArtifactUpdateEvent(
        task_id="t-1", context_id="c-1", artifact=ARTIFACT, append=True, last_chunk=False, metadata=META)),
    *((f"status {state.value}", update(state)) for state in STATES),
    ("status with metadata", update(types.TaskState.working, metadata=META)),
]

CARD = types.AgentCard(
    name="weather",
    description="knows the weather",
    version="2.1",
    url="https://w.example/rpc",
    preferred_transport="JSONRPC",
    protocol_version="0.3.0",
    additional_interfaces=[types.AgentInterface(url="https://w.example/grpc", transport="GRPC")],
    provider=types.AgentProvider(organization="w", url="https://w.example"),
    documentation_url="https://w.example/doc",
    icon_url="https://w.example/i.png",
    capabilities=types.AgentCapabilities(
        streaming=True,
        push_notifications=False,
        extensions=[types.AgentExtension(uri="https://ext.example/a", description="d", required=True, params={"a": 1})],
    ),
    supports_authenticated_extended_card=True,
    security_schemes={
        "key": types.SecurityScheme(root=types.APIKeySecurityScheme(in_=types.In.header, name="x-key", description="k")),
        "http": types.SecurityScheme(root=types.HTTPAuthSecurityScheme(scheme="bearer", bearer_format="JWT")),
        "oidc": types.SecurityScheme(root=types.OpenIdConnectSecurityScheme(open_id_connect_url="https://i.example")),
        "mtls": types.SecurityScheme(root=types.MutualTLSSecurityScheme(description="m")),
        "oauth": types.SecurityScheme(root=types.OAuth2SecurityScheme(
            oauth2_metadata_url="https://i.example/meta",
            flows=types.OAuthFlows(authorization_code=types.AuthorizationCodeOAuthFlow(
                authorization_url="https://i.example/a", token_url="https://i.example/t", scopes={"read": "r"})))),
    },
    security=[{"oauth": ["read"]}, {"key": [], "mtls": []}],
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    skills=[types.AgentSkill(
        id="now", name="now", description="weather now", tags=["weather"], examples=["rain?"],
        input_modes=["text/plain"], output_modes=["text/plain"], security=[{"key": []}])],
    signatures=[types.AgentCardSignature(protected="e30", signature="c2ln", header={"kid": "1"})],
)


def rpc(model_class, params):
    return dump(model_class(id="q-1", params=params))


def json_rpc():
    for name, sent in [
        ("plain", types.MessageSendParams(message=message(types.Role.user), configuration=types.MessageSendConfiguration(blocking=True))),
        ("full", types.MessageSendParams(message=FULL, configuration=CONFIGURATION, metadata=META)),
        ("referring", types.MessageSendParams(message=REFERRING, configuration=types.MessageSendConfiguration(blocking=True))),
    ]:
        request = types.SendMessageRequest(id="q-1", params=sent)
        case(f"send {name}", "jsonrpc", "SendMessage", "request", dump(request), convert.to_core_send_message_request(request))
        stream = types.SendStreamingMessageRequest(id="q-1", params=sent)
        case(f"stream {name}", "jsonrpc", "SendStreamingMessage", "request", dump(stream), convert.to_core_send_message_request(request))
    request = types.GetTaskRequest(id="q-1", params=types.TaskQueryParams(id="t-1", history_length=5))
    case("get", "jsonrpc", "GetTask", "request", dump(request), convert.to_core_get_task_request(request))
    request = types.CancelTaskRequest(id="q-1", params=types.TaskIdParams(id="t-1", metadata=META))
    case("cancel", "jsonrpc", "CancelTask", "request", dump(request), convert.to_core_cancel_task_request(request))
    request = types.TaskResubscriptionRequest(id="q-1", params=types.TaskIdParams(id="t-1"))
    case("resubscribe", "jsonrpc", "SubscribeToTask", "request", dump(request), convert.to_core_subscribe_to_task_request(request))
    request = types.SetTaskPushNotificationConfigRequest(id="q-1", params=TASK_PUSH)
    case("push set", "jsonrpc", "CreateTaskPushNotificationConfig", "request", dump(request),
         convert.to_core_create_task_push_notification_config_request(request))
    for name, params in [
        ("named", types.GetTaskPushNotificationConfigParams(id="t-1", push_notification_config_id="p-1")),
        ("by task", types.TaskIdParams(id="t-1")),
    ]:
        request = types.GetTaskPushNotificationConfigRequest(id="q-1", params=params)
        case(f"push get {name}", "jsonrpc", "GetTaskPushNotificationConfig", "request", dump(request),
             convert.to_core_get_task_push_notification_config_request(request))
    request = types.ListTaskPushNotificationConfigRequest(id="q-1", params=types.ListTaskPushNotificationConfigParams(id="t-1"))
    case("push list", "jsonrpc", "ListTaskPushNotificationConfigs", "request", dump(request),
         convert.to_core_list_task_push_notification_config_request(request))
    request = types.DeleteTaskPushNotificationConfigRequest(
        id="q-1", params=types.DeleteTaskPushNotificationConfigParams(id="t-1", push_notification_config_id="p-1"))
    case("push delete", "jsonrpc", "DeleteTaskPushNotificationConfig", "request", dump(request),
         convert.to_core_delete_task_push_notification_config_request(request))
    request = types.GetAuthenticatedExtendedCardRequest(id="q-1")
    case("card", "jsonrpc", "GetExtendedAgentCard", "request", dump(request),
         convert.to_core_get_extended_agent_card_request(request))

    for name, made in TASKS:
        answer = types.SendMessageResponse(root=types.SendMessageSuccessResponse(id="q-1", result=made))
        case(f"sent task {name}", "jsonrpc", "SendMessage", "reply", dump(answer), convert.to_core_send_message_response(answer))
        answer = types.GetTaskSuccessResponse(id="q-1", result=made)
        case(f"task {name}", "jsonrpc", "GetTask", "reply", dump(answer), convert.to_core_task(made))
    answer = types.SendMessageResponse(root=types.SendMessageSuccessResponse(id="q-1", result=REFERRING))
    case("sent message", "jsonrpc", "SendMessage", "reply", dump(answer), convert.to_core_send_message_response(answer))
    answer = types.GetTaskPushNotificationConfigSuccessResponse(id="q-1", result=TASK_PUSH)
    case("config", "jsonrpc", "GetTaskPushNotificationConfig", "reply", dump(answer),
         convert.to_core_task_push_notification_config(TASK_PUSH))
    answer = types.ListTaskPushNotificationConfigResponse(
        root=types.ListTaskPushNotificationConfigSuccessResponse(id="q-1", result=[TASK_PUSH]))
    case("configs", "jsonrpc", "ListTaskPushNotificationConfigs", "reply", dump(answer),
         convert.to_core_list_task_push_notification_config_response(answer))
    answer = types.DeleteTaskPushNotificationConfigSuccessResponse(id="q-1", result=None)
    case("deleted", "jsonrpc", "DeleteTaskPushNotificationConfig", "reply",
         {**dump(answer), "result": None}, None)
    answer = types.GetAuthenticatedExtendedCardSuccessResponse(id="q-1", result=CARD)
    case("card", "jsonrpc", "GetExtendedAgentCard", "reply", dump(answer), convert.to_core_agent_card(CARD))
    for name, event in EVENTS:
        answer = types.SendStreamingMessageSuccessResponse(id="q-1", result=event)
        case(f"event {name}", "jsonrpc", "SendStreamingMessage", "event", dump(answer), convert.to_core_stream_response(answer))


def protobuf():
    """gRPC and HTTP+JSON: the same messages, once as bytes and once as ProtoJSON."""

    def both(name, operation, direction, body, pivot, path=None):
        case(name, "grpc", operation, direction, body.SerializeToString(deterministic=True).hex(), pivot)
        rest = None if path and path[0] in ("GET", "DELETE") else MessageToDict(body)
        case(name, "rest", operation, direction, rest, pivot, **({"method": path[0], "path": path[1]} if path else {}))

    for name, sent in [
        ("plain", types.MessageSendParams(message=message(types.Role.user), configuration=types.MessageSendConfiguration(blocking=True))),
        ("full", types.MessageSendParams(message=FULL, configuration=CONFIGURATION, metadata=META)),
    ]:
        body = pb.SendMessageRequest(
            request=ToProto.message(sent.message),
            configuration=ToProto.message_send_configuration(sent.configuration),
            metadata=ToProto.metadata(sent.metadata),
        )
        pivot = convert.to_core_send_message_request(types.SendMessageRequest(id="q-1", params=sent))
        both(f"send {name}", "SendMessage", "request", body, pivot, ("POST", "/v1/message:send"))
        both(f"stream {name}", "SendStreamingMessage", "request", body, pivot, ("POST", "/v1/message:stream"))
    query = types.GetTaskRequest(id="q-1", params=types.TaskQueryParams(id="t-1", history_length=5))
    both("get", "GetTask", "request", pb.GetTaskRequest(name="tasks/t-1", history_length=5),
         convert.to_core_get_task_request(query), ("GET", "/v1/tasks/t-1?historyLength=5"))
    by_id = types.CancelTaskRequest(id="q-1", params=types.TaskIdParams(id="t-1"))
    both("cancel", "CancelTask", "request", pb.CancelTaskRequest(name="tasks/t-1"),
         convert.to_core_cancel_task_request(by_id), ("POST", "/v1/tasks/t-1:cancel"))
    both("resubscribe", "SubscribeToTask", "request", pb.TaskSubscriptionRequest(name="tasks/t-1"),
         convert.to_core_subscribe_to_task_request(
             types.TaskResubscriptionRequest(id="q-1", params=types.TaskIdParams(id="t-1"))),
         ("GET", "/v1/tasks/t-1:subscribe"))
    config = ToProto.task_push_notification_config(TASK_PUSH)
    core = convert.to_core_task_push_notification_config(TASK_PUSH)
    both("push set", "CreateTaskPushNotificationConfig", "request",
         pb.CreateTaskPushNotificationConfigRequest(parent="tasks/t-1", config_id="p-1", config=config),
         core, ("POST", "/v1/tasks/t-1/pushNotificationConfigs"))
    named = "tasks/t-1/pushNotificationConfigs/p-1"
    both("push get", "GetTaskPushNotificationConfig", "request", pb.GetTaskPushNotificationConfigRequest(name=named),
         convert.to_core_get_task_push_notification_config_request(types.GetTaskPushNotificationConfigRequest(
             id="q-1", params=types.GetTaskPushNotificationConfigParams(id="t-1", push_notification_config_id="p-1"))),
         ("GET", f"/v1/{named}"))
    both("push list", "ListTaskPushNotificationConfigs", "request", pb.ListTaskPushNotificationConfigRequest(parent="tasks/t-1"),
         convert.to_core_list_task_push_notification_config_request(types.ListTaskPushNotificationConfigRequest(
             id="q-1", params=types.ListTaskPushNotificationConfigParams(id="t-1"))),
         ("GET", "/v1/tasks/t-1/pushNotificationConfigs"))
    both("push delete", "DeleteTaskPushNotificationConfig", "request",
         pb.DeleteTaskPushNotificationConfigRequest(name=named),
         convert.to_core_delete_task_push_notification_config_request(types.DeleteTaskPushNotificationConfigRequest(
             id="q-1", params=types.DeleteTaskPushNotificationConfigParams(id="t-1", push_notification_config_id="p-1"))),
         ("DELETE", f"/v1/{named}"))
    both("card", "GetExtendedAgentCard", "request", pb.GetAgentCardRequest(),
         convert.to_core_get_extended_agent_card_request(types.GetAuthenticatedExtendedCardRequest(id="q-1")),
         ("GET", "/v1/card"))

    plain = message(types.Role.agent, context_id="c-1")
    for name, made in [*((f"task {n}", m) for n, m in TASKS), ("message", plain)]:
        answer = types.SendMessageResponse(root=types.SendMessageSuccessResponse(id="q-1", result=made))
        both(f"sent {name}", "SendMessage", "reply", ToProto.task_or_message(made), convert.to_core_send_message_response(answer))
    for name, made in TASKS:
        both(f"task {name}", "GetTask", "reply", ToProto.task(made), convert.to_core_task(made))
    both("config", "GetTaskPushNotificationConfig", "reply", config, core)
    both("configs", "ListTaskPushNotificationConfigs", "reply", pb.ListTaskPushNotificationConfigResponse(configs=[config]),
         convert.to_core_list_task_push_notification_config_response(types.ListTaskPushNotificationConfigResponse(
             root=types.ListTaskPushNotificationConfigSuccessResponse(id="q-1", result=[TASK_PUSH]))))
    case("card", "grpc", "GetExtendedAgentCard", "reply",
         ToProto.agent_card(CARD).SerializeToString(deterministic=True).hex(), convert.to_core_agent_card(CARD))
    case("card", "rest", "GetExtendedAgentCard", "reply", dump(CARD), convert.to_core_agent_card(CARD))
    for name, event in EVENTS:
        answer = types.SendStreamingMessageSuccessResponse(id="q-1", result=event)
        both(f"event {name}", "SendStreamingMessage", "event", ToProto.stream_response(event), convert.to_core_stream_response(answer))


def main():
    json_rpc()
    protobuf()
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write("[\n")
        out.write(",\n".join(json.dumps(each, ensure_ascii=False) for each in CASES))
        out.write("\n]\n")
    print(f"{len(CASES)} cases")


if __name__ == "__main__":
    main()
