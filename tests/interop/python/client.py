"""An official SDK as a client: Python. The same command line and output as the other clients.

Usage: client.py --cell JSON... [--question TEXT --expect TEXT] [--brief TEXT] [--slow TEXT]
         [--ask TEXT --answer TEXT --answered TEXT] [--parts TEXT] [--fail TEXT]

A cell is {"url", "binding": jsonrpc|rest|grpc, "version": 1.0|0.3} and, where the brief, the slow or
the failing task are other agents', their "brief_url", "slow_url" and "fail_url"; "snapshot": false says
that its agent does not begin a subscription with the task, and "without" names steps to leave out,
each with the reason. All cells run at once. Prints one JSON line a step: {"cell": its place in the command line, "step", "ok": true|false,
"detail"}; exits 1 if a step failed. What a version or the agent does not have is left out, and the
detail says so. Every step goes through the SDK: its card resolver, its choice of transport, its types
and errors.
"""

import argparse
import asyncio
import json
import sys
import uuid

import grpc
import httpx
from google.protobuf import json_format

from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.helpers import get_artifact_text
from a2a.types import a2a_pb2 as a2a
from a2a.utils.errors import TaskNotFoundError

BINDINGS = {"jsonrpc": "JSONRPC", "rest": "HTTP+JSON", "grpc": "GRPC"}
TERMINAL = {
    a2a.TASK_STATE_COMPLETED,
    a2a.TASK_STATE_FAILED,
    a2a.TASK_STATE_CANCELED,
    a2a.TASK_STATE_REJECTED,
}
DEADLINE = 60

# What a part of data holds, and a file: every byte, so that no encoding of it passes by chance.
DATA = {"n": 17, "half": 0.5, "deep": [True, None, {"k": "\u00e9"}], "empty": {}}
RAW = bytes(range(256))


def check(condition: bool, what: object) -> None:
    """A step's claim; `assert` would vanish under -O."""
    if not condition:
        raise AssertionError(str(what))


def state(value: int) -> str:
    return a2a.TaskState.Name(value).removeprefix("TASK_STATE_")


def said(task: a2a.Task) -> str:
    return " ".join(get_artifact_text(artifact) for artifact in task.artifacts)


def request(text: str, *, task: a2a.Task | None = None, at_once: bool = False):
    message = a2a.Message(
        message_id=str(uuid.uuid4()), role=a2a.ROLE_USER, parts=[a2a.Part(text=text)]
    )
    if task is not None:
        message.task_id = task.id
        message.context_id = task.context_id
    return a2a.SendMessageRequest(
        message=message,
        configuration=a2a.SendMessageConfiguration(return_immediately=at_once),
    )


class LeftOut(Exception):
    """A step that this version or this agent does not have."""


def offered(interface: a2a.AgentInterface) -> tuple[str, str]:
    """Binding and version, without the patch number."""
    return interface.protocol_binding, ".".join(interface.protocol_version.split(".")[:2])


def offers(card: a2a.AgentCard) -> str:
    return " ".join("/".join(offered(one)) for one in card.supported_interfaces)


