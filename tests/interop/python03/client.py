"""The Python SDK of yesterday as a client: 0.3.26, A2A 0.3. The same command line and output as the
other clients; see `../python/client.py`.

Every step goes through the SDK: its card resolver, its choice of transport, its types and errors.
"""

import argparse
import asyncio
import base64
import json
import sys
import uuid

import grpc
import httpx

from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.client.errors import A2AClientHTTPError, A2AClientJSONRPCError
from a2a.types import (
    DataPart,
    FilePart,
    FileWithBytes,
    FileWithUri,
    Message,
    MessageSendConfiguration,
    Part,
    Role,
    Task,
    TaskArtifactUpdateEvent,
    TaskIdParams,
    TaskQueryParams,
    TaskState,
    TaskStatusUpdateEvent,
    TextPart,
    TransportProtocol,
)

BINDINGS = {
    "jsonrpc": TransportProtocol.jsonrpc,
    "rest": TransportProtocol.http_json,
    "grpc": TransportProtocol.grpc,
}
TERMINAL = {TaskState.completed, TaskState.failed, TaskState.canceled, TaskState.rejected}
DEADLINE = 60

# What a part of data holds, and a file: every byte, so that no encoding of it passes by chance.
DATA = {"n": 17, "half": 0.5, "deep": [True, None, {"k": "\u00e9"}], "empty": {}}
RAW = bytes(range(256))


def check(condition: bool, what: object) -> None:
    """A step's claim; `assert` would vanish under -O."""
    if not condition:
        raise AssertionError(str(what))


def text(artifact) -> str:
    return "".join(part.root.text for part in artifact.parts if part.root.kind == "text")


def said(task: Task) -> str:
    return " ".join(text(artifact) for artifact in task.artifacts or [])


def request(words: str, *, task: Task | None = None, parts: list | None = None) -> Message:
    return Message(
        message_id=str(uuid.uuid4()),
        role=Role.user,
        parts=[Part(root=TextPart(text=words)), *(parts or [])],
        task_id=task and task.id,
        context_id=task and task.context_id,
    )


