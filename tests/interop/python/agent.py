"""A third party's agent: the official Python SDK, one replica, nothing of ours.

Usage: agent.py [--http PORT] [--grpc PORT] [--name NAME]    (port 0 takes a free one)
         [--binding jsonrpc|rest|grpc] [--compat] [--everything]

Offered in three bindings, or with --binding in that one alone. --compat adds A2A 0.3 on the same
ports, by the SDK's own compatibility layer. --everything adds push notifications and an extended
card, which need no credentials here. Prints one line when both ports are open:
`ready http=PORT grpc=PORT`.

What it does with a message:
  "what is 17*23+4"   works the sum out, one artifact, completed
  "wait 3 seconds"    works that long, an artifact in chunks, completed; can be cancelled
  "book a table"      INPUT_REQUIRED until the same task hears for how many; then completed
  "return these"      gives back the message's other parts, as one artifact
  "fail now"          FAILED
  "reject this"       REJECTED
  "just say hello"    answers with a message, without a task
  anything else       comes back as it was
"""

import argparse
import ast
import asyncio
import operator
import re
import signal
import socket
import uuid

import grpc
import httpx
import uvicorn
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from starlette.applications import Starlette

from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc
from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler
from a2a.helpers import get_message_text, new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler
from a2a.server.routes import (
    create_agent_card_routes,
    create_jsonrpc_routes,
    create_rest_routes,
)
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import a2a_pb2, a2a_pb2_grpc

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


class Steward(AgentExecutor):
    """Sums, waits and bookings; see the top of the file."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        text = get_message_text(context.message)
        known = context.current_task
        if known is None and (hello := re.search(r"\bjust say (.+)", text)):
            await event_queue.enqueue_event(
                a2a_pb2.Message(
                    message_id=str(uuid.uuid4()),
                    context_id=context.context_id,
                    role=a2a_pb2.ROLE_AGENT,
                    parts=[a2a_pb2.Part(text=hello.group(1))],
                )
            )
            return
        if known is None:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        said = lambda words: updater.new_agent_message([a2a_pb2.Part(text=words)])
        await updater.start_work(said("working on it"))

        if known is not None and known.status.state == a2a_pb2.TASK_STATE_INPUT_REQUIRED:
            await self.answer(updater, f"table booked: {text}")
        elif re.search(r"\breturn these\b", text):
            rest = context.message.parts[1:]
            await updater.add_artifact(rest, name="returned", last_chunk=True)
            await updater.complete()
        elif re.search(r"\bfail now\b", text):
            await updater.failed(said("failed as told"))
        elif re.search(r"\breject this\b", text):
            await updater.reject(said("rejected as told"))
        elif re.search(r"\bbook\b", text):
            await updater.requires_input(said("for how many people?"))
        elif wait := re.search(r"\bwait (\d+(?:\.\d+)?) seconds?", text):
            await self.wait(updater, float(wait.group(1)))
        elif total := re.fullmatch(r"what is ([\d+*/(). -]+)\??", text.strip()):
            await self.answer(updater, calculate(total.group(1)))
        else:
            await self.answer(updater, text)

    async def answer(self, updater: TaskUpdater, text: str) -> None:
        await updater.add_artifact([a2a_pb2.Part(text=text)], name="answer", last_chunk=True)
        await updater.complete()

    async def wait(self, updater: TaskUpdater, seconds: float) -> None:
        pieces = max(2, min(10, round(seconds * 4)))
        for piece in range(pieces):
            await asyncio.sleep(seconds / pieces)
            await updater.add_artifact(
                [a2a_pb2.Part(text=f"tick {piece} ")],
                artifact_id="ticks",
                name="ticks",
                append=piece > 0,
                last_chunk=piece + 1 == pieces,
            )
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def card(args: argparse.Namespace, http: int, grpc_port: int) -> a2a_pb2.AgentCard:
    """JSON-RPC and REST under paths of their own: a router must read them from here."""
    host = f"127.0.0.1:{http}"
    urls = {
        "jsonrpc": ("JSONRPC", f"http://{host}/a2a/jsonrpc"),
        "rest": ("HTTP+JSON", f"http://{host}/a2a/rest"),
        "grpc": ("GRPC", f"127.0.0.1:{grpc_port}"),
    }
    interfaces = [
        a2a_pb2.AgentInterface(protocol_binding=binding, url=url, protocol_version=version)
        for version in (["1.0", "0.3"] if args.compat else ["1.0"])
        for label, (binding, url) in urls.items()
        if args.binding in (None, label)
    ]
    return a2a_pb2.AgentCard(
        name=args.name,
        description="Sums, waits and bookings, on the Python SDK.",
        version="1.0.0",
        supported_interfaces=interfaces,
        capabilities=a2a_pb2.AgentCapabilities(
            streaming=True,
            push_notifications=args.everything,
            extended_agent_card=args.everything,
        ),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[
            a2a_pb2.AgentSkill(
                id="steward",
                name="Steward",
                description="Sums, waits and bookings.",
                tags=["sum", "wait", "book"],
                examples=["what is 17*23+4", "wait 3 seconds", "book a table"],
            )
        ],
    )


def extras_of(served: a2a_pb2.AgentCard) -> dict:
    """Push notifications, and a card with one more skill for who asks for the extended one."""
    extended = a2a_pb2.AgentCard()
    extended.CopyFrom(served)
    extended.skills.append(
        a2a_pb2.AgentSkill(id="secret", name="Secret", description="A secret.", tags=["secret"])
    )
    configs = InMemoryPushNotificationConfigStore()
    sender = BasePushNotificationSender(httpx.AsyncClient(), configs)
    return {
        "push_config_store": configs,
        "push_sender": sender,
        "extended_agent_card": extended,
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", type=int, default=0)
    parser.add_argument("--grpc", type=int, default=0)
    parser.add_argument("--name", default="steward")
    parser.add_argument("--binding", choices=["jsonrpc", "rest", "grpc"])
    parser.add_argument("--compat", action="store_true")
    parser.add_argument("--everything", action="store_true")
    args = parser.parse_args()

    # Bound here and not by the server, so that the card knows the port before it is served.
    listener = socket.create_server(("127.0.0.1", args.http), backlog=1024)
    http = listener.getsockname()[1]
    grpc_server = grpc.aio.server()
    grpc_port = grpc_server.add_insecure_port(f"127.0.0.1:{args.grpc}")

    served = card(args, http, grpc_port)
    offered = {interface.protocol_binding for interface in served.supported_interfaces}
    extras = extras_of(served) if args.everything else {}
    requests = DefaultRequestHandler(
        agent_executor=Steward(), task_store=InMemoryTaskStore(), agent_card=served, **extras
    )
    routes = create_agent_card_routes(served)
    if "JSONRPC" in offered:
        routes += create_jsonrpc_routes(
            requests, "/a2a/jsonrpc", enable_v0_3_compat=args.compat
        )
    if "HTTP+JSON" in offered:
        routes += create_rest_routes(
            requests, path_prefix="/a2a/rest", enable_v0_3_compat=args.compat
        )
    app = Starlette(routes=routes)
    if "GRPC" in offered:
        a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(requests), grpc_server)
        if args.compat:
            a2a_v0_3_pb2_grpc.add_A2AServiceServicer_to_server(
                CompatGrpcHandler(requests), grpc_server
            )
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, grpc_server)
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    service = a2a_pb2.DESCRIPTOR.services_by_name["A2AService"].full_name
    reflection.enable_server_reflection([service, reflection.SERVICE_NAME], grpc_server)
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