class Scenario:
    """The steps, in order; `task` is the one that the question made."""

    def __init__(self, cell: dict, args, http: httpx.AsyncClient):
        self.cell = cell
        self.args = args
        self.http = http
        self.unary = None
        self.streaming = None
        self.task = None

    async def fetch_card(self) -> str:
        card, self.unary, self.streaming = await self.connect("url")
        return f"{card.name}: {offers(card)}"

    async def connect(self, which: str):
        """The card of an agent, and two clients of it: without streams and with."""
        url = self.cell.get(which) or self.cell["url"]
        card = await A2ACardResolver(self.http, url).get_agent_card()
        binding = BINDINGS[self.cell["binding"]]
        wanted = (binding, self.cell["version"])
        chosen = a2a.AgentCard()
        chosen.CopyFrom(card)
        del chosen.supported_interfaces[:]
        chosen.supported_interfaces.extend(
            one for one in card.supported_interfaces if offered(one) == wanted
        )
        check(chosen.supported_interfaces, f"{wanted} is not among {offers(card)}")

        def client(streaming: bool):
            config = ClientConfig(
                streaming=streaming,
                httpx_client=self.http,
                grpc_channel_factory=grpc.aio.insecure_channel,
                supported_protocol_bindings=[binding],
            )
            return ClientFactory(config).create(chosen)

        return card, client(False), client(True)

    async def one(self, message, client=None) -> a2a.Task:
        """Sends without a stream and takes the one answer, which must be a task."""
        client = client or self.unary
        answers = [answer async for answer in client.send_message(message)]
        check(len(answers) == 1, f"{len(answers)} answers to one unary send")
        check(answers[0].HasField("task"), f"no task but {answers[0]}")
        return answers[0].task

    async def send(self) -> str:
        self.task = await self.one(request(self.args.question))
        check(self.task.status.state == a2a.TASK_STATE_COMPLETED, state(self.task.status.state))
        check(self.args.expect in said(self.task), said(self.task))
        return said(self.task)

    async def stream(self) -> str:
        seen, text = [], ""
        async for event in self.streaming.send_message(request(self.args.question)):
            kind = event.WhichOneof("payload")
            if kind == "task":
                seen.append(state(event.task.status.state))
            elif kind == "status_update":
                seen.append(state(event.status_update.status.state))
            elif kind == "artifact_update":
                seen.append("artifact")
                text += get_artifact_text(event.artifact_update.artifact)
        order = [seen.index(step) for step in ("WORKING", "artifact", "COMPLETED") if step in seen]
        check(len(order) == 3 and order == sorted(order), seen)
        check(seen[-1] == "COMPLETED", seen)
        check(self.args.expect in text, text)
        return " ".join(seen)

    async def get(self) -> str:
        task = await self.unary.get_task(a2a.GetTaskRequest(id=self.task.id))
        check(task.id == self.task.id, task.id)
        check(task.context_id == self.task.context_id, task.context_id)
        check(self.args.expect in said(task), said(task))
        return task.id

    async def list(self) -> str:
        if self.cell["version"] == "0.3":
            raise LeftOut("0.3 has no ListTasks")
        asked = a2a.ListTasksRequest(context_id=self.task.context_id)
        tasks = (await self.unary.list_tasks(asked)).tasks
        check(self.task.id in [task.id for task in tasks], [task.id for task in tasks])
        return f"{len(tasks)} in the context"

    async def cancel(self) -> str:
        _, unary, _ = await self.connect("slow_url")
        task = await self.one(request(self.args.slow, at_once=True), unary)
        check(task.status.state not in TERMINAL, state(task.status.state))
        canceled = await unary.cancel_task(a2a.CancelTaskRequest(id=task.id))
        check(canceled.status.state == a2a.TASK_STATE_CANCELED, state(canceled.status.state))
        return f"{state(task.status.state)} -> CANCELED"

    async def subscribe(self) -> str:
        _, unary, streaming = await self.connect("brief_url")
        task = await self.one(request(self.args.brief, at_once=True), unary)
        check(task.status.state not in TERMINAL, state(task.status.state))
        seen = []
        async for event in streaming.subscribe(a2a.SubscribeToTaskRequest(id=task.id)):
            kind = event.WhichOneof("payload")
            # 0.3 does not promise the task as the first event.
            promised = self.cell["version"] != "0.3" and self.cell.get("snapshot", True)
            if promised and not seen:
                check(kind == "task" and event.task.id == task.id, f"first came {kind}")
            seen.append(kind)
            if kind == "status_update" and event.status_update.status.state in TERMINAL:
                seen.append(state(event.status_update.status.state))
        check(seen[-1] == "COMPLETED", seen)
        return " ".join(seen)

    async def multi_turn(self) -> str:
        asked = await self.one(request(self.args.ask))
        check(asked.status.state == a2a.TASK_STATE_INPUT_REQUIRED, state(asked.status.state))
        done = await self.one(request(self.args.answer, task=asked))
        check(done.id == asked.id, f"{done.id} is another task than {asked.id}")
        check(done.status.state == a2a.TASK_STATE_COMPLETED, state(done.status.state))
        check(self.args.answered in said(done), said(done))
        return said(done)

    async def parts(self) -> str:
        """Every kind of part there and back, through whatever translates between."""
        if not self.args.parts:
            raise LeftOut("this agent does not return parts")
        asked = request(self.args.parts)
        data = a2a.Part(media_type="application/json")
        json_format.ParseDict(DATA, data.data)
        sent = [
            a2a.Part(text="d\u00e9j\u00e0 vu \U0001f5ff \"quoted\"\n", metadata={"lang": "fr"}),
            data,
            a2a.Part(raw=RAW, filename="all bytes.bin", media_type="application/octet-stream"),
            a2a.Part(url="https://files.example/a%20b?c=d", filename="a b", media_type="image/png"),
        ]
        asked.message.parts.extend(sent)
        returned = [part for one in (await self.one(asked)).artifacts for part in one.parts]
        check(len(returned) == len(sent), f"{len(returned)} parts came back")
        for before, after in zip(sent, returned):
            kind = before.WhichOneof("content")
            check(after.WhichOneof("content") == kind, f"{kind} came back as {after}")
            value = lambda part: getattr(part, kind)
            check(value(after) == value(before), f"{kind} came back as {value(after)}")
            if kind in ("raw", "url"):
                check(after.filename == before.filename, f"the file is named {after.filename}")
                check(after.media_type == before.media_type, f"the file is {after.media_type}")
        check(returned[0].metadata["lang"] == "fr", f"its metadata is {returned[0].metadata}")
        return "text data raw url"

    async def fail(self) -> str:
        if not self.args.fail:
            raise LeftOut("this agent does not fail")
        _, unary, _ = await self.connect("fail_url")
        task = await self.one(request(self.args.fail), unary)
        check(task.status.state == a2a.TASK_STATE_FAILED, state(task.status.state))
        return state(task.status.state)

    async def unknown_task(self) -> str:
        try:
            task = await self.unary.get_task(a2a.GetTaskRequest(id=str(uuid.uuid4())))
        except TaskNotFoundError as error:
            return f"TaskNotFoundError: {error}"
        raise AssertionError(f"an unknown task came back: {task}")