class LeftOut(Exception):
    """A step that this version or this agent does not have."""


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
        others = [one.transport for one in card.additional_interfaces or []]
        return f"{card.name}: {card.preferred_transport} and {others}"

    async def connect(self, which: str):
        """The card of an agent, and two clients of it: without streams and with."""
        url = self.cell.get(which) or self.cell["url"]
        card = await A2ACardResolver(self.http, url).get_agent_card()

        def client(streaming: bool):
            config = ClientConfig(
                streaming=streaming,
                httpx_client=self.http,
                grpc_channel_factory=grpc.aio.insecure_channel,
                supported_transports=[BINDINGS[self.cell["binding"]]],
            )
            return ClientFactory(config).create(card)

        return card, client(False), client(True)

    async def one(self, message: Message, client=None, *, blocking: bool = True) -> Task:
        """Sends without a stream and takes the one answer, which must be a task."""
        configuration = MessageSendConfiguration(blocking=blocking)
        sent = (client or self.unary).send_message(message, configuration=configuration)
        answers = [answer async for answer in sent]
        check(len(answers) == 1, f"{len(answers)} answers to one unary send")
        check(isinstance(answers[0], tuple), f"no task but {answers[0]}")
        return answers[0][0]

    async def send(self) -> str:
        self.task = await self.one(request(self.args.question))
        check(self.task.status.state == TaskState.completed, self.task.status.state)
        check(self.args.expect in said(self.task), said(self.task))
        return said(self.task)

    async def stream(self) -> str:
        seen, words = [], ""
        async for task, event in self.streaming.send_message(request(self.args.question)):
            if isinstance(event, TaskArtifactUpdateEvent):
                seen.append("artifact")
                words += text(event.artifact)
            else:
                seen.append(task.status.state.name)
            last = event
        order = [seen.index(step) for step in ("working", "artifact", "completed") if step in seen]
        check(len(order) == 3 and order == sorted(order), seen)
        check(seen[-1] == "completed", seen)
        check(isinstance(last, TaskStatusUpdateEvent) and last.final, f"not final: {last}")
        check(self.args.expect in words, words)
        return " ".join(seen)

    async def get(self) -> str:
        task = await self.unary.get_task(TaskQueryParams(id=self.task.id))
        check(task.id == self.task.id, task.id)
        check(task.context_id == self.task.context_id, task.context_id)
        check(self.args.expect in said(task), said(task))
        return task.id

    async def list(self) -> str:
        raise LeftOut("0.3 has no ListTasks")

    async def cancel(self) -> str:
        _, unary, _ = await self.connect("slow_url")
        task = await self.one(request(self.args.slow), unary, blocking=False)
        check(task.status.state not in TERMINAL, task.status.state)
        canceled = await unary.cancel_task(TaskIdParams(id=task.id))
        check(canceled.status.state == TaskState.canceled, canceled.status.state)
        return f"{task.status.state.name} -> canceled"

    async def subscribe(self) -> str:
        _, unary, streaming = await self.connect("brief_url")
        task = await self.one(request(self.args.brief), unary, blocking=False)
        check(task.status.state not in TERMINAL, task.status.state)
        seen = []
        # 0.3 does not promise the task as the first event, so what comes first is not checked.
        async for now, event in streaming.resubscribe(TaskIdParams(id=task.id)):
            check(now.id == task.id, f"an event of {now.id}")
            kind = event.kind if event else "task"
            seen.append(kind)
            if kind == "status-update" and event.status.state in TERMINAL:
                seen.append(event.status.state.name)
        check(seen and seen[-1] == "completed", seen)
        return " ".join(seen)

    async def multi_turn(self) -> str:
        asked = await self.one(request(self.args.ask))
        check(asked.status.state == TaskState.input_required, asked.status.state)
        done = await self.one(request(self.args.answer, task=asked))
        check(done.id == asked.id, f"{done.id} is another task than {asked.id}")
        check(done.status.state == TaskState.completed, done.status.state)
        check(self.args.answered in said(done), said(done))
        return said(done)

    async def parts(self) -> str:
        """Every kind of part there and back, through whatever translates between."""
        if not self.args.parts:
            raise LeftOut("this agent does not return parts")
        encoded = base64.b64encode(RAW).decode()
        binary = "application/octet-stream"
        words = "d\u00e9j\u00e0 vu \U0001f5ff \"quoted\"\n"
        sent = [
            TextPart(text=words),
            DataPart(data=DATA),
            FilePart(file=FileWithBytes(bytes=encoded, name="all bytes.bin", mime_type=binary)),
            FilePart(file=FileWithUri(uri="https://files.example/a%20b?c=d", mime_type="image/png")),
        ]
        asked = request(self.args.parts, parts=[Part(root=part) for part in sent])
        task = await self.one(asked)
        returned = [part.root for one in task.artifacts or [] for part in one.parts]
        check(len(returned) == len(sent), f"{len(returned)} parts came back")
        check([part.kind for part in returned] == ["text", "data", "file", "file"], returned)
        check(returned[0].text == words, returned[0])
        check(returned[1].data == DATA, returned[1])
        check(base64.b64decode(returned[2].file.bytes) == RAW, returned[2])
        check(returned[2].file.mime_type == binary, returned[2])
        check(returned[3].file.uri == sent[3].file.uri, returned[3])
        check(returned[3].file.mime_type == "image/png", returned[3])
        return "text data bytes uri"

    async def fail(self) -> str:
        if not self.args.fail:
            raise LeftOut("this agent does not fail")
        _, unary, _ = await self.connect("fail_url")
        task = await self.one(request(self.args.fail), unary)
        check(task.status.state == TaskState.failed, task.status.state)
        return task.status.state.name

    async def unknown_task(self) -> str:
        try:
            task = await self.unary.get_task(TaskQueryParams(id=str(uuid.uuid4())))
        except A2AClientJSONRPCError as error:
            check(error.error.code == -32001, error)
            return str(error)
        except A2AClientHTTPError as error:
            check(error.status_code == 404, error)
            return str(error)
        except grpc.aio.AioRpcError as error:
            check(error.code() == grpc.StatusCode.NOT_FOUND, error)
            return str(error.details())
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
