"""An agent of yesterday: the Python SDK 0.3.26, A2A 0.3, one binding, one replica.

Usage: agent.py --binding jsonrpc|rest|grpc [--http PORT] [--grpc PORT] [--name NAME]

Prints one line when its ports are open: `ready http=PORT grpc=PORT`. Its card is on the HTTP port
whatever the binding. What it does with a message is what `../python/agent.py` says at its top.
"""

import argparse
import ast
import asyncio
import operator
import re
import signal
import socket

import grpc
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from a2a.grpc import a2a_pb2_grpc
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.apps import A2ARESTFastAPIApplication, A2AStarletteApplication
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentSkill,
    Part,
    TaskState,
    TextPart,
    TransportProtocol,
)
from a2a.utils import new_task
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}


def calculate(text: str) -> str:
    """Works out a sum of numbers; anything else is a ValueError."""

    def value(node):
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](value(node.operand))
        raise ValueError(text)

    return str(value(ast.parse(text, mode="eval").body))


def words(text: str) -> list[Part]:
    return [Part(root=TextPart(text=text))]


class Steward(AgentExecutor):
    """Sums, waits and bookings."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        text = context.get_user_input()
        known = context.current_task
        task = known or new_task(context.message)
        if known is None:
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        said = lambda text: updater.new_agent_message(words(text))

        # Read before work starts: the task known here is the store's own, which changes.
        awaited = known is not None and known.status.state == TaskState.input_required
        await updater.start_work(said("working on it"))
        if awaited:
            await self.answer(updater, words(f"table booked: {text}"))
        elif re.search(r"\breturn these\b", text):
            await self.answer(updater, context.message.parts[1:])
        elif re.search(r"\bfail now\b", text):
            await updater.failed(said("failed as told"))
        elif re.search(r"\bbook\b", text):
            await updater.requires_input(said("for how many people?"), final=True)
        elif wait := re.search(r"\bwait (\d+(?:\.\d+)?) seconds?", text):
            await self.wait(updater, float(wait.group(1)))
        elif total := re.fullmatch(r"what is ([\d+*/(). -]+)\??", text.strip()):
            await self.answer(updater, words(calculate(total.group(1))))
        else:
            await self.answer(updater, words(text))

    async def answer(self, updater: TaskUpdater, parts: list[Part]) -> None:
        await updater.add_artifact(parts, name="answer", last_chunk=True)
        await updater.complete()

    async def wait(self, updater: TaskUpdater, seconds: float) -> None:
        pieces = max(2, min(10, round(seconds * 4)))
        for piece in range(pieces):
            await asyncio.sleep(seconds / pieces)
            await updater.add_artifact(
                words(f"tick {piece} "),
                artifact_id="ticks",
                name="ticks",
                append=piece > 0,
                last_chunk=piece + 1 == pieces,
            )
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def card(name: str, binding: str, http: int, grpc_port: int) -> AgentCard:
    """One interface, under a path of its own: a router must read it from here."""
    transport, url = {
        "jsonrpc": (TransportProtocol.jsonrpc, f"http://127.0.0.1:{http}/a2a/jsonrpc"),
        "rest": (TransportProtocol.http_json, f"http://127.0.0.1:{http}/a2a/rest"),
        "grpc": (TransportProtocol.grpc, f"127.0.0.1:{grpc_port}"),
    }[binding]
    return AgentCard(
        name=name,
        description="Sums, waits and bookings, on the Python SDK 0.3.",
        version="1.0.0",
        url=url,
        preferred_transport=transport,
        capabilities=AgentCapabilities(streaming=True, push_notifications=False),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[
            AgentSkill(
                id="steward",
                name="Steward",
                description="Sums, waits and bookings.",
                tags=["sum", "wait", "book"],
            )
        ],
    )


def published(served: AgentCard) -> dict:
    return served.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", type=int, default=0)
    parser.add_argument("--grpc", type=int, default=0)
    parser.add_argument("--name", default="steward")
    parser.add_argument("--binding", choices=["jsonrpc", "rest", "grpc"], required=True)
    args = parser.parse_args()

    # Bound here and not by the server, so that the card knows the port before it is served.
    listener = socket.create_server(("127.0.0.1", args.http), backlog=1024)
    http = listener.getsockname()[1]
    grpc_server = grpc.aio.server()
    grpc_port = grpc_server.add_insecure_port(f"127.0.0.1:{args.grpc}")

    served = card(args.name, args.binding, http, grpc_port)
    requests = DefaultRequestHandler(agent_executor=Steward(), task_store=InMemoryTaskStore())
    # The card is at the root whatever the binding; the SDK's REST application would put it below
    # its own path.
    publishing = Route(AGENT_CARD_WELL_KNOWN_PATH, lambda _: JSONResponse(published(served)))
    routes = [publishing]
    if args.binding == "jsonrpc":
        rpc = A2AStarletteApplication(agent_card=served, http_handler=requests)
        routes += rpc.routes(rpc_url="/a2a/jsonrpc", agent_card_url="/a2a/card")
    if args.binding == "rest":
        rest = A2ARESTFastAPIApplication(agent_card=served, http_handler=requests)
        routes.append(Mount("/a2a/rest", app=rest.build()))
    app = Starlette(routes=routes)
    if args.binding == "grpc":
        a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(served, requests), grpc_server)
    await grpc_server.start()

    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, lifespan="off")
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    print(f"ready http={http} grpc={grpc_port}", flush=True)

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait({waiting, serving}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await grpc_server.stop(1)
    await serving


if __name__ == "__main__":
    asyncio.run(main())