async def run(number: int, cell: dict, args, http: httpx.AsyncClient) -> int:
    """The steps of one cell; how many failed."""
    scenario = Scenario(cell, args, http)
    failed = 0
    for name, step in [
        ("card", scenario.fetch_card),
        ("send", scenario.send),
        ("stream", scenario.stream),
        ("get", scenario.get),
        ("list", scenario.list),
        ("cancel", scenario.cancel),
        ("subscribe", scenario.subscribe),
        ("multi-turn", scenario.multi_turn),
        ("parts", scenario.parts),
        ("fail", scenario.fail),
        ("unknown-task", scenario.unknown_task),
    ]:
        try:
            if name in cell.get("without", {}):
                raise LeftOut(cell["without"][name])
            ok, detail = True, await asyncio.wait_for(step(), DEADLINE)
        except LeftOut as reason:
            detail = f"left out: {reason}"
        except Exception as error:  # every failure is a line, never a trace
            ok, detail = False, f"{type(error).__name__}: {error}"
        failed += not ok
        print(json.dumps({"cell": number, "step": name, "ok": ok, "detail": detail}), flush=True)
    return failed


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", type=json.loads, action="append", required=True)
    parser.add_argument("--question", default="what is 17*23+4")
    parser.add_argument("--expect", default="395")
    parser.add_argument("--brief", default="wait 2 seconds")
    parser.add_argument("--slow", default="wait 60 seconds")
    parser.add_argument("--ask", default="book a table")
    parser.add_argument("--answer", default="4 people")
    parser.add_argument("--answered", default="4")
    parser.add_argument("--parts", default="return these")
    parser.add_argument("--fail", default="fail now")
    args = parser.parse_args()

    # A pool of connections for each cell: what one leaves open is not another's.
    async def alone(number: int, cell: dict) -> int:
        async with httpx.AsyncClient(timeout=DEADLINE) as http:
            return await run(number, cell, args, http)

    failed = await asyncio.gather(*(alone(*cell) for cell in enumerate(args.cell)))
    return 1 if sum(failed) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
